//! Fuzzes `artifactstore_fuzz::event`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    artifactstore_fuzz::event(bytes);
});
