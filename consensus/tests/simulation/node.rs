//! A validator: the engine's core, with this chain's signer, log and blocks around it.
//!
//! The core asks by effects and is answered at once; what takes time in a real node (building a block,
//! judging one) is answered by an input that comes later. Before and after every effect the node may crash.

mod effects;
mod saying;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consensus::guard::Guard;
use consensus::host::Decided;
use consensus::malachite::context::{Address, BlockHash, Height, Validators, Zynk};
use consensus::malachite::signing::{EngineLog, GuardedSigner};
use malachite::app::consensus::{Effect, Error, Input, Params, Resume, State, ThresholdParams, process};
use malachite::app::metrics::Metrics;
use malachite::app::types::PeerId;
use malachite::app::types::core::{
    Round, ThresholdParam, Timeout, TimeoutKind, ValidatorSet as _, ValueOrigin, ValuePayload, ValueResponse, VoteType,
};
use tendermint::{Time, account};
use tokio::runtime::Runtime;

use crate::app::consensus_key;
use crate::dice::Dice;
use crate::log::{NoLog, SharedLog};
use crate::network::Message;
use crate::plan::{Bug, Plan, Role};
use crate::store::Store;
use crate::verify::Shared;

/// How many messages for later heights the core keeps, as the engine's default and `malachite::engine` have it.
const QUEUED_HEIGHTS: usize = 10;
const QUEUED_PER_HEIGHT: usize = 500;

/// A peer is asked for blocks at most this often, in milliseconds.
const ASK_AGAIN: u64 = 1_500;

/// At most this many decided blocks are handed over at once.
const GIVEN: u64 = 8;

/// Above every target time: the end of a height is timed by the simulated clock.
const FOREVER: Duration = Duration::from_secs(1 << 30);

/// Why a node stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It was made to crash.
    Crashed,
    /// Its guard refused a signature: a real node ends then, and its supervisor starts it again.
    Refused(String),
    /// Something that must not happen.
    Broken(String),
}

/// What a node does to the world.
#[derive(Debug)]
pub(crate) enum Act {
    /// Says something to everybody else.
    Say(Message),
    /// Says one thing to one half, and another to the other half.
    Split(Box<[Message; 2]>),
    /// Says something to one node.
    Tell(usize, Message),
    /// Gives its own core something after some milliseconds.
    Feed(Box<Input<Zynk>>, u64),
    /// Wants to be woken by a timer of this number after some milliseconds.
    Wake(Timeout, u64, u64),
    /// Something that the witness must see.
    Seen(Seen),
}

/// What the witness sees of a node.
#[derive(Debug)]
pub(crate) enum Seen {
    Round(u32),
    Signed(Signed),
    Decided(Box<Decided>),
    Evidence(Vec<account::Id>),
    Replayed(usize),
}

/// What was signed for a slot.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Signed {
    pub(crate) height: Height,
    pub(crate) round: Round,
    /// The kind of vote; none for a proposal.
    pub(crate) vote: Option<VoteType>,
    pub(crate) block: Option<BlockHash>,
    pub(crate) pol_round: Round,
}

impl Signed {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        let kind = self.vote.map_or("proposal".to_owned(), |vote| format!("{vote:?}").to_lowercase());
        let block = self.block.map_or("nil".to_owned(), |block| block.to_string());
        format!("{kind} for {block} at height {} round {}", self.height, self.round)
    }
}

/// What a running node has in memory.
struct Running {
    core: Option<Box<State<Zynk>>>,
    metrics: Metrics,
    /// The second one is an equivocating validator's: another machine with the same key.
    signers: Vec<GuardedSigner>,
    recovering: bool,
    timers: BTreeMap<(u8, Round), u64>,
    began: u64,
    waiting: bool,
    asked: Option<u64>,
    given: BTreeMap<u64, ValueResponse<Zynk>>,
    twin: Option<(Height, Round, BlockHash)>,
}

/// A node.
pub(crate) struct Node {
    pub(crate) name: usize,
    pub(crate) role: Role,
    bug: Option<Bug>,
    skew: i64,
    guards: Vec<PathBuf>,
    pub(crate) store: Store,
    log: SharedLog,
    verifier: Shared,
    runtime: Arc<Runtime>,
    running: Option<Running>,
    /// How often the node was started: what was meant for an earlier life is lost.
    pub(crate) life: u64,
    /// After how many more effects it crashes.
    fuse: Option<u64>,
    now: u64,
    numbers: u64,
    acts: Vec<Act>,
}

impl Node {
    pub(crate) fn new(plan: &Plan, name: usize, folder: &Path, verifier: Shared, runtime: Arc<Runtime>) -> Self {
        let role = plan.nodes[name].0;
        let machines = if role == Role::Equivocating { 2 } else { 1 };
        let address = account::Id::from(consensus_key(name).public().address());
        Self {
            name,
            role,
            bug: plan.bug,
            skew: plan.skews[name],
            guards: (0..machines).map(|machine| folder.join(format!("{name}.{machine}"))).collect(),
            store: Store::new(plan, name, address),
            log: SharedLog::default(),
            verifier,
            runtime,
            running: None,
            life: 0,
            fuse: None,
            now: 0,
            numbers: 0,
            acts: Vec::new(),
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// What the node has done since it was last asked.
    pub(crate) fn take_acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// Lets the node crash after so many effects.
    pub(crate) const fn light_fuse(&mut self, effects: u64) {
        self.fuse = Some(effects);
    }

    /// Starts, with what is durable.
    pub(crate) fn start(&mut self, now: u64) -> Result<(), Stop> {
        self.now = now;
        self.life += 1;
        self.fuse = None;
        self.store.restart(now);
        let key = consensus_key(self.name);
        let log: Arc<dyn EngineLog> = if self.bug == Some(Bug::LateLog) { Arc::new(NoLog) } else { Arc::new(self.log.clone()) };
        let open = |path: &PathBuf| {
            let (guard, _) = Guard::open(path, key.public()).map_err(|error| Stop::Broken(error.to_string()))?;
            let chain = self.store.state.chain_id.clone();
            Ok(GuardedSigner::new(chain, key.clone(), Arc::new(Mutex::new(guard)), Arc::clone(&log)))
        };
        self.running = Some(Running {
            core: None,
            metrics: Metrics::new(),
            signers: self.guards.iter().map(open).collect::<Result<_, Stop>>()?,
            recovering: false,
            timers: BTreeMap::new(),
            began: now,
            waiting: false,
            asked: None,
            given: BTreeMap::new(),
            twin: None,
        });
        self.begin()
    }

    /// Loses what is not durable: memory, and of the log what was not synced. The guard's last record may be
    /// cut short. Returns how many entries of the log were lost.
    pub(crate) fn crash(&mut self, dice: &mut Dice) -> usize {
        self.running = None;
        if self.bug == Some(Bug::LostMemory) {
            self.log.open().forget();
            for guard in &self.guards {
                std::fs::remove_file(guard).expect("the guard is there");
            }
            return 0;
        }
        let torn = vec![7; dice.place(53)];
        OpenOptions::new().append(true).open(&self.guards[0]).and_then(|mut file| file.write_all(&torn)).expect("a file to write to");
        self.log.open().crash(dice)
    }

    /// Begins the next height if it is time for it, and hands the core what others gave for it.
    pub(crate) fn reconsider(&mut self, now: u64) -> Result<(), Stop> {
        self.now = now;
        if self.running.as_ref().is_some_and(|running| running.waiting) && self.store.delay(now).is_none() {
            self.begin()?;
        }
        let Some(running) = &mut self.running else { return Ok(()) };
        let Some(core) = &running.core else { return Ok(()) };
        let height = core.height().0;
        running.given = running.given.split_off(&height);
        match running.given.remove(&height) {
            Some(value) if !core.driver.step_is_commit() => self.feed(Input::SyncValueResponse(value)),
            _ => Ok(()),
        }
    }

    /// Says where it stands, to everybody.
    pub(crate) fn status(&mut self) {
        self.acts.push(Act::Say(Message::Status(self.store.tip())));
    }

    /// No crash is due any more.
    pub(crate) const fn remove_fuse(&mut self) {
        self.fuse = None;
    }

    /// What its core is doing, for people.
    pub(crate) fn describe(&self) -> String {
        match &self.running {
            None => "down".to_owned(),
            Some(Running { waiting: true, .. }) => "waiting for the next height".to_owned(),
            Some(Running { core: Some(core), .. }) => {
                format!("in round {} of height {}, step {:?}", core.round(), core.height(), core.driver.step())
            }
            Some(_) => "starting".to_owned(),
        }
    }

    /// Takes an answer that its core waits for.
    pub(crate) fn take_input(&mut self, input: Input<Zynk>, now: u64) -> Result<(), Stop> {
        self.now = now;
        self.feed(input)
    }

    /// A timer rang.
    pub(crate) fn wake(&mut self, timeout: Timeout, number: u64, now: u64) -> Result<(), Stop> {
        self.now = now;
        let Some(running) = &mut self.running else { return Ok(()) };
        if running.timers.get(&timer(timeout)) != Some(&number) {
            return Ok(());
        }
        running.timers.remove(&timer(timeout));
        self.feed(Input::TimeoutElapsed(timeout))
    }

    /// Hears something.
    pub(crate) fn hear(&mut self, from: usize, message: Message, now: u64) -> Result<(), Stop> {
        self.now = now;
        match message {
            Message::Vote(vote) => self.feed(Input::Vote(vote)),
            Message::Proposal(proposal) => self.feed(Input::Proposal(proposal)),
            Message::Polka(certificate) => self.feed(Input::PolkaCertificate(certificate)),
            Message::Round(certificate) => self.feed(Input::RoundCertificate(certificate)),
            Message::Block(said) => {
                if let Some(value) = self.store.receive(said, self.clock()) {
                    self.acts.push(Act::Feed(Box::new(Input::ProposedValue(value, ValueOrigin::Consensus)), 2));
                }
                Ok(())
            }
            Message::Status(tip) => {
                self.store.heard = self.store.heard.max(tip);
                self.ask(from, tip);
                Ok(())
            }
            Message::Ask(height) => {
                let most = if self.bug == Some(Bug::SaidOnce) { 0 } else { GIVEN };
                let given = (height..height + most).map_while(|height| self.store.decided(height));
                self.acts.extend(given.map(|(body, certificate)| Act::Tell(from, Message::Give(body, certificate))));
                Ok(())
            }
            Message::Give(value_bytes, certificate) => {
                if let Some(running) = &mut self.running {
                    let peer = PeerId::from_bytes(&[0, 1, 0]).expect("a peer id");
                    running.given.insert(certificate.height.0, ValueResponse { peer, value_bytes, certificate });
                }
                Ok(())
            }
            Message::Transaction(bytes) => {
                self.store.submit(bytes);
                Ok(())
            }
        }
    }

    fn ask(&mut self, whom: usize, tip: u64) {
        let Some(running) = &mut self.running else { return };
        let Some(height) = running.core.as_ref().map(|core| core.height().0) else { return };
        let patient = running.asked.is_some_and(|asked| self.now < asked + ASK_AGAIN);
        // The height after the one that waits to begin is asked for once it has begun.
        if tip >= height && !running.waiting && !patient && !running.given.contains_key(&height) {
            running.asked = Some(self.now);
            self.acts.push(Act::Tell(whom, Message::Ask(height)));
        }
    }

    fn begin(&mut self) -> Result<(), Stop> {
        let height = Height(self.store.next_height());
        let validators = Validators::from(&self.store.state.validators);
        let me = self.address();
        let active = validators.get_by_address(&me).is_some();
        if !active {
            self.log.open().forget();
        }
        let entries = self.log.open().begin(height);
        let Some(running) = &mut self.running else { return Ok(()) };
        running.waiting = false;
        running.began = self.now;
        if running.core.is_none() {
            let threshold_params = match self.bug {
                Some(Bug::HalfQuorum) => ThresholdParams { quorum: ThresholdParam::new(9, 20), ..ThresholdParams::default() },
                _ => ThresholdParams::default(),
            };
            let params = Params { address: me, threshold_params, value_payload: ValuePayload::ProposalAndParts, enabled: true };
            let core = State::new(Zynk, height, validators.clone(), params, QUEUED_HEIGHTS, QUEUED_PER_HEIGHT);
            running.core = Some(Box::new(core));
        }
        self.feed(Input::StartHeight(height, validators, false, Some(FOREVER), Default::default()))?;
        if entries.is_empty() {
            return Ok(());
        }
        self.acts.push(Act::Seen(Seen::Replayed(entries.len())));
        self.recover(|running, core| {
            running.recovering = true;
            core.index_wal_entries(&entries);
        });
        for entry in entries.clone() {
            self.feed(entry)?;
        }
        self.recover(|running, core| {
            running.recovering = false;
            core.reset_entries_index();
        });
        Ok(())
    }

    fn recover(&mut self, act: impl FnOnce(&mut Running, &mut State<Zynk>)) {
        if let Some(running) = &mut self.running
            && let Some(mut core) = running.core.take()
        {
            act(running, &mut core);
            running.core = Some(core);
        }
    }

    /// Gives the core an input and does what it asks for.
    fn feed(&mut self, input: Input<Zynk>) -> Result<(), Stop> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let Some(mut core) = running.core.take() else { return Ok(()) };
        let metrics = running.metrics.clone();
        let done: Result<(), Error<Zynk>> = process!(
            input: input,
            state: &mut *core,
            metrics: &metrics,
            with: effect => match self.perform(effect) {
                Ok(resume) => Ok::<_, Infallible>(resume),
                Err(stop) => return Err(stop),
            }
        );
        if let Some(running) = &mut self.running {
            running.core = Some(core);
        }
        done.map_err(|error| Stop::Broken(error.to_string()))
    }

    fn perform(&mut self, effect: Effect<Zynk>) -> Result<Resume<Zynk>, Stop> {
        self.burn()?;
        let resume = self.answer(effect)?;
        self.burn()?;
        Ok(resume)
    }

    fn burn(&mut self) -> Result<(), Stop> {
        match self.fuse {
            Some(0) => Err(Stop::Crashed),
            Some(left) => {
                self.fuse = Some(left - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("only a running node is asked")
    }

    pub(crate) fn address(&self) -> Address {
        Address(account::Id::from(consensus_key(self.name).public().address()))
    }

    fn clock(&self) -> Time {
        let start = 1_790_000_000_000 + i64::try_from(self.now).expect("a short run") + self.skew;
        let nanos = u32::try_from(start % 1000).expect("below 1000") * 1_000_000;
        Time::from_unix_timestamp(start / 1000, nanos).expect("a time")
    }
}

fn timer(timeout: Timeout) -> (u8, Round) {
    let kind = match timeout.kind {
        TimeoutKind::Propose => 0,
        TimeoutKind::Prevote => 1,
        TimeoutKind::Precommit => 2,
        TimeoutKind::Rebroadcast => 3,
        TimeoutKind::FinalizeHeight(_) => 4,
    };
    (kind, timeout.round)
}
