//! What the program is held to, whatever bytes it is given.
//!
//! The functions here take any input, as a fuzzer wants it. An ordinary test (`gateway/tests/corpus.rs`) runs them over
//! everything in `corpus/`, so that what was once found stays found on every machine.
//!
//! Invariant: a function here panics when a promise is broken, and only then.

pub mod door;

use artifactstore_registry::model::cbor;
use artifactstore_registry::model::event::Event;
use artifactstore_registry::model::manifest::Manifest;
use artifactstore_registry::model::name::{Key, KeyMeaning};

/// Canonical CBOR has one encoding: what passes the check is what would be written, and is shown as JSON.
pub fn cbor(bytes: &[u8]) {
    let passed = cbor::check(bytes).is_ok();
    assert_eq!(cbor::to_json(bytes).is_ok(), passed, "what is canonical can be shown, and nothing else");
    if passed {
        let value: ciborium::Value = cbor::decode(bytes).expect("what is canonical can be read");
        assert_eq!(cbor::encode(&value), bytes, "there is a second encoding");
    }
}

/// A manifest is the one encoding of what it says, and its projection to JSON is read back.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::decode(bytes) else { return };
    assert_eq!(manifest.encode(), bytes, "a manifest has a second encoding");
    let json: serde_json::Value = serde_json::from_slice(&manifest.to_json()).expect("the projection is JSON");
    assert_eq!(json["manifest_version"], manifest.manifest_version);
}

/// An event is the one encoding of its fact. The input is its kind, a line feed, and the payload.
pub fn event(bytes: &[u8]) {
    let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(kind) = std::str::from_utf8(&bytes[..at]) else { return };
    let payload = &bytes[at + 1..];
    let Ok(Some(event)) = Event::decode(kind, payload) else { return };
    assert_eq!((event.kind(), event.encode().as_slice()), (kind, payload), "an event has a second encoding");
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
