//! Manifests round-trip, and what is not canonical is refused.

use proptest::prelude::{ProptestConfig, Strategy, any, proptest};

use super::*;

/// A manifest with every field.
pub(crate) fn sample() -> Manifest {
    Manifest {
        files: vec![ManifestFile {
            etag: "abc".to_owned(),
            size: 5,
            metadata: [("zz".to_owned(), "1".to_owned()), ("mtime".to_owned(), "2".to_owned())].into_iter().collect(),
            sequence: 3,
            media_type: "text/plain".to_owned(),
            digest_sha256: "00".repeat(32),
            relative_path: "logs/é.txt".to_owned(),
            digest_primary: "11".repeat(32),
            content_address: format!("blake3:{}", "11".repeat(32)),
            digest_algorithm: "blake3".to_owned(),
        }],
        package: ManifestPackage {
            id: "00000000-0000-4000-8000-000000000000".to_owned(),
            name: "run-42".to_owned(),
            producer: "guide-board".to_owned(),
            revision: 1,
            opened_at: 1,
            finalized_at: 2,
        },
        provenance: Provenance {
            actor: "tester".to_owned(),
            client: Some("curl".to_owned()),
            tenant: "default".to_owned(),
            clients: vec!["aws-cli".to_owned()],
            last_sequence: 3,
            first_sequence: 2,
            gateway_version: "0.1.0".to_owned(),
        },
        manifest_version: MANIFEST_VERSION,
        storage_receipts: vec![StorageReceipt { blobs: 1, backend: "local".to_owned(), size_bytes: 5 }],
        retention_summary: RetentionSummary { mode: "none".to_owned(), class: "none".to_owned(), holds: Vec::new() },
    }
}

fn file() -> impl Strategy<Value = ManifestFile> {
    let metadata = proptest::collection::btree_map("[a-z-]{1,30}", any::<String>(), 0..6);
    (any::<String>(), any::<u64>(), metadata, any::<u64>(), any::<[u8; 32]>(), ".{0,300}").prop_map(
        |(etag, size, metadata, sequence, digest, relative_path)| ManifestFile {
            etag,
            size,
            metadata: TextMap(metadata),
            sequence,
            media_type: "binary/octet-stream".to_owned(),
            digest_sha256: hex::encode(digest),
            relative_path,
            digest_primary: hex::encode(digest),
            content_address: ContentAddress(digest).to_string(),
            digest_algorithm: "blake3".to_owned(),
        },
    )
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let files = proptest::collection::vec(file(), 0..16);
    (files, any::<i64>(), any::<u32>(), proptest::option::of(any::<String>())).prop_map(
        |(files, time, revision, client)| {
            let sample = sample();
            Manifest {
                files,
                package: ManifestPackage { opened_at: time, revision, ..sample.package },
                provenance: Provenance { client, ..sample.provenance },
                ..sample
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_manifest_decodes_to_what_it_was(manifest in manifest()) {
        let bytes = manifest.encode();
        proptest::prop_assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
    }

    #[test]
    fn a_changed_byte_is_refused_or_means_something_else(manifest in manifest(), at in any::<usize>(), flip in 1..=255_u8) {
        let bytes = manifest.encode();
        let mut changed = bytes.clone();
        let at = at % changed.len();
        changed[at] ^= flip;
        if let Ok(other) = Manifest::decode(&changed) {
            proptest::prop_assert_ne!(&other, &manifest);
            proptest::prop_assert_eq!(other.encode(), changed);
        }
    }
}

#[test]
fn a_manifest_that_is_not_canonical_is_refused() {
    let bytes = sample().encode();
    assert!(Manifest::decode(&[bytes.as_slice(), &[0]].concat()).is_err(), "bytes follow");
    assert!(Manifest::decode(&bytes[..bytes.len() - 1]).is_err(), "bytes are missing");
    // The same entries, the last first: what a sorting decoder would take.
    let value: ciborium::Value = ciborium::from_reader(bytes.as_slice()).unwrap();
    let mut entries = value.into_map().unwrap();
    entries.reverse();
    let mut unsorted = Vec::new();
    ciborium::into_writer(&ciborium::Value::Map(entries.clone()), &mut unsorted).unwrap();
    assert!(matches!(Manifest::decode(&unsorted), Err(CborError::NotCanonical { .. })));
    // A field that this version does not have.
    entries.reverse();
    entries.push((ciborium::Value::from("some_field_of_a_later_version"), ciborium::Value::from(1)));
    let later = cbor::encode(&ciborium::Value::Map(entries));
    assert!(matches!(Manifest::decode(&later), Err(CborError::Shape(_))));
    let other = Manifest { manifest_version: 2, ..sample() }.encode();
    assert!(Manifest::decode(&other).unwrap_err().to_string().contains("version 2"));
}

#[test]
fn an_absent_client_said_to_be_null_is_refused() {
    let value: ciborium::Value = ciborium::from_reader(sample().encode().as_slice()).unwrap();
    let mut entries = value.into_map().unwrap();
    for (key, entry) in &mut entries {
        if key.as_text() == Some("provenance")
            && let Some(fields) = entry.as_map_mut()
        {
            for (key, field) in fields {
                if key.as_text() == Some("client") {
                    *field = ciborium::Value::Null;
                }
            }
        }
    }
    let bytes = cbor::encode(&ciborium::Value::Map(entries));
    assert!(Manifest::decode(&bytes).is_err(), "there is one way to say it: leaving it out");
}

#[test]
fn fields_stand_in_canonical_order_so_that_nothing_is_sorted() {
    let mut direct = Vec::new();
    ciborium::into_writer(&sample(), &mut direct).unwrap();
    assert_eq!(direct, sample().encode());
}

#[test]
fn the_json_projection_has_the_same_names_in_jcs_order() {
    let json = String::from_utf8(sample().to_json()).unwrap();
    assert!(json.starts_with(r#"{"files":[{"content_address":"blake3:1111"#), "{json}");
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["package"]["name"], "run-42");
    assert_eq!(value["files"][0]["relative_path"], "logs/é.txt");
}
