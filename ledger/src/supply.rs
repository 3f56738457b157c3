//! The invariant of supply: tokens move; they appear and vanish only as [`crate::pool`] mints and burns them.

use audit::LogRecord;
use types::{Amount, Decode};

use crate::account::Account;
use crate::stake::Validator;
use crate::state::key;

/// Where all tokens are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// The supply that the state claims.
    pub supply: u128,
    /// In accounts.
    pub balances: u128,
    /// Bonded to validators.
    pub bonded: u128,
    /// Bonds of logs.
    pub bonds: u128,
    /// In pools.
    pub pools: u128,
}

impl Census {
    /// Counts the tokens of a whole state.
    ///
    /// # Panics
    /// If an entry is not of the type that its key says.
    pub fn take<'a>(entries: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut census = Self::default();
        for (at, value) in entries {
            if at == key::SUPPLY {
                census.supply = read::<Amount>(value).0.into();
            } else if at.starts_with(b"account/") {
                census.balances += u128::from(read::<Account>(value).balance.0);
            } else if at.starts_with(b"stake/") {
                census.bonded += u128::from(read::<Validator>(value).bonded.0);
            } else if at.starts_with(b"log/") {
                census.bonds += u128::from(read::<LogRecord>(value).bond.0);
            } else if at.starts_with(b"pool/") {
                census.pools += u128::from(read::<Amount>(value).0);
            }
        }
        census
    }

    /// Whether every token is somewhere, and none twice.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.supply == self.balances + self.bonded + self.bonds + self.pools
    }
}

fn read<T: Decode>(bytes: &[u8]) -> T {
    T::from_bytes(bytes).expect("the state holds what the ledger wrote")
}
