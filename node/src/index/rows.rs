//! From a block and its outcome to the rows of the index.
//!
//! What a row says follows from blocks alone, so an index that is made again is the same.

use audit::LogId;
use consensus::ValidatorSet;
use ledger::{Body, SignedTransaction};
use tendermint::abci::Event;
use tendermint::abci::response::FinalizeBlock;
use tendermint::abci::types::ExecTxResult;
use tendermint::{Block, PublicKey, account};
use types::{ChainId, Hash};

use super::database::{Cell, Statement};
use super::query;

/// The place of what belongs to a block and to none of its transactions.
pub(crate) const BLOCK: i64 = -1;

/// Attributes longer than this, in bytes, are not found: no query can name them whole, and no index of a database takes texts of
/// any length.
pub(crate) const MAX_VALUE: usize = 512;

/// Rows of some blocks, to be written together.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    blocks: Vec<Vec<Cell>>,
    transactions: Vec<Vec<Cell>>,
    attributes: Vec<Vec<Cell>>,
    operations: Vec<Vec<Cell>>,
    anchors: Vec<Vec<Cell>>,
    powers: Vec<Vec<Cell>>,
    /// Changes of what there is one row of: identities, logs, validators.
    changes: Vec<Statement>,
    count: usize,
}

impl Rows {
    /// How many rows there are.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Begins with the validators as they were after the block at `height`, which the index does not have.
    pub(crate) fn begin(&mut self, height: u64, set: &ValidatorSet) {
        for validator in set.as_slice() {
            self.power(height, &validator.key, validator.power);
        }
    }

    /// Adds a block.
    pub(crate) fn add(&mut self, chain: &ChainId, block: &Block, outcome: &FinalizeBlock, results: &[String]) {
        let header = &block.header;
        let height = header.height.value();
        let (hash, proposer) = (header.hash().to_string(), header.proposer_address.to_string());
        let count = i64::try_from(block.data.len()).unwrap_or(i64::MAX);
        self.blocks.push(vec![height.into(), hash.into(), header.time.to_rfc3339().into(), proposer.into(), count.into()]);
        self.events(height, BLOCK, &outcome.events);
        for update in &outcome.validator_updates {
            self.power(height, &update.pub_key, update.power.value());
        }
        for (((place, bytes), result), rendered) in (0i64..).zip(&block.data).zip(&outcome.tx_results).zip(results) {
            self.transaction(chain, (height, place), bytes, result, rendered);
        }
        self.count += 1;
    }

    fn transaction(&mut self, chain: &ChainId, (height, place): (u64, i64), bytes: &[u8], result: &ExecTxResult, rendered: &str) {
        let parsed = SignedTransaction::parse(bytes).ok().map(|signed| signed.transaction);
        let author = parsed.as_ref().map(|transaction| transaction.author.address());
        self.transactions.push(vec![
            height.into(),
            place.into(),
            hex::encode_upper(Hash::sha256(&[bytes]).0).into(),
            author.map(|author| author.to_string()).unwrap_or_default().into(),
            i64::from(result.code.value()).into(),
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes).into(),
            rendered.into(),
        ]);
        self.count += 1;
        self.events(height, place, &result.events);
        if let Some(transaction) = parsed.filter(|_| result.code.is_ok()) {
            let author = transaction.author.address();
            match transaction.body {
                Body::Identity(signed) => self.operation((height, place), &signed),
                Body::RegisterLog { .. } => {
                    let log = LogId::derive(chain, &author, transaction.sequence);
                    let row = vec![log.to_string().into(), author.to_string().into(), height.into(), place.into(), 0i64.into()];
                    self.changes.extend(Statement::insert("logs", vec![row], "ON CONFLICT (log) DO NOTHING"));
                }
                Body::RetireLog { log } => {
                    let values = vec![height.into(), log.to_string().into()];
                    self.changes.push(Statement::new("UPDATE logs SET retired = $1 WHERE log = $2", values));
                }
                Body::Anchor(signed) => {
                    let anchor = signed.anchor;
                    self.anchors.push(vec![
                        anchor.log.to_string().into(),
                        anchor.sequence.into(),
                        height.into(),
                        place.into(),
                        hex::encode(anchor.root.0).into(),
                        i64::from(anchor.count).into(),
                        anchor.opened.0.into(),
                        anchor.closed.0.into(),
                    ]);
                }
                _ => {}
            }
        }
    }

    fn operation(&mut self, (height, place): (u64, i64), signed: &identity::SignedOperation) {
        let did = signed.did.to_string();
        self.operations.push(vec![height.into(), place.into(), did.clone().into(), signed.sequence.into(), signed.operation.name().into()]);
        let row = vec![did.into(), height.into(), place.into(), 1i64.into(), height.into()];
        let known = "ON CONFLICT (did) DO UPDATE SET operations = identities.operations + 1, changed = excluded.changed";
        self.changes.extend(Statement::insert("identities", vec![row], known));
    }

    fn power(&mut self, height: u64, key: &PublicKey, power: u64) {
        let address = account::Id::from(*key).to_string();
        self.powers.push(vec![height.into(), address.clone().into(), power.into()]);
        let row = vec![address.into(), hex::encode(key.to_bytes()).into(), height.into(), power.into(), height.into()];
        let known = "ON CONFLICT (address) DO UPDATE SET power = excluded.power, changed = excluded.changed";
        self.changes.extend(Statement::insert("validators", vec![row], known));
        self.count += 1;
    }

    fn events(&mut self, height: u64, place: i64, events: &[Event]) {
        for (number, event) in (0i64..).zip(events) {
            for (item, (key, value)) in (0i64..).zip(query::pairs(event)) {
                if key.len().max(value.len()) > MAX_VALUE {
                    continue;
                }
                let (sortable, moment) = (query::number(&value), query::moment(&value));
                let (key, value): (Cell, Cell) = (key.into(), value.into());
                self.attributes.push(vec![
                    height.into(),
                    place.into(),
                    number.into(),
                    item.into(),
                    key,
                    value,
                    sortable.into(),
                    moment.into(),
                ]);
                self.count += 1;
            }
        }
    }

    /// The statements that write all of it.
    pub(crate) fn into_statements(self) -> Vec<Statement> {
        let insert = Statement::insert;
        let mut all = insert("blocks", self.blocks, "");
        all.extend(insert("transactions", self.transactions, ""));
        all.extend(insert("attributes", self.attributes, ""));
        all.extend(insert("operations", self.operations, ""));
        // An anchor may be sent again; where it was first is what counts.
        all.extend(insert("anchors", self.anchors, "ON CONFLICT (log, sequence) DO NOTHING"));
        all.extend(insert("powers", self.powers, "ON CONFLICT (height, address) DO NOTHING"));
        all.extend(self.changes);
        all
    }
}
