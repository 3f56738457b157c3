//! did:zynk: who somebody is, which devices speak for them, and which changes to that count.
//!
//! The chain keeps one [`Entry`] for each identifier. [`apply()`] says which entry follows from an
//! entry and a [`SignedOperation`], or which rule refuses it; the ledger, the client before it
//! submits, and an auditor who replays a history all call it. From an entry the W3C [`Document`]
//! and the [`Resolution`] result are rendered, never stored, so they cannot disagree with it.
//!
//! What this crate refuses to do: it keeps nothing, reads no clock, draws no entropy and opens no
//! socket; it knows no person's name and no phone number; it does not rewrite history; and it
//! does not judge Signal's own signatures, which are the client's to check.
//!
//! Start with [`Did`] and [`Entry`], then [`Operation`], then [`apply()`]; [`Draft`] is how
//! operations are made and signed. `docs/spec/identity.md` is the method's specification.

pub mod apply;
pub mod control;
pub mod device;
pub mod did;
pub mod document;
pub mod draft;
pub mod entry;
pub mod error;
mod hexadecimal;
pub mod multikey;
pub mod operation;
pub mod resolution;
pub mod service;

pub use apply::apply;
pub use control::Control;
pub use device::{Device, DeviceKeys, SignalBinding, SignalKey, Succession};
pub use did::Did;
pub use document::Document;
pub use draft::Draft;
pub use entry::{Entry, Status};
pub use error::Error;
pub use multikey::Multikey;
pub use operation::{Genesis, IndexedSignature, Operation, SignedOperation, Signer};
pub use resolution::{Problem, Resolution};
pub use service::{Service, ServiceKind};

#[cfg(test)]
mod fixture;
