//! What a light client reads: trusted headers, sealed headers, hand-offs, proofs of entries.
#![no_main]

use light::{Handoff, Kept, Sealed, StateProof};
use zynk_fuzz::canonical;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 5 {
        0 => drop(canonical::<Sealed>(bytes)),
        1 => drop(canonical::<Handoff>(bytes)),
        2 => drop(Kept::from_bytes(bytes, 1_000)),
        3 => drop(canonical::<StateProof>(bytes)),
        _ => drop(StateProof::from_ics23(b"params", bytes)),
    }
});
