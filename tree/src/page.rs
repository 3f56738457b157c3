//! Pages: what is read and changed as one, and what a page hashes to.

use std::sync::Arc;

use types::Hash;

use crate::hash::{self, EMPTY, bit};
use crate::name::RecordId;

/// How many leaves share a page: with one more there is a page above them.
pub const BUCKET: usize = 24;
/// How many children a page above others has: four levels of the binary tree.
pub const SLOTS: usize = 16;

/// One entry, as its page has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Where its key stands.
    pub place: Hash,
    /// Its hash.
    pub hash: Hash,
    /// The version that wrote its record.
    pub version: u64,
}

impl Leaf {
    /// The record behind it.
    #[must_use]
    pub const fn record(&self) -> RecordId {
        RecordId { version: self.version, place: self.place }
    }
}

/// A page below another one, as that one has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child {
    /// The version that wrote it.
    pub version: u64,
    /// How many leaves are in it and below.
    pub leaves: u64,
    /// The hash of its subtree.
    pub hash: Hash,
}

/// What is on a page: leaves, or pages below.
///
/// Which of them follows from the number of leaves alone, so that the same entries always lie on the same pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// At most [`BUCKET`] leaves, by their places; none only at the root.
    Bucket(Vec<Leaf>),
    /// The pages below, by the nibble that leads to them; together they have more than [`BUCKET`] leaves.
    Inner(Box<[Option<Child>; SLOTS]>),
}

/// A page in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What is on it.
    pub body: Body,
    /// The versions of its rows, the whole one first, its own last: [`crate::row`].
    pub(crate) rows: Vec<u64>,
    /// The hashes between its leaves or children, each where what it is over divides into left and right; none if they were
    /// not worked out.
    pub(crate) hashes: Vec<Hash>,
}

/// What a version makes of a page.
#[derive(Debug, Clone)]
pub enum Fresh {
    /// Another page.
    Whole(Arc<Page>),
    /// The one that was there before, changed.
    Changed(Changed),
}

/// What a version changes on a page.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The version whose page it was.
    pub base: u64,
    rows: Rows,
    patch: Patch,
    hashes: Vec<(usize, Hash)>,
}

/// In which rows a new page stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// In one of its own.
    Whole,
    /// In those of the page before, and one of its own.
    More,
}

/// Leaves or children that come onto a page, or take the place of those that were there.
#[derive(Debug, Clone)]
pub(crate) enum Patch {
    /// Leaves, by their places.
    Leaves(Vec<Leaf>),
    /// Children, by their slots.
    Children(Vec<(usize, Child)>),
}

impl Page {
    /// How many leaves are in it and below.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.body.leaves()
    }

    /// The versions of the rows that it stands in, the whole one first.
    #[must_use]
    pub fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// How much memory its content takes, about, in bytes. [`Page::change`] does not change that.
    #[must_use]
    pub fn size(&self) -> usize {
        let body = match &self.body {
            Body::Bucket(leaves) => size_of_val(leaves.as_slice()),
            Body::Inner(slots) => size_of_val(slots.as_slice()),
        };
        body + size_of_val(self.hashes.as_slice())
    }

    /// Makes it the page of `version`, which changes it so. It has to be the page of [`Changed::base`].
    pub fn change(&mut self, version: u64, changed: &Changed) {
        self.body.lay(&changed.patch);
        for (middle, hash) in &changed.hashes {
            // A page that was read again since has none.
            if let Some(known) = self.hashes.get_mut(*middle) {
                *known = *hash;
            }
        }
        self.note(version, changed.rows);
    }

    fn note(&mut self, version: u64, rows: Rows) {
        if rows == Rows::Whole {
            self.rows.clear();
        }
        self.rows.push(version);
    }
}

impl Body {
    /// How many leaves are in it and below.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        match self {
            Self::Bucket(leaves) => leaves.len() as u64,
            Self::Inner(slots) => count(slots.as_slice()),
        }
    }

    /// What of it is of a version that `wanted` takes.
    pub(crate) fn patch(&self, wanted: impl Fn(u64) -> bool) -> Patch {
        match self {
            Self::Bucket(leaves) => Patch::Leaves(leaves.iter().filter(|leaf| wanted(leaf.version)).copied().collect()),
            Self::Inner(slots) => {
                let children = slots.iter().enumerate().filter_map(|(slot, child)| Some((slot, (*child)?)));
                Patch::Children(children.filter(|(_, child)| wanted(child.version)).collect())
            }
        }
    }

    /// Lays a patch over it. Answers whether it is one of leaves over leaves, or of children over children.
    pub(crate) fn lay(&mut self, patch: &Patch) -> bool {
        match (self, patch) {
            (Self::Bucket(leaves), Patch::Leaves(patch)) => {
                for leaf in patch {
                    match leaves.binary_search_by_key(&leaf.place, |old| old.place) {
                        Ok(at) => leaves[at] = *leaf,
                        Err(at) => leaves.insert(at, *leaf),
                    }
                }
            }
            (Self::Inner(slots), Patch::Children(patch)) => patch.iter().for_each(|(slot, child)| slots[*slot] = Some(*child)),
            _ => return false,
        }
        true
    }

    /// The page of `version` with this body, standing in such rows, and the hash of its subtree. `depth`: how many nibbles
    /// lead to it. `old`: the page that was there; what has not changed since is not hashed again.
    pub(crate) fn into_page(self, depth: usize, version: u64, rows: Rows, old: Option<&Page>) -> (Fresh, Hash) {
        let known = old.filter(|old| !old.hashes.is_empty() && self.has_places_of(&old.body, version));
        let mut hashing = Hashing { known: known.map(|old| (version, old.hashes.as_slice())), found: Vec::new() };
        let (hash, divides) = match &self {
            Self::Bucket(leaves) => (hashing.over_leaves(leaves, 0, 4 * depth), leaves.len().saturating_sub(1)),
            Self::Inner(slots) => (hashing.over_slots(slots.as_slice(), 0), SLOTS - 1),
        };
        let found = hashing.found;
        if let Some(old) = known
            && let Some(base) = old.rows.last()
        {
            let patch = self.patch(|found| found == version);
            return (Fresh::Changed(Changed { base: *base, rows, patch, hashes: found }), hash);
        }
        let mut hashes = vec![EMPTY; divides];
        found.into_iter().for_each(|(middle, hash)| hashes[middle] = hash);
        let mut page = Page { body: self, rows: old.map_or_else(Vec::new, |old| old.rows.clone()), hashes };
        page.note(version, rows);
        (Fresh::Whole(Arc::new(page)), hash)
    }

    /// Whether nothing went since `old`, and no leaf came: all that changed then has the new version. A leaf that came would
    /// have it too, and stand where another one stood.
    fn has_places_of(&self, old: &Self, version: u64) -> bool {
        match (self, old) {
            (Self::Bucket(new), Self::Bucket(old)) => {
                new.len() == old.len() && new.iter().zip(old).all(|(new, old)| new.version < version || new.place == old.place)
            }
            (Self::Inner(new), Self::Inner(old)) => new.iter().zip(old.iter()).all(|(new, old)| new.is_some() || old.is_none()),
            _ => false,
        }
    }
}

/// Hashing of one page.
#[derive(Default)]
struct Hashing<'a> {
    /// The version that changed the page, and the hashes before: what has nothing of that version is known.
    known: Option<(u64, &'a [Hash])>,
    /// What was hashed, each with where it divides.
    found: Vec<(usize, Hash)>,
}

impl Hashing<'_> {
    /// The hash over sorted leaves that share their first `depth` bits; the first of them is number `first` of the page. A
    /// subtree of one leaf is that leaf.
    fn over_leaves(&mut self, leaves: &[Leaf], first: usize, depth: usize) -> Hash {
        match leaves {
            [] => return EMPTY,
            [leaf] => return leaf.hash,
            _ => {}
        }
        let (left, right) = halves(leaves, depth);
        let middle = first + left.len();
        let divides = !left.is_empty() && !right.is_empty();
        if divides && let Some(known) = self.known(middle, leaves.iter().map(|leaf| leaf.version)) {
            return known;
        }
        let left = self.over_leaves(left, first, depth + 1);
        let hash = hash::inner(&left, &self.over_leaves(right, middle, depth + 1));
        if divides {
            self.found.push((middle - 1, hash));
        }
        hash
    }

    /// The hash over neighbouring slots, a power of two of them; the first is slot `first`.
    fn over_slots(&mut self, slots: &[Option<Child>], first: usize) -> Hash {
        if let [slot] = slots {
            return slot.map_or(EMPTY, |child| child.hash);
        }
        let (left, right) = slots.split_at(slots.len() / 2);
        let middle = first + left.len();
        match (count(left), count(right)) {
            (0, 0) => return EMPTY,
            (1, 0) => return self.over_slots(left, first),
            (0, 1) => return self.over_slots(right, middle),
            _ => {}
        }
        if let Some(known) = self.known(middle, slots.iter().flatten().map(|child| child.version)) {
            return known;
        }
        let left = self.over_slots(left, first);
        let hash = hash::inner(&left, &self.over_slots(right, middle));
        self.found.push((middle - 1, hash));
        hash
    }

    fn known(&self, middle: usize, mut versions: impl Iterator<Item = u64>) -> Option<Hash> {
        let (changed, hashes) = self.known?;
        if versions.any(|version| version == changed) { None } else { hashes.get(middle - 1).copied() }
    }
}

/// The hash over sorted leaves that share their first `depth` bits. A subtree of one leaf is that leaf.
pub(crate) fn hash_of_leaves(leaves: &[Leaf], depth: usize) -> Hash {
    Hashing::default().over_leaves(leaves, 0, depth)
}

/// The hash over neighbouring slots, a power of two of them.
pub(crate) fn hash_of_slots(slots: &[Option<Child>]) -> Hash {
    Hashing::default().over_slots(slots, 0)
}

/// How many leaves are below slots.
pub(crate) fn count(slots: &[Option<Child>]) -> u64 {
    slots.iter().flatten().map(|child| child.leaves).sum()
}

/// Sorted leaves by their bit at `depth`.
pub(crate) fn halves(leaves: &[Leaf], depth: usize) -> (&[Leaf], &[Leaf]) {
    leaves.split_at(leaves.partition_point(|leaf| !bit(&leaf.place, depth)))
}
