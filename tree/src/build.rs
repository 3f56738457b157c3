//! A whole tree from all its entries, in the order of their places.

use types::Hash;

use crate::name::{PageId, Path};
use crate::page::{Body, Leaf, Page, SLOTS};
use crate::update::{NewPage, Part, Writes, join, plant};
use crate::{Error, Read};

/// Makes one version out of all its entries. It holds in memory the leaves whose places have the same first byte, a
/// 256th of them, and the pages that were not taken yet.
#[derive(Debug)]
pub struct Builder {
    version: u64,
    last: Option<Hash>,
    leaves: Vec<Leaf>,
    /// What became of the first bytes before the present one, with the same first nibble.
    low: Vec<Part>,
    /// What became of the first nibbles before the present one.
    high: Vec<Part>,
    writes: Writes,
}

impl Builder {
    /// Begins `version`.
    #[must_use]
    pub fn new(version: u64) -> Self {
        Self { version, last: None, leaves: Vec::new(), low: Vec::new(), high: Vec::new(), writes: Writes::default() }
    }

    /// Adds an entry, whose record the version itself has. `hash`: [`crate::hash::leaf`].
    ///
    /// # Errors
    /// [`Error::Order`] when its place does not follow on the last one.
    pub fn push(&mut self, place: Hash, hash: Hash) -> Result<(), Error> {
        if self.last.is_some_and(|last| last >= place) {
            return Err(Error::Order(place));
        }
        while self.done() < usize::from(place.0[0]) {
            self.close()?;
        }
        self.last = Some(place);
        self.leaves.push(Leaf { place, hash, version: self.version });
        Ok(())
    }

    /// The pages that are ready.
    pub fn take(&mut self) -> Vec<NewPage> {
        std::mem::take(&mut self.writes.pages)
    }

    /// Ends it: the last pages, and the root.
    ///
    /// # Errors
    /// Never, in fact: what could fail reads pages, and none is read.
    pub fn finish(mut self) -> Result<(Vec<NewPage>, Hash), Error> {
        while self.done() < SLOTS * SLOTS {
            self.close()?;
        }
        let root = match join(&Nothing, self.version, Path::default(), self.high, None, &mut self.writes)? {
            Part::Kept(child) | Part::Written(child) => child,
            Part::Leaves(leaves, _) => self.writes.page(self.version, Path::default(), Body::Bucket(leaves), None),
        };
        Ok((self.writes.pages, root.hash))
    }

    /// How many first bytes are closed.
    fn done(&self) -> usize {
        SLOTS * self.high.len() + self.low.len()
    }

    fn close(&mut self) -> Result<(), Error> {
        let above = Path::default().child(self.high.len());
        let leaves = std::mem::take(&mut self.leaves);
        self.low.push(plant(self.version, above.child(self.low.len()), leaves, None, &mut self.writes));
        if self.low.len() == SLOTS {
            self.high.push(join(&Nothing, self.version, above, std::mem::take(&mut self.low), None, &mut self.writes)?);
        }
        Ok(())
    }
}

/// No pages: a tree that is being built has none before.
struct Nothing;

impl Read for Nothing {
    fn page(&self, id: &PageId) -> Result<std::sync::Arc<Page>, Error> {
        Err(Error::NoPage(*id))
    }

    fn record(&self, id: &crate::RecordId) -> Result<Vec<u8>, Error> {
        Err(Error::NoRecord(*id))
    }
}
