//! What people wrote to each other, and whether all of it came.

use std::collections::BTreeMap;

use client::history::{Message, State};
use identity::Did;
use mailbox::Address;
use mailbox::frame::Kind;
use uuid::Uuid;

use super::{PAGE, Phone, Town};

/// What was written: by whom, to whom, in order.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    texts: BTreeMap<(Address, Did), Vec<(Uuid, String)>>,
}

impl Letters {
    /// Writes a numbered message.
    pub(crate) fn write(&mut self, town: &Town, from: &Phone, to: &Did) -> Uuid {
        let texts = self.texts.entry((from.address, *to)).or_default();
        let text = format!("number {}", texts.len());
        let id = town.write(from, to, &text);
        texts.push((id, text));
        id
    }

    /// What was written so far is settled: only what follows is looked at from here on.
    pub(crate) fn forget(&mut self) {
        self.texts.clear();
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.values().map(Vec::len).sum()
    }

    /// All ids, with who wrote them and to whom.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (Address, Did, Uuid)> {
        self.texts.iter().flat_map(|((from, to), texts)| texts.iter().map(|(id, _)| (*from, *to, *id)))
    }

    /// Whether something that is for this device has not come, or not been accepted and delivered.
    pub(super) fn are_missing(&self, town: &Town, phone: &Phone) -> bool {
        self.at(phone).any(|(from, with, texts)| {
            let mut found = seen(town, phone, from, with, texts);
            // The sender waits for the second tick.
            found.retain(|message| message.state != State::Queued && (!message.outgoing || message.has_receipt(Kind::Delivered)));
            found.len() < texts.len().min(PAGE as usize / 2)
        })
    }

    /// Everything that is for a device stands in its history once, whole and in order.
    pub(super) fn check(&self, town: &Town, phone: &Phone) {
        for (from, with, texts) in self.at(phone) {
            let messages = seen(town, phone, from, with, texts);
            let found: Vec<(Uuid, String)> = messages.iter().map(|message| (message.message_id, message.text.clone())).collect();
            // A history is asked for by the page.
            let newest = &texts[texts.len() - found.len().min(texts.len())..];
            assert_eq!(found, newest, "from {from:?} at {:?}", phone.address);
            let expected = if from.did == phone.address.did { State::Accepted } else { State::Received };
            for message in &messages {
                assert_eq!((message.state, &message.reason), (expected, &None), "{}", message.message_id);
                assert!(matches!(message.integrity.as_deref(), None | Some("holds")), "{:?}", message.integrity);
            }
        }
    }

    /// What a device must have: from whom, in the conversation with whom.
    fn at(&self, phone: &Phone) -> impl Iterator<Item = (&Address, &Did, &[(Uuid, String)])> {
        let own = phone.address.did;
        self.texts.iter().filter_map(move |((from, to), texts)| match () {
            () if *to == own => Some((from, &from.did, texts.as_slice())),
            () if from.did == own => Some((from, to, texts.as_slice())),
            () => None,
        })
    }
}

/// What a device has of a sender since the first of some messages: ids are by time.
fn seen(town: &Town, phone: &Phone, from: &Address, with: &Did, since: &[(Uuid, String)]) -> Vec<Message> {
    let mut messages = town.conversation(phone, with);
    messages.retain(|message| message.sender == *from && since.first().is_none_or(|(first, _)| message.message_id >= *first));
    messages
}
