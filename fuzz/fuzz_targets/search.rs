//! A query of `tx_search`, `block_search` and `subscribe`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| node::index::parse(text));
