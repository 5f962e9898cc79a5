//! Uploads that go wrong on the way: the error a client understands, no event, no name, nothing left after a sweep.

use artifactstore_tests::{Harness, Refused, Request};

use crate::body;

const SIZE: usize = 300_000;

/// Sends requests that must all be refused with that code, and checks that none left a trace.
async fn refused(code: &str, status: u16, build: impl Fn(Request, &[u8]) -> Request) {
    let mut gateway = Harness::start().await;
    gateway.producer("faults").await;
    let kept = gateway.put("faults/run-1/kept.bin", &body::bytes(1000, SIZE)).await.unwrap();
    let (events, objects) = (gateway.event_count().await, gateway.object_files());
    let bytes = body::bytes(1, SIZE);
    let request = gateway.s3.request("PUT", "faults/run-1/bad.bin").body(&bytes);
    expect(&build(request, &bytes).send().await.unwrap_err(), code, status);

    let part = "faults/run-1/parts.bin";
    let upload = gateway.s3.upload_create(part).await.unwrap();
    let request = gateway.s3.request("PUT", part).query("uploadId", &upload).query("partNumber", "1").body(&bytes);
    expect(&build(request, &bytes).send().await.unwrap_err(), code, status);
    let listed = gateway.s3.request("GET", part).query("uploadId", &upload).send().await.unwrap();
    assert!(listed.elements("PartNumber").is_empty(), "the part is not there");

    assert_eq!(gateway.event_count().await, events + 1, "nothing but the upload itself was recorded");
    assert_eq!(gateway.list("faults", "").await, ["run-1/kept.bin"]);
    assert_eq!(gateway.sweep().await, objects, "nothing is left, temporary files included");
    assert_eq!(gateway.get("faults/run-1/kept.bin").await.unwrap().etag(), kept.etag());
    gateway.finish().await;
}

fn expect(refused: &Refused, code: &str, status: u16) {
    assert_eq!((refused.status(), refused.code()), (status, code), "{}", refused.reply.text());
}

#[tokio::test]
async fn a_wrong_content_md5_is_a_bad_digest() {
    refused("BadDigest", 400, |r, _| r.header("content-md5", &body::md5_base64(b"other"))).await;
}

#[tokio::test]
async fn a_content_md5_that_is_none_is_an_invalid_digest() {
    refused("InvalidDigest", 400, |r, _| r.header("content-md5", "bm90IGFuIG1kNQ==")).await;
}

#[tokio::test]
async fn a_wrong_payload_sha256_is_refused() {
    let wrong = body::sha256_hex(b"other");
    refused("XAmzContentSHA256Mismatch", 400, |r, _| r.payload_declared(&wrong)).await;
}

#[tokio::test]
async fn a_wrong_crc32_in_a_header_is_a_bad_digest() {
    refused("BadDigest", 400, |r, _| r.header("x-amz-checksum-crc32", &body::checksum("crc32", b"other"))).await;
}

#[tokio::test]
async fn a_wrong_crc64_in_a_header_is_a_bad_digest() {
    refused("BadDigest", 400, |r, _| r.header("x-amz-checksum-crc64nvme", &body::checksum("crc64nvme", b"x"))).await;
}

#[tokio::test]
async fn a_wrong_sha256_in_a_header_is_a_bad_digest() {
    refused("BadDigest", 400, |r, _| r.header("x-amz-checksum-sha256", &body::checksum("sha256", b"other"))).await;
}

#[tokio::test]
async fn a_wrong_crc32_in_an_unsigned_trailer_is_a_bad_digest() {
    let wrong = body::checksum("crc32", b"other");
    refused("BadDigest", 400, |r, _| r.chunks_unsigned(65_536).trailer("x-amz-checksum-crc32", &wrong)).await;
}

#[tokio::test]
async fn a_wrong_crc32c_in_a_signed_trailer_is_a_bad_digest() {
    let wrong = body::checksum("crc32c", b"other");
    refused("BadDigest", 400, |r, _| r.chunks_signed(65_536).trailer("x-amz-checksum-crc32c", &wrong)).await;
}

#[tokio::test]
async fn a_declared_trailer_that_never_comes_is_refused() {
    refused("MalformedTrailerError", 400, |r, _| r.chunks_unsigned(65_536).trailer_missing("x-amz-checksum-crc32"))
        .await;
}

#[tokio::test]
async fn a_wrong_signature_is_refused() {
    refused("SignatureDoesNotMatch", 403, |r, _| r.spoil_signature()).await;
}

#[tokio::test]
async fn a_wrong_chunk_signature_is_refused() {
    refused("SignatureDoesNotMatch", 403, |r, _| r.chunks_signed(65_536).spoil_chunk(2)).await;
}

#[tokio::test]
async fn a_wrong_signature_of_the_last_empty_chunk_is_refused() {
    let last = SIZE.div_ceil(65_536);
    refused("SignatureDoesNotMatch", 403, |r, _| r.chunks_signed(65_536).spoil_chunk(last)).await;
}

#[tokio::test]
async fn chunks_that_end_before_the_declared_length_are_an_incomplete_body() {
    refused("IncompleteBody", 400, |r, _| r.chunks_signed(65_536).declare_decoded(SIZE + 1)).await;
}

#[tokio::test]
async fn chunks_that_go_beyond_the_declared_length_are_an_incomplete_body() {
    refused("IncompleteBody", 400, |r, _| r.chunks_signed(65_536).declare_decoded(SIZE - 1)).await;
}

#[tokio::test]
async fn a_body_that_is_cut_short_leaves_nothing_whichever_way_it_travels() {
    let mut gateway = Harness::start().await;
    gateway.producer("faults").await;
    let events = gateway.event_count().await;
    let bytes = body::bytes(1, 20 << 20);
    for sent in [0, 1, 100_000, 9 << 20, (20 << 20) - 1] {
        let request = gateway.s3.request("PUT", "faults/run-1/cut.bin").body(&bytes);
        let sum = body::checksum("crc32", &bytes);
        let ways = [
            request.clone(),
            request.clone().payload_declared("UNSIGNED-PAYLOAD"),
            request.clone().chunks_signed(1 << 20),
            request.chunks_unsigned(1 << 20).trailer("x-amz-checksum-crc32", &sum),
        ];
        for way in ways {
            // A client that is gone gets no answer; one that still listens is told that the body was incomplete.
            let refused = way.send_only(sent).send().await.unwrap_err();
            assert!(matches!(refused.code(), "IncompleteBody" | "ConnectionClosed"), "{}", refused.reply.text());
        }
    }
    assert_eq!(gateway.event_count().await, events);
    assert!(gateway.list("faults", "").await.is_empty());
    assert!(gateway.sweep().await.is_empty(), "nothing is left, temporary files included");
    gateway.finish().await;
}

#[tokio::test]
async fn a_refused_upload_does_not_spoil_the_next_with_the_same_bytes() {
    let gateway = Harness::start().await;
    gateway.producer("faults").await;
    let bytes = body::bytes(1, 9 << 20);
    let wrong = body::md5_base64(b"other");
    let request = gateway.s3.request("PUT", "faults/run-1/a.bin").body(&bytes);
    expect(&request.clone().header("content-md5", &wrong).send().await.unwrap_err(), "BadDigest", 400);
    request.send().await.unwrap();
    assert!(gateway.get("faults/run-1/a.bin").await.unwrap().body == bytes);
    gateway.finish().await;
}
