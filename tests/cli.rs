//! The command line from outside: what it makes, what it refuses, and its exit status. No network.

use std::fs;
use std::path::Path;
use std::process::Command;

use audit::log::HEAD_KEY;
use audit::{Body, Bundle, LogId, SignedAnchor};
use genesis::{Builder, peer};
use ledger::genesis::GenesisValidator;
use light::testing::{Chain, State, key, validators};
use light::{Sealed, Validators};
use serde_json::Value;
use tempfile::TempDir;
use types::{Amount, Encode as _, Hash};

/// What a command said and how it ended.
struct Said {
    status: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// Runs `zynk` in a folder, without what the environment says of files and nodes.
fn zynk(folder: &Path, line: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zynk"));
    for name in ["ZYNK_NODE", "ZYNK_GENESIS", "ZYNK_KEY", "ZYNK_SPONSOR_KEY", "ZYNK_HOME", "ZYNK_RELAY_HOME"] {
        command.env_remove(name);
    }
    let output = command.current_dir(folder).args(line.split_whitespace()).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
    Said { status: output.status.code().expect("no signal"), out: text(output.stdout), err: text(output.stderr) }
}

fn done(folder: &Path, line: &str) -> Value {
    let said = zynk(folder, &format!("{line} --json"));
    assert_eq!(said.status, 0, "{line}: {}", said.err);
    said.json()
}

/// A folder with a genesis, a stamped file and its proof.
fn stamped() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let (chain, set) = (Chain::new("zynk-test-1"), validators(&[1, 2, 3, 4]));
    fs::write(folder.path().join("genesis.json"), genesis(&chain)).expect("written");
    fs::write(folder.path().join("file"), b"content").expect("written");
    let bundle = bundle(&chain, &set);
    fs::write(folder.path().join("file.zproof"), bundle.to_bytes()).expect("written");
    fs::write(folder.path().join("file.json"), bundle.to_json()).expect("written");
    folder
}

fn genesis(chain: &Chain) -> String {
    let mut builder = Builder::new(chain.id().clone(), chain.time(0), ledger::Params::default());
    for seed in 1..=4 {
        let validator = GenesisValidator {
            operator: key(seed).public().address(),
            consensus_key: key(seed).public(),
            peer_id: peer::peer_id_blob(&key(seed + 20).public()),
            moniker: format!("v{seed}").try_into().expect("short"),
            stake: Amount(10 * Amount::ZYNK.0),
            commission_bps: 0,
        };
        builder = builder.validator(validator).expect("it has power");
    }
    builder.build().expect("a genesis").to_json()
}

/// The proof of `file`.
fn bundle(chain: &Chain, set: &Validators) -> Bundle {
    let body = Body::File { content: Hash(*blake3::hash(b"content").as_bytes()), size: 7, name: "file".try_into().ok() };
    let (batch, item) = audit::testing::stamped(body, []);
    let log = LogId::derive(chain.id(), &key(9).public().address(), 0);
    let anchor = SignedAnchor::sign(audit::testing::anchor(chain.id(), log, &batch), &key(9));
    let (head, log) = audit::testing::log(&anchor, 0, 1);
    let mut state = State::default();
    state.insert(HEAD_KEY.as_bytes(), &head.to_bytes());
    Bundle {
        version: audit::bundle::VERSION,
        chain: chain.id().clone(),
        items: vec![item].try_into().expect("one"),
        anchor,
        log,
        head: state.prove(HEAD_KEY.as_bytes()),
        sealed: Sealed::of(&chain.block(6, state.root(), set, set)).expect("it seals"),
        handoffs: Vec::new().try_into().expect("none"),
    }
}

#[test]
fn a_chain_is_prepared_from_the_command_line() {
    let folder = TempDir::new().expect("a folder");
    let at = folder.path();
    let account = done(at, "keys make --kind account --out me.key")["address"].as_str().expect("an address").to_owned();
    let validator = done(at, "keys make --kind validator --out v.key")["public"].as_str().expect("a key").to_owned();
    let node = done(at, "keys make --kind node --out n.key")["public"].as_str().expect("a key").to_owned();
    done(at, &format!("genesis make --chain my-chain-1 --out g.json --account {account}=1000"));
    let added = format!(
        "genesis add-validator g.json --moniker alpha --consensus-key {validator} --node-key {node} --operator {account} --stake 100"
    );
    let hash = done(at, &added)["hash"].clone();
    assert_eq!(done(at, "genesis verify g.json")["hash"], hash);
    assert_eq!(hash, Hash::sha256(&[&fs::read(at.join("g.json")).expect("there")]).to_string());
    assert_eq!(done(at, "keys show me.key")["address"], Value::String(account));
}

#[test]
fn a_proof_is_verified_without_a_network() {
    let folder = stamped();
    let at = folder.path();
    for proof in ["file.zproof", "file.json"] {
        let said = done(at, &format!("verify {proof} --file file --genesis genesis.json"));
        assert_eq!((&said["verified"], &said["verdict"]["height"]), (&Value::Bool(true), &Value::from(6)));
    }
    let said = zynk(at, "verify file.zproof --genesis genesis.json");
    assert!(said.status == 0 && said.out.contains("verified from genesis") && said.out.contains("\"file\", 7 bytes"), "{}", said.out);
}

#[test]
fn what_is_not_proven_is_not_verified() {
    let folder = stamped();
    let at = folder.path();
    let proof = fs::read(at.join("file.zproof")).expect("there");
    for bit in (0..proof.len() * 8).step_by(997) {
        let mut bent = proof.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        fs::write(at.join("bent.zproof"), bent).expect("written");
        let said = zynk(at, "verify bent.zproof --genesis genesis.json --json");
        let refused = said.json()["verified"] == Value::Bool(false) || said.json()["error"]["code"].is_number();
        assert!(said.status == 1 && refused, "bit {bit} flipped: {}", said.out);
    }
    fs::write(at.join("file"), b"contents").expect("written");
    let said = zynk(at, "verify file.zproof --file file --genesis genesis.json --json");
    assert_eq!((said.status, &said.json()["reason"]["code"]), (1, &Value::from(6201)), "another file");
    let other = fs::read_to_string(at.join("genesis.json")).expect("there").replace("zynk-test-1", "zynk-test-2");
    fs::write(at.join("other.json"), other).expect("written");
    let said = zynk(at, "verify file.zproof --genesis other.json --json");
    assert_eq!((said.status, &said.json()["reason"]["code"]), (1, &Value::from(3311)), "another chain");
}

#[test]
fn bad_input_is_refused_with_a_code_and_changes_nothing() {
    let folder = stamped();
    let at = folder.path();
    done(at, "keys make --kind account --out me.key");
    done(at, "keys make --kind node --out node.key");
    fs::write(at.join("utf8.json"), b"{\"chain_id\":\"\xff\"}").expect("written");
    let before = fs::read(at.join("me.key")).expect("there");
    let genesis = "--genesis genesis.json --node http://127.0.0.1:1";
    let cases = [
        ("keys make --kind account --out me.key".to_owned(), 4204),
        ("keys show nothing".to_owned(), 4001),
        ("keys show genesis.json".to_owned(), 4203),
        ("genesis verify nothing".to_owned(), 4001),
        ("genesis verify file".to_owned(), 4004),
        ("genesis verify utf8.json".to_owned(), 4003),
        ("genesis make --chain c --out genesis.json".to_owned(), 4204),
        ("genesis make --chain c --out new.json --heartbeat-ms 1".to_owned(), 4102),
        ("verify file --genesis genesis.json".to_owned(), 3303),
        ("verify nothing --genesis genesis.json".to_owned(), 4001),
        ("verify file.zproof --checkpoint genesis.json".to_owned(), 6001),
        (format!("tx balance --key me.key {genesis}"), 5002),
        (format!("tx balance --key node.key {genesis}"), 4201),
        ("tx balance --key me.key --genesis genesis.json --node ftp://x".to_owned(), 5001),
        (format!("tx status {} --node http://127.0.0.1:1", Hash::ZERO), 5002),
        (format!("did deactivate me.id --key me.key {genesis}"), 6011),
        (format!("did rotate me.id --key me.key {genesis}"), 4001),
        (format!("did rotate me.key --key me.key {genesis}"), 4004),
        (format!("stamp nothing --key me.key {genesis}"), 6101),
        (format!("stamp file --key me.key {genesis}"), 6010),
        (format!("stamp genesis.json --key me.key {genesis}"), 5002),
    ];
    for (line, expected) in cases {
        let said = zynk(at, &format!("{line} --json"));
        assert_eq!(said.status, 1, "{line}");
        assert_eq!(said.json()["error"]["code"], Value::from(expected), "{line}: {}", said.err);
        assert!(said.err.starts_with(&format!("error {expected}: ")), "{line}: {}", said.err);
    }
    for line in ["", "nonsense", "tx transfer --to x --amount 1", "genesis make --chain a/b --out x", "verify file.zproof"] {
        assert_eq!(zynk(at, line).status, 2, "{line}: not said as it must be");
    }
    assert_eq!(fs::read(at.join("me.key")).expect("there"), before);
    assert!(!at.join("new.json").exists() && !at.join("me.id").exists());
}

#[test]
fn what_makes_a_chain_of_several_people_is_refused_with_a_code_where_it_is_bad() {
    let folder = stamped();
    let at = folder.path();
    let me = done(at, "keys make --kind account --out me.key")["address"].as_str().expect("an address").to_owned();
    done(at, &format!("genesis make --chain my-chain-1 --out begun.json --account {me}=1000"));
    done(at, "node init --home home --moniker alpha --validator");
    done(at, "node init --home full --moniker beta");
    done(at, &format!("node init --home long --moniker {} --validator", "x".repeat(65)));
    done(at, "genesis apply begun.json --home home --key me.key --stake 100 --out alpha.json");
    let other = fs::read_to_string(at.join("begun.json")).expect("there").replace("my-chain-1", "my-chain-2");
    fs::write(at.join("other.json"), other).expect("written");
    let altered = fs::read_to_string(at.join("alpha.json")).expect("there").replace("alpha", "gamma");
    fs::write(at.join("altered.json"), altered).expect("written");
    let [begun, applied] = ["begun.json", "alpha.json"].map(|file| fs::read(at.join(file)).expect("there"));
    let apply = "--home home --key me.key --stake 100";
    let act = "--key me.key --genesis genesis.json --node http://127.0.0.1:1";
    let proposal = format!("--deposit 100 {act}");
    let long = "x".repeat(129);
    let cases = [
        ("node init --home home --moniker alpha".to_owned(), 4204),
        ("node init --home new --moniker alpha --peer nobody".to_owned(), 6013),
        ("node init --home new --moniker alpha --port 65535".to_owned(), 6013),
        ("node init --home new --moniker alpha --genesis nothing".to_owned(), 4001),
        ("node init --home new --moniker alpha --genesis begun.json".to_owned(), 4102),
        ("node show --home new".to_owned(), 6013),
        (format!("genesis apply nothing {apply} --out new.json"), 4001),
        (format!("genesis apply me.key {apply} --out new.json"), 4004),
        (format!("genesis apply begun.json {apply} --out alpha.json"), 4204),
        ("genesis apply begun.json --home full --key me.key --stake 100 --out new.json".to_owned(), 4001),
        ("genesis apply begun.json --home long --key me.key --stake 100 --out new.json".to_owned(), 6009),
        ("genesis apply begun.json --home home --key me.key --stake 1001 --out new.json".to_owned(), 4105),
        ("genesis apply begun.json --home home --key me.key --stake 0 --out new.json".to_owned(), 4103),
        ("genesis apply begun.json --home home --key home/node.key --stake 100 --out new.json".to_owned(), 4201),
        ("genesis accept begun.json nothing".to_owned(), 4001),
        ("genesis accept begun.json begun.json".to_owned(), 4004),
        ("genesis accept begun.json altered.json".to_owned(), 4105),
        ("genesis accept begun.json alpha.json alpha.json".to_owned(), 4102),
        ("genesis accept other.json alpha.json".to_owned(), 4105),
        (format!("validator create --home new --stake 100 {act}"), 4001),
        (format!("validator create --home full --stake 100 {act}"), 4001),
        (format!("validator create --home long --stake 100 {act}"), 6009),
        ("validator create --home home --stake 100 --key home/node.key --genesis genesis.json".to_owned(), 4201),
        (format!("validator edit {me} --moniker {long} {act}"), 6009),
        (format!("validator unjail {me} {act}"), 5002),
        (format!("stake delegate {me} --amount 1 {act}"), 5002),
        (format!("stake delegate {me} --amount 1 --key nothing --genesis genesis.json"), 4001),
        (format!("stake show {me} --genesis begun.json"), 4102),
        (format!("gov submit text --title {long} {proposal}"), 6009),
        (format!("gov submit upgrade --name {long} --app-version 2 --height 9 --title t {proposal}"), 6009),
        (format!("gov vote 1 yes {act}"), 5002),
        ("relay new-log --home new".to_owned(), 7091),
        ("relay reclaim --home new".to_owned(), 7091),
        ("relay reclaim".to_owned(), 6015),
    ];
    for (line, expected) in cases {
        let said = zynk(at, &format!("{line} --json"));
        assert_eq!(said.status, 1, "{line}: {}", said.err);
        assert_eq!(said.json()["error"]["code"], Value::from(expected), "{line}: {}", said.err);
    }
    let unsaid = [
        "node init --home new".to_owned(),
        "node init --home new --moniker alpha --listen nowhere".to_owned(),
        "node init --home new --moniker alpha --port 65536".to_owned(),
        format!("genesis apply begun.json {apply} --commission-bps 65536 --out new.json"),
        "genesis accept begun.json".to_owned(),
        format!("validator create --home home --stake -1 {act}"),
        format!("validator edit {me} --node-key 00 {act}"),
        format!("stake delegate {me} --amount 1.1234567 {act}"),
        format!("stake undelegate nobody --amount 1 {act}"),
        format!("stake redelegate {me} --amount 1 {act}"),
        "stake show --genesis genesis.json".to_owned(),
        format!("gov vote 1 perhaps {act}"),
        format!("gov deposit first --amount 1 {act}"),
        format!("gov submit parameters --title t {proposal}"),
        format!("gov submit parameters --set byte_fee --title t {proposal}"),
        format!("gov submit parameters --set byte_fee=-1 --title t {proposal}"),
        format!("gov submit upgrade --name maple --app-version two --height 9 --title t {proposal}"),
    ];
    for line in unsaid {
        let said = zynk(at, &line);
        assert_eq!(said.status, 2, "{line}: not said as it must be: {}{}", said.out, said.err);
    }
    let after = ["begun.json", "alpha.json"].map(|file| fs::read(at.join(file)).expect("there"));
    assert!(after == [begun, applied] && !at.join("new").exists() && !at.join("new.json").exists(), "nothing was changed");
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let folder = TempDir::new().expect("a folder");
    let commands = [
        "genesis make",
        "genesis add-validator",
        "genesis add-account",
        "genesis verify",
        "keys make",
        "keys show",
        "tx balance",
        "tx transfer",
        "tx allow",
        "tx status",
        "did create",
        "did show",
        "did resolve",
        "did rotate",
        "did deactivate",
        "did add-device",
        "did remove-device",
        "stamp",
        "verify",
        "light",
        "genesis apply",
        "genesis accept",
        "node init",
        "node show",
        "validator create",
        "validator edit",
        "validator unjail",
        "validator show",
        "validator list",
        "stake delegate",
        "stake undelegate",
        "stake redelegate",
        "stake withdraw",
        "stake show",
        "gov submit text",
        "gov submit parameters",
        "gov submit upgrade",
        "gov deposit",
        "gov vote",
        "gov show",
        "gov list",
        "gov params",
        "relay new-log",
        "relay reclaim",
    ];
    for command in commands {
        let said = zynk(folder.path(), &format!("{command} --help"));
        assert!(said.status == 0 && said.out.contains("Example"), "{command}: {}{}", said.out, said.err);
    }
}
