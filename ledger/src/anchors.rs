//! Logs and their anchors: who may anchor, in which order, and the log of all anchors.

use audit::log::{Frontier, Head};
use audit::{LogId, LogRecord, SignedAnchor, Status, Taken};
use types::{Address, Amount, ChainId, Encode, Height, PublicKey};

use crate::account;
use crate::error::Refusal;
use crate::params::Params;
use crate::state::{Note, State, key};
use crate::transaction::Verified;

/// Reads a log's record.
#[must_use]
pub fn read(state: &State<'_>, log: &LogId) -> Option<LogRecord> {
    state.read(&key::log(log))
}

/// Registers a log for `owner`, whose transaction has the number `sequence`.
///
/// # Errors
/// [`Refusal::BondTooLow`], [`Refusal::InsufficientFunds`], [`Refusal::Audit`].
pub fn register(
    state: &mut State<'_>,
    params: &Params,
    chain: &ChainId,
    height: Height,
    (owner, sequence): (&Address, u64),
    (signer, bond): (&PublicKey, Amount),
) -> Result<LogId, Refusal> {
    if bond < params.log_bond {
        return Err(Refusal::BondTooLow { found: bond, needed: params.log_bond });
    }
    account::debit(state, owner, "author", bond)?;
    let log = LogId::derive(chain, owner, sequence);
    state.write(key::log(&log), &LogRecord::register(log, *owner, *signer, bond, height)?);
    Ok(log)
}

/// Gives a log another key.
///
/// # Errors
/// [`Refusal::UnknownLog`], [`Refusal::NotOwner`], [`Refusal::Audit`].
pub fn rotate_key(state: &mut State<'_>, owner: &Address, log: &LogId, signer: &PublicKey) -> Result<(), Refusal> {
    let record = owned(state, owner, log)?;
    state.write(key::log(log), &record.rotate_key(*signer)?);
    Ok(())
}

/// Retires a log, or returns the bond of one that was retired long enough ago.
///
/// # Errors
/// [`Refusal::UnknownLog`], [`Refusal::NotOwner`], [`Refusal::BondHeld`], [`Refusal::Audit`].
pub fn retire(state: &mut State<'_>, params: &Params, height: Height, owner: &Address, log: &LogId) -> Result<(), Refusal> {
    let mut record = owned(state, owner, log)?;
    if let Status::Retired { at } = record.status {
        let until = params.bond_released(at);
        if height < until {
            return Err(Refusal::BondHeld { until });
        }
        account::credit(state, owner, std::mem::take(&mut record.bond));
    } else {
        record = record.retire(height)?;
    }
    state.write(key::log(log), &record);
    Ok(())
}

/// Checks an anchor's signature by the key that its log has now, if the log's owner sends it: others' is checked when it can be charged.
/// What comes of it shows when it is taken.
pub(crate) fn check_ahead(state: &State<'_>, verified: &Verified, anchor: &SignedAnchor) {
    if let Some(record) = read(state, &anchor.anchor.log).filter(|record| record.owner == *verified.author()) {
        let key = record.key_at(anchor.anchor.sequence);
        let _ = verified.once(&key, || anchor.verify(&key));
    }
}

/// Takes the anchor that a transaction carries into its log and into the log of all anchors. The same anchor again is
/// done already. Its signature is checked once for a key, however often the transaction is applied.
///
/// # Errors
/// [`Refusal::UnknownLog`] and [`Refusal::Audit`].
pub fn anchor(state: &mut State<'_>, chain: &ChainId, verified: &Verified, anchor: &SignedAnchor) -> Result<Taken, Refusal> {
    let log = anchor.anchor.log;
    let record = read(state, &log).ok_or(Refusal::UnknownLog(log))?;
    let taken = record.take_by(chain, anchor, |key| verified.once(key, || anchor.verify(key)))?;
    if let Taken::New(record) = &taken {
        state.write(key::log(&log), record);
        append(state, anchor);
    }
    Ok(taken)
}

/// Size and root of the log of all anchors.
#[must_use]
pub fn head(state: &State<'_>) -> Head {
    state.read(key::ANCHORS_HEAD).expect("the genesis writes the log's head")
}

fn append(state: &mut State<'_>, anchor: &SignedAnchor) {
    let mut frontier: Frontier = state.read(key::ANCHORS_FRONTIER).expect("the genesis writes the log's frontier");
    let index = frontier.size();
    frontier.append(audit::log::entry_hash(&anchor.to_bytes()), |level, index, hash| state.note(Note::LogNode { level, index, hash }));
    state.write(key::ANCHORS_HEAD.to_vec(), &frontier.head());
    state.write(key::ANCHORS_FRONTIER.to_vec(), &frontier);
    state.note(Note::Anchored { index, anchor: Box::new(anchor.clone()) });
}

fn owned(state: &State<'_>, owner: &Address, log: &LogId) -> Result<LogRecord, Refusal> {
    let record = read(state, log).ok_or(Refusal::UnknownLog(*log))?;
    if record.owner == *owner { Ok(record) } else { Err(Refusal::NotOwner) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use audit::Anchor;
    use types::{Hash, Millis, SigningKey};

    use super::*;
    use crate::transaction::{Body, Payer, Transaction};

    #[test]
    fn what_was_checked_ahead_is_not_checked_again_and_what_does_not_hold_is() {
        let [author, signer, other] = [1, 2, 3].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let chain: ChainId = "zynk-test-1".parse().expect("a chain id");
        let owner = author.public().address();
        let log = LogId::derive(&chain, &owner, 0);
        let record = LogRecord::register(log, owner, signer.public(), Amount(1), Height(1)).expect("a usable key");
        let entries = BTreeMap::from([(key::log(&log), record.to_bytes())]);
        let sent = |log: LogId, signer: &SigningKey, sender: &SigningKey| {
            let (version, previous, root) = (audit::anchor::VERSION, Hash::ZERO, Hash([7; 32]));
            let anchor =
                Anchor { version, chain: chain.clone(), log, sequence: 1, previous, root, count: 1, opened: Millis(1), closed: Millis(2) };
            let body = Body::Anchor(Box::new(SignedAnchor::sign(anchor, signer)));
            let (sequence, valid_until, fee) = (1, Height(9), Amount(1));
            let transaction =
                Transaction { chain: chain.clone(), author: sender.public(), sequence, valid_until, fee, payer: Payer::Author, body };
            transaction.sign(sender, None).verify().expect("its author's signature holds")
        };
        let verified = |log: LogId, signer: &SigningKey| sent(log, signer, &author);
        let known = |verified: &Verified| verified.once(&signer.public(), || Err(())).is_ok();
        let elsewhere = LogId::derive(&chain, &owner, 1);
        for (story, verified, expected) in [
            ("by the log's key", verified(log, &signer), true),
            ("by another key", verified(log, &other), false),
            ("by the log's key, sent by a stranger", sent(log, &signer, &other), false),
            ("of a log that is not there", verified(elsewhere, &signer), false),
        ] {
            assert!(!known(&verified), "{story}");
            crate::block::check_ahead(&entries, &verified);
            assert_eq!((known(&verified), known(&verified.clone())), (expected, expected), "{story}");
        }
    }
}
