//! What the machine says of the processes at one moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::machine;
use super::book::Book;
use super::door::Door;
use super::stage::Stage;
use crate::failure::Failure;

/// What stands at one moment.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) at: Duration,
    /// Of all validators' processes.
    cpu: Duration,
    own: Duration,
    loopback: u64,
    written: u64,
    counters: BTreeMap<String, u64>,
}

/// What was used between two moments.
#[derive(Debug, Clone)]
pub(super) struct Used {
    pub(super) time: Duration,
    /// The validators' processor time together.
    pub(super) cpu: Duration,
    /// This process's: the load is not free, and it has the same processors.
    pub(super) own: Duration,
    /// Bytes over the loopback device, all of them: between validators, and to and from the load.
    pub(super) loopback: u64,
    /// Bytes that the validators had written to the disk.
    pub(super) written: u64,
    /// What the validators counted together; empty where they do not say.
    pub(super) counted: BTreeMap<String, u64>,
}

impl Reading {
    pub(super) async fn take(stage: &mut Stage, book: &Book) -> Result<Self, Failure> {
        let (mut cpu, mut written) = (Duration::ZERO, 0);
        for process in stage.processes() {
            cpu += machine::cpu(process).map_err(Failure::Runtime)?;
            written += machine::written(process).map_err(Failure::Runtime)?;
        }
        let own = machine::cpu(std::process::id()).map_err(Failure::Runtime)?;
        let loopback = machine::loopback().map_err(Failure::Runtime)?;
        let at = book.now();
        let mut counters = BTreeMap::new();
        for url in stage.urls() {
            for (name, value) in Door::new(&url)?.counters().await {
                *counters.entry(name).or_default() += value;
            }
        }
        Ok(Self { at, cpu, own, loopback, written, counters })
    }

    pub(super) fn since(&self, before: &Self) -> Used {
        let grown = |(name, value): (&String, &u64)| (name.clone(), value.saturating_sub(before.counters.get(name).copied().unwrap_or(0)));
        Used {
            time: self.at.saturating_sub(before.at),
            cpu: self.cpu.saturating_sub(before.cpu),
            own: self.own.saturating_sub(before.own),
            loopback: self.loopback.saturating_sub(before.loopback),
            written: self.written.saturating_sub(before.written),
            counted: self.counters.iter().map(grown).collect(),
        }
    }
}

/// The sizes of all files below these folders together, in bytes.
pub(super) fn size(folders: &[PathBuf]) -> u64 {
    fn of(path: &Path) -> u64 {
        let Ok(entries) = std::fs::read_dir(path) else { return std::fs::symlink_metadata(path).map_or(0, |file| file.len()) };
        entries.flatten().map(|entry| of(&entry.path())).sum()
    }
    folders.iter().map(|folder| of(folder)).sum()
}
