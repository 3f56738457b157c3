//! The load, signed before anything is measured: the same bytes for every network of a run.

use std::collections::HashMap;
use std::sync::Arc;

use audit::domains::ANCHOR;
use audit::{Anchor, LogId, SignedAnchor};
use genesis::entropy;
use ledger::{Body, Params, SignedTransaction};
use rpc::submit::{FeePayer, Terms};
use types::{Address, Amount, ChainId, Encode as _, Hash, Height, Millis, SigningKey, Text};

/// Of so many authors one owns a log and anchors; the others transfer.
const ONE_ANCHORS: usize = 10;

/// What every author has at the beginning.
pub(super) const FUNDS: Amount = Amount(1_000 * Amount::ZYNK.0);

/// Nothing here is over by then.
const VALID_UNTIL: Height = Height(1_000_000);

/// One author and what it sends, in the order of its sequence.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) author: Address,
    /// Where its transfers go: to an account of its own, whose balance then counts them.
    pub(super) sink: Address,
    pub(super) log: Option<LogId>,
    pub(super) transactions: Vec<Vec<u8>>,
}

/// All that is sent.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) lanes: Vec<Lane>,
    /// How many transactions each lane has.
    pub(super) each: usize,
    names: HashMap<Hash, u32>,
}

/// A signature as it is checked: by whom, over what.
pub(super) type Check = (types::PublicKey, Vec<u8>, types::Signature);

impl Prepared {
    /// Signs `each` transactions for each of so many `authors`, on every core.
    pub(super) fn sign(chain: &ChainId, params: &Params, authors: usize, each: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let places: Vec<usize> = (0..authors).collect();
        let lanes: Vec<Lane> = std::thread::scope(|scope| {
            let shares: Vec<_> = places
                .chunks(authors.div_ceil(cores).max(1))
                .map(|share| scope.spawn(move || share.iter().map(|place| Lane::sign(chain, params, *place, each)).collect::<Vec<_>>()))
                .collect();
            shares.into_iter().flat_map(|share| share.join().expect("signing does not panic")).collect()
        });
        let all = lanes.iter().flat_map(|lane| &lane.transactions);
        let names = all.zip(0..).map(|(bytes, index)| (Hash::sha256(&[bytes]), index)).collect();
        Self { lanes, each, names }
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len() * self.each
    }

    /// The number of a transaction by its name.
    pub(super) fn find(&self, name: &Hash) -> Option<usize> {
        self.names.get(name).and_then(|index| usize::try_from(*index).ok())
    }

    /// The number of a lane's transaction.
    pub(super) const fn index(&self, lane: usize, place: usize) -> usize {
        lane * self.each + place
    }

    pub(super) fn bytes(&self, lane: usize, place: usize) -> &[u8] {
        &self.lanes[lane].transactions[place]
    }

    pub(super) fn is_anchor(&self, index: usize) -> bool {
        // The first of such a lane registers its log.
        self.lanes[index / self.each].log.is_some() && !index.is_multiple_of(self.each)
    }

    /// The signatures of the first `count` transactions in the order in which they are sent, and of how many
    /// transactions they are: those in bodies, of logs' keys, among them.
    pub(super) fn checks(&self, count: usize) -> (Vec<Check>, usize) {
        let count = count.min(self.len());
        let sent = (0..self.each).flat_map(|place| (0..self.lanes.len()).map(move |lane| (lane, place)));
        let mut checks = Vec::with_capacity(2 * count);
        for (lane, place) in sent.take(count) {
            let signed = SignedTransaction::parse(self.bytes(lane, place)).expect("it was signed here");
            checks.push((signed.transaction.author, signed.transaction.signed_bytes(), signed.signature));
            if let Body::Anchor(anchor) = &signed.transaction.body {
                let message = [ANCHOR.context().as_bytes(), anchor.anchor.to_bytes().as_slice()].concat();
                checks.push((log_key(lane).public(), message, anchor.signature));
            }
        }
        (checks, count)
    }
}

impl Lane {
    fn sign(chain: &ChainId, params: &Params, place: usize, each: usize) -> Self {
        let (key, sink) = (author_key(place), Address(entropy::bytes()));
        let author = key.public().address();
        let log = place.is_multiple_of(ONE_ANCHORS).then(|| LogId::derive(chain, &author, 0));
        let mut previous = Hash::ZERO;
        let transactions = (0..each as u64).map(|sequence| {
            let terms = Terms { chain: chain.clone(), sequence, valid_until: VALID_UNTIL, params: *params };
            let body = match log {
                None => Body::Transfer { to: sink, amount: Amount(1), memo: Text::default() },
                Some(_) if sequence == 0 => Body::RegisterLog { key: log_key(place).public(), bond: params.log_bond },
                Some(log) => {
                    let anchor = anchor(chain, log, sequence, previous);
                    previous = anchor.hash();
                    Body::Anchor(Box::new(SignedAnchor::sign(anchor, &log_key(place))))
                }
            };
            terms.sign(&key, FeePayer::Author, body).to_bytes()
        });
        let transactions = transactions.collect();
        Self { author, sink, log, transactions }
    }
}

fn anchor(chain: &ChainId, log: LogId, sequence: u64, previous: Hash) -> Anchor {
    let (opened, closed) = (Millis(sequence), Millis(sequence + 1));
    Anchor {
        version: audit::anchor::VERSION,
        chain: chain.clone(),
        log,
        sequence,
        previous,
        root: Hash(entropy::bytes()),
        count: 1,
        opened,
        closed,
    }
}

/// A chain that is thrown away needs no secrets.
fn author_key(place: usize) -> SigningKey {
    key(b"author", place)
}

fn log_key(place: usize) -> SigningKey {
    key(b"log", place)
}

fn key(role: &[u8], place: usize) -> SigningKey {
    SigningKey::from_seed(&Hash::sha256(&[b"zynk bench chain", role, &place.to_be_bytes()]).0)
}

/// The accounts that the genesis must hold.
pub(super) fn accounts(prepared: &Arc<Prepared>) -> impl Iterator<Item = (Address, Amount)> {
    prepared.lanes.iter().map(|lane| (lane.author, FUNDS))
}
