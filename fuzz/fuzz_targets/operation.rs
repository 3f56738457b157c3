//! An operation on an identity, as a relay or a block brings it.
#![no_main]

use identity::SignedOperation;
use types::{ChainId, Encode as _, Height};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(operation) = SignedOperation::parse(bytes) else { return };
    assert_eq!(operation.to_bytes(), bytes, "an operation has one encoding");
    let chain: ChainId = "zynk-test".parse().expect("a chain's name");
    if let Ok(entry) = identity::apply(None, &chain, Height(5), &operation) {
        assert!(entry.to_bytes().len() <= 4096, "an entry is small");
    }
});
