//! The edge: hosts, proxies, names of requests, and clients that stand still.

use std::time::{Duration, Instant};

use artifactstore_tests::Harness;
use artifactstore_tests::wire::Connection;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_bucket_may_be_a_host() {
    let gateway = Harness::start_with(&[("ARTIFACTSTORE_S3_DOMAIN", "s3.test")]).await;
    let host = format!("hosted.s3.test:{}", gateway.s3.address.port());
    gateway.s3.request("PUT", "").host(&host).send().await.unwrap();
    gateway.s3.request("PUT", "run-1/a b").host(&host).body(b"hosted").send().await.unwrap();
    assert_eq!(gateway.get("hosted/run-1/a b").await.unwrap().body, b"hosted");
    assert_eq!(gateway.s3.request("GET", "run-1/a b").host(&host).send().await.unwrap().body, b"hosted");
    let link = gateway.s3.request("GET", "run-1/a b").host(&host).presigned(60);
    assert_eq!(link.send().await.unwrap().body, b"hosted");
    let listed = gateway.s3.request("GET", "").host(&host).query("list-type", "2").send().await.unwrap();
    assert_eq!(listed.elements("Key"), ["run-1/a b"]);
    // Path style goes on beside it, by the domain and by any other name.
    let other = gateway.s3.request("GET", "hosted/run-1/a b").host("s3.test").send().await.unwrap();
    assert_eq!(other.body, b"hosted");
    gateway.finish().await;
}

#[tokio::test]
async fn a_proxy_is_believed_only_when_it_is_configured() {
    for (proxies, believed) in [("10.0.0.0/8", false), ("10.0.0.0/8, 127.0.0.0/8", true)] {
        let gateway = Harness::start_with(&[("ARTIFACTSTORE_TRUSTED_PROXIES", proxies)]).await;
        gateway.producer("proxied").await;
        let through = |method: &str, name: &str| {
            let request = gateway.s3.request(method, name).host_signed("public.example");
            request.header_unsigned("x-forwarded-host", "public.example").header_unsigned("x-forwarded-proto", "https")
        };
        let put = through("PUT", "proxied/run-1/a").header_unsigned("x-forwarded-for", "203.0.113.9").body(b"a");
        match put.send().await {
            Ok(_) => assert!(believed),
            Err(refused) => assert!(!believed && refused.code() == "SignatureDoesNotMatch", "{}", refused.code()),
        }
        assert_eq!(gateway.log_tail().contains("client=203.0.113.9"), believed);
        if believed {
            let upload = gateway.s3.upload_create("proxied/run-1/b").await.unwrap();
            let etag = gateway.s3.upload_part("proxied/run-1/b", &upload, 1, b"b").await.unwrap();
            let body = artifactstore_tests::request::complete_body(&[(1, etag)]);
            let done = through("POST", "proxied/run-1/b").query("uploadId", &upload).body(body.as_bytes());
            let location = done.send().await.unwrap().element("Location");
            assert_eq!(location.as_deref(), Some("https://public.example/proxied/run-1/b"));
        }
        gateway.finish().await;
    }
}

#[tokio::test]
async fn every_answer_and_its_log_line_name_the_request_and_the_gateway() {
    let gateway = Harness::start().await;
    let good = gateway.put("named/run-1/a", b"a").await.unwrap();
    let bad = gateway.get("named/run-1/none").await.unwrap_err().reply;
    let host = good.header_or_empty("x-amz-id-2").to_owned();
    assert_eq!(host.len(), 32);
    for reply in [&good, &bad] {
        let request = reply.header_or_empty("x-amz-request-id");
        assert_eq!((request.len(), reply.header_or_empty("x-amz-id-2")), (32, host.as_str()));
        let line = format!("request_id={request} host_id={host} client=127.0.0.1");
        assert!(gateway.log_tail().contains(&line), "no {line} in:\n{}", gateway.log_tail());
    }
    assert_eq!(bad.element("RequestId").as_deref(), bad.header("x-amz-request-id"));
    assert_eq!(bad.element("HostId"), Some(host));
    gateway.finish().await;
}

#[tokio::test]
async fn who_stands_still_is_cut_and_who_is_slow_is_not() {
    let gateway = Harness::start_with(&[
        ("ARTIFACTSTORE_BODY_IDLE_TIMEOUT_SECONDS", "2"),
        ("ARTIFACTSTORE_HEADER_TIMEOUT_SECONDS", "2"),
    ])
    .await;
    gateway.put("still/run-1/large", &vec![7; 48 << 20]).await.unwrap();
    let begun = Instant::now();

    // A head that never ends.
    let mut connection = TcpStream::connect(gateway.s3.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut connection, b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    let mut rest = Vec::new();
    let _ = connection.read_to_end(&mut rest).await;

    // A body that stops.
    let half = gateway.s3.request("PUT", "still/run-1/half").body(&[1; 100_000]);
    let target = half.clone().presigned(60).target();
    let mut sending = Connection::open(gateway.s3.address).await.unwrap();
    let head = format!("PUT {target} HTTP/1.1\r\nhost: {}\r\ncontent-length: 100000\r\n\r\n", gateway.s3.address);
    sending.write(head.as_bytes()).await.unwrap();
    sending.write(&[1; 50_000]).await.unwrap();
    let refused = sending.reply("PUT").await.unwrap();
    assert_eq!((refused.status, refused.element("Code").as_deref()), (400, Some("RequestTimeout")));

    // A reader that stops, and one that reads a little at a time for longer than the timeout.
    let target = gateway.s3.request("GET", "still/run-1/large").presigned(60).target();
    let head = format!("GET {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", gateway.s3.address);
    let mut stopped = TcpStream::connect(gateway.s3.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stopped, head.as_bytes()).await.unwrap();
    let mut slow = TcpStream::connect(gateway.s3.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut slow, head.as_bytes()).await.unwrap();
    let mut piece = vec![0; 12 << 20];
    let mut taken = 0;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        slow.read_exact(&mut piece).await.unwrap();
        taken += piece.len();
    }
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.unwrap();
    assert!(taken + rest.len() > 48 << 20, "a slow reader gets everything");
    let mut rest = Vec::new();
    let _ = stopped.read_to_end(&mut rest).await;
    assert!(rest.len() < 48 << 20, "{} bytes came to a reader that had stopped", rest.len());
    assert!(begun.elapsed() < Duration::from_secs(50));
    gateway.finish().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_by_name() {
    let gateway = Harness::start().await;
    gateway.producer("heads").await;
    let put = gateway.s3.request("PUT", "heads/run-1/a").header("x-amz-meta-note", &"n".repeat(40 << 10)).body(b"a");
    let refused = put.send().await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (400, "RequestHeaderSectionTooLarge"));
    gateway.finish().await;
}
