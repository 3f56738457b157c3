//! The genesis file: CometBFT 0.38's, with the ledger's first state in it.

use std::path::Path;
use std::time::Duration;

use ledger::genesis::GenesisValidator;
use ledger::governance::upgrade::FIRST_VERSION;
use ledger::{AppState, Engine, Params};
use light::{Trust, Validators};
use tendermint::consensus::params::{AbciParams, ValidatorParams, VersionParams};
use tendermint::public_key::Algorithm;
use tendermint::{AppHash, Time, block, consensus, evidence, validator, vote};
use types::{Address, Amount, ChainId, Hash, Millis};

use crate::{Application, Error, file, peer, strict};

/// How large a genesis file may be, in bytes.
pub const MAX_BYTES: u64 = 8 << 20;

/// How large a chain may allow its blocks to be, in bytes.
pub const MAX_BLOCK_BYTES: u64 = 8 << 20;

/// The least that a chain may bound its blocks to: the largest transactions fit with room to spare.
pub const MIN_BLOCK_BYTES: u64 = 64 << 10;

/// The highest version of the application that this code runs. A chain begins with
/// [`FIRST_VERSION`] and comes to a higher one by an upgrade.
pub const APP_VERSION: u64 = 1;

/// A genesis that was checked: a node can start a chain from it, and a light client trust in it.
#[derive(Debug, Clone)]
pub struct Genesis {
    inner: tendermint::Genesis<AppState>,
    chain: ChainId,
    validators: Validators,
}

impl Genesis {
    /// Reads a genesis file.
    ///
    /// # Errors
    /// [`Error::Io`], and as [`Genesis::parse`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::parse(&file::read(path, MAX_BYTES)?)
    }

    /// Reads a genesis: strictly, since whoever disagrees about it is on another chain.
    ///
    /// # Errors
    /// The first rule that it breaks, of size, JSON, chain, consensus parameters and `app_state`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Builder::parse(bytes)?.build()
    }

    /// The chain's name.
    #[must_use]
    pub const fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// The time from which the chain counts.
    #[must_use]
    pub const fn time(&self) -> Time {
        self.inner.genesis_time
    }

    /// The parameters that CometBFT knows.
    #[must_use]
    pub const fn consensus_params(&self) -> &consensus::Params {
        &self.inner.consensus_params
    }

    /// The ledger's part.
    #[must_use]
    pub const fn app_state(&self) -> &AppState {
        &self.inner.app_state
    }

    /// The first state of the chain.
    ///
    /// # Panics
    /// Never: a genesis was checked by making it.
    #[must_use]
    pub fn first_state(&self) -> ledger::Changes {
        self.inner.app_state.build(start(&self.inner)).expect("a genesis is checked when it is built")
    }

    /// All of it, as the RPC serves it.
    #[must_use]
    pub const fn as_tendermint(&self) -> &tendermint::Genesis<AppState> {
        &self.inner
    }

    /// What agrees on the chain's blocks.
    #[must_use]
    pub const fn engine(&self) -> Engine {
        self.inner.app_state.engine
    }

    /// The validators of the first block.
    #[must_use]
    pub const fn validator_set(&self) -> &Validators {
        &self.validators
    }

    /// Trust in this genesis: where a light client begins.
    #[must_use]
    pub fn trust(&self) -> Trust {
        Trust::genesis(self.chain.clone(), self.inner.genesis_time, self.validators.clone())
    }

    /// The file's text: one genesis has one.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(&self.inner)
    }

    /// SHA-256 of [`Genesis::to_json`]: what operators compare aloud before they start a chain. It
    /// is what `sha256sum` says of a file that this code wrote, however the file at hand is spaced.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::sha256(&[self.to_json().as_bytes()])
    }
}

/// A genesis in the making: what is there may still lack validators.
#[derive(Debug, Clone)]
pub struct Builder {
    inner: tendermint::Genesis<AppState>,
    chain: ChainId,
}

impl Builder {
    /// A genesis without validators or accounts. `time`: the chain's first block is not before it.
    #[must_use]
    pub fn new(chain: ChainId, time: Time, params: Params) -> Self {
        let inner = tendermint::Genesis {
            genesis_time: time,
            chain_id: (&chain).into(),
            initial_height: 1,
            consensus_params: default_consensus(),
            validators: Vec::new(),
            app_hash: AppHash::default(),
            app_state: AppState { engine: Engine::Embedded, params, accounts: std::collections::BTreeMap::new(), validators: Vec::new() },
        };
        Self { inner, chain }
    }

    /// Reads a genesis that may still lack validators.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Utf8`], [`Error::Json`], [`Error::RepeatedField`],
    /// [`Error::UnknownField`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let found = bytes.len() as u64;
        if found > MAX_BYTES {
            return Err(Error::TooLarge { found, bound: MAX_BYTES });
        }
        let inner: tendermint::Genesis<AppState> = strict::parse(bytes)?;
        // Their rule for a chain's name is ours; should it ever be wider, ours holds.
        let chain = inner.chain_id.as_str().parse();
        let chain = chain.map_err(|_| Error::Field { field: "chain_id", rule: "must be 1 to 50 of a-z A-Z 0-9 - _ ." })?;
        Ok(Self { inner, chain })
    }

    /// The chain's name.
    #[must_use]
    pub const fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// What is there of the ledger's part.
    #[must_use]
    pub const fn app_state(&self) -> &AppState {
        &self.inner.app_state
    }

    /// Adds a validator, and with it its voting power.
    ///
    /// # Errors
    /// [`Error::Validator`] if it has no power, or a key that is no key.
    pub fn validator(mut self, validator: GenesisValidator) -> Result<Self, Error> {
        let at = self.inner.app_state.validators.len();
        self.inner.app_state.validators.push(validator);
        let info = infos(&self.inner.app_state).pop().flatten();
        self.inner.validators.push(info.ok_or(Error::Validator { at, rule: NO_POWER })?);
        Ok(self)
    }

    /// Takes up an application: its stake comes out of its operator's first balance.
    ///
    /// # Errors
    /// [`Error::Application`] if a signature does not hold, it is for another chain, or the balance does not
    /// cover the stake; as [`Builder::validator`].
    pub fn accept(mut self, application: &Application) -> Result<Self, Error> {
        application.verify()?;
        if application.chain != self.chain {
            return Err(Error::Application("is for another chain"));
        }
        let operator = application.operator.address();
        let balance = self.inner.app_state.accounts.get(&operator).and_then(|balance| balance.checked_sub(application.stake));
        let left = balance.ok_or(Error::Application("stakes more than the genesis gives its operator"))?;
        self.inner.app_state.accounts.insert(operator, left);
        self.validator(application.validator())
    }

    /// Has the chain agreed on by this engine.
    #[must_use]
    pub const fn engine(mut self, engine: Engine) -> Self {
        self.inner.app_state.engine = engine;
        self
    }

    /// Gives an account its first balance.
    ///
    /// # Errors
    /// [`Error::RepeatedField`] if it has one.
    pub fn account(mut self, address: Address, balance: Amount) -> Result<Self, Error> {
        match self.inner.app_state.accounts.insert(address, balance) {
            Some(_) => Err(Error::RepeatedField(format!("app_state.accounts.{address}"))),
            None => Ok(self),
        }
    }

    /// The genesis, checked.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn build(self) -> Result<Genesis, Error> {
        let Self { inner, chain } = self;
        check_start(&inner)?;
        check_consensus(&inner.consensus_params)?;
        inner.app_state.build(start(&inner))?;
        check_unbonding(&inner)?;
        check_validators(&inner)?;
        let members: Vec<_> = inner.app_state.records().map(|record| member(&record, &inner.app_state.params)).collect();
        Ok(Genesis { validators: Validators::new(&members)?, inner, chain })
    }

    /// The text of what is there so far.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(&self.inner)
    }
}

/// The consensus parameters of a new chain: blocks of 1 MiB, evidence for three weeks.
#[must_use]
pub fn default_consensus() -> consensus::Params {
    const DAY: u64 = 24 * 60 * 60;
    consensus::Params {
        block: block::Size { max_bytes: 1 << 20, max_gas: -1, time_iota_ms: block::Size::default_time_iota_ms() },
        evidence: evidence::Params {
            // As many blocks as there are at most: evidence expires only when both ages are passed.
            max_age_num_blocks: 21 * DAY * 2,
            max_age_duration: evidence::Duration(Duration::from_secs(21 * DAY)),
            max_bytes: 64 << 10,
        },
        validator: ValidatorParams { pub_key_types: vec![Algorithm::Ed25519] },
        version: Some(VersionParams { app: FIRST_VERSION }),
        abci: AbciParams::default(),
    }
}

const NO_POWER: &str = "needs an ed25519 key and a stake of at least one unit of power";

fn to_json(genesis: &tendermint::Genesis<AppState>) -> String {
    let mut text = serde_json::to_string_pretty(genesis).expect("a genesis has text keys and no float, so it serialises");
    text.push('\n');
    text
}

/// When the chain begins to count: the genesis' time, which [`check_start`] holds to after 1970.
fn start(genesis: &tendermint::Genesis<AppState>) -> Millis {
    genesis.genesis_time.try_into().unwrap_or_default()
}

fn field(holds: bool, field: &'static str, rule: &'static str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Field { field, rule }) }
}

fn check_start(genesis: &tendermint::Genesis<AppState>) -> Result<(), Error> {
    field(genesis.initial_height == 1, "initial_height", "must be 1")?;
    field(genesis.genesis_time >= Time::unix_epoch(), "genesis_time", "must not be before 1970")?;
    field(genesis.app_hash.as_bytes().is_empty(), "app_hash", "must be empty: it follows from app_state")
}

fn check_consensus(params: &consensus::Params) -> Result<(), Error> {
    let consensus::Params { block, evidence, validator, version, abci } = params;
    let sizes = MIN_BLOCK_BYTES..=MAX_BLOCK_BYTES;
    field(sizes.contains(&block.max_bytes), "consensus_params.block.max_bytes", "must be from 65536 to 8388608")?;
    field(block.max_gas == -1, "consensus_params.block.max_gas", "must be -1: fees go by size")?;
    let room = i64::try_from(block.max_bytes / 2).unwrap_or(i64::MAX);
    let evidence_sizes = 1..=room;
    field(
        evidence_sizes.contains(&evidence.max_bytes),
        "consensus_params.evidence.max_bytes",
        "must be from 1 to half of block.max_bytes",
    )?;
    field(evidence.max_age_num_blocks > 0, "consensus_params.evidence.max_age_num_blocks", "must be above zero")?;
    // Otherwise a light client would still trust who can no longer be punished.
    let trusting = light::Options::default().trusting_period;
    field(
        evidence.max_age_duration.0 > trusting,
        "consensus_params.evidence.max_age_duration",
        "must be longer than the trusting period of 14 days",
    )?;
    let ed25519 = validator.pub_key_types == [Algorithm::Ed25519];
    field(ed25519, "consensus_params.validator.pub_key_types", "must be ed25519 alone")?;
    let known = version.as_ref().is_some_and(|version| version.app == FIRST_VERSION);
    field(known, "consensus_params.version.app", "must be 1, the version that every chain begins with")?;
    let extensions = abci.vote_extensions_enable_height;
    field(extensions.is_none(), "consensus_params.abci.vote_extensions_enable_height", "must be absent: votes have no extensions")
}

/// Stake that was taken back is held for as long as evidence against it counts.
fn check_unbonding(genesis: &tendermint::Genesis<AppState>) -> Result<(), Error> {
    let held = Duration::from_millis(genesis.app_state.params.stake.unbonding_ms);
    let counts = genesis.consensus_params.evidence.max_age_duration.0;
    field(held >= counts, "app_state.params.stake.unbonding_ms", "must not be shorter than consensus_params.evidence.max_age_duration")
}

/// The engine's list says what `app_state` says, and each validator can be reached.
fn check_validators(genesis: &tendermint::Genesis<AppState>) -> Result<(), Error> {
    let (listed, expected) = (&genesis.validators, infos(&genesis.app_state));
    let broken = |at, rule| Err(Error::Validator { at, rule });
    if listed.len() != expected.len() {
        return broken(listed.len().min(expected.len()), "stands in only one of validators and app_state.validators");
    }
    for (at, (listed, expected)) in listed.iter().zip(expected).enumerate() {
        let Some(expected) = expected else {
            return broken(at, NO_POWER);
        };
        if (listed.pub_key, listed.address) != (expected.pub_key, expected.address) {
            return broken(at, "has another key or address than in app_state.validators");
        }
        if listed.power != expected.power {
            return broken(at, "must have the power stake / power_unit");
        }
        if listed.name != expected.name {
            return broken(at, "must have its moniker for a name");
        }
        if peer::key_of_peer(&genesis.app_state.validators[at].peer_id).is_none() {
            return broken(at, "has a peer_id that is not of an ed25519 key");
        }
    }
    Ok(())
}

/// What the engine's list must say of each validator; `None` for one that cannot be listed.
fn infos(state: &AppState) -> Vec<Option<validator::Info>> {
    let info = |record: ledger::stake::Validator| {
        // A zero unit is refused by the ledger's check; it must not divide here before that.
        let power = if state.params.power_unit == Amount::ZERO { 0 } else { record.power(&state.params) };
        let power = vote::Power::try_from(power).ok().filter(|power| !power.is_zero())?;
        let key = tendermint::PublicKey::from_raw_ed25519(&record.consensus_key.0)?;
        let name = Some(record.moniker.to_string()).filter(|name| !name.is_empty());
        Some(validator::Info { name, ..validator::Info::new(key, power) })
    };
    state.records().map(info).collect()
}

fn member(record: &ledger::stake::Validator, params: &Params) -> light::Validator {
    light::Validator { public_key: record.consensus_key, power: record.power(params) }
}

#[cfg(test)]
mod tests;
