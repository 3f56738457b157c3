//! A client that answers only what was proven.
//!
//! Trust moves as light clients move it (`path.rs`): by skipping verification inside the trusting
//! period, beyond it by hand-offs, and then [`Chain::is_beyond_period`] says so. Below where it began, hashes lead down. With witnesses
//! ([`Chain::watched_by`]) no header is believed before they were asked.

use std::collections::BTreeMap;
use std::time::Duration;

use audit::bundle::{Bundle, Item, LogProof};
use audit::log::{HEAD_KEY, Head, entry_hash, verify_inclusion};
use audit::{LogId, LogRecord, SignedAnchor};
use identity::{Did, Entry};
use ledger::account::Account;
use ledger::state::key;
use ledger::{Params, SignedTransaction, TxHash};
use light::{Kept, LightBlock, Options, StateProof, Trust, Validators, Verified, kept};
use tendermint::Time;
use tokio::time::{Instant, sleep};
use types::{Address, Decode, Encode, Height};

use crate::path::{Climb, descend, handoffs};
use crate::query::{AnchorProof, Refusal};
use crate::witness::{NO_FORK, Testimony, Witnesses, examine};
use crate::{Error, Node};

/// How long it is waited for a transaction, an anchor or a header.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How many verified headers are remembered, unless chosen otherwise.
const MAX_HEADERS: usize = 128;

/// The time between two looks.
const POLL: Duration = Duration::from_millis(50);

/// Something that the state held, and what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven<T> {
    /// What it held.
    pub value: T,
    /// The header that proves it.
    pub header: Verified,
}

impl<T> Proven<T> {
    /// The height after which the state was like this.
    #[must_use]
    pub fn height(&self) -> Height {
        self.header.state_height()
    }

    /// The time of the header: it was like this then. Whether that is fresh enough, the caller
    /// judges by [`Verified::age`].
    #[must_use]
    pub const fn time(&self) -> Time {
        self.header.time()
    }

    fn map<U>(self, read: impl FnOnce(T) -> Result<U, Error>) -> Result<Proven<U>, Error> {
        Ok(Proven { value: read(self.value)?, header: self.header })
    }
}

/// A transaction that the node says is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Included {
    /// The block.
    pub height: Height,
    /// The transaction.
    pub hash: TxHash,
}

/// One chain, seen through one node that need not be honest.
#[derive(Debug, Clone)]
pub struct Chain {
    node: Node,
    /// Where trust began, and the blocks it moved over.
    kept: Kept,
    trust: Trust,
    options: Options,
    clock: fn() -> Time,
    beyond_period: bool,
    witnesses: Witnesses,
    /// So many must have each header.
    needed: usize,
    testimony: Testimony,
    /// What is read must not be older than what was written.
    written: Height,
    /// Headers that were verified, and what the witnesses said; at most `bound`.
    seen: BTreeMap<Height, (Verified, Testimony)>,
    bound: usize,
}

impl Chain {
    /// The chain that `trust` is about, through the node at `url`. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn connect(url: &str, trust: Trust) -> Result<Self, Error> {
        Ok(Self::with(Node::new(url)?, trust, Options::default(), Time::now))
    }

    /// As [`Chain::connect`], with another trusting period or another clock.
    #[must_use]
    pub fn with(node: Node, trust: Trust, options: Options, clock: fn() -> Time) -> Self {
        Self {
            node,
            kept: Kept::new(trust.clone(), kept::KEEP),
            trust,
            options,
            clock,
            beyond_period: false,
            witnesses: Witnesses::default(),
            needed: 0,
            testimony: Testimony::default(),
            written: Height(0),
            seen: BTreeMap::new(),
            bound: MAX_HEADERS,
        }
    }

    /// By other rules of how long trust lasts, how far it reaches, and how far clocks may differ.
    #[must_use]
    pub fn judged_by(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Going on from what was kept ([`Chain::kept`]), which was believed then.
    #[must_use]
    pub fn remembering(self, kept: Kept) -> Self {
        Self { trust: kept.latest(), kept, ..self }
    }

    /// With the nodes at `urls` as witnesses of every header that is verified from now on.
    ///
    /// # Errors
    /// [`Error::Url`]; [`Error::TooManyWitnesses`].
    pub fn watched_by(self, urls: &[String]) -> Result<Self, Error> {
        Ok(Self { witnesses: Witnesses::new(urls)?, ..self })
    }

    /// With so many verified headers remembered, besides those that are kept.
    #[must_use]
    pub fn remembering_headers(self, bound: usize) -> Self {
        Self { bound, ..self }
    }

    /// With so many witnesses that must have each header; fewer are an error.
    #[must_use]
    pub fn requiring(self, witnesses: usize) -> Self {
        Self { needed: witnesses, ..self }
    }

    /// The node: its answers are its word only.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// What is trusted by now.
    #[must_use]
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Where trust began, and the blocks it moved over: worth keeping for the next time ([`Chain::remembering`]).
    #[must_use]
    pub const fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Whether trust was moved by hand-offs since what it stood on was older than the trusting
    /// period: validators that have left since could have signed another history.
    #[must_use]
    pub const fn is_beyond_period(&self) -> bool {
        self.beyond_period
    }

    /// What the witnesses said of the header that was verified last.
    #[must_use]
    pub const fn testimony(&self) -> &Testimony {
        &self.testimony
    }

    /// The newest header that the node shows.
    ///
    /// # Errors
    /// As [`Chain::entry`], without the state.
    pub async fn latest(&mut self) -> Result<Verified, Error> {
        let tip = Height::from(self.node.commit(None).await?.header.height);
        self.header(tip).await
    }

    /// Waits for a header above `from`.
    ///
    /// # Errors
    /// As [`Chain::latest`], and [`Error::Timeout`].
    pub async fn follow(&mut self, from: Height) -> Result<Verified, Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            let tip = Height::from(self.node.commit(None).await?.header.height);
            if tip > from {
                return self.header(tip).await;
            }
            pause(until, "a new block").await?;
        }
    }

    /// The header of a height, verified.
    ///
    /// # Errors
    /// What the node or the network fails at; [`Error::Unproven`]; [`Error::Attack`] if a witness has
    /// another header that holds as well. A witness that is of no help is no error:
    /// [`Chain::testimony`].
    pub async fn header(&mut self, height: Height) -> Result<Verified, Error> {
        if let Some((header, testimony)) = self.seen.get(&height) {
            self.testimony.clone_from(testimony);
            return Ok(header.clone());
        }
        let header = if height > self.trust.height() { self.advance(height).await? } else { self.look_back(height).await? };
        self.seen.insert(height, (header.clone(), self.testimony.clone()));
        if self.seen.len() > self.bound {
            self.seen.pop_first();
        }
        Ok(header)
    }

    /// The validators of a height above 0, as its header names them; of the height after the newest header, as that one does.
    ///
    /// # Errors
    /// As [`Chain::header`], and [`light::Error::WrongHandoff`] for validators whom the header does not name.
    pub async fn validators(&mut self, height: Height) -> Result<Validators, Error> {
        let validators = self.node.validators(height).await?;
        let found = tendermint::Hash::Sha256(validators.hash().0);
        let expected = match self.header(height).await {
            Ok(header) => header.header().validators_hash,
            // There is no such block yet.
            Err(Error::Refused { .. }) if height > Height(1) => self.header(Height(height.0 - 1)).await?.header().next_validators_hash,
            Err(error) => return Err(error),
        };
        if found == expected {
            return Ok(validators);
        }
        Err(light::Error::WrongHandoff { height, expected, found: validators.hash() }.into())
    }

    /// What the state holds at a key: not older than what this client has seen included, nor than
    /// what the node holds now, as far as it says. The newest state has no proof until the next
    /// block; where it differs from the last provable one, that block is waited for.
    ///
    /// # Errors
    /// What the node or the network fails at; [`Error::Unproven`]; [`Error::Timeout`].
    pub async fn entry(&mut self, key: &[u8]) -> Result<Proven<Option<Vec<u8>>>, Error> {
        let until = Instant::now() + PATIENCE;
        let mut needed = self.written;
        loop {
            match self.node.state(key, None).await {
                Ok(answer) if answer.height >= needed => {
                    let header = self.header(answer.height.next()).await?;
                    let value = header.entry(key, &answer.proof)?;
                    let (newest, now) = self.node.peek(key).await?;
                    if now == value || newest <= answer.height || needed > self.written {
                        return Ok(Proven { value, header });
                    }
                    needed = newest;
                }
                Ok(_) => {}
                Err(error) if is_early(&error) => {}
                Err(error) => return Err(error),
            }
            pause(until, "the block that proves the state").await?;
        }
    }

    /// An identity's entry.
    ///
    /// # Errors
    /// As [`Chain::entry`].
    pub async fn identity(&mut self, did: &Did) -> Result<Proven<Option<Entry>>, Error> {
        self.read(&did.state_key()).await
    }

    /// An account; one that was never written has nothing.
    ///
    /// # Errors
    /// As [`Chain::entry`].
    pub async fn account(&mut self, address: &Address) -> Result<Proven<Account>, Error> {
        self.read(&key::account(address)).await?.map(|account| Ok(account.unwrap_or_default()))
    }

    /// A log's record.
    ///
    /// # Errors
    /// As [`Chain::entry`].
    pub async fn log(&mut self, log: &LogId) -> Result<Proven<Option<LogRecord>>, Error> {
        self.read(&key::log(log)).await
    }

    /// A log's record as the next block above `from` proves it, or the newest one: the state before that block.
    /// [`Chain::log`] waits until nothing newer is known, which a log with an anchor in every block never comes to.
    ///
    /// # Errors
    /// As [`Chain::follow`] and [`Chain::entry`].
    pub async fn follow_log(&mut self, log: &LogId, from: Height) -> Result<Proven<Option<LogRecord>>, Error> {
        let header = self.follow(from).await?;
        let key = key::log(log);
        let answer = self.node.state(&key, Some(header.state_height())).await?;
        let value = header.entry(&key, &answer.proof)?;
        let record = value.map(|bytes| LogRecord::from_bytes(&bytes)).transpose();
        Ok(Proven { value: record.map_err(|source| Error::Decode { query: "a log's record", source })?, header })
    }

    /// The anchor of a log's sequence, with proof that the chain took it. Waits until the chain can prove it.
    ///
    /// # Errors
    /// What the node or the network fails at; [`Error::Unproven`]; [`Error::Mismatch`] where the node's path does not lead to
    /// the proven log of all anchors; [`Error::Timeout`] if there is no such anchor.
    pub async fn anchor(&mut self, log: LogId, sequence: u64) -> Result<SignedAnchor, Error> {
        let (height, found) = self.anchored(log, sequence).await?;
        let answer = self.node.state(HEAD_KEY.as_bytes(), Some(height)).await?;
        let header = self.header(height.next()).await?;
        let none = Error::Mismatch { query: "the log of all anchors", fault: "the state has none: not a chain of ours" };
        let head = header.entry(HEAD_KEY.as_bytes(), &answer.proof)?.ok_or(none)?;
        let head = Head::from_bytes(&head).map_err(|source| Error::Decode { query: "the log of all anchors", source })?;
        let entry = entry_hash(&found.anchor.to_bytes());
        verify_inclusion(&entry, found.index, head.size, &found.path, &head.root)
            .map_err(|_| Error::Mismatch { query: "the log of all anchors", fault: "the anchor is not in it" })?;
        Ok(found.anchor)
    }

    /// The chain's parameters.
    ///
    /// # Errors
    /// As [`Chain::entry`], and [`Error::Mismatch`] if there are none.
    pub async fn params(&mut self) -> Result<Proven<Params>, Error> {
        let none = Error::Mismatch { query: "params", fault: "the state has no parameters: not a chain of ours" };
        self.read(key::PARAMS).await?.map(|params| params.ok_or(none))
    }

    /// Sends a transaction and waits until the node says that it is in a block and did what it says.
    ///
    /// # Errors
    /// [`Error::Transaction`] if the mempool or the block refused it; [`Error::Timeout`] if neither
    /// was seen: it may still be included, up to its last height.
    pub async fn broadcast(&mut self, transaction: &SignedTransaction) -> Result<Included, Error> {
        let hash = transaction.hash();
        self.node.send(transaction.to_bytes()).await?;
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.node.find(hash).await? {
                self.written = self.written.max(found.height);
                if found.number == 0 {
                    return Ok(Included { height: found.height, hash });
                }
                let (codespace, number, log) = (found.codespace, found.number, found.log);
                return Err(Error::Transaction { codespace, number, log, height: Some(found.height) });
            }
            pause(until, "the transaction's inclusion").await?;
        }
    }

    /// The bundle that proves `items`, which are of the batch that anchor `sequence` of `log` is
    /// for. Waits until the chain can prove the anchor. It holds when it is returned: it was
    /// verified with what this client began with.
    ///
    /// # Errors
    /// What the node or the network fails at; [`Error::Bundle`]; [`Error::Timeout`].
    pub async fn bundle(&mut self, items: Vec<Item>, log: LogId, sequence: u64) -> Result<Bundle, Error> {
        let (height, anchored) = self.anchored(log, sequence).await?;
        let head = self.node.state(HEAD_KEY.as_bytes(), Some(height)).await?;
        let header = self.header(height.next()).await?;
        let bundle = Bundle {
            version: audit::bundle::VERSION,
            chain: self.kept.root().chain().clone(),
            items: items.try_into().map_err(|source| Error::Decode { query: "the items", source })?,
            anchor: anchored.anchor,
            log: LogProof { index: anchored.index, path: anchored.path },
            head: StateProof::from_ics23(HEAD_KEY.as_bytes(), &head.proof)?,
            sealed: header.sealed()?,
            handoffs: handoffs(&self.node, Height(1), header.height()).await?.try_into().map_err(|_| TOO_MANY_CHANGES)?,
        };
        audit::bundle::verify(&bundle, self.kept.root(), (self.clock)(), &self.options)?;
        Ok(bundle)
    }

    /// What the state holds at a key, as what it is.
    ///
    /// # Errors
    /// As [`Chain::entry`], and [`Error::Decode`].
    pub async fn read<T: Decode>(&mut self, key: &[u8]) -> Result<Proven<Option<T>>, Error> {
        let decode = |bytes: Vec<u8>| T::from_bytes(&bytes).map_err(|source| Error::Decode { query: "an entry", source });
        self.entry(key).await?.map(|value| value.map(decode).transpose())
    }

    async fn anchored(&self, log: LogId, sequence: u64) -> Result<(Height, AnchorProof), Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.node.anchor(log, sequence, None).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(error) if is_early(&error) => {}
                Err(error) => return Err(error),
            }
            pause(until, "the anchor's proof").await?;
        }
    }

    /// Moves trust up to `target`.
    async fn advance(&mut self, target: Height) -> Result<Verified, Error> {
        let mut trust = self.trust.clone();
        let path = self.climb(&self.node).to(&mut trust, target).await?;
        // Boxed, as below: whoever reads an entry should not carry the room for an inquiry.
        Box::pin(self.confirm(&path.header, Some(&path.blocks))).await?;
        self.trust = trust;
        self.beyond_period |= path.beyond_period;
        path.blocks.iter().for_each(|block| self.kept.keep(block));
        Ok(path.header)
    }

    /// The header of a height at or below the trusted one.
    async fn look_back(&mut self, height: Height) -> Result<Verified, Error> {
        let signed = self.node.commit(Some(height)).await?;
        let header = match self.trust.accept(&signed) {
            Err(light::Error::WrongValidators { .. }) => match self.climb_back(height).await? {
                Some(header) => header,
                None => descend(&self.node, &self.kept.above(height).unwrap_or_else(|| self.trust.clone()), &signed).await?,
            },
            accepted => accepted?,
        };
        Box::pin(self.confirm(&header, None)).await?;
        Ok(header)
    }

    /// The header of a height from the latest trust below it. `None` where nothing below is trusted, or only what is older
    /// than the trusting period, and the node does not tell of hand-offs.
    async fn climb_back(&self, height: Height) -> Result<Option<Verified>, Error> {
        if height <= self.kept.root().height() {
            return Ok(None);
        }
        match self.climb(&self.node).to(&mut self.kept.below(height), height).await {
            Ok(path) => Ok(Some(path.header)),
            Err(Error::Query { .. } | Error::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks the witnesses whether they have this header. `blocks`: those by which trust comes to it from
    /// where it stands; none for a header that lies behind.
    async fn confirm(&mut self, header: &Verified, blocks: Option<&[LightBlock]>) -> Result<(), Error> {
        let (testimony, others) = self.witnesses.ask(header, self.options.clock_drift * 2).await;
        self.testimony = testimony;
        for (place, top) in others {
            // A node that does not say how it came there must not get rid of a witness by that.
            let history = self.history(header, blocks).await?;
            let witness = self.witnesses.node(place);
            let found = match &history {
                Some((base, blocks)) => self.inquire(witness, base, blocks, top).await,
                None => self.compare(witness, header).await,
            };
            match found {
                Ok(attack) => return Err(attack),
                Err(reason) => {
                    let doubt = self.witnesses.dismiss(place, &reason);
                    self.testimony.doubts.push(doubt);
                }
            }
        }
        let (agreed, needed) = (self.testimony.agreed, self.needed);
        if agreed >= needed {
            return Ok(());
        }
        let doubts: Vec<_> = self.testimony.doubts.iter().map(|doubt| format!("{}: {}", doubt.witness, doubt.reason)).collect();
        Err(Error::TooFewWitnesses { height: header.height(), agreed, needed, doubts: doubts.join("; ") })
    }

    /// What was trusted before a header, and the blocks that led from there to it. None if it lies before all
    /// that was trusted.
    async fn history(&self, header: &Verified, blocks: Option<&[LightBlock]>) -> Result<Option<(Trust, Vec<LightBlock>)>, Error> {
        if let Some(blocks) = blocks {
            return Ok(Some((self.trust.clone(), blocks.to_vec())));
        }
        if header.height() <= self.kept.root().height() {
            return Ok(None);
        }
        let base = self.kept.below(header.height());
        let path = self.climb(&self.node).to(&mut base.clone(), header.height()).await?;
        if path.header.hash() == header.hash() { Ok(Some((base, path.blocks))) } else { Err(NO_FORK) }
    }

    async fn inquire(&self, witness: &Node, base: &Trust, blocks: &[LightBlock], top: Height) -> Result<Error, Error> {
        examine(self.climb(&self.node), self.climb(witness), base, blocks, top).await
    }

    /// As [`examine`], for a header that lies before all that was trusted.
    async fn compare(&self, witness: &Node, header: &Verified) -> Result<Error, Error> {
        let instead = self.trust.accept(&witness.commit(Some(header.height())).await?)?;
        if instead.hash() == header.hash() {
            return Err(NO_FORK);
        }
        Ok(Error::Attack {
            height: header.height(),
            shown: header.hash(),
            instead: instead.hash(),
            witness: witness.url(),
            reports: "no evidence was made, since the height lies before what was trusted first".to_owned(),
        })
    }

    fn climb<'a>(&'a self, node: &'a Node) -> Climb<'a> {
        Climb { node, now: (self.clock)(), options: &self.options }
    }
}

const TOO_MANY_CHANGES: Error =
    Error::Mismatch { query: "/handoffs", fault: "more changes of validators than a bundle holds: begin with a checkpoint" };

/// A chain that has just begun has no provable state yet.
const fn is_early(error: &Error) -> bool {
    matches!(error, Error::Query { number, .. } if *number == Refusal::FutureHeight.code())
}

async fn pause(until: Instant, what: &'static str) -> Result<(), Error> {
    if Instant::now() >= until {
        return Err(Error::Timeout { what, after: PATIENCE });
    }
    sleep(POLL).await;
    Ok(())
}
