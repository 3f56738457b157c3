//! `tx_search`, `block_search` and the lists of the index.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tendermint::block::Height;

use super::Door;
use super::error::Fault;
use super::events;
use super::methods::{block_json, internal, page as checked_page, per_page, prove_transaction, to_json};
use super::params::{Params, missing};
use crate::index::database::{Cell, MAX_QUESTION};
use crate::index::{Found, List, Listed, Range, State, Transaction, Unanswered};

/// The blocks of one answer have no more bytes of transactions together: room for the longest block, and for a page of usual ones.
const MAX_BLOCKS: usize = 16 << 20;
const _: () = assert!(MAX_BLOCKS as u64 >= genesis::genesis::MAX_BLOCK_BYTES);

/// The longest name that a list is narrowed by, in bytes.
const MAX_NAME: usize = 256;

/// Which list of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paged {
    Anchors,
    Identities,
    Logs,
    Operations,
    Powers,
    Status,
    Validators,
}

impl From<Unanswered> for Fault {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Off => Self::Internal(unanswered.to_string()),
            Unanswered::TooMany(_) | Unanswered::NotSearched(_) => Self::Params(unanswered.to_string()),
            Unanswered::Away(_) | Unanswered::Lost(_) => Self::NoIndex(unanswered.to_string()),
            Unanswered::Busy => Self::Busy("too many searches at once: try again"),
            Unanswered::Late => Self::Late { after: MAX_QUESTION },
        }
    }
}

/// The asked page of a list, before it is known how many there are.
struct Asked {
    page: Option<i64>,
    range: Range,
}

impl Asked {
    fn new(params: &Params, descending: bool) -> Result<Self, Fault> {
        let (page, count) = (params.number("page")?, per_page(params.number("per_page")?));
        let descending = match params.text("order_by")?.as_deref() {
            None | Some("") => descending,
            Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(Fault::Internal("expected order_by to be either `asc` or `desc` or empty".to_owned())),
        };
        let before = page.and_then(|page| usize::try_from(page).ok()).unwrap_or(1).saturating_sub(1);
        Ok(Self { page, range: Range { descending, skip: before.saturating_mul(count), count } })
    }

    /// The found entries, if there is such a page.
    fn check<T>(&self, found: Found<T>) -> Result<Found<T>, Fault> {
        checked_page(self.page, self.range.count, found.total)?;
        Ok(found)
    }
}

pub(super) async fn transactions(door: &Arc<Door>, params: &Params) -> Result<Value, Fault> {
    let query = events::read(&params.text("query")?.ok_or_else(|| missing("query"))?)?;
    let (asked, prove) = (Asked::new(params, false)?, params.flag("prove")?);
    let Found { total, page } = asked.check(door.info.index.transactions(query, asked.range).await?)?;
    let shown = door.blocking(move |door| page.iter().map(|found| shown(door, found, prove)).collect::<Result<Vec<_>, _>>()).await??;
    Ok(json!({"txs": shown, "total_count": total.to_string()}))
}

fn shown(door: &Door, found: &Transaction, prove: bool) -> Result<Value, Fault> {
    let result: Value = serde_json::from_str(&found.result).map_err(internal)?;
    let mut answer = json!({
        "hash": found.hash,
        "height": found.height.to_string(),
        "index": found.place,
        "tx_result": result,
        "tx": found.bytes,
    });
    if prove {
        let block = Height::try_from(found.height).ok().and_then(|height| door.app.store().block(height));
        let place = usize::try_from(found.place).map_err(internal)?;
        // The block may have been pruned; CometBFT answers without a proof then, too.
        if let Some((block, _)) = block.filter(|(block, _)| place < block.data.len()) {
            answer["proof"] = to_json(&prove_transaction(&block.data, place)?)?;
        }
    }
    Ok(answer)
}

pub(super) async fn blocks(door: &Arc<Door>, params: &Params) -> Result<Value, Fault> {
    let query = events::read(&params.text("query")?.ok_or_else(|| missing("query"))?)?;
    let asked = Asked::new(params, true)?;
    let Found { total, page } = asked.check(door.info.index.blocks(query, asked.range).await?)?;
    let shown = move |door: &Arc<Door>| {
        let mut room = MAX_BLOCKS;
        let stored = page.iter().filter_map(|height| door.app.store().block(Height::try_from(*height).ok()?));
        let block = |(block, _): (tendermint::Block, _)| {
            room = left(room, block.data.iter().map(Vec::len).sum())?;
            let block_id = to_json(&consensus::commit::block_id(block.header.hash()))?;
            Ok(json!({"block_id": block_id, "block": block_json(&block)?}))
        };
        stored.map(block).collect::<Result<Vec<_>, Fault>>()
    };
    Ok(json!({"blocks": door.blocking(shown).await??, "total_count": total.to_string()}))
}

/// The room that is left behind a block with so many bytes of transactions.
fn left(room: usize, length: usize) -> Result<usize, Fault> {
    let too_long = || Fault::Params(format!("these blocks have more than {MAX_BLOCKS} bytes together: ask for fewer with `per_page`"));
    room.checked_sub(length).ok_or_else(too_long)
}

/// A page of a list.
pub(super) async fn page(door: &Arc<Door>, what: Paged, params: &Params) -> Result<Value, Fault> {
    let (list, by) = match what {
        Paged::Status => return status(door),
        Paged::Anchors => (List::ANCHORS, Some("log")),
        Paged::Identities => (List::IDENTITIES, None),
        Paged::Logs => (List::LOGS, Some("owner")),
        Paged::Operations => (List::OPERATIONS, Some("did")),
        Paged::Powers => (List::POWERS, Some("validator")),
        Paged::Validators => (List::VALIDATORS, None),
    };
    let of = by.map_or(Ok(None), |by| params.text(by))?;
    if let Some((by, of)) = by.zip(of.as_ref()).filter(|(_, of)| of.len() > MAX_NAME || of.contains('\0')) {
        return Err(Fault::Params(format!("`{by}` has {} bytes: it is no name", of.len())));
    }
    let asked = Asked::new(params, false)?;
    let Found { total, page } = asked.check(door.info.index.list(list, of, asked.range).await?)?;
    let entries: Vec<Value> = page.iter().map(|row| entry(list, row)).collect();
    Ok(json!({"entries": entries, "total_count": total.to_string()}))
}

/// Numbers of 64 bits are texts, as everywhere in this interface.
fn entry(list: List, row: &Listed) -> Value {
    let cell = |cell: &Cell| match cell {
        Cell::Null => Value::Null,
        Cell::Number(number) => number.to_string().into(),
        Cell::Text(text) => text.as_str().into(),
    };
    list.columns.iter().zip(row).map(|(name, value)| ((*name).to_owned(), cell(value))).collect::<Map<_, _>>().into()
}

/// How far the index is, or why it cannot be asked.
fn status(door: &Door) -> Result<Value, Fault> {
    let tip = door.app.tip().to_string();
    Ok(match door.info.index.state() {
        State::Off => json!({"state": "off", "latest_block_height": tip}),
        State::Begins => json!({"state": "begins", "latest_block_height": tip}),
        State::Follows(progress) => json!({
            "state": "follows", "earliest_height": progress.base.to_string(), "latest_height": progress.height.to_string(),
            "latest_block_height": tip,
        }),
        State::Away { reason } => json!({"state": "away", "reason": reason, "latest_block_height": tip}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_of_one_answer_have_a_bound_together() {
        let longest = usize::try_from(genesis::genesis::MAX_BLOCK_BYTES).expect("small");
        let shown = |lengths: &[usize]| lengths.iter().try_fold(MAX_BLOCKS, |room, length| left(room, *length)).is_ok();
        assert!(shown(&[longest]) && shown(&[longest, longest]) && shown(&[100 << 10; 100]));
        assert!(!shown(&[longest, longest, 1]) && !shown(&[1 << 20; 17]));
    }
}
