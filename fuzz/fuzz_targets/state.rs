//! Entries of the state, as proofs bring them.
#![no_main]

use audit::log::Head;
use audit::{LogRecord, SignedAnchor};
use identity::Entry;
use ledger::account::Account;
use ledger::{Body, Params};
use zynk_fuzz::canonical;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 7 {
        0 => drop(canonical::<Account>(bytes)),
        1 => drop(canonical::<Entry>(bytes)),
        2 => drop(canonical::<LogRecord>(bytes)),
        3 => drop(canonical::<SignedAnchor>(bytes)),
        4 => drop(canonical::<Head>(bytes)),
        5 => drop(canonical::<Params>(bytes)),
        _ => drop(canonical::<Body>(bytes)),
    }
});
