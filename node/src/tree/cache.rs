//! Pages of the state tree in memory: the newest that is known at each path, within a bound.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;
use tree::{Fresh, NewPage, Page, PageId, Path, SLOTS};

/// How many bytes the pages in memory may have, about. Those of a million entries take 120 MiB, as far as they are used.
const MAX_BYTES: usize = 128 << 20;
/// What a page takes beside its own size, with the versions of its rows.
const OVERHEAD: usize = 224;

/// How many pages one thread keeps before another one is worth waking.
const LANDING: usize = 128;

/// The pages in memory. What goes first when it is full is what has not been asked for since it was last passed over.
#[derive(Debug)]
pub struct Cache {
    /// By a path's first nibble: the tasks of an update do not wait for each other.
    held: [Mutex<Held>; SLOTS],
    /// How many bytes each of them may have.
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
        Self { held: Default::default(), bound: bound / SLOTS }
    }

    /// The page, if it is here.
    #[must_use]
    pub fn get(&self, id: &PageId) -> Option<Arc<Page>> {
        let mut held = self.lock(&id.path);
        let slot = held.pages.get_mut(&id.path).filter(|slot| slot.version == id.version)?;
        slot.used = true;
        Some(Arc::clone(&slot.page))
    }

    /// Keeps a page that is stored, unless a newer one of its path is here.
    pub fn insert(&self, id: &PageId, page: &Arc<Page>) {
        self.lock(&id.path).insert(id, page, self.bound);
    }

    /// Keeps new pages, which are stored now.
    pub fn land(&self, pages: &[NewPage]) {
        pages.par_chunks(LANDING).for_each(|pages| pages.iter().for_each(|page| self.land_one(page)));
    }

    fn land_one(&self, NewPage { id, page, .. }: &NewPage) {
        match page {
            Fresh::Whole(page) => self.insert(id, page),
            Fresh::Changed(changed) => {
                // A page that is not here, or another, is read when it is asked for.
                if let Some(slot) = self.lock(&id.path).pages.get_mut(&id.path).filter(|slot| slot.version == changed.base) {
                    slot.version = id.version;
                    Arc::make_mut(&mut slot.page).change(id.version, changed);
                }
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.held.iter().for_each(|held| *lock(held) = Held::default());
    }

    fn lock(&self, path: &Path) -> MutexGuard<'_, Held> {
        lock(&self.held[path.first()])
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Held {
    fn insert(&mut self, id: &PageId, page: &Arc<Page>, bound: usize) {
        let slot = Slot { version: id.version, page: Arc::clone(page), used: false };
        let gone = match self.pages.entry(id.path) {
            Entry::Occupied(here) if here.get().version > id.version => return,
            Entry::Occupied(mut here) => size(&here.insert(slot).page),
            Entry::Vacant(free) => {
                free.insert(slot);
                self.queue.push_back(id.path);
                0
            }
        };
        self.bytes = self.bytes + size(page) - gone;
        while self.bytes > bound {
            self.make_room();
        }
    }

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
        PageId { version, path: Path::default().child(7).child(slot) }
    }

    fn page() -> Arc<Page> {
        Arc::new(Page::read(&PageId::root(0), |_| Some(vec![0, 0])).expect("a page without a leaf"))
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
        assert_eq!(cache.lock(&id(0, 0).path).bytes, size(&page()));
        cache.clear();
        assert_eq!(here(&cache, [(3, 0)]), [false]);
    }

    #[test]
    fn what_is_asked_for_stays() {
        let cache = Cache::bounded(SLOTS * 3 * size(&page()));
        (0..3).for_each(|slot| cache.insert(&id(1, slot), &page()));
        assert_eq!(here(&cache, [(1, 0)]), [true]);
        cache.insert(&id(1, 3), &page());
        assert_eq!(here(&cache, [(1, 1)]), [false], "the first that nobody asked for went");
        assert_eq!(here(&cache, [(1, 0), (1, 2), (1, 3)]), [true; 3]);
        assert_eq!(cache.lock(&id(0, 0).path).bytes, 3 * size(&page()));
    }
}
