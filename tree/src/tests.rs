//! The tree beside the published one (`jmt`), which has to have the same roots and give the same proofs.

mod damage;
mod histories;
mod layout;
mod vectors;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jmt::mock::MockTreeStore;
use jmt::{KeyHash, Sha256Jmt};
use light::StateProof;
use prost_ics23::Message as _;
use sha2::Sha256;
use types::Hash;

use crate::page::Rows;
use crate::stale::Stale;
use crate::*;

/// What is to become of some keys.
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
/// What a version holds.
type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A database, as far as the tree knows one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Memory {
    pages: BTreeMap<Vec<u8>, Vec<u8>>,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    stale: BTreeMap<u64, Vec<Vec<u8>>>,
    /// Pages as they were made, with the hashes that were worked out for them: most, as in a cache.
    held: BTreeMap<PageId, Arc<Page>>,
}

impl Read for Memory {
    fn page(&self, id: &PageId) -> Result<Arc<Page>, Error> {
        if let Some(page) = self.held.get(id) {
            return Ok(Arc::clone(page));
        }
        Page::read(id, |id| self.pages.get(&id.to_key()).cloned()).map(Arc::new)
    }

    fn record(&self, id: &RecordId) -> Result<Vec<u8>, Error> {
        self.records.get(&id.to_key()).cloned().ok_or(Error::NoRecord(*id))
    }
}

impl Memory {
    fn write(&mut self, update: Update) {
        let version = update.version;
        self.stale.insert(version, stale::lists(&update.writes));
        for NewPage { id, page, bytes } in update.writes.pages {
            assert!(self.pages.insert(id.to_key(), bytes).is_none(), "nothing is written over");
            let page = match page {
                Fresh::Whole(page) => page,
                Fresh::Changed(changed) => {
                    let mut page = self.held.remove(&PageId { version: changed.base, ..id }).expect("only a page in memory is changed");
                    Arc::make_mut(&mut page).change(version, &changed);
                    page
                }
            };
            let read = Page::read(&id, |id| self.pages.get(&id.to_key()).cloned()).expect("a page");
            assert_eq!((&read.body, &read.rows), (&page.body, &page.rows), "a page is what its rows say");
            let Fresh::Whole(hashed) = read.body.into_page(id.path.depth(), version, Rows::Whole, None).0 else { unreachable!() };
            let known = hashed.hashes.iter().zip(&page.hashes).all(|(hashed, kept)| hashed == kept || *hashed == hash::EMPTY);
            assert!(known, "what was not hashed again is what it would hash to, where it is asked for");
            if !self.pages.len().is_multiple_of(8) {
                self.held.insert(id, page);
            }
        }
        for record in update.writes.records {
            assert!(self.records.insert(record.id.to_key(), record.bytes).is_none(), "nothing is written over");
        }
    }

    /// Removes what only versions below `bound` had.
    fn prune(&mut self, bound: u64) {
        let kept = self.stale.split_off(&(bound + 1));
        for list in std::mem::replace(&mut self.stale, kept).into_values().flatten() {
            for stale in stale::from_bytes(&list).expect("a list") {
                let removed = match stale {
                    Stale::Page(id) => self.pages.remove(&id.to_key()),
                    Stale::Record(id) => self.records.remove(&id.to_key()),
                };
                assert!(removed.is_some(), "what is stale is there, and is stale once");
            }
        }
        let Self { held, pages, .. } = self;
        held.retain(|id, _| pages.contains_key(&id.to_key()));
    }

    /// All pages of a version.
    fn pages_of(&self, version: u64) -> Vec<(PageId, Arc<Page>)> {
        let mut pages = Vec::new();
        let mut open = vec![PageId::root(version)];
        while let Some(id) = open.pop() {
            let page = self.page(&id).expect("a page that a version has");
            if let Body::Inner(slots) = &page.body {
                for (slot, child) in slots.iter().enumerate() {
                    open.extend(child.map(|child| PageId { version: child.version, path: id.path.child(slot) }));
                }
            }
            pages.push((id, page));
        }
        pages
    }

    /// The keys of all rows and records that a version has.
    fn reachable(&self, version: u64) -> (BTreeSet<Vec<u8>>, BTreeSet<Vec<u8>>) {
        let (mut rows, mut records) = (BTreeSet::new(), BTreeSet::new());
        for (id, page) in self.pages_of(version) {
            rows.extend(page.rows.iter().map(|version| PageId { version: *version, ..id }.to_key()));
            if let Body::Bucket(leaves) = &page.body {
                records.extend(leaves.iter().map(|leaf| leaf.record().to_key()));
            }
        }
        (rows, records)
    }
}

/// Both trees, and what they should hold after each version.
#[derive(Default)]
struct World {
    memory: Memory,
    oracle: MockTreeStore,
    versions: Vec<(Hash, Entries)>,
}

impl World {
    fn newest(&self) -> Entries {
        self.versions.last().map(|(_, entries)| entries.clone()).unwrap_or_default()
    }

    /// Makes the next version in both trees.
    fn update(&mut self, changes: &Changes) {
        let version = self.versions.len() as u64;
        let ours = changes.iter().map(|(key, value)| Change::new(key, value.as_deref())).collect();
        let update = update(&self.memory, version.checked_sub(1), version, ours).expect("whole");
        let theirs = changes.iter().map(|(key, value)| (KeyHash::with::<Sha256>(key), value.clone()));
        let (root, batch) = Sha256Jmt::new(&self.oracle).put_value_set(theirs, version).expect("the oracle takes changes");
        self.oracle.write_tree_update_batch(batch).expect("the oracle's store takes nodes");
        changes.keys().for_each(|key| self.oracle.put_key_preimage(KeyHash::with::<Sha256>(key), key));
        assert_eq!((update.version, update.root), (version, Hash(root.0)), "version {version} has the oracle's root");
        let root = update.root;
        self.memory.write(update);
        let mut entries = self.newest();
        for (key, value) in changes.clone() {
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
        self.versions.push((root, entries));
    }

    /// What `version` says about `key` is true, is the oracle's word byte for byte, and convinces `light` (and `ics23` in it).
    fn check(&self, version: u64, key: &[u8]) {
        let story = format!("{} in version {version}", String::from_utf8_lossy(key));
        let (root, entries) = &self.versions[usize::try_from(version).expect("small")];
        let expected = entries.get(key).cloned();
        assert_eq!(get(&self.memory, version, key).as_ref(), Ok(&expected), "{story}");
        if entries.is_empty() {
            assert_eq!(prove(&self.memory, version, key), Err(Error::Empty), "{story}");
            return;
        }
        let (value, proof) = prove(&self.memory, version, key).expect("whole");
        let theirs = Sha256Jmt::new(&self.oracle).get_with_ics23_proof(key.to_vec(), version).expect("the oracle proves");
        assert_eq!((&value, &proof), (&theirs.0, &theirs.1), "{story}");
        assert_eq!(value, expected, "{story}");
        let proof = StateProof::from_ics23(key, &proof.encode_to_vec()).expect("a proof of the right form");
        assert_eq!(proof.value(), expected.as_deref(), "{story}");
        assert_eq!(proof.leads_from(key, root), Ok(true), "{story}");
        assert_eq!(proof.leads_from(key, &Hash::sha256(&[b"another root"])), Ok(false), "{story}");
    }

    /// Every page and record stored is one that a version from `bound` on has, and none is missing.
    fn check_whole_from(&self, bound: u64) {
        let (mut pages, mut records) = (BTreeSet::new(), BTreeSet::new());
        for version in bound..self.versions.len() as u64 {
            let (some, more) = self.memory.reachable(version);
            pages.extend(some);
            records.extend(more);
        }
        assert!(pages.iter().eq(self.memory.pages.keys()), "{} pages for {} that are reached", self.memory.pages.len(), pages.len());
        assert!(records.iter().eq(self.memory.records.keys()), "{} records, {} reached", self.memory.records.len(), records.len());
    }
}

fn name(number: u64) -> Vec<u8> {
    format!("account/{number}").into_bytes()
}

fn value(number: u64, version: u64) -> Vec<u8> {
    format!("value {number} of version {version}").into_bytes()
}

fn set(numbers: impl IntoIterator<Item = u64>, version: u64) -> Changes {
    numbers.into_iter().map(|number| (name(number), Some(value(number, version)))).collect()
}

fn remove(numbers: impl IntoIterator<Item = u64>) -> Changes {
    numbers.into_iter().map(|number| (name(number), None)).collect()
}
