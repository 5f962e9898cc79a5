//! What the program is held to, whatever bytes it is given.
//!
//! The functions here run in two places: under the fuzzer (`fuzz_targets/`), and over everything in `corpus/` in an
//! ordinary test (`gateway/tests/corpus.rs`), so that what was once found stays found on every machine.
//!
//! Invariant: a function here panics when a promise is broken, and only then.

pub mod door;

use std::collections::BTreeSet;

use artifactstore_registry::model::cbor;
use artifactstore_registry::model::event::Event;
use artifactstore_registry::model::manifest::Manifest;
use artifactstore_registry::model::name::{Key, KeyMeaning};
use ciborium::Value;

/// How deep canonical CBOR may nest.
const DEPTH: u32 = 16;

/// Canonical CBOR has one encoding: what passes the check is what would be written, and is shown as JSON. What is CBOR
/// and not canonical passes once it is written anew.
pub fn cbor(bytes: &[u8]) {
    let passed = cbor::check(bytes).is_ok();
    assert_eq!(cbor::to_json(bytes).is_ok(), passed, "what is canonical can be shown, and nothing else");
    if passed {
        let value: Value = cbor::decode(bytes).expect("what is canonical can be read");
        assert_eq!(cbor::encode(&value), bytes, "there is a second encoding");
    } else if let Some(rewritten) = rewritten(bytes) {
        assert_eq!(cbor::check(&rewritten), Ok(()), "what is written is canonical");
    }
}

/// The same item as the registry would write it, so that one that is almost canonical gets past the first check;
/// nothing for what it never writes.
fn rewritten(bytes: &[u8]) -> Option<Vec<u8>> {
    let value: Value = ciborium::from_reader(bytes).ok()?;
    is_plain(&value, DEPTH).then(|| cbor::encode(&value))
}

fn is_plain(value: &Value, depth: u32) -> bool {
    match value {
        Value::Integer(_) | Value::Bytes(_) | Value::Text(_) | Value::Bool(_) | Value::Null => true,
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_plain(item, depth - 1)),
        Value::Map(entries) => {
            let names: BTreeSet<&str> = entries.iter().filter_map(|(name, _)| name.as_text()).collect();
            depth > 0 && names.len() == entries.len() && entries.iter().all(|(_, entry)| is_plain(entry, depth - 1))
        }
        _ => false,
    }
}

/// A manifest is the one encoding of what it says, and its projection to JSON is read back. It is tried as it is, and
/// as it would be written.
pub fn manifest(bytes: &[u8]) {
    for bytes in std::iter::once(bytes.to_vec()).chain(rewritten(bytes)) {
        let Ok(manifest) = Manifest::decode(&bytes) else { continue };
        assert_eq!(manifest.encode(), bytes, "a manifest has a second encoding");
        let json: serde_json::Value = serde_json::from_slice(&manifest.to_json()).expect("the projection is JSON");
        assert_eq!(json["manifest_version"], manifest.manifest_version);
        assert_eq!(json["files"].as_array().map(Vec::len), Some(manifest.files.len()), "the projection has all files");
    }
}

/// An event is the one encoding of its fact; its kind is told. The input is the kind, a line feed, and the payload,
/// which is tried as it is, and as it would be written.
pub fn event(bytes: &[u8]) -> Option<&'static str> {
    let at = bytes.iter().position(|byte| *byte == b'\n')?;
    let kind = std::str::from_utf8(&bytes[..at]).ok()?;
    let payload = &bytes[at + 1..];
    let mut known = None;
    for payload in std::iter::once(payload.to_vec()).chain(rewritten(payload)) {
        let Ok(Some(event)) = Event::decode(kind, &payload) else { continue };
        assert_eq!((event.kind(), event.encode()), (kind, payload), "an event has a second encoding");
        known = Some(event.kind());
    }
    known
}

/// A key belongs to one package under one path, from which it can be put together again.
pub fn key(bytes: &[u8]) {
    let Some((depth, text)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(key) = Key::parse(text) else { return };
    assert_eq!(key.as_str(), text);
    match key.meaning(u32::from(*depth) % 17) {
        KeyMeaning::File { package, relative_path } => {
            let whole = if package.is_root() { relative_path } else { format!("{package}/{relative_path}") };
            assert_eq!(whole, text, "two keys would have one path");
        }
        KeyMeaning::Reserved { package, item } => {
            let prefix = package.reserved_prefix();
            let folder = prefix.trim_end_matches('/');
            assert!(text == folder || text == format!("{prefix}{item}"), "{text:?} is not {prefix:?} and {item:?}");
        }
    }
}
