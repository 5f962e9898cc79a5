//! Fuzzes `artifactstore_fuzz::key`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| artifactstore_fuzz::key(bytes));
