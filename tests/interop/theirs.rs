//! The other side: Node.js, Signal's npm package, and the program in this folder.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use identity::Did;
use mailbox::Address;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::world::{PATIENCE, until};

/// A person on Signal's npm package: a process of Node.js.
pub(crate) struct Theirs {
    package: &'static str,
    pub(crate) address: Address,
    process: Child,
    orders: ChildStdin,
    events: Receiver<Value>,
    /// What was said and nobody has asked for yet.
    said: VecDeque<Value>,
}

/// What the other side says about a message, sent or received.
pub(crate) struct Seen {
    pub(crate) id: Uuid,
    pub(crate) leaf: String,
}

impl Theirs {
    /// Starts the program that [`lay_out`] put into `folder`. It has no identity yet.
    pub(crate) fn start(folder: &Path, package: &'static str) -> Self {
        let mut process = Command::new("node")
            .args(["client.mjs", package])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let (orders, output) = (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|_| panic!("node says {line}"));
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let nobody = Address { did: Did([0; 32]), device: 1 };
        Self { package, address: nobody, process, orders, events, said: VecDeque::new() }
    }

    pub(crate) fn order(&mut self, order: &Value) {
        writeln!(self.orders, "{order}").unwrap_or_else(|error| panic!("{} has ended: {error}", self.package));
    }

    /// Sends a text and waits until the relay has it on disk.
    pub(crate) fn send(&mut self, text: &str) -> Seen {
        self.order(&json!({"do": "send", "text": text}));
        self.accepted()
    }

    /// The next message of theirs that the relay accepts.
    pub(crate) fn accepted(&mut self) -> Seen {
        let mut event = self.wait_for("accepted");
        let id = serde_json::from_value(event["message_id"].take()).expect("a message id");
        Seen { id, leaf: event["leaf"].as_str().expect("a leaf").to_owned() }
    }

    pub(crate) fn wait_for_receipt(&mut self, kind: &str, id: &Uuid) {
        let names = |event: &Value| event["ids"].as_array().is_some_and(|ids| ids.contains(&json!(id)));
        // Others of a receipt may still be asked for: it stays.
        let receipt = self.wait(|event| event["event"] == "receipt" && event["kind"] == kind && names(event));
        self.said.push_back(receipt);
    }

    pub(crate) fn wait_for(&mut self, name: &str) -> Value {
        self.wait(|event| event["event"] == name)
    }

    /// The first event that fits, of those that nobody has asked for.
    pub(crate) fn wait(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut place = 0;
        loop {
            if let Some(event) = self.said.get(place) {
                if fits(event) {
                    return self.said.remove(place).expect("it is there");
                }
                place += 1;
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => self.said.push_back(event),
                Err(why) => panic!("{}: {why}; it said {:?}", self.package, self.said),
            }
        }
    }

    pub(crate) fn end(mut self) {
        self.order(&json!({"do": "end"}));
        let status = until("the end of node", PATIENCE, || self.process.try_wait().expect("our child"));
        assert!(status.success(), "{}: {status}", self.package);
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        // One that is gone already cannot be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Puts the program and its packages into a folder.
pub(crate) fn lay_out(folder: &Path, modules: &Path) {
    for file in std::fs::read_dir(program()).expect("tests/interop").map(|entry| entry.expect("an entry").path()) {
        if file.extension().is_some_and(|extension| extension == "mjs") {
            std::fs::copy(&file, folder.join(file.file_name().expect("a name"))).expect("copied");
        }
    }
    std::os::unix::fs::symlink(modules, folder.join("node_modules")).expect("a link");
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}

/// The folder of the npm packages, fetched once into the target folder. None, and a word, where there is no Node.js.
#[allow(clippy::print_stderr, reason = "a test that is passed over says so")]
pub(crate) fn modules() -> Option<PathBuf> {
    if Command::new("node").arg("--version").output().is_err() {
        assert!(std::env::var_os("ZYNK_VECTORS").is_none(), "there is no node: install Node.js 20 and npm");
        eprintln!("skipped: there is no node, so Signal's npm package cannot run");
        return None;
    }
    let manifest = std::fs::read(program().join("package.json")).expect("package.json");
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("interop");
    let kept = cache.join(&blake3::hash(&manifest).to_hex()[..16]);
    if !kept.exists() {
        std::fs::create_dir_all(&cache).expect("a folder");
        // Fetched beside its place and moved there whole: an attempt that was broken off leaves nothing that looks done.
        let fresh = TempDir::with_prefix_in("fetching-", &cache).expect("a folder");
        std::fs::write(fresh.path().join("package.json"), manifest).expect("written");
        let flags = ["install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        let output = Command::new("npm").args(flags).current_dir(fresh.path()).output().expect("npm starts");
        assert!(output.status.success(), "npm install: {}", String::from_utf8_lossy(&output.stderr));
        let moved = std::fs::rename(fresh.path(), &kept);
        // Another run may have been quicker.
        assert!(moved.is_ok() || kept.exists(), "{moved:?}");
    }
    Some(kept.join("node_modules"))
}
