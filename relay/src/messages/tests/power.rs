//! The power fails: what no completed sync covers is gone from the files.
//!
//! After each write that RocksDB has synced (it counts them itself, so that a write that was not
//! synced covers nothing) the lengths of all files are noted and the files linked. A power cut is a copy
//! of the links, cut to those lengths, with some of what came after at will: a disk may have written
//! a part of it. Every message that was answered must be in the copy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::join_all;
use mailbox::Address;
use mailbox::frame::Kind;
use rocksdb::statistics::Ticker;
use types::{Hash, Millis};
use uuid::Uuid;

use super::fixture::{BOB, BOBS_TABLET, address, devices, message};
use crate::messages::store::{Answer, Error, LogState, Page, Place, Reach, Sealed, Store, Write};
use crate::messages::{Messages, Rocks, now};

/// A disk that remembers how much of each file was synced.
struct Disk {
    database: PathBuf,
    links: PathBuf,
    /// Guarded together, so that a cut sees one moment.
    synced: Mutex<BTreeMap<String, u64>>,
    count: AtomicU64,
}

impl Disk {
    fn new(home: &Path) -> Arc<Self> {
        let (database, links) = (home.join("database"), home.join("links"));
        std::fs::create_dir_all(&links).expect("a folder");
        Arc::new(Self { database, links, synced: Mutex::default(), count: AtomicU64::new(0) })
    }

    /// A write was synced: everything in the files by now is on the disk.
    fn sync(&self) {
        let mut synced = self.synced.lock().expect("no test panics here");
        synced.clear();
        for entry in std::fs::read_dir(&self.database).expect("it is read") {
            let Ok(entry) = entry else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            let link = self.links.join(&name);
            // CURRENT is replaced as a whole, and its link would stay what it was.
            if name == "CURRENT" {
                let _ = std::fs::remove_file(&link);
            }
            let linked = link.exists() || std::fs::hard_link(entry.path(), &link).is_ok();
            // A file may be deleted or renamed in between by the database's own threads.
            if let (true, Ok(data)) = (linked, std::fs::metadata(&link)) {
                synced.insert(name, data.len());
            }
        }
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// What the disk holds when the power fails now: `torn` bytes beyond the last sync, if there are.
    fn cut(&self, to: &Path, torn: u64) {
        let synced = self.synced.lock().expect("no test panics here");
        std::fs::create_dir_all(to).expect("a folder");
        for (name, length) in synced.iter().filter(|(name, _)| *name != "LOCK") {
            let mut bytes = std::fs::read(self.links.join(name)).expect("it is linked");
            let kept = if name.ends_with(".log") { length + torn } else { *length };
            bytes.truncate(usize::try_from(kept).expect("small"));
            std::fs::write(to.join(name), bytes).expect("it is written");
        }
    }
}

/// A database over such a disk, which is flushed now and then so that its files change too.
struct Powered {
    rocks: Rocks,
    groups: AtomicU64,
}

fn open(disk: &Arc<Disk>) -> Arc<Powered> {
    let mut rocks = Rocks::open(&disk.database).expect("it opens");
    let (disk, options) = (disk.clone(), rocks.options.clone());
    let covered = AtomicU64::new(0);
    rocks.synced = Some(Box::new(move || {
        let syncs = options.get_ticker_count(Ticker::WalFileSynced);
        if covered.swap(syncs, Ordering::SeqCst) < syncs {
            disk.sync();
        }
    }));
    Arc::new(Powered { rocks, groups: AtomicU64::new(0) })
}

impl Store for Powered {
    fn commit(&self, group: &[Write]) -> Result<Vec<Answer>, Error> {
        let answers = self.rocks.commit(group);
        if self.groups.fetch_add(1, Ordering::SeqCst) % 16 == 15 {
            self.rocks.flush();
        }
        answers
    }

    fn begin_log(&self, anchored: u64, at: Millis) -> Result<(), Error> {
        self.rocks.begin_log(anchored, at)
    }

    fn read(&self, of: &Address, after: u64, items: u32, bytes: u32, reach: Reach) -> Result<Option<Page>, Error> {
        self.rocks.read(of, after, items, bytes, reach)
    }

    fn place(&self, leaf: &Hash) -> Result<Option<Place>, Error> {
        self.rocks.place(leaf)
    }

    fn unsealed(&self, most: usize) -> Result<Vec<Hash>, Error> {
        self.rocks.unsealed(most)
    }

    fn log(&self) -> Result<LogState, Error> {
        self.rocks.log()
    }

    fn batch(&self, number: u64) -> Result<Option<Sealed>, Error> {
        self.rocks.batch(number)
    }

    fn leaves(&self, number: u64) -> Result<Option<Vec<Hash>>, Error> {
        self.rocks.leaves(number)
    }
}

type Answered = Arc<Mutex<Vec<(Address, Uuid)>>>;

/// Sends until it is told to stop; notes what was answered.
async fn sender(messages: Messages, from: Address, answered: Answered, stop: Arc<AtomicBool>) {
    let theirs = devices([1, 2]);
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let sent = message(number, &[BOB, BOBS_TABLET], 200);
        let stored = messages.submit(from, Kind::Message, sent, Some(&theirs), &devices([1])).await.expect("it is stored");
        answered.lock().expect("no test panics here").push((from, stored.message_id));
        number += 1;
    }
}

/// What a copy of the disk holds: every answered message, numbered without a gap, each once.
fn assert_holds(copy: &Path, answered: &[(Address, Uuid)]) {
    let rocks = Rocks::open(copy).expect("it opens after the power cut");
    let read = |of: &Address| {
        let page = rocks.read(of, 0, u32::MAX, u32::MAX, Reach::Disk).expect("it is read").expect("wherever it is");
        assert!(page.items.iter().zip(1..).all(|(item, number)| item.sequence == number), "no gap");
        page.items.iter().map(|item| (Address { did: item.sender_id, device: item.sender_device_id }, item.message_id)).collect::<Vec<_>>()
    };
    let stored = read(&BOB);
    assert_eq!(stored, read(&BOBS_TABLET), "both copies or none");
    let held: std::collections::BTreeSet<_> = stored.iter().collect();
    assert_eq!(held.len(), stored.len(), "each once");
    assert_eq!(rocks.log().expect("it is read").leaves, stored.len() as u64, "each with its leaf");
    let lost: Vec<_> = answered.iter().filter(|answered| !held.contains(answered)).collect();
    assert!(lost.is_empty(), "{} of {} answered messages are lost", lost.len(), answered.len());
}

#[test]
fn a_power_cut_loses_nothing_that_was_answered() {
    let home = tempfile::tempdir().expect("a folder");
    let disk = Disk::new(home.path());
    let messages = Messages::over(open(&disk), now);
    let (answered, stop) = (Answered::default(), Arc::new(AtomicBool::new(false)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let senders: Vec<_> =
        (20..36).map(|person| runtime.spawn(sender(messages.clone(), address(person, 1), answered.clone(), stop.clone()))).collect();
    for cut in 0..12u64 {
        // At some moment of the next few groups.
        let from = disk.count.load(Ordering::SeqCst);
        while disk.count.load(Ordering::SeqCst) < from + 1 + cut * 3 {
            std::thread::yield_now();
        }
        // What is answered up to here was synced before.
        let promised = answered.lock().expect("no test panics here").clone();
        let copy = home.path().join(format!("copy{cut}"));
        disk.cut(&copy, if cut % 3 == 0 { 0 } else { cut * 37 });
        assert_holds(&copy, &promised);
    }
    stop.store(true, Ordering::SeqCst);
    runtime.block_on(async {
        for sender in join_all(senders).await {
            sender.expect("no sender panics");
        }
        messages.stop().await;
    });
    let all = answered.lock().expect("no test panics here").clone();
    assert!(all.len() > 200, "only {} messages", all.len());
    let last = home.path().join("last");
    disk.cut(&last, 0);
    assert_holds(&last, &all);
}
