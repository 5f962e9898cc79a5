//! Multipart uploads: parts of any size in any order make the right whole, and outlive a restart.

use std::process::Stdio;
use std::time::{Duration, Instant};

use artifactstore_tests::request::complete_body;
use artifactstore_tests::{Harness, S3, clients};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::body;

const NAME: &str = "parts/run/whole.bin";

/// Uploads the pieces in the given order of their indices and gives the parts in ascending order.
async fn upload(s3: &S3, upload: &str, pieces: &[Vec<u8>], order: &[usize]) -> Vec<(u32, String)> {
    let mut parts = Vec::new();
    for &index in order {
        let number = u32::try_from(index + 1).unwrap();
        parts.push((number, s3.upload_part(NAME, upload, number, &pieces[index]).await.unwrap()));
    }
    parts.sort();
    parts
}

fn pieces(sizes: &[usize]) -> Vec<Vec<u8>> {
    (0..).zip(sizes).map(|(seed, size)| body::bytes(seed, *size)).collect()
}

async fn expect_whole(gateway: &Harness, pieces: &[Vec<u8>]) {
    let whole = pieces.concat();
    let found = gateway.get(NAME).await.unwrap();
    assert!(found.body == whole, "other bytes");
    assert_eq!(found.etag(), body::multipart_etag(pieces));
    assert_eq!(found.header_or_empty("x-artifact-content-address"), body::address(&whole));
    assert_eq!(found.header_or_empty("x-artifact-sha256"), body::sha256_hex(&whole));
}

#[tokio::test]
async fn parts_of_any_size_in_any_order_make_the_right_whole() {
    const MIB: usize = 1 << 20;
    let gateway = Harness::start().await;
    gateway.producer("parts").await;
    let sizes = [5 * MIB, 5 * MIB + 1, 9 * MIB + 77, 5 * MIB + 4097, 123];
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]] {
        let pieces = pieces(&sizes);
        let id = gateway.s3.upload_create(NAME).await.unwrap();
        let parts = upload(&gateway.s3, &id, &pieces, &order).await;
        let done = gateway.s3.upload_complete(NAME, &id, &parts).await.unwrap();
        assert_eq!(done.element("ETag").unwrap().trim_matches('"'), body::multipart_etag(&pieces));
        expect_whole(&gateway, &pieces).await;
    }
    gateway.finish().await;
}

#[tokio::test]
async fn parts_that_come_side_by_side_make_the_right_whole_and_completing_copies_no_byte() {
    let gateway = Harness::start().await;
    gateway.producer("parts").await;
    let pieces = pieces(&[6 << 20; 8]);
    let id = gateway.s3.upload_create(NAME).await.unwrap();
    let mut tasks = JoinSet::new();
    for (number, piece) in (1_u32..).zip(pieces.clone()) {
        let (s3, id) = (gateway.s3.clone(), id.clone());
        tasks.spawn(async move { (number, s3.upload_part(NAME, &id, number, &piece).await.unwrap()) });
    }
    let mut parts = tasks.join_all().await;
    parts.sort();
    let objects = gateway.object_files();
    gateway.s3.upload_complete(NAME, &id, &parts).await.unwrap();
    assert_eq!(gateway.object_files(), objects);
    expect_whole(&gateway, &pieces).await;
    gateway.finish().await;
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart_and_after_a_kill() {
    let mut gateway = Harness::start().await;
    gateway.producer("parts").await;
    let pieces = pieces(&[5 << 20, 7 << 20, 5 << 20, 1000]);
    let id = gateway.s3.upload_create(NAME).await.unwrap();
    let mut parts = upload(&gateway.s3, &id, &pieces, &[0]).await;
    gateway.restart().await;
    parts.extend(upload(&gateway.s3, &id, &pieces, &[2]).await);
    gateway.kill().await;
    gateway.resume().await;
    parts.extend(upload(&gateway.s3, &id, &pieces, &[1, 3]).await);
    parts.sort();
    gateway.s3.upload_complete(NAME, &id, &parts).await.unwrap();
    expect_whole(&gateway, &pieces).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_part_uploaded_again_takes_the_place_of_the_first() {
    let gateway = Harness::start().await;
    gateway.producer("parts").await;
    let pieces = pieces(&[5 << 20, 6 << 20]);
    let id = gateway.s3.upload_create(NAME).await.unwrap();
    let stale = gateway.s3.upload_part(NAME, &id, 1, &body::bytes(99, 5 << 20)).await.unwrap();
    let parts = upload(&gateway.s3, &id, &pieces, &[1, 0]).await;
    let old = vec![(1, stale), parts[1].clone()];
    assert_eq!(gateway.s3.upload_complete(NAME, &id, &old).await.unwrap_err().code(), "InvalidPart");
    gateway.s3.upload_complete(NAME, &id, &parts).await.unwrap();
    expect_whole(&gateway, &pieces).await;
    gateway.finish().await;
}

#[tokio::test]
async fn completing_twice_answers_the_same_and_records_once() {
    let gateway = Harness::start().await;
    gateway.producer("parts").await;
    let pieces = pieces(&[5 << 20, 10]);
    let id = gateway.s3.upload_create(NAME).await.unwrap();
    let parts = upload(&gateway.s3, &id, &pieces, &[0, 1]).await;
    let first = gateway.s3.upload_complete(NAME, &id, &parts).await.unwrap();
    let events = gateway.event_count().await;
    let second = gateway.s3.upload_complete(NAME, &id, &parts).await.unwrap();
    assert_eq!(second.element("ETag"), first.element("ETag"));
    assert_eq!(gateway.event_count().await, events);
    gateway.finish().await;
}

#[tokio::test]
async fn wrong_completions_are_refused_and_leave_the_upload_as_it_was() {
    let gateway = Harness::start().await;
    gateway.producer("parts").await;
    let pieces = pieces(&[5 << 20, 100, 100]);
    let id = gateway.s3.upload_create(NAME).await.unwrap();
    let parts = upload(&gateway.s3, &id, &pieces, &[0, 1, 2]).await;
    let events = gateway.event_count().await;
    let code = async |parts: &[(u32, String)]| {
        let refused = gateway.s3.upload_complete(NAME, &id, parts).await.unwrap_err();
        refused.code().to_owned()
    };
    assert_eq!(code(&parts).await, "EntityTooSmall", "only the last part may be small");
    assert_eq!(code(&[parts[1].clone(), parts[0].clone()]).await, "InvalidPartOrder");
    assert_eq!(code(&[parts[0].clone(), (7, parts[1].1.clone())]).await, "InvalidPart");
    assert_eq!(code(&[(1, "0".repeat(32))]).await, "InvalidPart");
    assert_eq!(code(&[]).await, "MalformedXML");
    assert_eq!(gateway.event_count().await, events);
    assert_eq!(gateway.get(NAME).await.unwrap_err().code(), "NoSuchKey");
    gateway.s3.upload_complete(NAME, &id, &parts[..2]).await.unwrap();
    expect_whole(&gateway, &pieces[..2]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn an_aborted_upload_is_gone_and_takes_nothing_with_it() {
    let mut gateway = Harness::start().await;
    gateway.put("parts/run/kept.bin", &body::bytes(50, 5000)).await.unwrap();
    let kept = gateway.object_files();
    let id = gateway.s3.upload_create(NAME).await.unwrap();
    let parts = upload(&gateway.s3, &id, &pieces(&[5 << 20, 5 << 20]), &[0, 1]).await;
    let abort = gateway.s3.request("DELETE", NAME).query("uploadId", &id).send().await.unwrap();
    assert_eq!(abort.status, 204);
    assert_eq!(gateway.s3.upload_complete(NAME, &id, &parts).await.unwrap_err().code(), "NoSuchUpload");
    assert_eq!(gateway.s3.upload_part(NAME, &id, 3, b"x").await.unwrap_err().code(), "NoSuchUpload");
    assert_eq!(gateway.get(NAME).await.unwrap_err().code(), "NoSuchKey");
    let left = gateway.sweep().await;
    assert!(kept.iter().all(|object| left.contains(object)), "what has a name stays");
    gateway.finish().await;
}

#[tokio::test]
async fn open_uploads_and_their_parts_are_listed_page_by_page() {
    let gateway = Harness::start().await;
    gateway.producer("parts").await;
    let mut ids = Vec::new();
    for name in ["parts/run/a", "parts/run/b", "parts/run/b", "parts/other/c"] {
        ids.push(gateway.s3.upload_create(name).await.unwrap());
    }
    for number in [3, 1, 20] {
        gateway.s3.upload_part("parts/run/a", &ids[0], number, &body::bytes(u64::from(number), 500)).await.unwrap();
    }
    let list = gateway.s3.request("GET", "parts/run/a").query("uploadId", &ids[0]);
    let all = list.clone().send().await.unwrap();
    assert_eq!(all.elements("PartNumber"), ["1", "3", "20"]);
    assert_eq!(all.elements("Size"), ["500", "500", "500"]);
    let first = list.clone().query("max-parts", "2").send().await.unwrap();
    assert_eq!(first.element("IsTruncated").as_deref(), Some("true"));
    let marker = first.element("NextPartNumberMarker").unwrap();
    assert_eq!(list.query("part-number-marker", &marker).send().await.unwrap().elements("PartNumber"), ["20"]);

    let uploads = gateway.s3.request("GET", "parts").query("uploads", "");
    assert_eq!(uploads.clone().send().await.unwrap().elements("Key"), ["other/c", "run/a", "run/b", "run/b"]);
    let page = uploads.clone().query("prefix", "run/").query("max-uploads", "2").send().await.unwrap();
    assert_eq!(page.elements("Key"), ["run/a", "run/b"]);
    let rest = uploads.query("prefix", "run/").query("key-marker", &page.element("NextKeyMarker").unwrap());
    let rest = rest.query("upload-id-marker", &page.element("NextUploadIdMarker").unwrap()).send().await.unwrap();
    assert_eq!(rest.elements("Key"), ["run/b"]);
    assert_eq!(rest.elements("UploadId"), [ids[2].clone()]);
    gateway.finish().await;
}

#[tokio::test]
async fn a_whole_that_is_stored_already_refers_to_what_is_there() {
    let gateway = Harness::start().await;
    let pieces = pieces(&[8 << 20, 8 << 20, 5000]);
    let plain = gateway.put("parts/run/plain.bin", &pieces.concat()).await.unwrap();
    let objects = gateway.object_files();
    let id = gateway.s3.upload_create(NAME).await.unwrap();
    let parts = upload(&gateway.s3, &id, &pieces, &[0, 1, 2]).await;
    gateway.s3.upload_complete(NAME, &id, &parts).await.unwrap();
    expect_whole(&gateway, &pieces).await;
    assert_eq!(gateway.object_files(), objects, "the parts fall on the chunks that are there");
    let whole = gateway.s3.head(NAME).await.unwrap();
    assert_eq!(whole.header("x-artifact-content-address"), plain.header("x-artifact-content-address"));
    gateway.finish().await;
}

#[tokio::test]
async fn the_checksum_of_the_whole_is_the_one_that_the_upload_was_created_for() {
    let gateway = Harness::start().await;
    gateway.producer("parts").await;
    let pieces = pieces(&[5 << 20, 1000]);
    let create = gateway.s3.request("POST", NAME).query("uploads", "").header("x-amz-checksum-algorithm", "SHA256");
    let id = create.send().await.unwrap().element("UploadId").unwrap();
    let mut parts = Vec::new();
    for (number, piece) in (1_u32..).zip(&pieces) {
        let part = gateway.s3.request("PUT", NAME).query("partNumber", &number.to_string()).query("uploadId", &id);
        let part = part.body(piece);
        // What the part declares is compared, whatever the whole is made of.
        let wrong = part.clone().header("x-amz-checksum-crc32", &body::checksum("crc32", b"other"));
        assert_eq!(wrong.send().await.unwrap_err().code(), "BadDigest");
        let sent = part.header("x-amz-checksum-crc32", &body::checksum("crc32", piece)).send().await.unwrap();
        assert_eq!(sent.header_or_empty("x-amz-checksum-sha256"), body::checksum("sha256", piece));
        parts.push((number, sent.etag()));
    }
    let of_parts: Vec<u8> = pieces.iter().flat_map(|piece| hex::decode(body::sha256_hex(piece)).unwrap()).collect();
    let whole = body::checksum("sha256", &of_parts);
    let document = artifactstore_tests::request::complete_body(&parts);
    let complete = gateway.s3.request("POST", NAME).query("uploadId", &id).body(document.as_bytes());
    let events = gateway.event_count().await;
    for (name, value, code) in [
        ("x-amz-checksum-sha256", format!("{whole}-7"), "BadDigest"),
        ("x-amz-checksum-sha256", format!("{}-2", body::checksum("sha256", b"other")), "BadDigest"),
        ("x-amz-checksum-type", "FULL_OBJECT".to_owned(), "InvalidRequest"),
    ] {
        let refused = complete.clone().header(name, &value).send().await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (400, code), "{name}: {value}");
    }
    assert_eq!(gateway.event_count().await, events);
    let whole = format!("{whole}-2");
    let complete = complete.header("x-amz-checksum-sha256", &whole).header("x-amz-checksum-type", "COMPOSITE");
    assert_eq!(complete.send().await.unwrap().element("ChecksumSHA256").as_ref(), Some(&whole));
    let head = gateway.s3.request("HEAD", NAME).header("x-amz-checksum-mode", "ENABLED").send().await.unwrap();
    assert_eq!(head.header_or_empty("x-amz-checksum-sha256"), whole);
    gateway.finish().await;
}

/// Another process that writes to the database for so many seconds: no commit goes by it.
async fn writer_beside(gateway: &Harness, seconds: u64) -> Child {
    let write = "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None); \
        c.execute('BEGIN IMMEDIATE'); print('begun', flush=True); time.sleep(int(sys.argv[2])); c.execute('ROLLBACK')";
    let mut python = Command::new(clients::program("python"));
    python.args(["-c", write]).arg(gateway.data().join("registry.db")).arg(seconds.to_string());
    let mut python = python.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(python.stdout.take().unwrap()).read_line(&mut told).await.unwrap();
    assert_eq!(told, "begun\n");
    python
}

#[tokio::test]
async fn a_completion_that_takes_long_is_answered_in_time_and_tells_its_end_in_the_document() {
    // Longer than a completion is waited for before its answer begins, and less than a commit waits for others.
    const HELD: u64 = 26;
    let gateway = Harness::start().await;
    gateway.producer("parts").await;
    let pieces = pieces(&[5 << 20, 7]);
    let mut completions = Vec::new();
    for _ in 0..2 {
        let id = gateway.s3.upload_create(NAME).await.unwrap();
        let parts = upload(&gateway.s3, &id, &pieces, &[0, 1]).await;
        let request = gateway.s3.request("POST", NAME).query("uploadId", &id).header("if-none-match", "*");
        completions.push(request.body(complete_body(&parts).as_bytes()));
    }
    let mut beside = writer_beside(&gateway, HELD).await;
    let begun = Instant::now();
    let outcomes = futures::future::join_all(completions.into_iter().map(|completion| completion.send())).await;
    assert!(begun.elapsed() >= Duration::from_secs(HELD - 1), "they waited");
    assert!(beside.wait().await.unwrap().success());
    let (done, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let done = done.into_iter().map(Result::unwrap).next().expect("the first of them is there now");
    let refused = refused.into_iter().map(Result::unwrap_err).next().expect("the other found it there");
    assert_eq!(done.element("ETag").unwrap().trim_matches('"'), body::multipart_etag(&pieces));
    assert_eq!((refused.status(), refused.code()), (200, "PreconditionFailed"));
    for reply in [&done, &refused.reply] {
        let document = String::from_utf8_lossy(&reply.body).into_owned();
        let spaces = document.split("?>").nth(1).unwrap().chars().take_while(char::is_ascii_whitespace).count();
        assert!(spaces > 1, "nothing kept the connection alive: {document:?}");
    }
    expect_whole(&gateway, &pieces).await;
    gateway.finish().await;
}
