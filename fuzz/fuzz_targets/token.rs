//! The token in a stranger's request, and the keys that it is held against.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway::read(bytes));
