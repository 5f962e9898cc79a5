//! Everything is read again while the gateway serves, and what is damaged is named wherever an operator looks.

use std::path::PathBuf;
use std::time::Duration;

use artifactstore_tests::Harness;
use serde_json::{Value, json};

use crate::body;

async fn pass_ended(gateway: &Harness) -> Value {
    let begun = gateway.admin.give("POST", "/v1/verify", &json!(null)).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let event = begun.json()["pass"]["event"].clone();
    for _ in 0..600 {
        let shown = gateway.admin.get("/v1/scrub").await.json();
        if shown["state"] == "idle" {
            assert_eq!(shown["last_whole_pass"]["event"], event);
            return shown;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the pass does not end; the log ends:\n{}", gateway.log_tail());
}

fn object_file(gateway: &Harness, bytes: &[u8]) -> PathBuf {
    let address = body::address(bytes);
    let hex = address.strip_prefix("blake3:").unwrap();
    gateway.object_files().into_iter().find(|path| path.ends_with(hex)).expect("it is an object of its own")
}

#[tokio::test]
async fn a_flipped_byte_is_found_told_everywhere_and_healed_by_the_next_upload_of_it() {
    let mut gateway = Harness::start().await;
    let (bytes, other) = (body::bytes(1, 70_000), body::bytes(2, 50_000));
    gateway.put("lab/run-1/a.bin", &bytes).await.unwrap();
    gateway.put("lab/run-2/copy of a.bin", &bytes).await.unwrap();
    gateway.put("lab/run-2/b.bin", &other).await.unwrap();
    let clean = pass_ended(&gateway).await;
    assert_eq!((&clean["pass"]["objects"], &clean["pass"]["bytes"]), (&2.into(), &120_000.into()), "{clean}");
    assert_eq!((&clean["damaged_objects"], &clean["damage"]), (&0.into(), &json!([])));

    let (damaged, missing) = (object_file(&gateway, &bytes), object_file(&gateway, &other));
    let whole = std::fs::read(&missing).unwrap();
    let mut torn = bytes.clone();
    torn[25_000] ^= 1;
    std::fs::write(&damaged, torn).unwrap();
    std::fs::remove_file(&missing).unwrap();
    let found = pass_ended(&gateway).await;
    assert_eq!(found["damaged_objects"], 2, "{found}");
    let name = damaged.file_name().unwrap().to_str().unwrap();
    let damage = found["damage"].as_array().unwrap().iter().find(|one| one["object"] == name).unwrap();
    let files: Vec<(&str, &str, &str)> = damage["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            (file["producer"].as_str().unwrap(), file["key"].as_str().unwrap(), file["package"].as_str().unwrap())
        })
        .collect();
    assert_eq!(files, [("lab", "run-1/a.bin", "run-1"), ("lab", "run-2/copy of a.bin", "run-2")]);
    let page = gateway.admin.get(&format!("/v1/scrub/damage/{name}?limit=1")).await.json();
    assert_eq!(page["files"].as_array().unwrap().len(), 1, "{page}");
    let next = page["next_cursor"].as_str().unwrap();
    let page = gateway.admin.get(&format!("/v1/scrub/damage/{name}?limit=1&cursor={next}")).await.json();
    assert_eq!(page["files"][0]["key"], "run-2/copy of a.bin");

    let health = gateway.admin.get("/health").await;
    assert_eq!(health.status, 200, "what is not damaged is served");
    let warnings = health.json()["warnings"].to_string();
    assert!(warnings.contains("2 objects are damaged") && warnings.contains(name), "{warnings}");
    let metrics = gateway.admin.get("/metrics").await.text();
    for figure in ["scrub_damaged_objects 2", "scrub_objects_total 4", "scrub_running 0"] {
        assert!(metrics.contains(&format!("artifactstore_{figure}\n")), "{figure}: {metrics}");
    }
    assert!(metrics.contains("artifactstore_scrub_last_pass_timestamp_seconds "), "{metrics}");
    let kinds = gateway.kinds_since(0).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "v1.object.damaged").count(), 2, "{kinds:?}");
    let verified = gateway.cli(&["verify"]).await;
    assert_eq!(verified.code, Some(1));
    for told in ["run-1/a.bin", "run-2/copy of a.bin", "run-2/b.bin", "package \"run-2\""] {
        assert!(format!("{}{}", verified.stdout, verified.stderr).contains(told), "{told}: {verified:?}");
    }

    // Damage is known behind a restart. One is sent again, and heals all that has it; the other is put back by hand.
    gateway.restart().await;
    gateway.put("lab/run-3/again.bin", &bytes).await.unwrap();
    for key in ["lab/run-1/a.bin", "lab/run-2/copy of a.bin", "lab/run-3/again.bin"] {
        assert!(gateway.get(key).await.unwrap().body == bytes, "{key}");
    }
    std::fs::write(&missing, whole).unwrap();
    let mended = pass_ended(&gateway).await;
    assert_eq!((&mended["pass"]["damaged"], &mended["damaged_objects"]), (&0.into(), &0.into()), "{mended}");
    assert!(!gateway.admin.get("/health").await.json()["warnings"].to_string().contains("damaged"));
    gateway.finish().await;
}

#[tokio::test]
async fn what_is_asked_wrongly_of_a_scrub_is_refused() {
    let gateway = Harness::start().await;
    for (path, status) in [
        ("/v1/scrub?limit=0", 400),
        ("/v1/scrub?cursor=x", 400),
        ("/v1/scrub/damage/xyz", 400),
        (&format!("/v1/scrub/damage/{}", "0".repeat(64)), 404),
    ] {
        assert_eq!(gateway.admin.get(path).await.status, status, "{path}");
    }
    gateway.cli(&["--scrub-mib-per-second", "0", "verify"]).await.failed_with_one_line("scrub_mib_per_second");
    gateway.cli(&["--scrub-interval-days", "99999", "verify"]).await.failed_with_one_line("scrub_interval_days");
    gateway.finish().await;
}
