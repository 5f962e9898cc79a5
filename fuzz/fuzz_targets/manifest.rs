//! Fuzzes `artifactstore_fuzz::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| artifactstore_fuzz::manifest(bytes));
