//! What the offline check finds, and what it never opens.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use artifactstore_registry::backends::digest::ContentAddress;
use artifactstore_registry::model::cbor::TextMap;
use artifactstore_registry::model::manifest::{Manifest, ManifestFile, ManifestPackage, Provenance, RetentionSummary};
use sha2::{Digest, Sha256};

use super::{Report, Request, check, decode, local};

fn entry(relative_path: &str, bytes: &[u8]) -> ManifestFile {
    let address = ContentAddress::of(bytes);
    ManifestFile {
        etag: String::new(),
        size: bytes.len() as u64,
        metadata: TextMap::default(),
        sequence: 1,
        media_type: "text/plain".into(),
        digest_sha256: hex::encode(Sha256::digest(bytes)),
        relative_path: relative_path.into(),
        digest_primary: address.to_hex(),
        content_address: address.to_string(),
        digest_algorithm: "blake3".into(),
    }
}

fn manifest(files: Vec<ManifestFile>) -> Manifest {
    Manifest {
        files,
        package: ManifestPackage {
            id: "00000000-0000-4000-8000-000000000000".into(),
            name: "run-42".into(),
            producer: "guide-board".into(),
            revision: 1,
            opened_at: 1,
            finalized_at: 2,
        },
        provenance: Provenance {
            actor: "cli".into(),
            client: None,
            tenant: "root".into(),
            clients: vec![],
            last_sequence: 2,
            first_sequence: 1,
            gateway_version: "0".into(),
        },
        manifest_version: 1,
        storage_receipts: vec![],
        retention_summary: RetentionSummary { mode: "none".into(), class: "none".into(), holds: vec![] },
    }
}

fn checked(folder: &Path, manifest: &Manifest, strict: bool, digest: Option<ContentAddress>) -> (Report, Vec<String>) {
    let file = folder.join("manifest.cbor");
    fs::write(&file, manifest.encode()).unwrap();
    let findings = RefCell::new(Vec::new());
    let request = Request { manifest: file, dir: folder.join("files"), digest, erasures: None, strict };
    let report = check(&request, &|_| {}, &|finding| findings.borrow_mut().push(finding.to_string())).unwrap();
    (report, findings.into_inner())
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("files")).unwrap();
    for (name, bytes) in files {
        let path = folder.path().join("files").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

#[test]
fn a_whole_package_verifies_and_extra_files_are_only_noted() {
    let folder = folder(&[("a/b.xml", b"<ok/>"), ("extra", b"x"), (".artifact/manifest.json", b"{}")]);
    let manifest = manifest(vec![entry("", b""), entry("a/", b""), entry("a/b.xml", b"<ok/>")]);
    let digest = Manifest::digest(&manifest.encode());
    let (report, findings) = checked(folder.path(), &manifest, false, Some(digest));
    assert_eq!((report.files, report.bytes, report.extra, report.wrong), (3, 5, 1, 0));
    assert_eq!(report.manifest_digest, digest.to_string());
    assert_eq!(findings, ["extra extra: the manifest does not name it"]);
    assert_eq!(checked(folder.path(), &manifest, true, None).0.wrong, 1);
    assert_eq!(checked(folder.path(), &manifest, false, Some(ContentAddress::of(b"other"))).0.wrong, 1);
}

#[test]
fn whatever_is_missing_or_changed_is_named() {
    let folder = folder(&[("changed", b"abd"), ("longer", b"abcd"), ("sha", b"abc")]);
    fs::create_dir(folder.path().join("files/folder")).unwrap();
    let mut wrong_sha = entry("sha", b"abc");
    wrong_sha.digest_sha256 = "0".repeat(64);
    let mut disagreeing = entry("disagreeing", b"abc");
    disagreeing.digest_primary = "0".repeat(64);
    let files = ["missing", "changed", "longer", "folder"].map(|name| entry(name, b"abc"));
    let files = files.into_iter().chain([wrong_sha, disagreeing, entry("full/", b"abc")]).collect();
    let (report, findings) = checked(folder.path(), &manifest(files), false, None);
    assert_eq!((report.files, report.wrong), (0, 7));
    let begins = [
        "missing missing",
        "mismatched changed: it is blake3:",
        "mismatched longer: it has 4 bytes, not 3",
        "mismatched folder: it is no regular",
        "mismatched sha: its SHA-256",
        "inconsistent disagreeing",
        "inconsistent full/",
    ];
    for (finding, begin) in findings.iter().zip(begins) {
        assert!(finding.starts_with(begin), "{finding}");
    }
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let folder = folder(&[("a", b"a")]);
    fs::write(folder.path().join("secret"), b"secret").unwrap();
    let absolute = folder.path().join("secret");
    let paths = ["../secret", "a/../../secret", absolute.to_str().unwrap(), "a//b", "./a", "a/.", "..", "/", "../"];
    let files = paths.map(|path| entry(path, b"secret")).to_vec();
    let (report, findings) = checked(folder.path(), &manifest(files), false, None);
    assert_eq!((report.files, report.wrong), (0, paths.len() as u64));
    assert_eq!(findings.iter().filter(|finding| finding.starts_with("unsafe_path")).count(), paths.len());
    assert_eq!(local("a/b").unwrap(), Some("a/b".into()));
}

#[test]
fn both_forms_of_a_manifest_are_read_and_nothing_else() {
    let manifest = manifest(vec![entry("a", b"a")]);
    let (cbor, json) = (manifest.encode(), manifest.to_json());
    assert_eq!(decode(&cbor).unwrap(), decode(&json).unwrap());
    let pretty = serde_json::to_vec_pretty(&manifest).unwrap();
    assert!(decode(&pretty).unwrap_err().contains("JCS"));
    assert!(decode(&[cbor.as_slice(), b"x"].concat()).is_err());
    assert!(decode(b"").is_err());
    let text = String::from_utf8(json).unwrap().replace("\"manifest_version\":1", "\"manifest_version\":2");
    assert!(decode(text.as_bytes()).unwrap_err().contains("version 2"));
}
