//! A proof bundle, binary or JSON, and its verification with a trusted header that it does not hold under.
#![no_main]

use audit::bundle::{Bundle, verify};
use light::{Checkpoint, Options, Trust};
use tendermint::Time;
use types::Encode as _;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(bundle) = Bundle::parse(bytes) else { return };
    assert_eq!(Bundle::from_bytes(&bundle.to_bytes()).as_ref(), Ok(&bundle), "a bundle is read as it was written");
    let checkpoint: Checkpoint = serde_json::from_slice(include_bytes!("../seeds/checkpoint.json")).expect("a checkpoint");
    let _ =
        verify(&bundle, &Trust::checkpoint(&checkpoint), Time::from_unix_timestamp(1_800_000_000, 0).expect("a time"), &Options::default());
});
