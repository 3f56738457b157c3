//! The machine under the measurement: its disk, and what Linux says of a process.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use genesis::entropy;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::figures::Spread;

/// What one append has, in bytes: a message.
const APPEND: usize = 1024;

/// The file's name; it is gone after the measurement.
const PROBE: &str = "fdatasync.probe";

/// Clock ticks in a second in `/proc`: Linux shows 100 everywhere (`USER_HZ`).
const TICKS: u64 = 100;

/// How long an append of 1 KiB with fdatasync takes in a folder, `times` times.
pub(super) fn syncs(folder: &Path, times: usize) -> io::Result<Spread> {
    let path = folder.join(PROBE);
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
    let bytes = entropy::bytes::<APPEND>();
    let append = |_| {
        let began = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        Ok(began.elapsed())
    };
    let times: io::Result<Vec<Duration>> = (0..times).map(append).collect();
    fs::remove_file(&path)?;
    Ok(Spread::of(times?))
}

/// Raises how many files this process and those it starts may have open, to `wanted` if it is allowed to.
/// How many it is now.
pub(super) fn raise_files(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is no limit.
    let (Some(current), Some(maximum)) = (current, maximum) else { return u64::MAX };
    let raise =
        |to: u64, maximum: u64| setrlimit(Resource::Nofile, Rlimit { current: Some(to), maximum: Some(maximum) }).is_ok().then_some(to);
    match wanted {
        wanted if wanted <= current => current,
        wanted if wanted <= maximum => raise(wanted, maximum).unwrap_or(current),
        // Only the superuser may go beyond.
        wanted => raise(wanted, wanted).or_else(|| raise(maximum, maximum)).unwrap_or(current),
    }
}

/// The processor time that a process has used so far, its system calls included.
pub(super) fn cpu(process: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the program's name, in parentheses, and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok()).ok_or(io::ErrorKind::InvalidData);
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * (1_000 / TICKS)))
}

/// The memory of a process that is in RAM, in bytes (`VmRSS`).
pub(super) fn resident(process: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or(io::ErrorKind::InvalidData)?;
    let kib = line.trim().trim_end_matches("kB").trim().parse::<u64>().map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(kib * 1024)
}

/// How many bytes a process has had written to the storage layer so far (`write_bytes`).
pub(super) fn written(process: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/io"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes:")).ok_or(io::ErrorKind::InvalidData)?;
    line.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// How many bytes have gone over the loopback device so far, whoever sent them, with all headers.
pub(super) fn loopback() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/net/dev")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:")).ok_or(io::ErrorKind::InvalidData)?;
    line.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_shows_its_time_and_memory() {
        let own = std::process::id();
        assert!(resident(own).expect("it runs") > 1 << 20);
        assert!(written(own).is_ok() && loopback().is_ok());
        let before = cpu(own).expect("it runs");
        let began = Instant::now();
        while cpu(own).expect("it runs") == before {
            assert!(began.elapsed() < Duration::from_secs(10), "no time passes");
        }
        assert!(cpu(u32::MAX).is_err());
    }

    #[test]
    fn the_probe_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let spread = syncs(folder.path(), 3).expect("it is written");
        assert_eq!(spread.len(), 3);
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
    }
}
