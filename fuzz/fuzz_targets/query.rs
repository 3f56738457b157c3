//! Questions and answers of `abci_query`.
#![no_main]

use rpc::query::{AnchorAt, AnchorProof, Changes, ChangesFrom};
use zynk_fuzz::canonical;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => drop(canonical::<AnchorAt>(bytes)),
        1 => drop(canonical::<AnchorProof>(bytes)),
        2 => drop(canonical::<ChangesFrom>(bytes)),
        _ => drop(canonical::<Changes>(bytes)),
    }
});
