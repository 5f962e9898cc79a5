//! A gateway whose bytes are in a bucket does for its clients what one over a folder does.

use std::time::Duration;

use artifactstore_tests::{Harness, Proxy, S3, command};
use tokio::task::JoinSet;

use crate::body;
use crate::bucket::{gateway_behind, gateway_on};
use crate::store;

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_all_sizes_read_back_whole_and_in_ranges_also_after_a_restart() {
    let store = store().await;
    let mut gateway = gateway_on(&store).await;
    let files: Vec<(String, Vec<u8>)> = [0, 1, 4096, 300_000, 9 * MIB + 5, 21 * MIB]
        .into_iter()
        .map(|size| (format!("sizes/run/{size}.bin"), body::bytes(size as u64, size)))
        .collect();
    for (name, bytes) in &files {
        let put = gateway.put(name, bytes).await.unwrap();
        assert_eq!(put.etag(), body::md5_hex(bytes), "{name}");
    }
    gateway.restart().await;
    for (name, bytes) in &files {
        assert!(gateway.get(name).await.unwrap().body == *bytes, "{name}");
    }
    let (name, bytes) = &files[5];
    for (begin, end) in [(0, 0), (5, 9), (8 * MIB - 1, 8 * MIB), (3 * MIB, 20 * MIB), (21 * MIB - 1, 21 * MIB - 1)] {
        let range = format!("bytes={begin}-{end}");
        let reply = gateway.s3.request("GET", name).header("range", &range).send().await.unwrap();
        assert_eq!(reply.status, 206, "{range}");
        assert!(reply.body == bytes[begin..=end], "{range}");
    }
    assert_eq!(gateway.list("sizes", "run/").await.len(), files.len());
    gateway.finalize("sizes", "run").await.unwrap();
    gateway.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_make_a_whole_and_what_is_stored_is_not_stored_again() {
    let store = store().await;
    let gateway = gateway_on(&store).await;
    gateway.producer("parts").await;
    let pieces: Vec<Vec<u8>> =
        (0..).zip([5 * MIB, 9 * MIB + 77, 123]).map(|(seed, size)| body::bytes(seed, size)).collect();
    let upload = gateway.s3.upload_create("parts/run/whole").await.unwrap();
    let mut parts = Vec::new();
    for number in [2_u32, 1, 3] {
        let piece = &pieces[number as usize - 1];
        parts.push((number, gateway.s3.upload_part("parts/run/whole", &upload, number, piece).await.unwrap()));
    }
    parts.sort();
    gateway.s3.upload_complete("parts/run/whole", &upload, &parts).await.unwrap();
    let whole = gateway.get("parts/run/whole").await.unwrap();
    assert!(whole.body == pieces.concat());
    assert_eq!(whole.header_or_empty("x-artifact-sha256"), body::sha256_hex(&pieces.concat()));
    let objects = store.objects().await;
    gateway.put("parts/run/again", &pieces[0]).await.unwrap();
    assert_eq!(store.objects().await, objects, "known bytes need no object");
    gateway.finish().await;
}

async fn put_at_once(s3: &S3, prefix: &str, count: u64) {
    let mut puts = JoinSet::new();
    for number in 0..count {
        let (s3, name) = (s3.clone(), format!("{prefix}/{number}"));
        puts.spawn(async move { s3.put(&name, &body::bytes(number, 4096)).await.unwrap() });
    }
    puts.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_files_that_come_together_share_requests() {
    let store = store().await;
    let proxy = Proxy::before(store.s3.address).await;
    let gateway = gateway_behind(&store, &proxy).await;
    gateway.producer("packs").await;
    let before = proxy.puts();
    put_at_once(&gateway.s3, "packs/run", 200).await;
    let requests = proxy.puts() - before;
    assert!((1..=100).contains(&requests), "200 small files took {requests} requests");
    for number in 0..200 {
        assert!(gateway.get(&format!("packs/run/{number}")).await.unwrap().body == body::bytes(number, 4096));
    }
    println!("FIGURE 200 files of 4 KiB at once took {requests} requests to the store");
    gateway.finish().await;
}

#[tokio::test]
async fn what_a_refused_upload_left_in_the_bucket_is_swept_and_nothing_else() {
    let store = store().await;
    let mut gateway = gateway_on(&store).await;
    gateway.put("sweep/run/kept", &body::bytes(1, 10_000)).await.unwrap();
    let kept = store.objects().await;
    let bytes = body::bytes(2, 20 * MIB);
    let wrong = body::md5_base64(b"other");
    let request = gateway.s3.request("PUT", "sweep/run/bad").body(&bytes).header("content-md5", &wrong);
    assert_eq!(request.send().await.unwrap_err().code(), "BadDigest");
    // What was on its way when the refusal came still arrives: all chunks but the last, which waits for the verdict.
    for _ in 0..200 {
        if store.objects().await.len() == kept.len() + 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(store.objects().await.len(), kept.len() + 2);
    gateway.stop().await;
    let _ = gateway.cli(&["gc", "--grace", "0"]).await.succeeded();
    assert_eq!(store.objects().await, kept);
    gateway.audit().await;
}

#[tokio::test]
async fn health_tells_readiness_and_latency_and_invents_no_capacity() {
    let store = store().await;
    let gateway = gateway_on(&store).await;
    let health = gateway.admin.get("/health").await.json();
    assert_eq!(health["status"], "ready");
    assert_eq!((&health["backend"]["name"], &health["backend"]["ready"]), (&"s3".into(), &true.into()));
    assert!(health["backend"]["latency_micros"].as_u64().unwrap() > 0);
    assert!(health["backend"]["free_bytes"].is_null());
    assert!(!gateway.admin.get("/metrics").await.text().contains("backend_free_bytes"));
    gateway.finish().await;
}

#[tokio::test]
async fn a_start_on_a_bucket_that_cannot_be_used_is_refused_in_one_line() {
    let store = store().await;
    let nobody = { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    let nobody = format!("http://{nobody}");
    let mut cases = vec![("BUCKET", "no-such-bucket-anywhere", "no such bucket"), ("ENDPOINT", &*nobody, "connection")];
    if !store.is_moto() {
        cases.push(("SECRET_KEY", "a-secret-that-is-wrong", "the secret key does not go with the access key"));
        cases.push(("ACCESS_KEY", "UNKNOWNACCESSKEY", "the access key is not known there"));
    }
    for (name, value, words) in cases {
        let name = format!("ARTIFACTSTORE_STORAGE_S3_{name}");
        let settings = store.settings();
        let all: Vec<(&str, &str)> =
            settings.iter().map(|(known, kept)| (&**known, if *known == name { value } else { kept })).collect();
        let gateway = Harness::prepare_in(&std::env::temp_dir(), command::binary(), &all);
        let mut serve = gateway.command(&["serve"]);
        serve.env("ARTIFACTSTORE_LOG_LEVEL", "error");
        let refused = command::run(serve).await;
        refused.failed_with_one_line(words);
        assert!(!refused.stderr.contains(&store.s3.keys.secret_key) && !refused.stderr.contains("a-secret"));
    }
}
