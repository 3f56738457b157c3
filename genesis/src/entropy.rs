//! The system's entropy: the one place where this workspace draws keys, salts and padding.

use types::SigningKey;
use zeroize::Zeroizing;

/// `N` random bytes.
///
/// # Panics
/// If the system has no entropy to give; nothing secret may be made then.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives entropy");
    bytes
}

/// A new secret key.
#[must_use]
pub fn key() -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new(bytes()))
}
