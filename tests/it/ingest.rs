//! What is uploaded is stored once, whole, under the digest of its bytes, and given back as it came.

use artifactstore_tests::Harness;

use crate::body;

const CHUNK: usize = 8 << 20;

#[tokio::test]
async fn a_file_of_any_size_comes_back_as_it_came_with_all_its_digests() {
    let gateway = Harness::start().await;
    for (number, size) in [0, 1, 4096, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 12_345].into_iter().enumerate() {
        let bytes = body::bytes(number as u64, size);
        let name = format!("sizes/run/{size}.bin");
        let stored = gateway.put(&name, &bytes).await.unwrap();
        let found = gateway.get(&name).await.unwrap();
        assert_eq!(found.body, bytes, "{size} bytes");
        let head = gateway.s3.head(&name).await.unwrap();
        for reply in [&stored, &found, &head] {
            assert_eq!(reply.etag(), body::md5_hex(&bytes));
            assert_eq!(reply.header_or_empty("x-artifact-content-address"), body::address(&bytes));
            assert_eq!(reply.header_or_empty("x-artifact-sha256"), body::sha256_hex(&bytes));
            assert_eq!(reply.header_or_empty("x-artifact-package"), "run");
            assert_eq!(reply.header("x-artifact-sequence"), stored.header("x-artifact-sequence"));
        }
        assert_eq!(head.header_or_empty("content-length"), size.to_string());
    }
    gateway.finish().await;
}

#[tokio::test]
async fn the_same_bytes_are_stored_once_over_the_whole_store() {
    let gateway = Harness::start().await;
    let bytes = body::bytes(1, 100_000);
    let told = async |name: &str| {
        let stored = gateway.put(name, &bytes).await.unwrap();
        stored.header_or_empty("x-artifact-deduplicated").to_owned()
    };
    assert_eq!(told("first/run-1/a.bin").await, "false");
    let objects = gateway.object_files();
    assert_eq!(told("first/run-1/b.bin").await, "true");
    assert_eq!(told("second/run-9/deep/c.bin").await, "true");
    assert_eq!(gateway.object_files(), objects, "nothing new was written");
    assert_eq!(gateway.get("second/run-9/deep/c.bin").await.unwrap().body, bytes);
    gateway.finish().await;
}

#[tokio::test]
async fn every_object_is_named_by_the_digest_of_its_own_bytes() {
    let gateway = Harness::start().await;
    for number in 0..6_u32 {
        let bytes = body::bytes(u64::from(number), 10_usize.pow(number + 1) * 2);
        gateway.put(&format!("names/run/{number}.bin"), &bytes).await.unwrap();
    }
    let objects = gateway.object_files();
    assert!(!objects.is_empty());
    for path in objects {
        let hex = blake3::hash(&std::fs::read(&path).unwrap()).to_hex().to_string();
        let expected = gateway.data().join("objects/blake3").join(&hex[..2]).join(&hex);
        assert_eq!(path, expected);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn every_checksum_is_verified_kept_and_given_back_whichever_way_it_travels() {
    let gateway = Harness::start().await;
    gateway.producer("sums").await;
    let bytes = body::bytes(7, 200_000);
    for algorithm in body::ALGORITHMS {
        let header = format!("x-amz-checksum-{algorithm}");
        let value = body::checksum(algorithm, &bytes);
        let put = |way: &str| gateway.s3.request("PUT", &format!("sums/run/{algorithm}-{way}")).body(&bytes);
        put("header").header(&header, &value).send().await.unwrap();
        put("unsigned-trailer").chunks_unsigned(65_536).trailer(&header, &value).send().await.unwrap();
        put("signed-trailer").chunks_signed(65_536).trailer(&header, &value).send().await.unwrap();
        for way in ["header", "unsigned-trailer", "signed-trailer"] {
            let name = format!("sums/run/{algorithm}-{way}");
            let found = gateway.s3.request("GET", &name).header("x-amz-checksum-mode", "ENABLED").send().await.unwrap();
            assert_eq!(found.body, bytes, "{algorithm} {way}");
            assert_eq!(found.header_or_empty(&header), value, "{algorithm} {way}");
            let ranged = gateway.s3.request("GET", &name).header("x-amz-checksum-mode", "ENABLED");
            let ranged = ranged.header("range", "bytes=0-9").send().await.unwrap();
            assert_eq!(ranged.header(&header), None, "a part of the bytes has another checksum");
        }
    }
    gateway.finish().await;
}

#[tokio::test]
async fn signed_chunks_are_stored_without_their_framing() {
    let gateway = Harness::start().await;
    gateway.producer("chunked").await;
    let bytes = body::bytes(3, 300_001);
    for size in [1024 * 8, 65_536, 400_000] {
        let name = format!("chunked/run/{size}");
        let request = gateway.s3.request("PUT", &name);
        let stored = request.chunks_signed(size).body(&bytes).send().await.unwrap();
        assert_eq!(stored.etag(), body::md5_hex(&bytes));
        let found = gateway.get(&name).await.unwrap();
        assert_eq!(found.body, bytes);
        assert!(!found.header_or_empty("content-encoding").contains("aws-chunked"), "the framing is not the content's");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn metadata_and_headers_come_back_as_they_were_given() {
    let gateway = Harness::start().await;
    gateway.producer("meta").await;
    let given = [
        ("content-type", "application/xml; charset=utf-8"),
        ("cache-control", "no-store"),
        ("content-disposition", "attachment; filename=\"a b.xml\""),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("x-amz-meta-mtime", "1700000000.123456789"),
        ("x-amz-meta-commit", "0123abc"),
    ];
    let request =
        given.iter().fold(gateway.s3.request("PUT", "meta/run/a.xml"), |r, (name, value)| r.header(name, value));
    request.body(b"<ok/>").send().await.unwrap();
    for method in ["GET", "HEAD"] {
        let reply = gateway.s3.request(method, "meta/run/a.xml").send().await.unwrap();
        for (name, value) in given {
            assert_eq!(reply.header(name), Some(value), "{method} {name}");
        }
    }
    let renamed = gateway.s3.request("GET", "meta/run/a.xml").query("response-content-type", "text/plain");
    let renamed = renamed.query("response-content-disposition", "inline").send().await.unwrap();
    assert_eq!(renamed.header("content-type"), Some("text/plain"));
    assert_eq!(renamed.header("content-disposition"), Some("inline"));
    gateway.finish().await;
}

#[tokio::test]
async fn metadata_that_is_no_ascii_comes_back_as_rfc_2047_has_it() {
    let gateway = Harness::start().await;
    gateway.producer("meta").await;
    // As it is, as most SDKs would have to send it, and what has to look encoded without being it.
    let encoded = "=?UTF-8?B?Z3LDvG4g5ryi5a2X?=";
    for (name, given, back) in [
        ("raw", "gr\u{fc}n \u{6f22}\u{5b57}", encoded),
        ("encoded", encoded, encoded),
        ("quoted", "=?UTF-8?Q?gr=C3=BCn_=E6=BC=A2=E5=AD=97?=", encoded),
        ("plain", "=?no", "=?no"),
    ] {
        let path = format!("meta/run/{name}");
        gateway.s3.request("PUT", &path).header("x-amz-meta-note", given).body(b"x").send().await.unwrap();
        let copy = gateway.s3.request("PUT", &format!("{path}-copy")).header("x-amz-copy-source", &path);
        copy.send().await.unwrap();
        for path in [path.clone(), format!("{path}-copy")] {
            let head = gateway.s3.head(&path).await.unwrap();
            assert_eq!(head.header("x-amz-meta-note"), Some(back), "{path}");
        }
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_presigned_link_uploads_and_downloads_and_expires() {
    let gateway = Harness::start().await;
    gateway.producer("links").await;
    let bytes = body::bytes(5, 50_000);
    gateway.s3.request("PUT", "links/run/a b.bin").presigned(60).body(&bytes).send().await.unwrap();
    let found = gateway.s3.request("GET", "links/run/a b.bin").presigned(60).send().await.unwrap();
    assert_eq!(found.body, bytes);
    let old = artifactstore_tests::sign::date_of(time::OffsetDateTime::now_utc() - time::Duration::hours(2));
    let late = gateway.s3.request("GET", "links/run/a b.bin").presigned(60).date(&old).send().await.unwrap_err();
    assert_eq!((late.status(), late.code()), (403, "AccessDenied"), "{}", late.message());
    let forged =
        gateway.s3.request("GET", "links/run/a b.bin").presigned(60).spoil_signature().send().await.unwrap_err();
    assert_eq!((forged.status(), forged.code()), (403, "SignatureDoesNotMatch"));
    gateway.finish().await;
}

#[tokio::test]
async fn a_later_upload_supersedes_and_a_delete_takes_the_name_only() {
    let gateway = Harness::start().await;
    let (old, new) = (body::bytes(1, 1000), body::bytes(2, 2000));
    gateway.put("names/run/a.bin", &old).await.unwrap();
    gateway.put("names/run/a.bin", &new).await.unwrap();
    assert_eq!(gateway.get("names/run/a.bin").await.unwrap().body, new);
    let objects = gateway.object_files().len();
    gateway.delete("names/run/a.bin").await.unwrap();
    assert_eq!(gateway.get("names/run/a.bin").await.unwrap_err().code(), "NoSuchKey");
    assert_eq!(gateway.object_files().len(), objects, "no byte is removed");
    let events = gateway.event_count().await;
    assert_eq!(gateway.delete("names/run/a.bin").await.unwrap().status, 204);
    assert_eq!(gateway.event_count().await, events, "removing what is not there is no event");
    gateway.finish().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let mut gateway = Harness::start().await;
    let bytes = body::bytes(4, 1 << 20);
    gateway.put("again/run/a.bin", &bytes).await.unwrap();
    gateway.restart().await;
    assert_eq!(gateway.get("again/run/a.bin").await.unwrap().body, bytes);
    gateway.put("again/run/b.bin", &bytes).await.unwrap();
    assert_eq!(gateway.list("again", "").await, ["run/a.bin", "run/b.bin"]);
    gateway.finish().await;
}
