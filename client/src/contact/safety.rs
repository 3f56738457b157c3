//! The safety number: what two people compare to know that each has the other's identity.
//!
//! It comes from the two identifiers and the chain, not from keys, so it is the same for life; what
//! changes under it is proven on chain.

use std::fmt;

use identity::Did;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use types::{ChainId, Domain, Encode};

static SAFETY: Domain = Domain::new("zynk.2026 safety number v1");

/// How many digits there are.
pub const DIGITS: usize = 60;

/// 60 digits: 30 from each identifier, the lesser identifier's first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetyNumber {
    digits: String,
    qr: String,
}

impl SafetyNumber {
    /// The number of two identities on a chain: the same on both sides.
    #[must_use]
    pub fn of(chain: &ChainId, own: &Did, other: &Did) -> Self {
        let (first, second) = if own <= other { (own, other) } else { (other, own) };
        let digits = format!("{}{}", half(chain, first), half(chain, second));
        let qr = format!("zynk:contact:1:{chain}:{}:{}", own.suffix(), digits);
        Self { digits, qr }
    }

    /// The digits without a break.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.digits
    }

    /// What the QR code that this side shows says: `zynk:contact:1:`, the chain, this side's identifier (52
    /// letters), the number.
    #[must_use]
    pub fn qr_text(&self) -> &str {
        &self.qr
    }

    /// Whether a scanned text is the other side's code for the same two people.
    #[must_use]
    pub fn is_shown_by(chain: &ChainId, own: &Did, other: &Did, scanned: &str) -> bool {
        Self::of(chain, other, own).qr == scanned.trim()
    }

    /// The QR code for a terminal, light on dark, two modules in a letter.
    ///
    /// # Panics
    /// Never: the text is far below what a QR code holds.
    #[must_use]
    pub fn qr(&self) -> String {
        let code = QrCode::with_error_correction_level(&self.qr, EcLevel::L).expect("200 letters are below what a QR code holds");
        code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build()
    }
}

impl fmt::Display for SafetyNumber {
    /// Twelve groups of five, as people read them out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, group) in self.digits.as_bytes().chunks(5).enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}{}", String::from_utf8_lossy(group))?;
        }
        Ok(())
    }
}

/// 30 digits: six times five bytes of the hash as a big-endian number, modulo 100,000, as Signal has it.
fn half(chain: &ChainId, did: &Did) -> String {
    let hash = SAFETY.hash(&[&chain.to_bytes(), &did.0]);
    let group = |bytes: &[u8]| format!("{:05}", bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)) % 100_000);
    hash.0[..30].chunks(5).map(group).collect()
}
