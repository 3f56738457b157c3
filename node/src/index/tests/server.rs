//! A PostgreSQL server of the tests' own: its files in a temporary folder, its socket there too, no port.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Where Debian has the programs.
const DEBIAN: &str = "/usr/lib/postgresql";

/// PostgreSQL does not run as root: then it runs as nobody.
const NOBODY: u32 = 65_534;

/// With this in the environment a test without PostgreSQL fails.
const DEMANDED: &str = "ZYNK_POSTGRES";

pub(super) struct Server {
    process: Child,
    programs: PathBuf,
    folder: TempDir,
}

impl Server {
    /// None where PostgreSQL is not installed.
    pub(super) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os(DEMANDED).is_none(), "PostgreSQL is not installed: run `tools/install index`");
            return None;
        };
        let folder = TempDir::new().expect("a folder");
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let data = folder.path().join("data");
        let made = as_nobody(&programs.join("initdb"), folder.path())
            .args(["-U", "zynk", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let process = as_nobody(&programs.join("postgres"), folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200", "-k"])
            .arg(folder.path())
            .arg("-D")
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres runs");
        let server = Self { process, programs, folder };
        let until = Instant::now() + Duration::from_secs(60);
        while !server.say("postgres", "SELECT 1").status.success() {
            assert!(Instant::now() < until, "PostgreSQL does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }

    /// Makes a database, and gives its URL.
    pub(super) fn new_database(&self, name: &str) -> String {
        let made = self.say("postgres", &format!("CREATE DATABASE {name}"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        format!("postgres://zynk@localhost/{name}?host={}", self.folder.path().display())
    }

    fn say(&self, database: &str, sql: &str) -> Output {
        Command::new(self.programs.join("psql"))
            .args(["-U", "zynk", "-d", database, "-c", sql, "-h"])
            .arg(self.folder.path())
            .output()
            .expect("psql runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not killed: it would leave its shared memory behind.
        let stop = as_nobody(&self.programs.join("pg_ctl"), self.folder.path())
            .args(["stop", "-m", "immediate", "-D"])
            .arg(self.folder.path().join("data"))
            .output();
        if !stop.is_ok_and(|stop| stop.status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// The newest version's folder.
fn programs() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir(DEBIAN).ok()?.filter_map(Result::ok).map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    versions.into_iter().rfind(|bin| ["initdb", "postgres", "psql"].iter().all(|program| bin.join(program).exists()))
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("Linux")) == 0
}

fn as_nobody(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_remove("PGDATA");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
