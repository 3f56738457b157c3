//! The bodies of the relay's requests, and its answers as a device reads them.
#![no_main]

use rpc::relay::{Ask, Operate, PrekeyBundles, PublishPrekeys, Refresh, Register, SignIn};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 7 {
        0 => drop(serde_json::from_slice::<Register>(bytes)),
        1 => drop(serde_json::from_slice::<Ask>(bytes)),
        2 => drop(serde_json::from_slice::<SignIn>(bytes)),
        3 => drop(serde_json::from_slice::<Refresh>(bytes)),
        4 => drop(serde_json::from_slice::<Operate>(bytes)),
        5 => drop(serde_json::from_slice::<PublishPrekeys>(bytes)),
        _ => drop(serde_json::from_slice::<PrekeyBundles>(bytes)),
    }
});
