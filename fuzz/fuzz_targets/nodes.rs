//! What a peer tells of the nodes that it knows.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| node::gossip::hear(bytes));
