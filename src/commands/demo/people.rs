//! Alice and Bob write to each other, by the commands that people type.

use ::devnet::Network;
use serde_json::{Value, json};

use super::stage::Stage;
use super::{path, size, text};
use crate::failure::Failure;

/// The passphrase of everybody in the demo.
pub(super) const PASSPHRASE: &str = "a demo has no secrets";

/// What the story needs of them later.
pub(super) struct People {
    pub(super) alice: String,
    pub(super) bob: String,
}

pub(super) fn play(stage: &mut Stage, network: &Network) -> Result<People, Failure> {
    let alice = register(stage, "alice")?;
    let bob = register(stage, "bob")?;
    let people = People { alice, bob };
    verify(stage, &people)?;
    let (first, second) = converse(stage, &people)?;
    prove(stage, network, &first, &second)?;
    Ok(people)
}

/// Runs a command on somebody's device.
fn on(stage: &Stage, name: &str, arguments: &[&str]) -> Result<Value, Failure> {
    let folder = stage.file(name);
    let device = ["--folder", path(&folder)];
    stage.zynk(arguments.iter().chain(&device))
}

fn register(stage: &mut Stage, name: &str) -> Result<String, Failure> {
    let made = on(stage, name, &["register"])?;
    let (did, words) = (text(&made["did"]).to_owned(), text(&made["kit"]).split(' ').collect::<Vec<_>>());
    stage.hold("the recovery kit has 24 words", words.len() == 24)?;
    let shown = words[..3].join(" ");
    stage.step(&format!("{name} registers with the relay, which pays: {did}; recovery kit: {shown} … (24 words)"), json!({"did": did}));
    Ok(did)
}

/// Both see the same safety number, and the chain proves each to the other.
fn verify(stage: &mut Stage, people: &People) -> Result<(), Failure> {
    let seen = on(stage, "alice", &["verify-contact", &people.bob])?;
    let back = on(stage, "bob", &["verify-contact", &people.alice])?;
    stage.hold("both have one safety number", seen["safety_number"] == back["safety_number"])?;
    let number = text(&seen["safety_number"]).to_owned();
    stage.step(
        &format!("before her first message alice proves bob's device and Signal key on chain; safety number {}…", &number[..17]),
        json!({"safety_number": number}),
    );
    Ok(())
}

/// Alice writes while Bob is away; he comes, reads and answers. Gives both messages' ids.
fn converse(stage: &mut Stage, people: &People) -> Result<(String, String), Failure> {
    let sent = on(stage, "alice", &["send", &people.bob, "see you at six?"])?;
    let first = text(&sent["message_id"]).to_owned();
    stage.step("alice writes while bob is away: one tick, it is on the relay's disk", json!({"message_id": first}));

    on(stage, "bob", &["listen", "--count", "1", "--seconds", "20"])?;
    let got = on(stage, "bob", &["history", &people.alice, "--read"])?;
    stage.hold("bob reads what alice wrote", got[0]["text"] == "see you at six?" && got[0]["integrity"] == "holds")?;
    let sent = on(stage, "bob", &["send", &people.alice, "at the bridge"])?;
    let second = text(&sent["message_id"]).to_owned();
    stage.step("bob connects, receives, recomputes the commitment, and answers", json!({"message_id": second}));

    on(stage, "alice", &["listen", "--until-empty", "--seconds", "20"])?;
    let history = on(stage, "alice", &["history", &people.bob])?;
    let message = |id: &str| history.as_array().and_then(|all| all.iter().find(|message| message["message_id"] == id)).cloned();
    let receipts = message(&first).map(|message| message["receipts"].to_string()).unwrap_or_default();
    stage.hold("bob's device says that it has the message", receipts.contains("delivered"))?;
    stage.hold("bob's device says that it was read", receipts.contains("read"))?;
    stage.hold("alice has the answer", message(&second).is_some_and(|message| message["text"] == "at the bridge"))?;
    stage.step("two ticks: delivered and read, both sealed by bob's device; alice has his answer", json!({"receipts": receipts}));
    Ok((first, second))
}

/// Each takes the proof of a message along; a process without any network verifies both.
fn prove(stage: &mut Stage, network: &Network, first: &str, second: &str) -> Result<(), Failure> {
    let genesis = network.genesis();
    let mut sizes = Vec::new();
    for (name, id) in [("alice", first), ("bob", first), ("bob", second)] {
        let proof = stage.file(&format!("{name}-{id}.zproof"));
        on(stage, name, &["proof", id, "--out", path(&proof)])?;
        stage.offline(&["verify", path(&proof), "--genesis", path(&genesis)])?;
        sizes.push(size(&proof)?);
    }
    stage.step(
        &format!("sender and recipient each export a proof of a message ({} bytes); a process without any network verifies them", sizes[0]),
        json!({"bytes": sizes}),
    );
    Ok(())
}
