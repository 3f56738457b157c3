//! The order of a proposal's transactions.

use std::collections::BTreeMap;

use bytes::Bytes;
use types::PublicKey;

use crate::app::App;

/// CometBFT's order, but each author's by sequence: an author's transactions share the places that they have, the
/// lowest sequence first. What is no transaction, or badly signed, is left out.
pub(super) fn by_sequence(app: &App, transactions: Vec<Bytes>) -> Vec<Bytes> {
    let mut kept: Vec<(PublicKey, Bytes)> = Vec::new();
    let mut authors: BTreeMap<PublicKey, Vec<(u64, Bytes)>> = BTreeMap::new();
    for bytes in transactions {
        if let Ok(verified) = app.verify_once(&bytes.clone().into()) {
            let (author, sequence) = (verified.transaction().author, verified.transaction().sequence);
            authors.entry(author).or_default().push((sequence, bytes.clone()));
            kept.push((author, bytes));
        }
    }
    // Taken from the back.
    for theirs in authors.values_mut() {
        theirs.sort_by_key(|(sequence, _)| std::cmp::Reverse(*sequence));
    }
    let next = |(author, _)| authors.get_mut(&author).and_then(Vec::pop).map(|(_, bytes)| bytes);
    kept.into_iter().filter_map(next).collect()
}
