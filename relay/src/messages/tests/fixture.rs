//! People, and what they send.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use audit::Commitment;
use identity::Did;
use mailbox::frame::{Content, Form, Kind};
use mailbox::intake::Devices;
use mailbox::{Address, Bytes, Submission};
use types::{Hash, Millis};
use uuid::Uuid;

use crate::messages::{Error, Rocks};

pub(crate) const ALICE: Address = address(1, 1);
pub(crate) const BOB: Address = address(2, 1);
pub(crate) const BOBS_TABLET: Address = address(2, 2);

/// The time of every test that does not say another.
pub(crate) const NOW: Millis = Millis(1_800_000_000_000);

pub(crate) const fn address(person: u8, device: u16) -> Address {
    Address { did: Did([person; 32]), device }
}

/// An id of version 7 with this number in it.
pub(crate) fn id(number: u64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    Uuid::from_bytes(bytes)
}

/// Devices by their ids, each with its registration id 100 above.
pub(crate) fn devices(ids: impl IntoIterator<Item = u16>) -> Devices {
    Devices(ids.into_iter().map(|device| (device, u32::from(device) + 100)).collect::<BTreeMap<_, _>>())
}

/// A message for these devices of one person, as many bytes for each.
pub(crate) fn message(number: u64, to: &[Address], bytes: usize) -> Submission {
    let content = |to: &Address| Content {
        device_id: to.device,
        registration_id: u32::from(to.device) + 100,
        form: Form::Ratchet,
        encrypted_content: Bytes(vec![number.to_le_bytes()[0]; bytes]),
    };
    Submission {
        message_id: id(number),
        conversation_id: Hash([9; 32]),
        recipient_id: to[0].did,
        contents: to.iter().map(content).collect(),
        own_contents: Vec::new(),
        content_hash: Some(Commitment(Hash::sha256(&[&number.to_le_bytes()]))),
        timestamp: NOW,
    }
}

/// As [`message`], a receipt.
pub(crate) fn receipt(number: u64, to: &[Address]) -> (Kind, Submission) {
    (Kind::Delivered, Submission { content_hash: None, ..message(number, to, 16) })
}

/// Opens a database. One that was just closed may still be read by a thread of the runtime's.
pub(crate) fn open(path: &Path) -> Rocks {
    for _ in 0..500 {
        match Rocks::open(path) {
            Err(Error::Open { reason, .. }) if reason.contains("lock hold by current process") => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened.expect("it opens"),
        }
    }
    panic!("{} is never closed", path.display());
}
