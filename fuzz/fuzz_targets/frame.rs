//! Frames of a WebSocket, in both directions and both encodings.
#![no_main]

use mailbox::wire::{Encoding, decode_client, decode_server, encode};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let encoding = if kind & 1 == 0 { Encoding::Json } else { Encoding::Cbor };
    if kind & 2 == 0 {
        if let Ok(frame) = decode_client(encoding, bytes) {
            assert_eq!(decode_client(encoding, &encode(encoding, &frame)), Ok(frame), "a frame is read as it was written");
        }
    } else if let Ok(frame) = decode_server(encoding, bytes) {
        assert_eq!(decode_server(encoding, &encode(encoding, &frame)), Ok(frame), "a frame is read as it was written");
    }
});
