//! How trust gets from one height to a later one through one node, and the blocks on the way.
//!
//! Inside the trusting period it skips, with a block between where too few trusted validators
//! signed a distant one. What is trusted longer ago is walked from by hand-offs, which need no clock.

use light::{Handoff, LightBlock, Options, Trust, Verified};
use tendermint::Time;
use types::Height;

use crate::{Error, Node};

/// How many light blocks one move of trust may take: bisection over 2^63 heights, and some.
const MAX_STEPS: usize = 256;

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
        let mut ahead = vec![self.node.light_block(target).await?];
        let mut blocks = Vec::new();
        for _ in 0..MAX_STEPS {
            let Some(block) = ahead.pop() else { break };
            match trust.follow(&block, self.now, self.options) {
                Ok(header) => {
                    blocks.push(block);
                    if ahead.is_empty() {
                        return Ok(Path { header, blocks, beyond_period: false });
                    }
                }
                Err(light::Error::NotEnoughTrust { signed, total }) => {
                    let (low, high) = (trust.height(), block.height());
                    let middle = Height(low.0.midpoint(high.0));
                    if middle == low {
                        return Err(light::Error::NotEnoughTrust { signed, total }.into());
                    }
                    ahead.push(block);
                    ahead.push(self.node.light_block(middle).await?);
                }
                Err(light::Error::Expired { .. }) => return self.walk(trust, target).await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Mismatch { query: "commit", fault: "trust does not reach the height in 256 steps" })
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

/// The changes of validators from a height to below another, as the node shows them.
pub(crate) async fn handoffs(node: &Node, from: Height, until: Height) -> Result<Vec<Handoff>, Error> {
    let mut handoffs = Vec::new();
    for height in node.changes(from, until).await? {
        let (signed, next) = (node.commit(Some(height)).await?, node.validators(height.next()).await?);
        handoffs.push(Handoff::new(&signed, &next)?);
    }
    Ok(handoffs)
}
