//! Other nodes, asked whether they have the same chain.
//!
//! A header that is signed well enough is believed, also where a third of the validators lie and sign a
//! second one for somebody's eyes. It shows where a node elsewhere has another. So each header that
//! [`crate::Chain`] verifies is compared with what its witnesses have at that height (CometBFT 0.38,
//! `light/detector.go`). Where one differs and holds as well, nothing is believed any more, and each
//! of the two nodes is handed the evidence against the other's history, to judge it by its own chain.

use std::time::Duration;

use light::{Fork, LightBlock, Trust, Verified};
use tendermint::Time;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use types::{Hash, Height};

use crate::path::Climb;
use crate::{Error, Node};

/// How many witnesses a client may have.
pub const MAX_WITNESSES: usize = 16;

/// How long it may take to find where two histories part.
const INQUIRY: Duration = Duration::from_secs(60);

/// The time between two looks at a witness that is behind.
const POLL: Duration = Duration::from_millis(200);

/// What the witnesses said of a header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Testimony {
    /// How many witnesses there are, those dropped among them.
    pub asked: usize,
    /// How many have the same header.
    pub agreed: usize,
    /// Those that did not help, and why.
    pub doubts: Vec<Doubt>,
}

impl Testimony {
    /// Whether there are witnesses, and none has the header.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        self.asked > 0 && self.agreed == 0
    }
}

/// Why a witness was of no help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Its address.
    pub witness: String,
    /// What it did.
    pub reason: String,
    /// Whether it is asked no more, since it showed a header that does not hold.
    pub dropped: bool,
}

/// The witnesses of one client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Witnesses {
    all: Vec<Witness>,
}

#[derive(Debug, Clone)]
struct Witness {
    node: Node,
    /// Why it is asked no more.
    dropped: Option<String>,
}

/// What a witness has at a height.
enum Word {
    Same,
    /// Another header, there or, not earlier, as its newest one.
    Other(Height),
    Silent(String),
}

impl Witnesses {
    /// # Errors
    /// [`Error::Url`]; [`Error::TooManyWitnesses`].
    pub(crate) fn new(urls: &[String]) -> Result<Self, Error> {
        if urls.len() > MAX_WITNESSES {
            return Err(Error::TooManyWitnesses(urls.len()));
        }
        let witness = |url: &String| Ok(Witness { node: Node::new(url)?, dropped: None });
        Ok(Self { all: urls.iter().map(witness).collect::<Result<_, Error>>()? })
    }

    /// Asks all at once, and lets those that are behind come up for as long as `lag`. What they say; and
    /// the places of those that have another header, with the height where it stands.
    pub(crate) async fn ask(&self, header: &Verified, lag: Duration) -> (Testimony, Vec<(usize, Height)>) {
        let mut asking = JoinSet::new();
        for (place, witness) in self.all.iter().enumerate().filter(|(_, witness)| witness.dropped.is_none()) {
            let (node, height, hash, time) = (witness.node.clone(), header.height(), header.hash(), header.time());
            asking.spawn(async move { (place, compare(&node, height, hash, time, lag).await) });
        }
        let mut words: Vec<_> = asking.join_all().await;
        words.sort_by_key(|(place, _)| *place);
        let mut testimony = Testimony { asked: self.all.len(), agreed: 0, doubts: self.dropped() };
        let mut others = Vec::new();
        for (place, word) in words {
            match word {
                Word::Same => testimony.agreed += 1,
                Word::Other(height) => others.push((place, height)),
                Word::Silent(reason) => testimony.doubts.push(self.doubt(place, reason, false)),
            }
        }
        (testimony, others)
    }

    pub(crate) fn node(&self, place: usize) -> &Node {
        &self.all[place].node
    }

    /// Asks this witness no more.
    pub(crate) fn dismiss(&mut self, place: usize, reason: &Error) -> Doubt {
        let reason = format!("has another header, which does not hold: {reason}");
        self.all[place].dropped = Some(reason.clone());
        self.doubt(place, reason, true)
    }

    fn dropped(&self) -> Vec<Doubt> {
        let reasons = self.all.iter().enumerate().filter_map(|(place, witness)| Some((place, witness.dropped.clone()?)));
        reasons.map(|(place, reason)| self.doubt(place, reason, true)).collect()
    }

    fn doubt(&self, place: usize, reason: String, dropped: bool) -> Doubt {
        Doubt { witness: self.node(place).url(), reason, dropped }
    }
}

/// What `node` has at a height; where it is behind, it has so long to come up. Each question has the
/// bound of every question.
async fn compare(node: &Node, height: Height, hash: Hash, time: Time, lag: Duration) -> Word {
    let until = Instant::now() + lag;
    loop {
        let refused = match node.commit(Some(height)).await {
            Ok(signed) if signed.header.hash() == tendermint::Hash::Sha256(hash.0) => return Word::Same,
            Ok(_) => return Word::Other(height),
            // A node refuses a height that it has not come to.
            Err(error @ Error::Refused { .. }) => error,
            Err(error) => return Word::Silent(error.to_string()),
        };
        match node.commit(None).await {
            // Its newest block is not earlier: it will never have one that lies higher and says this time.
            Ok(tip) if Height::from(tip.header.height) < height && tip.header.time >= time => {
                return Word::Other(tip.header.height.into());
            }
            Ok(_) if Instant::now() < until => sleep(POLL).await,
            Ok(tip) => return Word::Silent(format!("is at height {}: {refused}", tip.header.height)),
            Err(error) => return Word::Silent(error.to_string()),
        }
    }
}

/// Finds out who else was told what: the attack, as an error, where the witness's history holds.
///
/// `base`: what was trusted before both. `blocks`: the node's, from there on. `top`: the height at which
/// the witness has another header than the last of them, or which is its newest.
///
/// # Errors
/// Why the witness's history does not hold, or does not contradict the node's.
pub(crate) async fn examine(node: Climb<'_>, witness: Climb<'_>, base: &Trust, blocks: &[LightBlock], top: Height) -> Result<Error, Error> {
    let inquiry = async {
        let heights: Vec<_> = blocks.iter().map(LightBlock::height).filter(|height| *height < top).chain([top]).collect();
        let told = retell(witness, base, &heights).await?;
        let mut shown = blocks.to_vec();
        // Believed from the genesis, as block 1 is: so whatever the node has there, it follows on the witness's.
        if base.height() > Height(0) || blocks.first().is_some_and(|block| block.height() > Height(1)) {
            shown.insert(0, told[0].clone());
        }
        let fork = Fork::find(&shown, &told).ok_or(NO_FORK)?;
        let against_node = report(fork, witness.node, "the witness").await;
        let heights: Vec<_> = told.iter().map(LightBlock::height).collect();
        let against_witness = match retell(node, base, &heights).await {
            Ok(retold) => match Fork::find(&told, &retold) {
                Some(fork) => report(fork, node.node, "the node").await,
                None => "the node's history has no evidence against the witness".to_owned(),
            },
            Err(error) => format!("the node does not tell its history again: {error}"),
        };
        Ok(Error::Attack {
            height: fork.conflicting.height(),
            shown: fork.conflicting.hash(),
            instead: fork.instead.hash(),
            witness: witness.node.url(),
            reports: format!("{against_node}; {against_witness}"),
        })
    };
    timeout(INQUIRY, inquiry).await.unwrap_or(Err(Error::Timeout { what: "the end of the witness's history", after: INQUIRY }))
}

pub(crate) const NO_FORK: Error = Error::Mismatch { query: "commit", fault: "a header that it had not when asked again" };

/// The blocks by which a node leads from `base`, whose block is the first, through all of `heights`, which
/// rise. After a genesis the first is block 1.
async fn retell(climb: Climb<'_>, base: &Trust, heights: &[Height]) -> Result<Vec<LightBlock>, Error> {
    let mut trust = base.clone();
    let mut told = match base.header_hash() {
        None => climb.to(&mut trust, Height(1)).await?.blocks,
        Some(hash) => {
            let block = climb.node.light_block(base.height()).await?;
            let named = block.signed_header.header.validators_hash == block.validators.set().hash();
            if block.hash() != hash || !named {
                return Err(Error::Mismatch { query: "commit", fault: "another block than the one trusted before" });
            }
            vec![block]
        }
    };
    for height in heights {
        // Evidence holds validators to the blocks that they sign, so the first of new ones is told, too.
        let heirs = told.last().filter(|last| last.validators != last.next_validators).map(|last| last.height().next());
        for height in heirs.into_iter().filter(|heirs| heirs < height).chain([*height]) {
            if height > trust.height() {
                told.extend(climb.to(&mut trust, height).await?.blocks);
            }
        }
    }
    Ok(told)
}

/// Hands the evidence of a fork to the other side; what came of it, in words.
async fn report(fork: Fork<'_>, judge: &Node, whom: &str) -> String {
    let Some(evidence) = fork.evidence() else {
        return "nobody can be held to a block invented at height 1".to_owned();
    };
    match judge.broadcast_evidence(&evidence.into()).await {
        Ok(_) => format!("{whom} has taken the evidence"),
        Err(error) => format!("{whom} has not taken the evidence: {error}"),
    }
}
