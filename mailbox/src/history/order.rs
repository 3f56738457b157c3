//! Order: what one device sends in one conversation arrives as it was sent.
//!
//! A relay takes a connection's messages in their order, may lose the end of them, and may refuse
//! some. So a message stands after whatever was accepted before it was sent, and after whatever was
//! sent before it in the same session and not refused there. A message that was sent again may have
//! been taken at any of its sendings: one that explains its place is enough; and at the sendings before
//! the last it may have been refused without the device hearing of it.

use std::collections::{BTreeMap, BTreeSet};

use types::Hash;

use super::{Event, Name, Violation};
use crate::frame::Address;

/// One sender's stream in one conversation, as one mailbox has it: mailbox, sender, conversation.
type Stream = (Address, Address, Hash);

#[derive(Default)]
struct Highest {
    /// The highest place among what was accepted.
    accepted: u64,
    /// The highest place among what was sent in this session.
    session: u64,
    /// Which session that is.
    number: usize,
}

/// The messages that stand before one that they must stand behind. `place`: the number that a message
/// has in a mailbox, if it came.
pub(super) fn check(events: &[Event], place: impl Fn(&Address, &Name) -> Option<u64>) -> BTreeSet<Violation> {
    let refused = perhaps_refused(events);
    let mut sessions: BTreeMap<Address, usize> = BTreeMap::new();
    let mut streams: BTreeMap<Stream, Highest> = BTreeMap::new();
    let mut sent: BTreeMap<Name, (Hash, &[Address])> = BTreeMap::new();
    let mut explained: BTreeMap<(Address, Name), bool> = BTreeMap::new();
    for event in events {
        match event {
            Event::Opened { by, .. } => *sessions.entry(*by).or_default() += 1,
            Event::Sent { by, message, conversation, to } => {
                let (name, session) = ((*by, *message), sessions.get(by).copied().unwrap_or_default());
                sent.insert(name, (*conversation, to));
                for device in to {
                    let Some(place) = place(device, &name) else { continue };
                    let highest = streams.entry((*device, *by, *conversation)).or_default();
                    if highest.number != session {
                        (highest.number, highest.session) = (session, 0);
                    }
                    *explained.entry((*device, name)).or_default() |= highest.accepted.max(highest.session) <= place;
                    if !refused.contains(&(name, session)) {
                        highest.session = highest.session.max(place);
                    }
                }
            }
            Event::Accepted { by, message } => {
                let name = (*by, *message);
                let Some((conversation, to)) = sent.get(&name) else { continue };
                for device in *to {
                    let Some(place) = place(device, &name) else { continue };
                    let highest = streams.entry((*device, *by, *conversation)).or_default();
                    highest.accepted = highest.accepted.max(place);
                }
            }
            _ => {}
        }
    }
    let disordered = explained.into_iter().filter(|(_, explained)| !explained);
    disordered.map(|((by, (_, message)), _)| Violation::Disordered { by, message }).collect()
}

/// Which messages were refused or may have been, in which session of their sender.
fn perhaps_refused(events: &[Event]) -> BTreeSet<(Name, usize)> {
    let mut sessions: BTreeMap<Address, usize> = BTreeMap::new();
    let mut last: BTreeMap<Name, usize> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for event in events {
        let session = |by: &Address| sessions.get(by).copied().unwrap_or_default();
        match event {
            Event::Opened { by, .. } => *sessions.entry(*by).or_default() += 1,
            Event::Sent { by, message, .. } => {
                let (name, session) = ((*by, *message), session(by));
                if let Some(before) = last.insert(name, session).filter(|before| *before != session) {
                    refused.insert((name, before));
                }
            }
            Event::Refused { by, message } => {
                refused.insert(((*by, *message), session(by)));
            }
            _ => {}
        }
    }
    refused
}
