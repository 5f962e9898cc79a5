//! The formats that leave the gateway do not change by accident. `make golden` rewrites what stands here; review reads
//! the difference.

use artifactstore_registry::model::manifest::Manifest;
use artifactstore_tests::{Harness, golden};

#[test]
fn the_canonical_manifest_is_what_another_implementation_wrote() {
    // Written by tests/clients/golden_manifest.py with cbor2, never by the code under test.
    let cbor = golden::read("manifest-v1.cbor");
    let manifest = Manifest::decode(&cbor).unwrap();
    assert_eq!(manifest.encode(), cbor);
    assert_eq!(
        String::from_utf8(manifest.to_json()).unwrap(),
        String::from_utf8(golden::read("manifest-v1.json")).unwrap()
    );
    assert_eq!(Manifest::digest(&cbor).to_string(), crate::body::address(&cbor));
}

#[test]
fn bytes_that_are_not_canonical_are_no_manifest() {
    let cbor = golden::read("manifest-v1.cbor");
    assert!(Manifest::decode(&[cbor.as_slice(), b"\0"].concat()).is_err(), "bytes behind the end");
    assert!(Manifest::decode(&cbor[..cbor.len() - 1]).is_err(), "bytes missing");
    for name in ["indefinite-map", "unsorted-keys", "long-integer", "float", "duplicate-key", "unknown-key"] {
        let bytes = golden::read(&format!("manifest-v1-bad-{name}.cbor"));
        assert!(Manifest::decode(&bytes).is_err(), "{name} was taken");
    }
}

#[tokio::test]
async fn an_error_reads_the_same_on_both_faces() {
    let gateway = Harness::start().await;
    gateway.put("golden/run-1/a.txt", b"a").await.unwrap();
    let missing = gateway.get("golden/run-1/none").await.unwrap_err().reply;
    let id = missing.element("RequestId").expect("an error names its request");
    assert_eq!(missing.header("x-amz-request-id"), Some(id.as_str()));
    let sealed = gateway.finalize("golden", "run-1").await.unwrap();
    let late = gateway.put("golden/run-1/b.txt", b"b").await.unwrap_err().reply;
    let settle = |reply: &artifactstore_tests::Reply| {
        let digest = sealed["manifest_digest"].as_str().unwrap();
        let text =
            reply.text().replace(digest, "DIGEST").replace(&reply.element("RequestId").unwrap_or_default(), "REQUEST");
        text.replace(&reply.element("HostId").unwrap_or_else(|| "no host id".to_owned()), "HOST")
    };
    golden::compare("error-no-such-key.xml", settle(&missing).as_bytes());
    golden::compare("error-finalized.xml", settle(&late).as_bytes());
    let problem = gateway.admin.get("/v1/producers/nobody").await;
    assert_eq!(problem.header("content-type"), Some("application/problem+json"));
    let mut body = problem.json();
    for varying in ["instance", "request_id"] {
        if body.get(varying).is_some() {
            body[varying] = "VARIES".into();
        }
    }
    golden::compare("problem-no-such-producer.json", format!("{body:#}\n").as_bytes());
    gateway.finish().await;
}
