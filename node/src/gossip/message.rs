//! How transactions stand in a message: a stamp, and then several under none or one under the window's (`docs/spec/gossip.md`).

use bytes::Bytes;
use ledger::transaction;
use types::Decode as _;
use types::codec::{Blob, List, put_number};

use crate::tx::Tx;

/// A message has this many bytes at most: the longest transaction alone, or several that are short.
pub(super) const MAX_MESSAGE: usize = transaction::MAX_BYTES + 64;
/// And this many transactions.
pub(super) const MAX_TRANSACTIONS: usize = 64;

/// The stamp and the count of transactions.
const FRAMING: usize = 8 + 1;
/// The count of bytes before a transaction, at most.
const LENGTH: usize = 2;

/// The stamp of a first offer.
pub(super) const FIRST: u64 = 0;

/// Writes a message.
pub(super) fn write(stamp: u64, transactions: &[Tx]) -> Vec<u8> {
    let mut data = stamp.to_be_bytes().to_vec();
    put_number(transactions.len() as u64, &mut data);
    for bytes in transactions.iter().map(Tx::bytes) {
        put_number(bytes.len() as u64, &mut data);
        data.extend_from_slice(bytes);
    }
    data
}

/// The stamp and the transactions, each with bytes of its own; none if no honest node would write it.
pub(super) fn read(data: &[u8]) -> Option<(u64, Vec<Tx>)> {
    let (stamp, rest) = data.split_first_chunk()?;
    let stamp = u64::from_be_bytes(*stamp);
    let transactions = List::<Blob<{ transaction::MAX_BYTES }>, MAX_TRANSACTIONS>::from_bytes(rest).ok()?;
    let most = if stamp == FIRST { MAX_TRANSACTIONS } else { 1 };
    let tx = || transactions.iter().map(|bytes| Bytes::copy_from_slice(bytes).into()).collect();
    (1..=most).contains(&transactions.len()).then(|| (stamp, tx()))
}

/// Divides transactions, in their order, among as few messages as hold them.
pub(super) fn divide(mut rest: &[Tx]) -> impl Iterator<Item = &[Tx]> {
    std::iter::from_fn(move || {
        let mut room = MAX_MESSAGE - FRAMING;
        let fits = |tx: &&Tx| {
            let left = room.checked_sub(tx.bytes().len() + LENGTH);
            room = left.unwrap_or(room);
            left.is_some()
        };
        let count = rest.iter().take(MAX_TRANSACTIONS).take_while(fits).count();
        let (message, later) = rest.split_at(count);
        rest = later;
        (count > 0).then_some(message)
    })
}

#[cfg(test)]
mod tests;
