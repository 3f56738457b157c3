//! A genesis file that somebody was given.
#![no_main]

use genesis::Genesis;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if zynk_fuzz::breaks_published_parsers(bytes) {
        return;
    }
    if let Ok(genesis) = Genesis::parse(bytes) {
        let _ = genesis.hash();
        let _ = genesis.first_state();
        let _ = genesis.trust();
    }
});
