//! What the engine reads off its network and out of its log.
#![no_main]

use consensus::malachite::codec::Wire;
use consensus::malachite::context::{Part, Zynk};
use malachite::app::consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use malachite::app::streaming::StreamMessage;
use malachite::app::types::codec::Codec;
use malachite::app::types::core::{PolkaCertificate, ValidatorProof};
use malachite::app::types::sync;

fn roundtrip<T>(bytes: &[u8])
where
    Wire: Codec<T>,
{
    let bytes = bytes.to_vec().into();
    if let Ok(value) = <Wire as Codec<T>>::decode(&Wire, bytes) {
        let _ = <Wire as Codec<T>>::encode(&Wire, &value);
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 9 {
        0 => roundtrip::<SignedConsensusMsg<Zynk>>(bytes),
        1 => roundtrip::<LivenessMsg<Zynk>>(bytes),
        2 => roundtrip::<StreamMessage<Part>>(bytes),
        3 => roundtrip::<ProposedValue<Zynk>>(bytes),
        4 => roundtrip::<PolkaCertificate<Zynk>>(bytes),
        5 => roundtrip::<ValidatorProof<Zynk>>(bytes),
        6 => roundtrip::<sync::Status<Zynk>>(bytes),
        7 => roundtrip::<sync::Request<Zynk>>(bytes),
        _ => roundtrip::<sync::Response<Zynk>>(bytes),
    }
});
