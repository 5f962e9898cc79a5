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
async fn a_signed_chunk_that_would_have_to_be_held_is_not_taken_and_an_unsigned_one_of_any_size_is() {
    let gateway = Harness::start().await;
    gateway.producer("faults").await;
    let most = 1 << 20;
    let bytes = body::bytes(1, 3 * most + 1);
    let put = |name: &str| gateway.s3.request("PUT", &format!("faults/run-1/{name}")).body(&bytes);
    expect(&put("beyond.bin").chunks_signed(most + 1).send().await.unwrap_err(), "InvalidRequest", 400);
    put("signed.bin").chunks_signed(most).send().await.unwrap();
    let sum = body::checksum("crc32", &bytes);
    put("unsigned.bin").chunks_unsigned(bytes.len()).trailer("x-amz-checksum-crc32", &sum).send().await.unwrap();
    for name in ["signed.bin", "unsigned.bin"] {
        assert!(gateway.get(&format!("faults/run-1/{name}")).await.unwrap().body == bytes, "{name}");
    }
    assert_eq!(gateway.list("faults", "").await, ["run-1/signed.bin", "run-1/unsigned.bin"]);
    gateway.finish().await;
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

#[tokio::test]
async fn a_document_that_is_not_what_was_declared_of_it_does_nothing() {
    let gateway = Harness::start().await;
    gateway.s3.request("PUT", "papers").header("x-amz-bucket-object-lock-enabled", "true").send().await.unwrap();
    gateway.s3.put("papers/run-1/a", b"a").await.unwrap();
    let whole = "papers/run-1/parts";
    let upload = gateway.s3.upload_create(whole).await.unwrap();
    let part = gateway.s3.upload_part(whole, &upload, 1, b"part").await.unwrap();
    let complete = artifactstore_tests::request::complete_body(&[(1, part)]);
    let ask = |method: &str, name: &str, query: &str, document: &str| {
        gateway.s3.request(method, name).query(query, "").body(document.as_bytes())
    };
    let documents = [
        ask(
            "PUT",
            "papers/run-1/a",
            "retention",
            "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>",
        ),
        ask(
            "PUT",
            "papers",
            "policy",
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"other"},
            "Action":"s3:GetObject","Resource":"arn:aws:s3:::papers/*"}]}"#,
        ),
        ask(
            "PUT",
            "papers",
            "lifecycle",
            "<LifecycleConfiguration><Rule><ID>a</ID><Filter><Prefix>x/</Prefix></Filter><Status>Enabled</Status>\
             <Expiration><Days>3000</Days></Expiration></Rule></LifecycleConfiguration>",
        ),
        ask(
            "PUT",
            "papers",
            "object-lock",
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
        ),
        ask("POST", "papers", "delete", "<Delete><Object><Key>run-1/a</Key></Object></Delete>"),
        gateway.s3.request("POST", whole).query("uploadId", &upload).body(complete.as_bytes()),
        // One that may be left out is declared, too.
        gateway.s3.request("PUT", "fresh"),
    ];
    for (number, request) in documents.into_iter().enumerate() {
        let events = gateway.event_count().await;
        for way in [request.clone(), request.clone().payload_declared("UNSIGNED-PAYLOAD")] {
            let wrong = way.clone().header("content-md5", &body::md5_base64(b"other"));
            expect(&wrong.send().await.unwrap_err(), "BadDigest", 400);
            let none = way.clone().header("content-md5", "bm90IGFuIG1kNQ==");
            expect(&none.send().await.unwrap_err(), "InvalidDigest", 400);
            // Of a completion it is the checksum of the whole, and there is none.
            let wrong = way.header("x-amz-checksum-crc32", &body::checksum("crc32", b"other"));
            expect(&wrong.send().await.unwrap_err(), "BadDigest", 400);
        }
        assert_eq!(gateway.event_count().await, events, "document {number}");
        request.send().await.unwrap();
    }
    assert_eq!(gateway.list("papers", "").await, ["run-1/parts"]);
    let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    let request = ask("PUT", "papers/run-1/parts", "tagging", tags).payload_declared("UNSIGNED-PAYLOAD");
    let request = request.header("content-md5", &body::md5_base64(tags.as_bytes()));
    request.header("x-amz-checksum-crc64nvme", &body::checksum("crc64nvme", tags.as_bytes())).send().await.unwrap();
    gateway.finish().await;
}
