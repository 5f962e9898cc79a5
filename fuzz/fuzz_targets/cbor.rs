//! Fuzzes `artifactstore_fuzz::cbor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| artifactstore_fuzz::cbor(bytes));
