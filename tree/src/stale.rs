//! Lists of what a version no longer has, kept until the versions before it are removed.

use types::codec::put_number;
use types::{Decode as _, DecodeError, Encode as _, Hash, Reader};

use crate::name::{MAX_PATH, PageId, RecordId};
use crate::update::Writes;

/// How many names a list has at most: the bound of one step of pruning.
pub const LIST: usize = 4096;

/// A page or a record that no later version has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stale {
    /// A page.
    Page(PageId),
    /// A record.
    Record(RecordId),
}

/// The lists of what `writes` leave behind.
///
/// Bytes of each: count (≤ 4096), then for each 0 ‖ length ‖ key of the page, or 1 ‖ key of the record.
#[must_use]
pub fn lists(writes: &Writes) -> Vec<Vec<u8>> {
    let pages = writes.stale_pages.iter().copied().map(Stale::Page);
    let all: Vec<Stale> = pages.chain(writes.stale_records.iter().copied().map(Stale::Record)).collect();
    all.chunks(LIST).map(to_bytes).collect()
}

fn to_bytes(list: &[Stale]) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(list.len() as u64, &mut out);
    for stale in list {
        match stale {
            Stale::Page(id) => {
                let key = id.to_key();
                out.push(0);
                put_number(key.len() as u64, &mut out);
                out.extend(key);
            }
            Stale::Record(id) => {
                out.push(1);
                id.version.to_be_bytes().encode(&mut out);
                id.place.encode(&mut out);
            }
        }
    }
    out
}

/// Reads one of [`lists`].
///
/// # Errors
/// When the bytes are no such list.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<Stale>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(LIST)?;
    let mut list = Vec::with_capacity(count.min(bytes.len()));
    for _ in 0..count {
        list.push(match u8::decode(&mut reader)? {
            0 => {
                let length = reader.count(8 + MAX_PATH)?;
                Stale::Page(PageId::from_key(reader.take(length)?)?)
            }
            1 => Stale::Record(RecordId { version: u64::from_be_bytes(reader.array()?), place: Hash::decode(&mut reader)? }),
            found => return Err(DecodeError::Tag { what: "stale", found }),
        });
    }
    reader.finish().map(|()| list)
}
