//! The address book: which nodes there are, and where. It is bounded, and no owner of addresses can fill it:
//! a /16 of IPv4 and a /32 of IPv6 have a shelf each, a household (an IPv4 address, a /64) a few places on it.
//!
//! Whom the operator named and who stands in a validator's record is *expected*: it always has its place.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;
use types::{ChainId, Decode as _, Encode as _, List};

use super::announcement::{Announcement, MAX_AGE_MS, MAX_BYTES, Node};
use super::place::{Group, Place, household, is_local};

/// At most so many nodes stand in it, beside those that are expected.
pub(super) const NODES: usize = 1024;
/// At most so many on one shelf.
pub(super) const ON_A_SHELF: usize = 32;
/// At most so many of one household.
pub(super) const OF_A_HOUSEHOLD: usize = 4;
/// At most so many are expected: the validators of a set, and whom the operator named.
pub(super) const EXPECTED: usize = 256;
/// A node that was never reached goes after so many attempts in a row.
const ATTEMPTS_WITH_NEW: u32 = 3;
/// One that was reached before goes after so many.
const ATTEMPTS_WITH_PROVEN: u32 = 10;
/// The first byte of the file.
const VERSION: u8 = 1;
/// The file has at most so many bytes.
pub(super) const MAX_FILE: u64 = 1 + 3 + ((NODES + EXPECTED) * (MAX_BYTES + 1)) as u64;

/// A node as the file has it: what it announced, and whether it was ever reached.
struct Line {
    announcement: Announcement,
    proven: bool,
}
types::codec!(Line { announcement, proven });

/// A node and what came of dialling it.
#[derive(Debug, Clone)]
struct Entry {
    node: Node,
    /// Whether it was ever reached.
    proven: bool,
    /// Attempts that failed since it was last reached.
    failures: u32,
}

/// What became of a node that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is new, or said something new.
    New,
    /// The same, or something later, is there.
    Known,
    /// There is no room for it.
    Full,
}

/// The book.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: BTreeMap<PeerId, Entry>,
    expected: BTreeSet<PeerId>,
    changed: bool,
}

impl Book {
    /// Names those who always have a place.
    pub(super) fn expect(&mut self, expected: BTreeSet<PeerId>) {
        self.expected = expected;
    }

    pub(super) fn is_expected(&self, peer: &PeerId) -> bool {
        self.expected.contains(peer)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn node(&self, peer: &PeerId) -> Option<&Node> {
        self.entries.get(peer).map(|entry| &entry.node)
    }

    /// Whether an announcement says something new, which is known before its signature is looked at.
    pub(super) fn is_news(&self, peer: &PeerId, time_ms: u64) -> bool {
        self.node(peer).is_none_or(|known| known.announcement.time_ms < time_ms)
    }

    /// Takes a node, if there is room or somebody of less worth makes some: one that was never reached, on the
    /// same shelf or the fullest.
    pub(super) fn take(&mut self, node: Node) -> Taken {
        if !self.is_news(&node.id, node.announcement.time_ms) {
            return Taken::Known;
        }
        let before = self.entries.remove(&node.id);
        if !self.is_expected(&node.id) && !self.make_room(&node.home()) {
            if let Some(entry) = before {
                self.entries.insert(node.id, entry);
            }
            return Taken::Full;
        }
        let proven = before.is_some_and(|entry| entry.proven);
        self.entries.insert(node.id, Entry { node, proven, failures: 0 });
        self.changed = true;
        Taken::New
    }

    /// Whether there is room for a node at this place, after somebody else may have gone.
    fn make_room(&mut self, place: &Place) -> bool {
        // A network of one's own has few owners and few addresses.
        if !is_local(place.ip) {
            let (home, group) = (household(place.ip), place.group());
            if !self.bounded(OF_A_HOUSEHOLD, |other| household(other.ip) == home)
                || !self.bounded(ON_A_SHELF, |other| other.group() == group)
            {
                return false;
            }
        }
        if self.ordinary().count() < NODES {
            return true;
        }
        let mut shelves: BTreeMap<Group, usize> = BTreeMap::new();
        for entry in self.ordinary() {
            *shelves.entry(entry.node.home().group()).or_default() += 1;
        }
        let fullest = shelves.into_iter().max_by_key(|(_, count)| *count).map(|(group, _)| group);
        fullest.is_some_and(|group| self.drop_one(|place| place.group() == group)) || self.drop_one(|_| true)
    }

    /// Sees to it that one more can be among these without there being more than `bound`.
    fn bounded(&mut self, bound: usize, among: impl Fn(&Place) -> bool) -> bool {
        self.ordinary().filter(|entry| among(&entry.node.home())).count() < bound || self.drop_one(among)
    }

    /// Those who have no right to a place.
    fn ordinary(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| !self.expected.contains(&entry.node.id))
    }

    /// Drops one of these that was never reached: the one that failed most, and of those the oldest.
    fn drop_one(&mut self, among: impl Fn(&Place) -> bool) -> bool {
        let unproven = self.ordinary().filter(|entry| !entry.proven && among(&entry.node.home()));
        let worst =
            unproven.min_by_key(|entry| (std::cmp::Reverse(entry.failures), entry.node.announcement.time_ms)).map(|entry| entry.node.id);
        worst.is_some_and(|id| self.entries.remove(&id).is_some())
    }

    /// A node was reached.
    pub(super) fn reached(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer) {
            self.changed |= !entry.proven;
            (entry.proven, entry.failures) = (true, 0);
        }
    }

    /// A node could not be reached. One that fails again and again goes.
    pub(super) fn failed(&mut self, peer: &PeerId) {
        let Some(entry) = self.entries.get_mut(peer) else { return };
        entry.failures = entry.failures.saturating_add(1);
        let attempts = if entry.proven { ATTEMPTS_WITH_PROVEN } else { ATTEMPTS_WITH_NEW };
        if entry.failures >= attempts && !self.expected.contains(peer) {
            self.forget(peer);
        }
    }

    /// Strikes a node out.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.changed |= self.entries.remove(peer).is_some();
    }

    /// Strikes out what is too old. Who is expected stays: the chain may have stood still for days.
    pub(super) fn tidy(&mut self, now_ms: u64) {
        let (before, oldest) = (self.entries.len(), now_ms.saturating_sub(MAX_AGE_MS));
        let expected = &self.expected;
        self.entries.retain(|id, entry| expected.contains(id) || entry.node.announcement.time_ms >= oldest);
        self.changed |= self.entries.len() != before;
    }

    /// Somebody to dial: any shelf, then anybody on it, each by a dice that gives a number below its argument.
    pub(super) fn choose(&self, suits: impl Fn(&Node) -> bool, mut dice: impl FnMut(usize) -> usize) -> Option<&Node> {
        let mut shelves: BTreeMap<Group, Vec<&Node>> = BTreeMap::new();
        for entry in self.entries.values().filter(|entry| !entry.node.gossip.is_empty() && suits(&entry.node)) {
            shelves.entry(entry.node.home().group()).or_default().push(&entry.node);
        }
        let shelves: Vec<_> = shelves.into_values().collect();
        let shelf = shelves.get(if shelves.is_empty() { 0 } else { dice(shelves.len()) })?;
        shelf.get(dice(shelf.len())).copied()
    }

    /// What is told to who asks: whoever is expected, and up to `others` more, any.
    pub(super) fn told(&self, others: usize, now_ms: u64, mut dice: impl FnMut(usize) -> usize) -> Vec<Announcement> {
        let fresh = |entry: &&Entry| entry.node.announcement.time_ms >= now_ms.saturating_sub(MAX_AGE_MS);
        let (mut told, mut rest): (Vec<_>, Vec<_>) =
            self.entries.values().filter(fresh).partition(|entry| self.expected.contains(&entry.node.id));
        told.truncate(EXPECTED);
        for _ in 0..others.min(rest.len()) {
            let drawn = dice(rest.len()).min(rest.len() - 1);
            told.push(rest.swap_remove(drawn));
        }
        told.into_iter().map(|entry| entry.node.announcement.clone()).collect()
    }

    /// The bytes of the file, if something has changed since they were asked for last.
    pub(super) fn take_file(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let line = |entry: &Entry| Line { announcement: entry.node.announcement.clone(), proven: entry.proven };
        let (first, rest): (Vec<_>, Vec<_>) = self.entries.values().partition(|entry| self.expected.contains(&entry.node.id));
        let lines: Vec<Line> = first.into_iter().chain(rest).take(NODES + EXPECTED).map(line).collect();
        let mut bytes = vec![VERSION];
        List::<Line, { NODES + EXPECTED }>::try_from(lines).ok()?.encode(&mut bytes);
        Some(bytes)
    }

    /// Takes up what a file has, as far as it would be taken from a stranger; false for a file that is damaged.
    pub(super) fn load(&mut self, bytes: &[u8], chain: &ChainId, now_ms: u64, local: bool) -> bool {
        let Some((&VERSION, bytes)) = bytes.split_first() else { return false };
        let Ok(lines) = List::<Line, { NODES + EXPECTED }>::from_bytes(bytes) else { return false };
        for Line { announcement, proven } in lines.into_vec() {
            // What was expected may be old; it is not told to others, and dialled all the same.
            let at = now_ms.min(announcement.time_ms.saturating_add(MAX_AGE_MS));
            let Ok(node) = announcement.judge(chain, at, local) else { continue };
            let id = node.id;
            if self.take(node) == Taken::New && proven {
                self.reached(&id);
            }
        }
        self.tidy(now_ms);
        true
    }

    #[cfg(test)]
    pub(super) fn shelf(&self, group: Group) -> usize {
        self.ordinary().filter(|entry| entry.node.home().group() == group).count()
    }
}

#[cfg(test)]
mod tests;
