//! Evidence as JSON: what `broadcast_evidence` takes, and `block` shows.
//!
//! CometBFT 0.38 names some fields in Go's manner (`TotalVotingPower`), the published Rust crates in
//! theirs. Both are read; written are Go's, and beside them Rust's where the Rust crates know no other.

use serde_json::{Value, json};
use tendermint::evidence::Evidence;
use tendermint_proto::v0_38::types as raw;
use tendermint_proto::v0_38::types::evidence::Sum;

/// Go's name of a field, and Rust's.
const NAMES: [(&str, &str); 6] = [
    ("ConflictingBlock", "conflicting_block"),
    ("CommonHeight", "common_height"),
    ("ByzantineValidators", "byzantine_validators"),
    ("TotalVotingPower", "total_voting_power"),
    ("ValidatorPower", "validator_power"),
    ("Timestamp", "timestamp"),
];

/// The JSON of evidence: `{"type": "tendermint/…Evidence", "value": {…}}`.
///
/// # Panics
/// Never: evidence has a JSON form.
#[must_use]
pub fn to_json(evidence: &Evidence) -> Value {
    let mut form = raw::Evidence::from(evidence.clone());
    if let (Some(Sum::DuplicateVoteEvidence(form)), Evidence::DuplicateVote(votes)) = (&mut form.sum, evidence) {
        // `tendermint` 0.41 puts the total power into this place.
        form.validator_power = votes.validator_power.into();
    }
    let mut json = serde_json::to_value(&form).expect("evidence has text keys, so it serialises");
    let attack = matches!(evidence, Evidence::LightClientAttack(_));
    if let Some(value) = json.get_mut("value").and_then(Value::as_object_mut) {
        for (go, rust) in NAMES {
            if let Some(field) = value.get(rust).cloned() {
                // Go has no list where nobody is accused. Rust cannot read that, and has its own.
                let field = if field.as_array().is_some_and(Vec::is_empty) { Value::Null } else { field };
                value.insert(go.to_owned(), field);
                // The Rust crates know Go's names in evidence of two votes, and refuse both at once.
                if !attack {
                    value.remove(rust);
                }
            }
        }
        for vote in ["vote_a", "vote_b"] {
            nil_in_full(value.get_mut(vote));
        }
    }
    json
}

/// Reads evidence out of JSON with the names of either. Nothing is verified yet.
///
/// # Errors
/// What is wrong with it, in words.
pub fn from_json(mut json: Value) -> Result<Evidence, String> {
    if let Some(value) = json.get_mut("value").and_then(Value::as_object_mut) {
        for (go, rust) in NAMES {
            if let Some(field) = value.remove(go) {
                value.insert(rust.to_owned(), field);
            }
        }
        if value.get("byzantine_validators").is_some_and(Value::is_null) {
            value.insert("byzantine_validators".to_owned(), json!([]));
        }
    }
    let read = || {
        let form: raw::Evidence = serde_json::from_value(json).map_err(|error| error.to_string())?;
        Evidence::try_from(form).map_err(|error| error.to_string())
    };
    types::guarded(read).map_err(|panicked| panicked.to_string())?
}

/// A vote for no block names an empty one, as Go has it.
fn nil_in_full(vote: Option<&mut Value>) {
    let id = vote.and_then(Value::as_object_mut).and_then(|vote| vote.get_mut("block_id"));
    if let Some(id) = id.filter(|id| id.is_null()) {
        *id = json!({"hash": "", "parts": {"total": 0, "hash": ""}});
    }
}
