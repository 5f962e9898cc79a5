//! Reading: ranges, parts and conditions, as S3 defines them.

use artifactstore_tests::Harness;

use crate::body;

#[tokio::test]
async fn a_range_is_exactly_the_bytes_asked_for_across_chunk_borders() {
    let gateway = Harness::start().await;
    let size = (16 << 20) + 777;
    let bytes = body::bytes(1, size);
    gateway.put("ranges/run/a.bin", &bytes).await.unwrap();
    let border = 8 << 20;
    let cases = [
        ("bytes=0-0".to_owned(), 0, 1),
        (format!("bytes={}-{}", border - 1, border), border - 1, border + 1),
        (format!("bytes={}-{}", border - 5, 2 * border + 5), border - 5, 2 * border + 6),
        (format!("bytes={}-", size - 3), size - 3, size),
        ("bytes=-10".to_owned(), size - 10, size),
        (format!("bytes=5-{}", size * 2), 5, size),
        (format!("bytes=-{}", size * 2), 0, size),
    ];
    for (range, from, to) in cases {
        let reply = gateway.s3.request("GET", "ranges/run/a.bin").header("range", &range).send().await.unwrap();
        assert_eq!(reply.status, 206, "{range}");
        assert_eq!(reply.header_or_empty("content-range"), format!("bytes {from}-{}/{size}", to - 1), "{range}");
        assert!(reply.body == bytes[from..to], "{range}: other bytes");
    }
    let beyond = format!("bytes={size}-");
    let refused = gateway.s3.request("GET", "ranges/run/a.bin").header("range", &beyond).send().await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (416, "InvalidRange"));
    gateway.finish().await;
}

#[tokio::test]
async fn a_read_keeps_its_conditions() {
    let gateway = Harness::start().await;
    let stored = gateway.put("reads/run/a.txt", b"text").await.unwrap();
    let etag = format!("\"{}\"", stored.etag());
    let read = |name: &str, value: &str| gateway.s3.request("GET", "reads/run/a.txt").header(name, value).send();
    assert_eq!(read("if-none-match", &etag).await.unwrap().status, 304);
    assert_eq!(read("if-none-match", "\"other\"").await.unwrap().status, 200);
    assert_eq!(read("if-match", &etag).await.unwrap().body, b"text");
    let changed = read("if-match", "\"other\"").await.unwrap_err();
    assert_eq!((changed.status(), changed.code()), (412, "PreconditionFailed"));
    let modified = gateway.get("reads/run/a.txt").await.unwrap().header_or_empty("last-modified").to_owned();
    assert_eq!(read("if-modified-since", &modified).await.unwrap().status, 304);
    assert_eq!(read("if-unmodified-since", &modified).await.unwrap().status, 200);
    let long_ago = "Sat, 01 Jan 2000 00:00:00 GMT";
    assert_eq!(read("if-unmodified-since", long_ago).await.unwrap_err().status(), 412);
    assert_eq!(read("if-modified-since", long_ago).await.unwrap().status, 200);
    gateway.finish().await;
}

#[tokio::test]
async fn what_needs_no_bytes_asks_for_none() {
    let gateway = Harness::start().await;
    let stored = gateway.put("reads/run/a.bin", &body::bytes(1, 3 << 20)).await.unwrap();
    let etag = format!("\"{}\"", stored.etag());
    gateway.object_files().iter().for_each(|object| std::fs::remove_file(object).unwrap());
    let head = gateway.s3.head("reads/run/a.bin").await.unwrap();
    assert_eq!((head.status, head.header_or_empty("content-length")), (200, "3145728"));
    let read = |name: &str, value: &str| gateway.s3.request("GET", "reads/run/a.bin").header(name, value).send();
    assert_eq!(read("if-none-match", &etag).await.unwrap().status, 304);
    assert_eq!(read("if-match", "\"other\"").await.unwrap_err().status(), 412);
    assert_eq!(read("range", "bytes=3145728-").await.unwrap_err().status(), 416);
    assert!(read("range", "bytes=0-0").await.unwrap_err().status() >= 500, "the bytes are gone");
    gateway.s3.delete("reads/run/a.bin").await.unwrap();
}

#[tokio::test]
async fn a_part_can_be_read_by_its_number() {
    let gateway = Harness::start().await;
    gateway.producer("parts").await;
    let pieces = [body::bytes(1, 5 << 20), body::bytes(2, 6 << 20), body::bytes(3, 99)];
    let upload = gateway.s3.upload_create("parts/run/a.bin").await.unwrap();
    let mut parts = Vec::new();
    for (number, piece) in (1..).zip(&pieces) {
        parts.push((number, gateway.s3.upload_part("parts/run/a.bin", &upload, number, piece).await.unwrap()));
    }
    gateway.s3.upload_complete("parts/run/a.bin", &upload, &parts).await.unwrap();
    for (number, piece) in (1..).zip(&pieces) {
        let request = gateway.s3.request("GET", "parts/run/a.bin").query("partNumber", &i32::to_string(&number));
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status, 206);
        assert_eq!(reply.header_or_empty("x-amz-mp-parts-count"), "3");
        assert!(reply.body == *piece, "part {number}");
    }
    let fourth = gateway.s3.request("GET", "parts/run/a.bin").query("partNumber", "4").send().await.unwrap_err();
    assert_eq!((fourth.status(), fourth.code()), (416, "InvalidPartNumber"));
    gateway.finish().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_code_that_clients_parse() {
    let gateway = Harness::start().await;
    gateway.producer("there").await;
    let code = async |method: &str, name: &str| {
        let refused = gateway.s3.request(method, name).send().await.unwrap_err();
        (refused.status(), refused.code().to_owned())
    };
    assert_eq!(code("GET", "there/run/none").await, (404, "NoSuchKey".to_owned()));
    assert_eq!(code("HEAD", "there/run/none").await.0, 404);
    assert_eq!(code("GET", "nowhere/run/none").await, (404, "NoSuchBucket".to_owned()));
    assert_eq!(code("HEAD", "nowhere").await.0, 404);
    assert_eq!(code("DELETE", "nowhere").await, (404, "NoSuchBucket".to_owned()));
    let upload =
        gateway.s3.request("GET", "there/run/none").query("uploadId", "0123456789abcdef").send().await.unwrap_err();
    assert_eq!((upload.status(), upload.code()), (404, "NoSuchUpload"));
    gateway.finish().await;
}
