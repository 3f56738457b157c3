//! The layer rule: a room leans only on rooms of strictly lower floors, and the rooms that decide
//! reach no socket, disk, clock or die (`docs/ARCHITECTURE.md`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::Table;

/// Every room of the workspace and its floor. `support` is for tests only: nothing may lean on it.
const FLOORS: [(&str, u8); 16] = [
    ("types", 0),
    ("light", 1),
    ("tree", 1),
    ("identity", 2),
    ("audit", 2),
    ("ledger", 3),
    ("mailbox", 3),
    ("genesis", 4),
    ("rpc", 4),
    ("consensus", 4),
    ("client", 5),
    ("gateway", 5),
    ("node", 5),
    ("relay", 5),
    ("devnet", 6),
    ("zynk", 7),
];

/// Up to this floor rooms decide, and only that.
const PURE: u8 = 3;

/// What no pure room links, however deep. `rand_core` is not among them: ed25519-dalek names its
/// traits, and without `getrandom` they throw nothing.
const WORLD: [&str; 9] = ["tokio", "libp2p", "rocksdb", "axum", "reqwest", "mio", "getrandom", "rand", "fastrand"];

/// What no pure room says outside its tests. Of `std::net` only what opens sockets or asks a name
/// server: an address is a value.
const WORDS: [&str; 11] = [
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
    "Time::now",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder(room: &str) -> PathBuf {
    if room == "zynk" { root().to_owned() } else { root().join(room) }
}

fn manifest(folder: &Path) -> Table {
    let path = folder.join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a room's `[dependencies]` and its build script name: its own, not its tests'.
fn dependencies(manifest: &Table) -> Vec<String> {
    let conditional =
        manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(Table::values).filter_map(toml::Value::as_table);
    let tables = [manifest].into_iter().chain(conditional).flat_map(|table| [table.get("dependencies"), table.get("build-dependencies")]);
    tables.flatten().filter_map(toml::Value::as_table).flat_map(|table| table.keys().cloned()).collect()
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(room, _)| *room == name).map(|(_, floor)| *floor)
}

fn pure() -> impl Iterator<Item = &'static str> {
    FLOORS.iter().filter(|(_, floor)| *floor <= PURE).map(|(room, _)| *room)
}

/// Why `room`, on its floor, must not lean on `dependency`.
fn leans_wrong(own: u8, dependency: &str) -> bool {
    dependency == "support" || floor(dependency).is_some_and(|floor| floor >= own)
}

#[test]
fn every_room_has_a_floor() {
    let workspace = manifest(root());
    let members = workspace["workspace"]["members"].as_array().expect("a list");
    let mut rooms: Vec<&str> = members.iter().filter_map(toml::Value::as_str).filter(|member| *member != "tests/support").collect();
    rooms.push("zynk");
    rooms.sort_unstable();
    let mut known: Vec<&str> = FLOORS.iter().map(|(room, _)| *room).collect();
    known.sort_unstable();
    assert_eq!(rooms, known, "a room without a floor, or a floor without a room");
}

#[test]
fn a_room_leans_only_on_lower_floors() {
    assert!(leans_wrong(4, "consensus") && leans_wrong(1, "node") && leans_wrong(7, "support"), "the rule refuses");
    assert!(!leans_wrong(4, "ledger") && !leans_wrong(0, "serde"), "and allows");
    let mut wrong = Vec::new();
    for (room, own) in FLOORS {
        let names = dependencies(&manifest(&folder(room)));
        assert!(!names.is_empty(), "{room}: no dependency was read");
        wrong.extend(names.into_iter().filter(|name| leans_wrong(own, name)).map(|name| format!("{room} leans on {name}")));
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_room_that_decides_links_no_socket_no_database_and_no_dice() {
    for room in pure() {
        let linked = linked(room);
        assert!(linked.iter().any(|name| name == room), "{room}: its tree was not read: {linked:?}");
        let found: Vec<&String> =
            linked.iter().filter(|name| WORLD.iter().any(|word| *name == word || name.starts_with(&format!("{word}-")))).collect();
        assert!(found.is_empty(), "{room} links {found:?}");
    }
    assert!(linked("node").iter().any(|name| name == "rocksdb"), "a room that links a database is seen to");
}

/// The names of all packages that a room is linked with.
fn linked(room: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", room])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are ASCII");
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn a_room_that_decides_says_no_word_of_the_world() {
    assert_eq!(spoken("fn f() {\n    std::fs::read(path);\n}\n"), ["std::fs"], "a word is seen");
    assert!(spoken("// std::fs is for others\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n").is_empty(), "comments and tests are free");
    for room in pure() {
        let sources = sources(&folder(room).join("src"));
        assert!(!sources.is_empty(), "{room}: no source was read");
        for path in sources {
            let text = fs::read_to_string(&path).expect("a source");
            let words = spoken(&text);
            assert!(words.is_empty(), "{} says {words:?}", path.display());
        }
    }
}

/// The words of the world in a source, without its comments and tests.
fn spoken(source: &str) -> Vec<&'static str> {
    let mut code = String::new();
    let mut lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // An inner module of tests comes last; anything else that is for tests is one line.
            if lines.next().is_some_and(|item| item.trim_start().starts_with("mod") && item.ends_with('{')) {
                break;
            }
            continue;
        }
        code.extend([line, "\n"]);
    }
    WORDS.into_iter().filter(|word| code.contains(word)).collect()
}

/// The sources below a folder but for those that are compiled for tests only.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let paths: Vec<PathBuf> = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    let mut found = Vec::new();
    for path in &paths {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if name == "testing" || is_test_module(folder, name) {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path.clone());
        }
    }
    found
}

/// Whether the parent of the modules in `folder` declares `name` for tests only.
fn is_test_module(folder: &Path, name: &str) -> bool {
    [folder.join("lib.rs"), folder.join("mod.rs"), folder.with_extension("rs")].iter().any(|parent| {
        let text = fs::read_to_string(parent).unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.windows(2).any(|pair| pair[0] == "#[cfg(test)]" && pair[1] == format!("mod {name};"))
    })
}
