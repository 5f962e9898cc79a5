//! A copy moves no byte, and a copy onto itself changes only what is said about the file.

use artifactstore_tests::Harness;

use crate::body;

#[tokio::test]
async fn a_copy_moves_no_byte_and_carries_what_the_source_carried() {
    let gateway = Harness::start().await;
    gateway.producer("source").await;
    gateway.producer("target").await;
    let bytes = body::bytes(1, 9 << 20);
    let request = gateway.s3.request("PUT", "source/run/a b+c.bin").header("x-amz-meta-commit", "0123abc");
    request.header("content-type", "text/x-log").body(&bytes).send().await.unwrap();
    let objects = gateway.object_files();
    let copy =
        gateway.s3.request("PUT", "target/run/copy.bin").header("x-amz-copy-source", "/source/run/a%20b%2Bc.bin");
    let copied = copy.send().await.unwrap();
    assert_eq!(copied.element("ETag").unwrap().trim_matches('"'), body::md5_hex(&bytes));
    assert_eq!(gateway.object_files(), objects, "nothing new was written");
    let found = gateway.get("target/run/copy.bin").await.unwrap();
    assert!(found.body == bytes);
    assert_eq!(found.header("x-amz-meta-commit"), Some("0123abc"));
    assert_eq!(found.header("content-type"), Some("text/x-log"));
    gateway.finish().await;
}

#[tokio::test]
async fn a_replacing_copy_onto_itself_is_a_metadata_event_and_nothing_else() {
    let gateway = Harness::start().await;
    let bytes = body::bytes(2, 100_000);
    gateway.put("touch/run/a.bin", &bytes).await.unwrap();
    let (objects, events) = (gateway.object_files(), gateway.event_count().await);
    let touch = gateway.s3.request("PUT", "touch/run/a.bin").header("x-amz-copy-source", "touch/run/a.bin");
    let touch = touch.header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-mtime", "1700000001.5");
    touch.send().await.unwrap();
    assert_eq!(gateway.kinds_since(events).await, ["v1.file.described"]);
    assert_eq!(gateway.object_files(), objects);
    let found = gateway.get("touch/run/a.bin").await.unwrap();
    assert!(found.body == bytes);
    assert_eq!(found.header("x-amz-meta-mtime"), Some("1700000001.5"));
    gateway.finish().await;
}

#[tokio::test]
async fn a_copy_onto_itself_that_changes_nothing_is_refused() {
    let gateway = Harness::start().await;
    gateway.put("same/run/a.bin", b"bytes").await.unwrap();
    let events = gateway.event_count().await;
    let copy = gateway.s3.request("PUT", "same/run/a.bin").header("x-amz-copy-source", "same/run/a.bin");
    let refused = copy.send().await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (400, "InvalidRequest"));
    assert_eq!(gateway.event_count().await, events);
    gateway.finish().await;
}

#[tokio::test]
async fn a_copy_keeps_the_conditions_on_its_source() {
    let gateway = Harness::start().await;
    let stored = gateway.put("conditions/run/a.bin", b"bytes").await.unwrap();
    let copy = |name: &str, value: &str| {
        let request = gateway.s3.request("PUT", "conditions/run/b.bin");
        request.header("x-amz-copy-source", "conditions/run/a.bin").header(name, value).send()
    };
    let refused = copy("x-amz-copy-source-if-match", "\"other\"").await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (412, "PreconditionFailed"));
    copy("x-amz-copy-source-if-match", &format!("\"{}\"", stored.etag())).await.unwrap();
    let missing = gateway.s3.request("PUT", "conditions/run/c.bin").header("x-amz-copy-source", "conditions/run/none");
    assert_eq!(missing.send().await.unwrap_err().code(), "NoSuchKey");
    gateway.finish().await;
}

#[tokio::test]
async fn parts_can_be_copied_from_ranges_of_files() {
    let gateway = Harness::start().await;
    let bytes = body::bytes(3, 12 << 20);
    gateway.put("ranges/run/a.bin", &bytes).await.unwrap();
    let upload = gateway.s3.upload_create("ranges/run/b.bin").await.unwrap();
    let middle = 6 << 20;
    let mut parts = Vec::new();
    for (number, (from, to)) in (1..).zip([(0, middle), (middle, bytes.len())]) {
        let request = gateway.s3.request("PUT", "ranges/run/b.bin").query("uploadId", &upload);
        let request =
            request.query("partNumber", &i32::to_string(&number)).header("x-amz-copy-source", "ranges/run/a.bin");
        let range = format!("bytes={from}-{}", to - 1);
        let reply = request.header("x-amz-copy-source-range", &range).send().await.unwrap();
        parts.push((u32::try_from(number).unwrap(), reply.element("ETag").unwrap().trim_matches('"').to_owned()));
    }
    let done = gateway.s3.upload_complete("ranges/run/b.bin", &upload, &parts).await.unwrap();
    let pieces = [bytes[..middle].to_vec(), bytes[middle..].to_vec()];
    assert_eq!(done.element("ETag").unwrap().trim_matches('"'), body::multipart_etag(&pieces));
    let found = gateway.get("ranges/run/b.bin").await.unwrap();
    assert!(found.body == bytes);
    assert_eq!(found.header_or_empty("x-artifact-content-address"), body::address(&bytes));
    gateway.finish().await;
}
