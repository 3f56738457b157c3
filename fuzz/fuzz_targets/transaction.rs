//! A transaction off the wire: an RPC's parameter, a gossip message, a part of a block.
#![no_main]

use ledger::SignedTransaction;
use types::Encode as _;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(transaction) = SignedTransaction::parse(bytes) {
        assert_eq!(transaction.to_bytes(), bytes, "a transaction has one encoding");
        let _ = transaction.verify();
    }
});
