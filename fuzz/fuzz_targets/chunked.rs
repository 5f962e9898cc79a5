//! Fuzzes `artifactstore_fuzz::door::Door::chunked`.
#![no_main]

use artifactstore_fuzz::door::Door;

thread_local! {
    static DOOR: Door = Door::open();
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| DOOR.with(|door| {
    door.chunked(bytes);
}));
