//! What a node answers, held against headers that were verified. Rules only: what does not hold is refused, and what no
//! header covers is not taken over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use consensus::chain::{commit_hash, data_hash, results_hash};
use consensus::evidence::bytes::list_hash;
use light::{Validators, Verified};
use serde_json::{Value, json};
use tendermint::Hash;
use tendermint::abci::Code;
use tendermint::abci::types::ExecTxResult;
use tendermint::block::Block;
use tendermint::evidence::{Evidence, List};
use tendermint_rpc::endpoint::block::v0_38::DialectBlock;

/// How many results one block has at most.
const MAX_RESULTS: usize = 1 << 20;

/// The block of a header. `before`: the header before it with its validators, which the block's last commit is for; none for
/// the first block.
///
/// # Errors
/// What does not hold, in words.
pub(crate) fn block(mut json: Value, header: &Verified, before: Option<(&Verified, &Validators)>) -> Result<Block, String> {
    // The types read no evidence as CometBFT spells it.
    let evidence = match json.pointer_mut("/block/evidence/evidence").map(Value::take) {
        Some(Value::Array(all)) => all.into_iter().map(rpc::evidence::from_json).collect::<Result<Vec<Evidence>, _>>()?,
        _ => Vec::new(),
    };
    json["block"]["evidence"] = json!({"evidence": []});
    let read = types::guarded(|| serde_json::from_value::<DialectBlock>(json["block"].take())).map_err(|panicked| panicked.to_string())?;
    let read = read.map_err(|error| format!("the block does not parse: {error}"))?;
    let mut block = Block::from(read);
    block.evidence = List::new(evidence);
    let names = header.header();
    let same = |what: &str, found: Hash, named: Option<Hash>| {
        if Some(found) == named { Ok(()) } else { Err(format!("the block has {what} {found}, its header names another")) }
    };
    same("header", block.header.hash(), Some(names.hash()))?;
    same("the transactions", data_hash(&block.data), names.data_hash)?;
    same("the evidence", list_hash(&block.evidence), names.evidence_hash)?;
    same("the last commit", commit_hash(block.last_commit.as_ref()), names.last_commit_hash)?;
    match (&block.last_commit, before) {
        (None, None) => Ok(()),
        (Some(commit), Some((before, validators))) => {
            // The header's hash of it does not cover height, round and block: its signatures do.
            before.is_committed_by(commit, validators).map_err(|error| format!("the last commit: {error}"))?;
            let named = names.last_block_id;
            if named == Some(commit.block_id) { Ok(()) } else { Err("the last commit is for another block".to_owned()) }
        }
        _ => Err("only the first block has no last commit".to_owned()),
    }?;
    Ok(block)
}

/// The results of a block's transactions, as far as the header after it covers them: code, data and gas. Log, info, codespace and
/// events it does not, so they are left out.
///
/// # Errors
/// What does not hold, in words.
pub(crate) fn results(json: &Value, next: &Verified) -> Result<Vec<ExecTxResult>, String> {
    let all = match &json["txs_results"] {
        Value::Null => &[],
        Value::Array(all) if all.len() <= MAX_RESULTS => all.as_slice(),
        _ => return Err("the results are no list".to_owned()),
    };
    let results = all.iter().map(result).collect::<Option<Vec<_>>>().ok_or("a result does not parse")?;
    if Some(results_hash(&results)) == next.header().last_results_hash {
        return Ok(results);
    }
    Err("the results are not those that the next header names".to_owned())
}

fn result(json: &Value) -> Option<ExecTxResult> {
    let data = match &json["data"] {
        Value::Null => Vec::new(),
        data => STANDARD.decode(data.as_str()?).ok()?,
    };
    Some(ExecTxResult {
        code: Code::from(u32::try_from(number(&json["code"])?).ok()?),
        data: data.into(),
        gas_wanted: number(&json["gas_wanted"])?,
        gas_used: number(&json["gas_used"])?,
        ..ExecTxResult::default()
    })
}

/// A number, or a string of one; nothing is 0.
fn number(json: &Value) -> Option<i64> {
    match json {
        Value::Null => Some(0),
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    }
}
