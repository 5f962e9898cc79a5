//! The order of things on a real disk, taken from the calls that the program makes: bytes are synced before their file
//! gets its name, its folder before the event is written, the event before the answer.

use std::path::Path;

use artifactstore_tests::trace::{Call, calls, strace, traced};
use artifactstore_tests::{Harness, command};
use tempfile::TempDir;

use crate::body;

/// Calls that the order is read from.
const CALLS: &str = "trace=openat,mkdir,mkdirat,write,writev,pwrite64,sendto,sendmsg,fsync,fdatasync,rename,renameat,\
     renameat2,linkat,unlink,unlinkat";

fn is_sync(call: &Call) -> bool {
    matches!(call.name.as_str(), "fsync" | "fdatasync") && call.succeeded()
}

fn names(call: &Call) -> bool {
    (call.name.starts_with("rename") || call.name == "linkat") && call.succeeded()
}

fn is_answer(call: &Call) -> bool {
    matches!(call.name.as_str(), "write" | "writev" | "sendto" | "sendmsg") && call.arguments.contains("HTTP/1.1 200")
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Checks the calls that one acknowledged upload made, and says how many objects it named.
fn check(calls: &[Call], data: &Path) -> usize {
    let objects = data.join("objects").display().to_string();
    let wal = data.join("registry.db-wal").display().to_string();
    let answer = calls.iter().find(|call| is_answer(call)).expect("an answer");
    let is_event = |call: &Call| call.name == "pwrite64" && call.file() == Some(&wal);
    let first_event = calls.iter().find(|call| is_event(call)).expect("the event goes to the log");
    let last_event =
        calls.iter().filter(|call| is_event(call) && call.begun < answer.begun).map(|call| call.ended).max();
    let last_event = last_event.expect("the event goes to the log before the answer");
    let synced = |path: &str, after: usize, before: usize| {
        calls.iter().any(|call| is_sync(call) && call.file() == Some(path) && call.begun > after && call.ended < before)
    };
    assert!(synced(&wal, last_event, answer.begun), "all of the event is synced before the answer");
    for folder in calls.iter().filter(|call| call.name.starts_with("mkdir") && call.succeeded()) {
        let path = folder.texts()[0];
        assert!(synced(parent(path), folder.ended, first_event.begun), "the entry of {path} is synced: {folder:?}");
    }
    let named: Vec<&Call> = calls.iter().filter(|call| names(call) && call.arguments.contains(&objects)).collect();
    for rename in &named {
        let (from, to) = (rename.texts()[0], rename.texts()[1]);
        let writes = calls.iter().filter(|call| call.name.contains("write") && call.file() == Some(from));
        let written = writes.map(|call| call.ended).max().expect("an object has bytes");
        assert!(synced(from, written, rename.begun), "the bytes of {to} are synced before it has its name");
        assert!(synced(parent(to), rename.ended, first_event.begun), "its name is synced before the event: {rename:?}");
    }
    named.len()
}

/// What the trace is called in its folder.
const TRACE: &str = "trace";

/// A gateway with this producer whose calls are written down, and the folder of the trace; nothing where there is no `strace`.
async fn gateway_traced(producer: &str) -> Option<(Harness, TempDir)> {
    let strace = strace()?;
    let folder = TempDir::new().unwrap();
    let options = format!("-y -s 64 -o '{}' -e {CALLS}", folder.path().join(TRACE).display());
    let program = traced(folder.path(), &strace, &options, None, &command::binary());
    let mut gateway = Harness::prepare_in(&std::env::temp_dir(), program, &[]);
    gateway.resume().await;
    gateway.producer(producer).await;
    Some((gateway, folder))
}

#[tokio::test]
async fn bytes_are_synced_before_they_are_named_and_the_event_before_the_answer() {
    let Some((mut gateway, folder)) = gateway_traced("order").await else { return };
    let trace = folder.path().join(TRACE);
    let mut begun = 0;
    let mut objects = 0;
    // One chunk, several, and the same bytes again, which lie there already.
    for (number, (seed, size)) in [(1, 1000), (2, 20 << 20), (3, 70_000), (1, 1000)].into_iter().enumerate() {
        // What came before is in the trace when it has been written out: `strace` writes in its own time.
        let mark = gateway.event_count().await;
        let text = settled(&trace).await;
        begun = begun.max(text.len());
        gateway.put(&format!("order/run/{number}"), &body::bytes(seed, size)).await.unwrap();
        let text = settled(&trace).await;
        let named = check(&calls(&text[begun..]), &gateway.data());
        assert_eq!(named > 0, number < 3, "{number}: only bytes that are new are written");
        objects += named;
        begun = text.len();
        assert_eq!(gateway.event_count().await, mark + 1 + usize::from(number == 0));
    }
    println!("FIGURE durability: 4 uploads of {objects} objects kept the order of syncs, names, events and answers");
    gateway.stop().await;
}

/// How many small objects go by one step of a collection; some of them share a folder.
const SWEPT: usize = 200;

#[tokio::test]
async fn what_is_deleted_is_off_the_disk_before_the_event_that_says_so_and_each_folder_is_synced_once() {
    let Some((mut gateway, folder)) = gateway_traced("gone").await else { return };
    let trace = folder.path().join(TRACE);
    for number in 0..SWEPT {
        gateway.put(&format!("gone/run/{number}"), &body::bytes(number as u64, 1_000)).await.unwrap();
    }
    let objects = gateway.object_files();
    for number in 0..SWEPT {
        gateway.delete(&format!("gone/run/{number}")).await.unwrap();
    }
    let begun = settled(&trace).await.len();
    let swept = gateway.admin.give("POST", "/v1/gc", &serde_json::json!({ "grace_seconds": 0 })).await.json();
    assert_eq!(swept["deleted_objects"], objects.len(), "{swept}");
    let calls = calls(&settled(&trace).await[begun..]);
    let kept = gateway.data().join("objects/blake3").display().to_string();
    let is_of_object = |path: &str| path.starts_with(&kept);
    let removed: Vec<&Call> = calls
        .iter()
        .filter(|call| call.name.starts_with("unlink") && call.succeeded() && is_of_object(call.texts()[0]))
        .collect();
    assert_eq!(removed.len(), objects.len());
    let wal = gateway.data().join("registry.db-wal").display().to_string();
    let events: Vec<&Call> = calls.iter().filter(|call| call.name == "pwrite64" && call.file() == Some(&wal)).collect();
    let syncs: Vec<&Call> =
        calls.iter().filter(|call| is_sync(call) && call.file().is_some_and(is_of_object)).collect();
    for object in &removed {
        let folder = parent(object.texts()[0]);
        let sync = syncs.iter().find(|sync| sync.file() == Some(folder) && sync.begun > object.ended);
        let sync = sync.unwrap_or_else(|| panic!("{folder} is synced behind the removal: {object:?}"));
        // What is written to the log between the two says that something else is gone, and not this.
        assert!(events.iter().any(|event| event.begun > sync.ended), "the event comes behind the sync: {sync:?}");
    }
    let last_sync = syncs.iter().map(|sync| sync.ended).max().unwrap();
    let first = removed.iter().map(|object| object.begun).min().unwrap();
    let between = events.iter().filter(|event| event.begun > first && event.ended < last_sync).count();
    println!("FIGURE durability: {} objects deleted, {} folders synced", removed.len(), syncs.len());
    assert_eq!(between, 0, "no event is written before all of this is off the disk");
    let folders: std::collections::BTreeSet<&str> = removed.iter().map(|object| parent(object.texts()[0])).collect();
    assert_eq!(syncs.len(), folders.len(), "one sync for each folder");
    gateway.stop().await;
}

/// The trace, once nothing is added to it any more.
async fn settled(trace: &Path) -> String {
    let mut length = 0;
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        let text = std::fs::read_to_string(trace).unwrap();
        if text.len() == length {
            return text;
        }
        length = text.len();
    }
}
