//! Every input in `fuzz/corpus` through the checks of `fuzz/src`: keys, ranges, chunks, manifests, events.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a check that panics is what fails a test")]
#![allow(unreachable_pub, reason = "the checks are a library's, which the fuzzer uses")]

#[path = "../../fuzz/src/lib.rs"]
mod checks;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a target does with its input.
type Check = fn(&[u8]);

#[test]
fn what_is_promised_of_any_bytes_holds_for_the_corpus() {
    let door = checks::door::Door::open();
    let plain: [(&str, Check); 3] = [("cbor", checks::cbor), ("manifest", checks::manifest), ("key", checks::key)];
    for (target, check) in plain {
        replay(target, check);
    }
    let mut kinds = BTreeSet::new();
    replay("event", |bytes| kinds.extend(checks::event(bytes)));
    assert!(kinds.len() >= 45, "the fuzzer has no event to begin with of most kinds: {kinds:?}");
    replay("range", |bytes| {
        door.range(bytes);
    });
    replay("chunked", |bytes| {
        door.chunked(bytes);
    });
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

fn replay(target: &str, mut check: impl FnMut(&[u8])) {
    let mut inputs: Vec<_> = std::fs::read_dir(corpus(target)).unwrap().flatten().map(|entry| entry.path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{target} has no input");
    for path in inputs {
        // A check that panics is told with what it was about.
        println!("{}", path.display());
        check(&std::fs::read(&path).unwrap());
    }
}

#[test]
fn whole_chunks_are_stored_and_a_wrong_trailer_is_not() {
    let door = checks::door::Door::open();
    let wire = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    let input = |length: u8, wire: &[u8]| [&[0, 0, length, 2], wire].concat();
    assert_eq!(door.chunked(&input(5, wire)), 200);
    assert_eq!(door.chunked(&input(6, wire)), 400);
    let wrong = String::from_utf8_lossy(wire).replace("NhCmhg==", "AAAAAA==");
    assert_eq!(door.chunked(&input(5, wrong.as_bytes())), 400);
    assert_eq!(door.range(b"run-1/file.bin\nbytes=1-9"), 206);
    assert_eq!(door.range(b"run-1/none\nbytes=1-9"), 404);
    assert_eq!(door.range(b"run-1/file.bin\n\n\"0\""), 412);
    assert_eq!(door.range(b"run-1/file.bin\n\n\n*"), 304);
    for odd in ["run-1/file.bin?x-id=%00", "run-1/file.bin?partNumber=1%00", "?max-keys=1%00"] {
        assert_eq!(door.range(odd.as_bytes()), 400, "{odd}");
    }
}

#[test]
fn chunks_are_taken_once_their_signatures_are_put_right_and_not_with_a_byte_changed_behind_them() {
    let door = checks::door::Door::open();
    let status = |name: &str| door.chunked(&std::fs::read(corpus("chunked").join(name)).unwrap());
    for framing in ["signed", "signed-trailer", "unsigned"] {
        assert_eq!(status(&format!("{framing}-mended")), 200, "{framing}");
        let spoiled = status(&format!("{framing}-spoiled"));
        assert!(matches!(spoiled, 400 | 403), "{framing}: {spoiled}");
    }
    assert_eq!((status("signed"), status("signed-trailer")), (403, 403), "as they came");
}
