//! Whether what clients saw keeps the relay's promise: [`check`] reads what they recorded, in order.
//!
//! The promise (`docs/spec/mailbox.md`): what was accepted reaches every device that it is for; a
//! device's numbers have no gap, and none stands for two messages; nothing comes again in a session
//! or after it was acknowledged; what one device sends in one conversation arrives in its order.
//!
//! An event is recorded at the moment at which the client does or hears it, so an acknowledgement
//! may not have reached the relay. What can be judged soundly from that is judged; a history in which
//! nothing is found is not a proof. Bound: [`MAX_VIOLATIONS`] are reported.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use types::Hash;
use uuid::Uuid;

use crate::frame::Address;

mod order;

/// The most violations that are reported.
pub const MAX_VIOLATIONS: usize = 1_000;

/// What a client did or heard, or a test did to the relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A device sent `session.open`: its session begins.
    Opened {
        /// The device.
        by: Address,
        /// The number that it named.
        acknowledged: u64,
    },
    /// A device sent a message, for the first time or again.
    Sent {
        /// The device.
        by: Address,
        /// The message.
        message: Uuid,
        /// Its conversation.
        conversation: Hash,
        /// The mailboxes that it is for: the recipient's devices and the sender's others.
        to: Vec<Address>,
    },
    /// A device heard that its message is stored.
    Accepted {
        /// The device.
        by: Address,
        /// The message.
        message: Uuid,
    },
    /// A device heard that its message was not taken.
    Refused {
        /// The device.
        by: Address,
        /// The message.
        message: Uuid,
    },
    /// A device was given an item.
    Received {
        /// The device.
        by: Address,
        /// The item's number.
        sequence: u64,
        /// The message.
        message: Uuid,
        /// Its conversation.
        conversation: Hash,
        /// Who sent it.
        from: Address,
    },
    /// A device sent an acknowledgement.
    Acknowledged {
        /// The device.
        by: Address,
        /// Everything up to this number.
        upto: u64,
        /// And these.
        also: Vec<u64>,
    },
    /// A device heard `queue.empty`.
    Drained {
        /// The device.
        by: Address,
    },
    /// The relay let items expire.
    Expired {
        /// Of this device.
        of: Address,
        /// Everything up to this number.
        upto: u64,
    },
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "violation", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "`by` is whose history shows it; each variant says what it is")]
pub enum Violation {
    /// A message was accepted before the session was opened, and the mailbox was empty without it.
    #[error("{message} was accepted and never reached {by:?}")]
    Lost { by: Address, message: Uuid },
    /// Numbers were left out that the device neither acknowledged nor let expire.
    #[error("{by:?} was given {sequence} after {after}")]
    Gap { by: Address, after: u64, sequence: u64 },
    /// An item came a second time in a session, or out of order, or after it was acknowledged.
    #[error("{by:?} was given {sequence} again")]
    Repeated { by: Address, sequence: u64 },
    /// A number stood for two messages.
    #[error("number {sequence} of {by:?} was given twice")]
    NumberReused { by: Address, sequence: u64 },
    /// A message has two numbers in one mailbox.
    #[error("{message} was stored twice for {by:?}")]
    Duplicate { by: Address, message: Uuid },
    /// A message came before one that the same device sent before it in the conversation.
    #[error("{message} reached {by:?} out of order")]
    Disordered { by: Address, message: Uuid },
    /// A message came, or was answered, that nobody sent so.
    #[error("{by:?} was told of {message}, which nobody sent so")]
    Unknown { by: Address, message: Uuid },
}

/// A message: who sent it, and its id.
type Name = (Address, Uuid);

/// What a device's history has shown so far.
#[derive(Debug, Default)]
struct Mailbox {
    /// The last number given in this session, or the one that it was opened with.
    cursor: u64,
    /// The highest number up to which the device has acknowledged everything, in any session.
    acknowledged: u64,
    /// What it acknowledged one by one, in any session.
    selected: BTreeSet<u64>,
    /// The same, in this session.
    selected_now: BTreeSet<u64>,
    /// Up to this number items have expired.
    expired: u64,
    /// When the session was opened, as an index of events.
    opened_at: usize,
    numbers: BTreeMap<u64, Name>,
    places: BTreeMap<Name, u64>,
    /// Accepted for this device and not received yet: when.
    awaited: BTreeMap<Name, usize>,
}

/// What was sent under a name.
#[derive(Debug)]
struct Message<'a> {
    conversation: Hash,
    to: &'a [Address],
}

/// The violations that the events show, in the order in which they show; [`Violation::Disordered`]
/// last. The events stand in the order in which they happened, as far as the clients' clocks can
/// tell: what must not be turned round is sent before accepted, accepted before opened.
#[must_use]
pub fn check(events: &[Event]) -> Vec<Violation> {
    let mut checker = Checker::default();
    for (at, event) in events.iter().enumerate() {
        checker.observe(at, event);
    }
    let places = |device: &Address, name: &Name| checker.mailboxes.get(device).and_then(|mailbox| mailbox.places.get(name)).copied();
    let disordered = order::check(events, places);
    let mut found = checker.found;
    found.extend(disordered);
    found.truncate(MAX_VIOLATIONS);
    found
}

#[derive(Debug, Default)]
struct Checker<'a> {
    mailboxes: BTreeMap<Address, Mailbox>,
    sent: BTreeMap<Name, Message<'a>>,
    accepted: BTreeSet<Name>,
    found: Vec<Violation>,
}

impl<'a> Checker<'a> {
    fn observe(&mut self, at: usize, event: &'a Event) {
        match event {
            Event::Opened { by, acknowledged } => {
                let mailbox = self.mailboxes.entry(*by).or_default();
                mailbox.cursor = *acknowledged;
                mailbox.acknowledged = mailbox.acknowledged.max(*acknowledged);
                mailbox.selected_now.clear();
                mailbox.opened_at = at;
            }
            Event::Sent { by, message, conversation, to } => {
                self.sent.insert((*by, *message), Message { conversation: *conversation, to });
            }
            Event::Accepted { by, message } => self.accept(at, *by, *message),
            Event::Refused { by, message } => {
                if !self.sent.contains_key(&(*by, *message)) {
                    self.found.push(Violation::Unknown { by: *by, message: *message });
                }
            }
            Event::Received { by, sequence, message, conversation, from } => {
                let known =
                    self.sent.get(&(*from, *message)).is_some_and(|sent| sent.conversation == *conversation && sent.to.contains(by));
                if !known {
                    self.found.push(Violation::Unknown { by: *by, message: *message });
                }
                let mailbox = self.mailboxes.entry(*by).or_default();
                mailbox.receive(*by, *sequence, (*from, *message), &mut self.found);
            }
            Event::Acknowledged { by, upto, also } => {
                let mailbox = self.mailboxes.entry(*by).or_default();
                mailbox.acknowledged = mailbox.acknowledged.max(*upto);
                mailbox.selected.extend(also);
                mailbox.selected_now.extend(also);
            }
            Event::Drained { by } => self.mailboxes.entry(*by).or_default().drain(*by, &mut self.found),
            Event::Expired { of, upto } => {
                let mailbox = self.mailboxes.entry(*of).or_default();
                mailbox.expired = mailbox.expired.max(*upto);
            }
        }
    }

    fn accept(&mut self, at: usize, by: Address, message: Uuid) {
        let Some(sent) = self.sent.get(&(by, message)) else {
            self.found.push(Violation::Unknown { by, message });
            return;
        };
        // Answered again, it was durable the first time.
        if self.accepted.insert((by, message)) {
            for device in sent.to {
                let mailbox = self.mailboxes.entry(*device).or_default();
                if !mailbox.places.contains_key(&(by, message)) {
                    mailbox.awaited.insert((by, message), at);
                }
            }
        }
    }
}

impl Mailbox {
    fn receive(&mut self, by: Address, sequence: u64, name: Name, found: &mut Vec<Violation>) {
        if sequence <= self.cursor.max(self.acknowledged) || self.selected_now.contains(&sequence) {
            found.push(Violation::Repeated { by, sequence });
        }
        let before = self.cursor.max(self.acknowledged).max(self.expired);
        if before < sequence {
            // Each number in between must be one that the device has acknowledged by itself.
            let between = self.selected.range(before + 1..sequence).count() as u64;
            if between < sequence - before - 1 {
                found.push(Violation::Gap { by, after: before, sequence });
            }
        }
        self.cursor = self.cursor.max(sequence);
        if *self.numbers.entry(sequence).or_insert(name) != name {
            found.push(Violation::NumberReused { by, sequence });
        }
        if *self.places.entry(name).or_insert(sequence) != sequence {
            found.push(Violation::Duplicate { by, message: name.1 });
        }
        self.awaited.remove(&name);
    }

    /// Nothing is left in the mailbox: whatever was accepted before the session began has come, or
    /// has expired, and of what has expired there is at most one for each number that never came.
    fn drain(&mut self, by: Address, found: &mut Vec<Violation>) {
        let missing: Vec<Name> = self.awaited.iter().filter(|(_, at)| **at < self.opened_at).map(|(name, _)| *name).collect();
        let expired = self.expired - self.numbers.range(..=self.expired).count() as u64;
        if missing.len() as u64 > expired {
            found.extend(missing.iter().map(|name| Violation::Lost { by, message: name.1 }));
        }
        for name in &missing {
            self.awaited.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
