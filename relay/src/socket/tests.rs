//! Real WebSockets over loopback, in both encodings.

mod crashes;
mod device;
mod doors;
mod memory;
mod talk;
