//! Whether a submission is taken, and what becomes of it.
//!
//! The shell asks in this order: [`check`], its record of ids ([`fingerprint`]), the limits, the
//! recipients' queues. Only then is anything stored, all of it in one write.

use std::collections::{BTreeMap, BTreeSet};

use identity::Did;
use types::{Domain, Encode as _, Hash, Millis};

use crate::envelope::Stored;
use crate::frame::{Address, Content, Kind, MAX_CONTENT, MAX_CONTENTS, Refusal, Submission};

/// The devices of an identity that take messages: device id to registration id. At most 16.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Devices(pub BTreeMap<u16 /* device */, u32 /* registration id */>);

static MESSAGE: Domain = Domain::new("zynk.2026 mailbox message v1");

/// Whether `submission` of `from` may be stored: it is in form, and has exactly one ciphertext for
/// each device that is to read it.
///
/// `recipient`: the devices of `submission.recipient_id`. `own`: those of the sender's identity.
/// Whether the sending device is among them makes no difference: it is never written to. A message
/// to oneself has the sender's other devices as its recipient's, and no copies beside; its sender may
/// have no other device, and then it is stored for nobody and still becomes a leaf.
///
/// # Errors
/// [`Refusal::Malformed`], [`Refusal::NoDevices`] or [`Refusal::Devices`] (the recipient's before the
/// sender's own).
pub fn check(from: &Address, kind: Kind, submission: &Submission, recipient: &Devices, own: &Devices) -> Result<(), Refusal> {
    check_form(kind, submission).map_err(|what| Refusal::Malformed { what: what.to_owned() })?;
    let to_oneself = submission.recipient_id == from.did;
    if !to_oneself {
        if recipient.0.is_empty() {
            return Err(Refusal::NoDevices { did: submission.recipient_id });
        }
        compare(submission.recipient_id, &submission.contents, &recipient.0)?;
    } else if !submission.own_contents.is_empty() {
        return Err(Refusal::Malformed { what: "own copies of a message to oneself".to_owned() });
    }
    let mut others = own.0.clone();
    others.remove(&from.device);
    compare(from.did, if to_oneself { &submission.contents } else { &submission.own_contents }, &others)
}

/// What the form of a submission must be, whoever the devices are.
fn check_form(kind: Kind, submission: &Submission) -> Result<(), &'static str> {
    if submission.message_id.get_version_num() != 7 {
        return Err("the message id is not a UUID of version 7");
    }
    match (kind, submission.content_hash) {
        (Kind::Message, None) => return Err("a message without its commitment"),
        (Kind::Delivered | Kind::Read, Some(_)) => return Err("a receipt with a commitment"),
        _ => {}
    }
    if submission.contents.len() + submission.own_contents.len() > MAX_CONTENTS {
        return Err("too many contents");
    }
    if submission.all_contents().any(|content| content.encrypted_content.0.is_empty()) {
        return Err("an empty content");
    }
    if submission.all_contents().any(|content| content.encrypted_content.0.len() > MAX_CONTENT) {
        return Err("a content that is too long");
    }
    if twice(&submission.contents) || twice(&submission.own_contents) {
        return Err("two contents for one device");
    }
    Ok(())
}

fn twice(contents: &[Content]) -> bool {
    contents.iter().map(|content| content.device_id).collect::<BTreeSet<u16>>().len() < contents.len()
}

/// One content for each device, made for the device as it is now set up.
fn compare(did: Did, contents: &[Content], devices: &BTreeMap<u16, u32>) -> Result<(), Refusal> {
    let given: BTreeMap<u16, u32> = contents.iter().map(|content| (content.device_id, content.registration_id)).collect();
    let missing: Vec<u16> = devices.keys().filter(|device| !given.contains_key(device)).copied().collect();
    let extra: Vec<u16> = given.keys().filter(|device| !devices.contains_key(device)).copied().collect();
    let stale = |(device, registration): (&u16, &u32)| devices.get(device).is_some_and(|now| now != registration).then_some(*device);
    let stale: Vec<u16> = given.iter().filter_map(stale).collect();
    if missing.is_empty() && extra.is_empty() && stale.is_empty() {
        return Ok(());
    }
    Err(Refusal::Devices { did, missing, extra, stale })
}

/// What becomes of a submission that [`check`] let pass: for each device, what its mailbox keeps, in the
/// order of the contents. `sealed_envelope`: of a message, none for a receipt.
#[must_use]
pub fn deliveries(
    from: &Address,
    kind: Kind,
    submission: &Submission,
    received_at: Millis,
    sealed_envelope: Option<Hash>,
) -> Vec<(Address, Stored)> {
    let stored = |did: Did, content: &Content| {
        let stored = Stored {
            kind,
            message_id: submission.message_id,
            conversation_id: submission.conversation_id,
            sender_id: from.did,
            sender_device_id: from.device,
            recipient_id: submission.recipient_id,
            form: content.form,
            encrypted_content: content.encrypted_content.clone(),
            content_hash: submission.content_hash,
            timestamp: submission.timestamp,
            received_at,
            sealed_envelope,
        };
        (Address { did, device: content.device_id }, stored)
    };
    let theirs = submission.contents.iter().map(|content| stored(submission.recipient_id, content));
    theirs.chain(submission.own_contents.iter().map(|content| stored(from.did, content))).collect()
}

/// What a message id stands for, to tell a message sent again from another one under the same id
/// ([`Refusal::IdReused`]): kind, conversation, recipient, commitment and timestamp, not the
/// ciphertexts, which a sender may have to make anew when the devices have changed meanwhile.
#[must_use]
pub fn fingerprint(kind: Kind, submission: &Submission) -> Hash {
    let mut bytes = kind.to_bytes();
    submission.conversation_id.encode(&mut bytes);
    submission.recipient_id.encode(&mut bytes);
    submission.content_hash.map(|commitment| commitment.0).encode(&mut bytes);
    submission.timestamp.encode(&mut bytes);
    MESSAGE.hash(&[&bytes])
}

#[cfg(test)]
mod tests;
