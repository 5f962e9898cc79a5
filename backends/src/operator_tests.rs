//! The promises that only a folder can keep or break: paths, temporary files, damage.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::OperatorBackend;
use crate::backend::{Backend, SealedObject};
use crate::dataplane::inproc::{InProcessDataPlane, PlaneOptions};
use crate::dataplane::spi::{ByteRange, DataPlane, IngestFrame, IngestHints, Verification};
use crate::error::Error;
use crate::layout::FOLDER;
use crate::testing::catalog::MemoryCatalog;
use crate::testing::conformance;

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_backend_keeps_the_promises_of_a_backend() {
    let folder = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicU32::new(0);
    conformance::all(|| {
        let root = folder.path().join(number.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string());
        async move { OperatorBackend::local(&root).await.unwrap() }
    })
    .await;
}

#[tokio::test]
async fn the_path_of_an_object_is_the_b3sum_of_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let backend = OperatorBackend::local(folder.path()).await.unwrap();
    backend.put(SealedObject::seal(Bytes::from_static(b"abc"))).await.unwrap();
    let hex = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
    assert_eq!(fs::read(folder.path().join("blake3/64").join(hex)).unwrap(), b"abc");
}

#[tokio::test]
async fn objects_are_there_for_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let object = SealedObject::seal(Bytes::from_static(b"lasting"));
    OperatorBackend::local(folder.path()).await.unwrap().put(object.clone()).await.unwrap();
    let next = OperatorBackend::local(folder.path()).await.unwrap();
    let listed: Vec<_> = next.list(None).map_ok(|stat| stat.key).try_collect().await.unwrap();
    assert_eq!(listed, [object.key()]);
}

#[tokio::test]
async fn a_failed_write_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let backend = OperatorBackend::local(folder.path()).await.unwrap();
    let object = SealedObject::seal(Bytes::from_static(b"cannot be renamed"));
    // A folder where the file should be: the bytes are written and synced, and then cannot be renamed.
    fs::create_dir_all(folder.path().join(FOLDER.path(&object.key())).join("in the way")).unwrap();
    backend.put(object.clone()).await.unwrap_err();
    assert_eq!(files_in(&folder.path().join("tmp")), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_caller_goes_away_is_whole_or_nothing_and_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let backend = OperatorBackend::local(folder.path()).await.unwrap();
    for number in 0_u32..32 {
        let object = SealedObject::seal(Bytes::from(vec![number as u8; 100_000]));
        // Polled once, and dropped.
        let _ = backend.put(object.clone()).now_or_never();
    }
    // Every write still holds its permit while it runs.
    let _all = backend.writes.acquire_many(super::WRITES_AT_ONCE as u32).await.unwrap();
    assert_eq!(files_in(&folder.path().join("tmp")), 0);
    let listed: Vec<_> = backend.list(None).try_collect().await.unwrap();
    assert!(listed.iter().all(|stat| stat.size_bytes == 100_000), "{listed:?}");
}

#[tokio::test]
async fn a_sweep_takes_the_temporary_files_of_the_dead_and_leaves_the_young() {
    let folder = tempfile::tempdir().unwrap();
    let backend = OperatorBackend::local(folder.path()).await.unwrap();
    let path = folder.path().join("tmp/left-behind.0123");
    fs::write(&path, b"half an object").unwrap();
    assert_eq!(backend.sweep_temporaries(Duration::from_secs(3600)).await.unwrap(), 0);
    assert!(path.exists());
    let file = fs::File::options().write(true).open(&path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified - Duration::from_secs(7200)).unwrap();
    assert_eq!(backend.sweep_temporaries(Duration::from_secs(3600)).await.unwrap(), 1);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("a file");
    fs::write(&blocked, b"").unwrap();
    let refusal = OperatorBackend::local(&blocked.join("objects")).await.unwrap_err();
    let source = std::error::Error::source(&refusal).unwrap().to_string();
    assert!(source.contains("a file/objects"), "{source}");
}

#[tokio::test]
async fn strangers_in_the_folder_are_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    let backend = OperatorBackend::local(folder.path()).await.unwrap();
    let key = backend.put(SealedObject::seal(Bytes::from_static(b"known"))).await.unwrap();
    let leaf = folder.path().join(FOLDER.path(&key));
    fs::write(leaf.with_file_name("README"), b"").unwrap();
    fs::write(folder.path().join("blake3/notes"), b"").unwrap();
    fs::create_dir_all(folder.path().join("blake3/zz/zz")).unwrap();
    let listed: Vec<_> = backend.list(None).map_ok(|stat| stat.key).try_collect().await.unwrap();
    assert_eq!(listed, [key]);
}

#[tokio::test]
async fn a_read_of_a_cut_file_ends_in_an_error_and_not_early() {
    let folder = tempfile::tempdir().unwrap();
    let backend = OperatorBackend::local(folder.path()).await.unwrap();
    let key = backend.put(SealedObject::seal(Bytes::from(vec![7; 4 << 20]))).await.unwrap();
    let mut stream = backend.read(&key, ByteRange::Full).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let path = folder.path().join(FOLDER.path(&key));
    fs::File::options().write(true).open(path).unwrap().set_len(10).unwrap();
    let outcome: Result<Vec<_>, _> = stream.try_collect().await;
    assert!(matches!(outcome, Err(Error::ObjectDamaged(..))), "{outcome:?}");
}

#[tokio::test]
async fn the_probe_knows_the_free_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let backend = OperatorBackend::local(folder.path()).await.unwrap();
    assert!(backend.probe().await.unwrap().free_bytes.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_in_a_folder_reads_back_whole_and_every_file_is_named_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(OperatorBackend::local(folder.path()).await.unwrap());
    let catalog = Arc::new(MemoryCatalog::new());
    let options = PlaneOptions { chunk_size_bytes: 2 << 20, ..PlaneOptions::default() };
    let plane = InProcessDataPlane::new(backend.clone(), catalog.clone(), &options);
    let bytes: Vec<u8> = (0_u32..5 << 18).flat_map(u32::to_be_bytes).collect();
    let frames = bytes.chunks(70_000).map(|frame| Ok(IngestFrame::Data(Bytes::copy_from_slice(frame))));
    let frames = stream::iter(frames.collect::<Vec<_>>()).boxed();
    let result = plane.ingest_stream(frames, IngestHints::default()).await.unwrap();
    catalog.commit(&result);
    let served = plane.serve_object(&result.content_address, ByteRange::From(3)).await.unwrap();
    let served: Vec<Bytes> = served.try_collect().await.unwrap();
    assert!(served.concat() == bytes[3..]);
    assert_eq!(plane.verify_object(&Verification::Blob(result.content_address)).await.unwrap().damages, []);
    let keys: Vec<_> = backend.list(None).map_ok(|stat| stat.key).try_collect().await.unwrap();
    assert_eq!(keys.len(), 3);
    for key in keys {
        let content = fs::read(folder.path().join(FOLDER.path(&key))).unwrap();
        assert_eq!(blake3::hash(&content).to_hex().as_str(), key.to_hex());
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_behind_writes_that_hang_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let backend = OperatorBackend::local(folder.path()).await.unwrap();
    let all = u32::try_from(backend.writes.available_permits()).unwrap();
    let hanging = Arc::clone(&backend.writes).acquire_many_owned(all).await.unwrap();
    let object = SealedObject::seal(Bytes::from_static(b"late"));
    let refused = backend.put(object.clone()).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    drop(hanging);
    backend.put(object).await.unwrap();
}
