//! Copying a store into a bucket while a gateway serves from the folder.

use artifactstore_tests::Harness;
use serde_json::Value;

use crate::body;
use crate::store;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_copied_whole_while_it_serves_and_again_only_what_is_new() {
    let store = store().await;
    let mut settings = store.settings();
    // The bucket is described, and the folder is in use.
    settings.retain(|(name, _)| name != "ARTIFACTSTORE_STORAGE");
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
    let gateway = Harness::start_with(&settings).await;
    for seed in 0..12 {
        gateway.put(&format!("copy/run/{seed}"), &body::bytes(seed, 1000 << seed)).await.unwrap();
    }
    let copy = async |more: &[&str]| -> Value {
        let arguments = [&["storage", "copy", "--to", "s3", "--copy-only", "--json"], more].concat();
        let said = gateway.cli(&arguments).await.succeeded();
        serde_json::from_str::<Value>(said.lines().last().unwrap()).unwrap()["summary"].clone()
    };
    let count = |summary: &Value, name: &str| summary[name].as_u64().unwrap();
    let first = copy(&[]).await;
    let objects = gateway.object_files().len() as u64;
    assert_eq!((count(&first, "copied"), count(&first, "present")), (objects, 0));
    gateway.put("copy/run/new", b"new meanwhile").await.unwrap();
    let second = copy(&["--compare-present"]).await;
    assert_eq!((count(&second, "copied"), count(&second, "present")), (1, objects));
    let there = store.objects().await;
    // In a bucket the same objects lie one level deeper.
    let here = gateway.object_files();
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let names = |paths: &[String]| paths.iter().map(|path| name(path)).collect::<Vec<_>>();
    let shown: Vec<String> = here.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    assert_eq!(names(&there), names(&shown));
    for (path, own) in there.iter().zip(&here) {
        let copied = store.s3.get(&format!("{}/{path}", store.bucket)).await.unwrap();
        assert!(copied.body == std::fs::read(own).unwrap(), "{path}");
    }

    // A file that rots in the folder is told, and does not reach the bucket.
    store.s3.delete(&format!("{}/{}", store.bucket, there[0])).await.unwrap();
    let intact = std::fs::read(&here[0]).unwrap();
    std::fs::write(&here[0], vec![0; intact.len()]).unwrap();
    let refused = gateway.cli(&["storage", "copy", "--to", "s3", "--copy-only"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let name = &names(&there)[0];
    assert!(refused.stdout.contains(&format!("object {name} is damaged in local")), "{refused:?}");
    assert_eq!(store.objects().await, there[1..]);
    std::fs::write(&here[0], intact).unwrap();
    gateway.finish().await;
}
