//! Pages of the state tree in memory: the newest that is known at each path, within a bound.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tree::{Page, PageId, Path};

/// How many bytes the pages in memory may have, about. Those of a million entries take 80 MiB, as far as they are used.
const MAX_BYTES: usize = 128 << 20;
/// What a page takes beside its own size.
const OVERHEAD: usize = 160;

/// The pages in memory. What goes first when it is full is what has not been asked for since it was last passed over.
#[derive(Debug)]
pub struct Cache {
    held: Mutex<Held>,
    bound: usize,
}

#[derive(Debug, Default)]
struct Held {
    pages: HashMap<Path, Slot>,
    /// Each path once, in the order in which they are looked at when room is needed.
    queue: VecDeque<Path>,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    version: u64,
    page: Arc<Page>,
    used: bool,
}

impl Default for Cache {
    fn default() -> Self {
        Self::bounded(MAX_BYTES)
    }
}

impl Cache {
    /// An empty cache of so many bytes.
    #[must_use]
    pub fn bounded(bound: usize) -> Self {
        Self { held: Mutex::default(), bound }
    }

    /// The page, if it is here.
    #[must_use]
    pub fn get(&self, id: &PageId) -> Option<Arc<Page>> {
        let mut held = self.lock();
        let slot = held.pages.get_mut(&id.path).filter(|slot| slot.version == id.version)?;
        slot.used = true;
        Some(Arc::clone(&slot.page))
    }

    /// Keeps a page that is stored, unless a newer one of its path is here.
    pub fn insert(&self, id: &PageId, page: &Arc<Page>) {
        let mut held = self.lock();
        let slot = Slot { version: id.version, page: Arc::clone(page), used: false };
        let gone = match held.pages.entry(id.path.clone()) {
            Entry::Occupied(here) if here.get().version > id.version => return,
            Entry::Occupied(mut here) => size(&here.insert(slot).page),
            Entry::Vacant(free) => {
                free.insert(slot);
                held.queue.push_back(id.path.clone());
                0
            }
        };
        held.bytes = held.bytes + size(page) - gone;
        while held.bytes > self.bound {
            held.make_room();
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.lock() = Held::default();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Takes the next page out that was not asked for; those that were wait for another round.
    fn make_room(&mut self) {
        while let Some(path) = self.queue.pop_front() {
            match self.pages.get_mut(&path) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    self.queue.push_back(path);
                }
                _ => {
                    self.bytes -= self.pages.remove(&path).map_or(0, |slot| size(&slot.page));
                    return;
                }
            }
        }
    }
}

fn size(page: &Page) -> usize {
    OVERHEAD + page.size()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(version: u64, slot: usize) -> PageId {
        PageId { version, path: Path::default().child(slot) }
    }

    fn page() -> Arc<Page> {
        Arc::new(Page::Bucket(Vec::new()))
    }

    fn here(cache: &Cache, ids: impl IntoIterator<Item = (u64, usize)>) -> Vec<bool> {
        ids.into_iter().map(|(version, slot)| cache.get(&id(version, slot)).is_some()).collect()
    }

    #[test]
    fn a_newer_page_takes_an_older_ones_place_and_not_the_other_way() {
        let cache = Cache::default();
        cache.insert(&id(2, 0), &page());
        cache.insert(&id(1, 0), &page());
        assert_eq!(here(&cache, [(1, 0), (2, 0)]), [false, true]);
        cache.insert(&id(3, 0), &page());
        assert_eq!(here(&cache, [(2, 0), (3, 0)]), [false, true]);
        assert_eq!(cache.lock().bytes, OVERHEAD);
        cache.clear();
        assert_eq!(here(&cache, [(3, 0)]), [false]);
    }

    #[test]
    fn what_is_asked_for_stays() {
        let cache = Cache::bounded(3 * OVERHEAD);
        (0..3).for_each(|slot| cache.insert(&id(1, slot), &page()));
        assert_eq!(here(&cache, [(1, 0)]), [true]);
        cache.insert(&id(1, 3), &page());
        assert_eq!(here(&cache, [(1, 1)]), [false], "the first that nobody asked for went");
        assert_eq!(here(&cache, [(1, 0), (1, 2), (1, 3)]), [true; 3]);
        assert_eq!(cache.lock().bytes, 3 * OVERHEAD);
    }
}
