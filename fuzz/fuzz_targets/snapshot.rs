//! A snapshot's manifest and records, as a server gives them.
#![no_main]

use node::snapshot::Manifest;
use node::snapshot::record::Record;
use types::Reader;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    if kind & 1 == 0 {
        let _ = Manifest::parse(bytes);
        return;
    }
    let mut reader = Reader::new(bytes);
    while reader.remaining() > 0 {
        let Ok(record) = Record::read(&mut reader) else { return };
        assert!(record.to_bytes().is_ok(), "a record that was read can be written");
    }
});
