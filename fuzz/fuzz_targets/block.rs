//! A block, as a proposer's parts or a peer that is ahead bring it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(block) = consensus::chain::decode(bytes, 1 << 20) {
        assert_eq!(consensus::chain::encode(&block), bytes, "a block has one encoding");
        let _ = block.header.hash();
    }
});
