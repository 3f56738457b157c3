//! Evidence, as gossip brings it.
#![no_main]

use consensus::evidence::{self, bytes};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(found) = bytes::decode(data, 1 << 20) {
        assert_eq!(bytes::encode(&found), data, "evidence has one encoding");
        let _ = evidence::mark(&found);
    }
});
