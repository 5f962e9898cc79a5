//! The manifest can be checked by anyone: with an independent implementation, and with no server at all.

use artifactstore_tests::{Harness, clients};

use crate::body;

/// A package with plain, empty, multipart and oddly named files, metadata included; sealed.
async fn sealed(gateway: &Harness) -> serde_json::Value {
    gateway.put("evidence/run-1/report.xml", b"<ok/>").await.unwrap();
    gateway.put("evidence/run-1/empty", b"").await.unwrap();
    gateway.put("evidence/run-1/deep/\u{fc}ml\u{e4}ut \u{1f600}.log", b"text").await.unwrap();
    gateway.put("evidence/run-1/replaced.txt", b"old").await.unwrap();
    gateway.put("evidence/run-1/replaced.txt", b"new").await.unwrap();
    gateway.put("evidence/run-1/removed.txt", b"gone").await.unwrap();
    gateway.delete("evidence/run-1/removed.txt").await.unwrap();
    let request = gateway.s3.request("PUT", "evidence/run-1/described.bin").header("x-amz-meta-commit", "0123abc");
    let request = request.header("x-amz-meta-a", "1").header("content-type", "application/x-thing");
    request.body(&body::bytes(1, 70_000)).send().await.unwrap();
    let name = "evidence/run-1/parts.bin";
    let upload = gateway.s3.upload_create(name).await.unwrap();
    let mut parts = Vec::new();
    for (number, size) in [(1, 5 << 20), (2, 9 << 20), (3, 17)] {
        let bytes = body::bytes(u64::from(number), size);
        parts.push((number, gateway.s3.upload_part(name, &upload, number, &bytes).await.unwrap()));
    }
    gateway.s3.upload_complete(name, &upload, &parts).await.unwrap();
    gateway.finalize("evidence", "run-1").await.unwrap()
}

#[tokio::test]
async fn an_independent_implementation_agrees_with_every_byte_of_it() {
    let gateway = Harness::start().await;
    let sealed = sealed(&gateway).await;
    let digest = sealed["manifest_digest"].as_str().unwrap();
    let outcome = clients::script(&gateway, "manifest_check.py", &["evidence", "run-1", digest]).await;
    println!("{}", outcome.succeeded());
    gateway.finish().await;
}

#[tokio::test]
async fn it_lists_what_had_a_name_when_it_was_sealed_and_where_that_came_from() {
    let gateway = Harness::start().await;
    let sealed = sealed(&gateway).await;
    let manifest = gateway.get("evidence/run-1/.artifact/manifest.json").await.unwrap().json();
    let paths: Vec<&str> =
        manifest["files"].as_array().unwrap().iter().filter_map(|f| f["relative_path"].as_str()).collect();
    let expected =
        ["deep/\u{fc}ml\u{e4}ut \u{1f600}.log", "described.bin", "empty", "parts.bin", "replaced.txt", "report.xml"];
    assert_eq!(paths, expected);
    assert_eq!(manifest["manifest_version"], 1);
    assert_eq!(manifest["package"]["id"], sealed["id"]);
    assert_eq!(manifest["package"]["name"], "run-1");
    assert_eq!(manifest["package"]["producer"], "evidence");
    let described = &manifest["files"][1];
    assert_eq!(described["metadata"], serde_json::json!({ "a": "1", "commit": "0123abc" }));
    assert_eq!(described["media_type"], "application/x-thing");
    let provenance = &manifest["provenance"];
    let range = provenance["first_sequence"].as_u64().unwrap()..=provenance["last_sequence"].as_u64().unwrap();
    for file in manifest["files"].as_array().unwrap() {
        assert!(range.contains(&file["sequence"].as_u64().unwrap()), "{file}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn it_reads_the_same_by_s3_by_rest_and_by_command() {
    let gateway = Harness::start().await;
    let sealed = sealed(&gateway).await;
    for (format, media_type) in [("cbor", "application/cbor"), ("json", "application/json")] {
        let name = format!("evidence/run-1/.artifact/manifest.{format}");
        let by_s3 = gateway.get(&name).await.unwrap();
        assert_eq!(by_s3.header("content-type"), Some(media_type));
        let head = gateway.s3.head(&name).await.unwrap();
        assert_eq!(head.header_or_empty("content-length"), by_s3.body.len().to_string());
        let path = format!("/v1/packages/{}/manifest", sealed["id"].as_str().unwrap());
        assert_eq!(gateway.admin.get_as(&path, media_type).await.body, by_s3.body);
        let file = gateway.folder().join(format!("manifest.{format}"));
        let file_name = file.display().to_string();
        let _ = gateway.cli(&["manifest", "evidence", "run-1", "--format", format, "-o", &file_name]).await.succeeded();
        assert_eq!(std::fs::read(&file).unwrap(), by_s3.body);
    }
    let listed = gateway.list("evidence", "run-1/.artifact/").await;
    assert_eq!(listed, ["run-1/.artifact/manifest.cbor", "run-1/.artifact/manifest.json"]);
    gateway.finish().await;
}

#[tokio::test]
async fn a_downloaded_package_is_verified_with_no_server_and_every_change_is_named() {
    let mut gateway = Harness::start().await;
    sealed(&gateway).await;
    let (manifest, files) = (gateway.folder().join("manifest.cbor"), gateway.folder().join("files"));
    let cbor = gateway.get("evidence/run-1/.artifact/manifest.cbor").await.unwrap().body;
    std::fs::write(&manifest, cbor).unwrap();
    for key in gateway.list("evidence", "run-1/").await {
        let path = files.join(key.strip_prefix("run-1/").unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, gateway.get(&format!("evidence/{key}")).await.unwrap().body).unwrap();
    }
    gateway.stop().await;
    let (manifest, folder) = (manifest.display().to_string(), files.display().to_string());
    let arguments = ["verify", "--manifest", &manifest, "--dir", &folder];
    let _ = gateway.cli(&arguments).await.succeeded();

    let changes: [(&str, &[u8]); 2] = [("report.xml", b"<ko/>"), ("parts.bin", b"short")];
    for (path, bytes) in changes {
        let kept = std::fs::read(files.join(path)).unwrap();
        std::fs::write(files.join(path), bytes).unwrap();
        let outcome = gateway.cli(&arguments).await;
        assert_ne!(outcome.code, Some(0), "{path} was changed");
        assert!(format!("{}{}", outcome.stdout, outcome.stderr).contains(path), "{outcome:?} does not name {path}");
        std::fs::write(files.join(path), kept).unwrap();
    }
    std::fs::remove_file(files.join("empty")).unwrap();
    let outcome = gateway.cli(&arguments).await;
    assert_ne!(outcome.code, Some(0), "a file is missing");
    assert!(format!("{}{}", outcome.stdout, outcome.stderr).contains("empty"), "{outcome:?}");
    gateway.finish().await;
}

#[tokio::test]
async fn a_blob_that_was_damaged_on_disk_is_found_and_named() {
    let mut gateway = Harness::start().await;
    gateway.put("damaged/run-1/a.bin", &body::bytes(1, 50_000)).await.unwrap();
    gateway.put("damaged/run-1/b.bin", &body::bytes(2, 50_000)).await.unwrap();
    gateway.stop().await;
    let address = body::address(&body::bytes(1, 50_000));
    let hex = address.strip_prefix("blake3:").unwrap();
    let object =
        gateway.object_files().into_iter().find(|path| path.ends_with(hex)).expect("a small file is its object");
    let whole = std::fs::read(&object).unwrap();
    let mut torn = whole.clone();
    torn[25_000] ^= 1;
    std::fs::write(&object, torn).unwrap();
    let outcome = gateway.cli(&["verify", "--json"]).await;
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.stdout.contains(hex), "{outcome:?}");
    assert!(outcome.stdout.contains("run-1/a.bin") && !outcome.stdout.contains("run-1/b.bin"), "{outcome:?}");
    std::fs::write(&object, whole).unwrap();
    gateway.finish().await;
}
