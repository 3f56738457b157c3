//! What is inside an encrypted message: a contact can write anything.
#![no_main]

use client::envelope::Envelope;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::open(bytes) {
        assert_eq!(Envelope::open(&envelope.seal()).as_ref(), Ok(&envelope), "an envelope is opened as it was sealed");
    }
});
