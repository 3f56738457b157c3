//! The body of a JSON-RPC request to a node.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = node::rpc::envelope::read(bytes);
});
