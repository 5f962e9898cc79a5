//! A full disk: refused in S3's words, nothing named, reads go on, and once there is room all is well by itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use artifactstore_tests::Harness;
use tempfile::TempDir;

use crate::body;

/// A file system of a few MiB; unmounted when it is dropped.
pub(crate) struct Tiny {
    folder: TempDir,
}

impl Tiny {
    /// `None`, and a line that says so, when this user may not mount.
    pub(crate) fn mount(size: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "artifactstore-test"]).arg(folder.path());
        let mounted = command.output().is_ok_and(|output| output.status.success());
        if !mounted {
            println!("FIGURE skipped: mounting is not permitted, and a test of a full disk has tried nothing");
        }
        mounted.then_some(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the room that is left, up to the last block.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut zeros = std::io::repeat(0);
        let filled = std::io::copy(&mut zeros, &mut std::fs::File::create(&path).unwrap());
        assert!(filled.is_err(), "a full disk ends the writing");
        path
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

#[tokio::test]
async fn a_full_storage_refuses_writes_serves_reads_and_recovers_by_itself() {
    let Some(tiny) = Tiny::mount("6m") else { return };
    let root = tiny.path().display().to_string();
    let mut gateway = Harness::start_with(&[("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", &root)]).await;
    let kept = body::bytes(1, 1 << 20);
    gateway.put("full/run/kept", &kept).await.unwrap();
    let upload = gateway.s3.upload_create("full/run/parts").await.unwrap();
    let events = gateway.event_count().await;

    // Too large for what is left, then too much even for a small one.
    for (seed, size) in [(2, 9 << 20), (3, 20 << 20)] {
        let refused = gateway.put("full/run/large", &body::bytes(seed, size)).await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (507, "InsufficientStorage"), "{}", refused.reply.text());
    }
    let ballast = tiny.fill();
    let refused = gateway.put("full/run/small", &body::bytes(4, 9000)).await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (507, "InsufficientStorage"), "{}", refused.reply.text());
    let refused = gateway.s3.upload_part("full/run/parts", &upload, 1, &body::bytes(5, 9000)).await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (507, "InsufficientStorage"), "{}", refused.reply.text());

    assert_eq!(gateway.event_count().await, events, "nothing is named");
    assert_eq!(gateway.list("full", "").await, ["run/kept"]);
    assert!(gateway.get("full/run/kept").await.unwrap().body == kept, "reads go on");
    // What is stored already needs no room.
    gateway.put("full/run/again", &kept).await.unwrap();
    assert_eq!(std::fs::read_dir(tiny.path().join("tmp")).unwrap().count(), 0, "no temporary file is left");

    std::fs::remove_file(ballast).unwrap();
    gateway.put("full/run/small", &body::bytes(4, 9000)).await.unwrap();
    let etag = gateway.s3.upload_part("full/run/parts", &upload, 1, &body::bytes(5, 9000)).await.unwrap();
    gateway.s3.upload_complete("full/run/parts", &upload, &[(1, etag)]).await.unwrap();
    assert!(gateway.get("full/run/parts").await.unwrap().body == body::bytes(5, 9000));
    gateway.stop().await;
    let _ = gateway.cli(&["gc", "--grace", "0"]).await.succeeded();
    let used: u64 = files(&tiny.path().join("blake3")).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(used, (1 << 20) + 9000 + 9000, "what refused uploads had written is swept");
    gateway.audit().await;
}

#[tokio::test]
async fn a_full_disk_under_the_log_refuses_writes_serves_reads_and_recovers_by_itself() {
    let Some(tiny) = Tiny::mount("4m") else { return };
    let database = format!("sqlite://{}", tiny.path().join("registry.db").display());
    let mut gateway = Harness::start_with(&[("ARTIFACTSTORE_DATABASE_URL", &database)]).await;
    let kept = body::bytes(1, 100_000);
    gateway.put("full/run/kept", &kept).await.unwrap();
    let events = gateway.event_count().await;
    let ballast = tiny.fill();
    // The log may have some room of its own left; in the end it has none.
    let mut written = Vec::new();
    let refused = loop {
        let name = format!("full/run/{}", written.len());
        match gateway.put(&name, &body::bytes(2 + written.len() as u64, 3000)).await {
            Ok(_) => written.push(name),
            Err(refused) => break refused,
        }
        assert!(written.len() < 2000, "a full disk is noticed");
    };
    assert_eq!((refused.status(), refused.code()), (507, "InsufficientStorage"), "{}", refused.reply.text());
    assert!(gateway.get("full/run/kept").await.unwrap().body == kept, "reads go on");
    assert_eq!(gateway.event_count().await, events + written.len(), "what was refused is not in the log");
    std::fs::remove_file(ballast).unwrap();
    gateway.put("full/run/after", b"there is room again").await.unwrap();
    for (number, name) in written.iter().enumerate() {
        assert!(gateway.get(name).await.unwrap().body == body::bytes(2 + number as u64, 3000), "{name}");
    }
    gateway.stop().await;
    gateway.audit().await;
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
