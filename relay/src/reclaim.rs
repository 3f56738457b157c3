//! The bonds of logs that another one took the place of: the chain holds them `bond_hold_blocks` blocks after the retirement
//! and gives them back when it is asked once more (`docs/spec/relay.md`, Anchoring).

use audit::record::Status;
use audit::{LogId, LogRecord};
use genesis::LogFile;
use ledger::Body;
use rpc::{FeePayer, Proven};
use types::{Amount, Height};

use crate::new_log::AtRest;
use crate::{Error, Home};

/// The bond of a retired log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bond {
    /// The log.
    pub log: LogId,
    /// How much.
    pub amount: Amount,
    /// The block that gave it back, or the first that may.
    pub at: Height,
}

/// What became of the bonds of a relay's former logs. Those that came back before, or that a frozen log has lost, are not
/// among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Those that the account has again, less a fee for each.
    pub returned: Vec<Bond>,
    /// Those that the chain still holds.
    pub held: Vec<Bond>,
}

/// Asks for the bonds of all logs whose files are kept in the home of a relay, which must not run.
///
/// # Errors
/// [`Error::BondHeld`] where there are bonds and it is too early for each; when a file of the home is missing, damaged or in
/// use; when the chain cannot be asked, or refuses one. Then it can be done again.
pub async fn reclaim(home: &Home) -> Result<Reclaimed, Error> {
    let AtRest { mut chain, account, lock: _lock } = AtRest::open(home)?;
    let files = home.former_logs().map_err(|source| genesis::Error::Io { path: home.log(), source }).map_err(Error::file(&home.log()))?;
    let params = chain.params().await?.value;
    let (mut reclaimed, mut tip) = (Reclaimed::default(), Height(0));
    for file in files {
        let log = LogFile::load(&file).map_err(Error::file(&file))?.log;
        let Proven { value, header } = chain.log(&log).await?;
        let Some(LogRecord { bond, status: Status::Retired { at }, .. }) = value else { continue };
        if bond == Amount::ZERO {
            continue;
        }
        tip = header.height();
        let until = params.bond_released(at);
        if tip.next() < until {
            reclaimed.held.push(Bond { log, amount: bond, at: until });
        } else {
            let included = Box::pin(chain.submit(&account, FeePayer::Author, Body::RetireLog { log })).await?;
            reclaimed.returned.push(Bond { log, amount: bond, at: included.height });
        }
    }
    match reclaimed.held.iter().min_by_key(|bond| bond.at) {
        Some(first) if reclaimed.returned.is_empty() => Err(Error::BondHeld { log: first.log, until: first.at, tip }),
        _ => Ok(reclaimed),
    }
}
