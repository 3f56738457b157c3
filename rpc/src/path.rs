//! How trust gets from one height to a later one through one node, and the blocks on the way.
//!
//! Inside the trusting period it skips, with a block between where too few trusted validators
//! signed a distant one ([`light::Skip`]). What is trusted longer ago is walked from by hand-offs, which need no clock.
//! Below all that is trusted, hashes lead down ([`light::Descent`]).

use light::{Descent, Handoff, LightBlock, Options, Skip, Step, Trust, Verified};
use tendermint::Time;
use tendermint::block::signed_header::SignedHeader;
use tokio::task::JoinSet;
use types::Height;

use crate::{Error, Node};

/// How many headers one way down may take: below the first that is trusted hashes alone lead, one header for each height.
pub(crate) const MAX_DESCENT: u64 = 10_000;

/// How many of them are asked for at once.
const AT_ONCE: u64 = 16;

/// A way up: through which node, and at what time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Climb<'a> {
    pub(crate) node: &'a Node,
    pub(crate) now: Time,
    pub(crate) options: &'a Options,
}

/// Where a way led.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    /// The header at its end.
    pub(crate) header: Verified,
    /// The blocks on it, each believed because of the one before; the last is of that header.
    pub(crate) blocks: Vec<LightBlock>,
    /// Whether trust was older than the trusting period, so that it was walked.
    pub(crate) beyond_period: bool,
}

impl Climb<'_> {
    /// Moves trust up to `target`; where that fails, trust may have moved a part of the way.
    pub(crate) async fn to(&self, trust: &mut Trust, target: Height) -> Result<Path, Error> {
        let mut skip = Skip::to(target);
        loop {
            match skip.step(trust, self.now, self.options) {
                Ok(Step::Fetch(height)) => skip.give(self.node.light_block(height).await?)?,
                Ok(Step::There(header)) => return Ok(Path { header: *header, blocks: skip.into_blocks(), beyond_period: false }),
                Err(light::Error::Expired { .. }) => return self.walk(trust, target).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn walk(&self, trust: &mut Trust, target: Height) -> Result<Path, Error> {
        let mut handoffs = handoffs(self.node, trust.height().next(), target).await?;
        let last = self.node.light_block(target).await?;
        handoffs.push(Handoff::new(&last.signed_header, &last.next_validators)?);
        let mut blocks = Vec::new();
        for handoff in handoffs {
            let validators = trust.validators().clone();
            let header = trust.hand_off(&handoff)?;
            let signed_header = header.signed_header().clone();
            blocks.push(LightBlock { signed_header, validators, next_validators: handoff.next_validators });
            if header.height() == target {
                return Ok(Path { header, blocks, beyond_period: true });
            }
        }
        Err(Error::Mismatch { query: "/handoffs", fault: "hand-offs that do not lead to the height" })
    }
}

/// The header of `signed`, to which hashes lead down from `trust`.
pub(crate) async fn descend(node: &Node, trust: &Trust, signed: &SignedHeader) -> Result<Verified, Error> {
    let target = Height::from(signed.header.height);
    let mut way = Descent::from(trust).ok_or(Error::TooDeep { height: target, from: trust.height() })?;
    if way.height().0.saturating_sub(target.0) > MAX_DESCENT {
        return Err(Error::TooDeep { height: target, from: way.height() });
    }
    while way.height() > target {
        let lowest = Height(way.height().0.saturating_sub(AT_ONCE - 1).max(target.next().0));
        let mut asking = JoinSet::new();
        for height in lowest.0..=way.height().0 {
            let node = node.clone();
            asking.spawn(async move { node.header(Height(height)).await });
        }
        let mut headers = asking.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
        headers.sort_by_key(|header| std::cmp::Reverse(header.height));
        for header in headers {
            way.step(&header)?;
        }
    }
    let validators = node.validators(target).await?;
    Ok(way.land(signed, &validators)?)
}

/// The changes of validators from a height to below another, as the node shows them.
pub(crate) async fn handoffs(node: &Node, from: Height, until: Height) -> Result<Vec<Handoff>, Error> {
    let mut handoffs = Vec::new();
    for height in node.changes(from, until).await? {
        let (signed, next) = (node.commit(Some(height)).await?, node.validators(height.next()).await?);
        handoffs.push(Handoff::new(&signed, &next)?);
    }
    Ok(handoffs)
}
