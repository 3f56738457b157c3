//! Which chain a light client follows: what it trusts to begin with, whom it asks, and what it remembers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use genesis::{Genesis, file};
use light::{Kept, Options, Trust, TrustThreshold, kept};
use rpc::{Chain, Node};
use tendermint::Time;
use types::{Hash, Height};

use crate::cli::Basis;
use crate::failure::Failure;

/// How large a file of kept blocks may be, in bytes.
const MAX_STORE: u64 = 256 << 20;

/// Which chain, through which node, and by what rules.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// The RPC of a node
    #[arg(long, env = "ZYNK_NODE", value_name = "URL", default_value = "http://127.0.0.1:26657")]
    node: String,

    /// Another node, asked whether it has the same headers; can be given again
    #[arg(long, value_name = "URL")]
    witness: Vec<String>,

    /// So many witnesses must have each header, or it is not believed
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_witnesses: usize,

    /// Trust the genesis of the chain
    #[arg(long, env = "ZYNK_GENESIS", value_name = "FILE", conflicts_with_all = ["checkpoint", "trust"])]
    genesis: Option<PathBuf>,

    /// Trust a checkpoint, as `zynk light --checkpoint-out` writes it
    #[arg(long, value_name = "FILE", conflicts_with = "trust")]
    checkpoint: Option<PathBuf>,

    /// Trust the block of this height and hash, which somebody vouches for
    #[arg(long, value_name = "HEIGHT:HASH")]
    trust: Option<Vouched>,

    /// Remember verified blocks in this file, and go on from there another time
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,

    /// How many blocks the store keeps: the first and the latest
    #[arg(long, value_name = "N", default_value_t = kept::KEEP, value_parser = keep)]
    keep: usize,

    /// The share of the trusted power that must have signed a distant block, from 1/3 to 1
    #[arg(long, value_name = "N/M", default_value = "1/3", value_parser = level)]
    trust_level: TrustThreshold,

    /// How long a header is trusted, in seconds: less than stake takes to unbond
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().trusting_period.as_secs())]
    trusting_period: u64,

    /// How far a header may be ahead of the clock, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().clock_drift.as_secs())]
    clock_drift: u64,
}

/// A block that somebody vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vouched {
    height: Height,
    hash: Hash,
}

impl FromStr for Vouched {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a height, a colon, and the header's hash in 64 hexadecimal digits";
        let (height, hash) = text.split_once(':').ok_or(FORM)?;
        let height = height.parse().ok().filter(|height| *height > 0).map(Height).ok_or(FORM)?;
        let bytes = hex::decode(hash).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(FORM)?;
        Ok(Self { height, hash: Hash(bytes) })
    }
}

fn level(text: &str) -> Result<TrustThreshold, String> {
    let (part, whole) = text.split_once('/').unwrap_or((text, "1"));
    let number = |text: &str| text.trim().parse::<u64>().map_err(|error| error.to_string());
    TrustThreshold::new(number(part)?, number(whole)?).map_err(|_| "from 1/3 to 1".to_owned())
}

fn keep(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|error| format!("{error}"))?;
    if (2..=kept::MAX_KEPT).contains(&number) { Ok(number) } else { Err(format!("from 2 to {}", kept::MAX_KEPT)) }
}

/// What a source opens to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) chain: Chain,
    /// What the chain began with, where that is trusted.
    pub(super) genesis: Option<Genesis>,
    pub(super) store: Option<Store>,
}

impl Source {
    pub(super) async fn open(&self) -> Result<Opened, Failure> {
        let options = Options {
            trust_level: self.trust_level,
            trusting_period: Duration::from_secs(self.trusting_period),
            clock_drift: Duration::from_secs(self.clock_drift),
        };
        let genesis = self.genesis.as_ref().map(|path| Genesis::load(path).map_err(Failure::file(path))).transpose()?;
        let mut store = self.store.as_deref().map(Store::open).transpose()?;
        let kept = store.as_mut().map(|store| store.load(self.keep, &options)).transpose()?.flatten();
        let node = Node::new(&self.node)?;
        let kept = match kept {
            Some(kept) => {
                self.check(&kept, genesis.as_ref())?;
                kept
            }
            None => Kept::new(self.begin(&node, genesis.as_ref()).await?, self.keep),
        };
        let chain = Chain::with(node, kept.latest(), options, Time::now).watched_by(&self.witness)?;
        Ok(Opened { chain: chain.remembering(kept).requiring(self.min_witnesses), genesis, store })
    }

    async fn begin(&self, node: &Node, genesis: Option<&Genesis>) -> Result<Trust, Failure> {
        match (genesis, self.trust) {
            (Some(genesis), _) => Ok(genesis.trust()),
            (None, Some(Vouched { height, hash })) => Ok(Trust::vouched(height, hash, &node.light_block(height).await?)?),
            (None, None) => match &self.checkpoint {
                Some(path) => Basis { genesis: None, checkpoint: Some(path.clone()) }.trust(),
                None => Err(Failure::NoBasis),
            },
        }
    }

    /// Whether what the store kept is of the chain that was named beside it.
    fn check(&self, kept: &Kept, genesis: Option<&Genesis>) -> Result<(), Failure> {
        let chain = kept.root().chain();
        let other = |found: &types::ChainId| Failure::WrongChain { what: "the store", found: chain.clone(), expected: found.clone() };
        if let Some(genesis) = genesis {
            let trust = genesis.trust();
            if trust.chain() != chain || (kept.root().height() == Height(0) && *kept.root() != trust) {
                return Err(other(trust.chain()));
            }
        }
        let named = match (&self.checkpoint, self.trust) {
            (Some(path), _) => {
                let trust = Basis { genesis: None, checkpoint: Some(path.clone()) }.trust()?;
                if trust.chain() != chain {
                    return Err(other(trust.chain()));
                }
                trust.header_hash().map(|hash| Vouched { height: trust.height(), hash })
            }
            (None, trust) => trust,
        };
        let Some(Vouched { height, hash }) = named else { return Ok(()) };
        let found =
            if kept.root().height() == height { kept.root().header_hash() } else { kept.header(height).map(|header| header.hash()) };
        match found {
            Some(found) if found != hash => Err(light::Error::Conflict { height, trusted: hash, found }.into()),
            _ => Ok(()),
        }
    }
}

/// The file of kept blocks, which no other process writes meanwhile.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    /// What stands in the file.
    written: Option<Height>,
    _lock: File,
}

impl Store {
    fn open(path: &Path) -> Result<Self, Failure> {
        let lock = file::lock(path).map_err(Failure::file(path))?;
        Ok(Self { path: path.to_owned(), written: None, _lock: lock })
    }

    /// What was kept; nothing where there is no file yet. A damaged file, and trust that has expired, are errors.
    fn load(&mut self, keep: usize, options: &Options) -> Result<Option<Kept>, Failure> {
        if !self.path.exists() {
            return Ok(None);
        }
        let bytes = file::read(&self.path, MAX_STORE).map_err(Failure::file(&self.path))?;
        let kept = Kept::from_bytes(&bytes, keep).map_err(|source| Failure::Kept { path: self.path.clone(), source })?;
        kept.check_age(Time::now(), options).map_err(|source| Failure::Outlived { path: self.path.clone(), source })?;
        self.written = Some(kept.latest().height());
        Ok(Some(kept))
    }

    /// Writes what is kept by now, whole or not at all.
    pub(super) fn save(&mut self, kept: &Kept) -> Result<(), Failure> {
        let latest = kept.latest().height();
        if self.written == Some(latest) {
            return Ok(());
        }
        file::replace_public(&self.path, &kept.to_bytes()?).map_err(Failure::file(&self.path))?;
        self.written = Some(latest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_vouched_for_by_height_and_hash() {
        let hash = "ab".repeat(32);
        assert_eq!(format!("7:{hash}").parse(), Ok(Vouched { height: Height(7), hash: Hash([0xab; 32]) }));
        for wrong in [hash.clone(), format!("0:{hash}"), format!("7:{}", &hash[2..]), format!("-1:{hash}"), "7:".to_owned(), String::new()]
        {
            assert!(wrong.parse::<Vouched>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_level_is_from_a_third_to_the_whole() {
        assert_eq!(level("1/3"), Ok(TrustThreshold::ONE_THIRD));
        assert_eq!(level("2/3"), Ok(TrustThreshold::TWO_THIRDS));
        assert!(level("1").is_ok());
        for wrong in ["1/4", "4/3", "0/1", "1/0", "a/b", ""] {
            assert!(level(wrong).is_err(), "{wrong}");
        }
    }
}
