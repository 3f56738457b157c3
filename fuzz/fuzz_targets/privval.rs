//! What a node and its signer send each other.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| consensus::privval::read(bytes));
