//! Signal's own npm package and ours: each writes to the other, through gateway and relay, over WSS.
//!
//! The other side is tests/interop: a small client that follows docs/spec and shares no code with ours, on the official
//! package. It makes its bytes, hashes and signatures itself and ends with an error when ours are others; here the same
//! is looked at from our side. TLS ends at a proxy of its own, as at an operator's; our client is behind that.

#[path = "interop/theirs.rs"]
mod theirs;
mod world;

use std::path::Path;

use client::history::State;
use client::{Client, Connection, Event, Message, Passphrase, Settings};
use devnet::{Network, Running};
use identity::{Control, DeviceKeys, Draft, Genesis, SignalKey};
use mailbox::Address;
use mailbox::frame::Kind;
use mailbox::wire::Encoding;
use rpc::relay::Register;
use serde_json::json;
use tempfile::TempDir;
use tendermint::Time;
use theirs::{Seen, Theirs};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use types::{Encode as _, Height, List};
use uuid::Uuid;
use world::{PATIENCE, ZYNK, quick, until};

/// Two versions of `@signalapp/libsignal-client`, by their names in tests/interop/package.json. The first has the same protocol
/// sources as our libsignal v0.85.3. The second is the newest: it forces the post-quantum ratchet, checks agreements, and
/// would put addresses under the MAC if they were Signal's own.
const PACKAGES: [&str; 2] = ["libsignal-0.86.0", "libsignal-0.103.0"];

/// The lengths of the texts, in letters of one byte: one for each padded size, and both bounds.
const LENGTHS: [usize; 7] = [0, 1, 200, 900, 4_000, 16_000, 64_512];

/// How many messages each writes before it looks at what the other wrote.
const BURST: usize = 5;

#[test]
fn signals_npm_package_and_ours_write_to_each_other() {
    let Some(modules) = theirs::modules() else { return };
    let mut stage = Stage::start(&modules);
    for package in PACKAGES {
        stage.they_write_first(package);
        stage.we_write_first(package);
        stage.both_write_first(package);
    }
    stage.running.stop().expect("a clean stop");
}

/// A network with relay and gateway, and what the other side's program needs.
struct Stage {
    running: Running,
    runtime: Runtime,
    folder: TempDir,
    people: u32,
}

/// A person on our client.
struct Ours {
    client: Client,
    address: Address,
    /// The device's keys, as the chain has them.
    keys: DeviceKeys,
}

impl Stage {
    fn start(modules: &Path) -> Self {
        let folder = TempDir::new().expect("a folder");
        theirs::lay_out(folder.path(), modules);
        let settings = devnet::Settings {
            chain: "zynk-test".parse().expect("a chain id"),
            validators: 4,
            first_port: 0,
            services: true,
            params: quick(),
        };
        let network = Network::create(&folder.path().join("network"), &settings, Time::now()).expect("a network");
        // All of them register from one address, on one day.
        let path = network.relay_home().config();
        let mut config = relay::Config::load(&path).expect("the relay's settings");
        config.limits.registrations = 100;
        config.save(&path).expect("written");
        let running = network.start(Path::new(ZYNK)).expect("it starts");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let mut stage = Self { running, runtime, folder, people: 0 };
        stage.runtime.block_on(stage.running.wait_for(0, 1, PATIENCE)).unwrap_or_else(|error| panic!("{error:#}"));
        stage.runtime.block_on(stage.running.start_services()).unwrap_or_else(|error| panic!("{error:#}"));
        stage
    }

    /// We are away, with prekeys at the relay, when they write.
    fn they_write_first(&mut self, package: &'static str) {
        let ours = self.ours();
        self.publish(&ours);
        let mut theirs = self.theirs(package, &ours);
        let text = "first from them: \u{1f511} é";
        let sent = theirs.send(text);
        let connection = self.listen(&ours);
        self.check_received(&ours, &theirs, &sent, text);
        theirs.wait_for_receipt("delivered", &sent.id);
        assert_eq!(self.check_sent(&ours, &mut theirs, "and back"), "ratchet");
        self.converse(&ours, &mut theirs);
        self.prove(&ours, &sent);
        theirs.end();
        self.runtime.block_on(connection.stop());
    }

    fn we_write_first(&mut self, package: &'static str) {
        let ours = self.ours();
        let mut theirs = self.theirs(package, &ours);
        let connection = self.listen(&ours);
        assert_eq!(self.check_sent(&ours, &mut theirs, "first from us: \u{1f511} é"), "prekey");
        let sent = theirs.send("and back");
        self.check_received(&ours, &theirs, &sent, "and back");
        theirs.wait_for_receipt("delivered", &sent.id);
        self.converse(&ours, &mut theirs);
        theirs.end();
        self.runtime.block_on(connection.stop());
    }

    /// Both begin a session before either has read the other's first message.
    fn both_write_first(&mut self, package: &'static str) {
        let ours = self.ours();
        self.publish(&ours);
        let mut theirs = self.theirs(package, &ours);
        let sent = theirs.send("at once, from them");
        // What waits to leave is sealed before anything is read.
        let id = self.send(&ours, &theirs, "at once, from us");
        let connection = self.listen(&ours);
        self.check_received(&ours, &theirs, &sent, "at once, from them");
        assert_eq!(self.check_arrived(&ours, &mut theirs, &id, "at once, from us"), "prekey");
        theirs.wait_for_receipt("delivered", &sent.id);
        self.converse(&ours, &mut theirs);
        theirs.end();
        self.runtime.block_on(connection.stop());
    }

    /// All lengths to and fro, then both at once, then both have read.
    fn converse(&self, ours: &Ours, theirs: &mut Theirs) {
        for length in LENGTHS {
            let text = "x".repeat(length);
            self.check_sent(ours, theirs, &text);
            let sent = theirs.send(&text);
            self.check_received(ours, theirs, &sent, &text);
        }
        let texts: Vec<String> = (0..BURST).map(|number| format!("number {number}")).collect();
        texts.iter().for_each(|text| theirs.order(&json!({"do": "send", "text": text})));
        let ids: Vec<Uuid> = texts.iter().map(|text| self.send(ours, theirs, text)).collect();
        for (text, id) in texts.iter().zip(&ids) {
            let sent = theirs.accepted();
            self.check_received(ours, theirs, &sent, text);
            self.check_arrived(ours, theirs, id, text);
        }
        let marked = self.runtime.block_on(ours.client.mark_read(&theirs.address.did)).expect("marked");
        let first = self.find(ours, |message| !message.outgoing).message_id;
        assert!(marked > LENGTHS.len() + BURST, "{marked}");
        theirs.wait_for_receipt("read", &first);
        theirs.order(&json!({"do": "read"}));
        for id in &ids {
            until("a read receipt", PATIENCE, || self.message(ours, id).has_receipt(Kind::Read).then_some(()));
        }
    }

    /// We write; they have it as we meant it; we hear of it. Gives the form of Signal's message.
    fn check_sent(&self, ours: &Ours, theirs: &mut Theirs, text: &str) -> String {
        let id = self.send(ours, theirs, text);
        self.check_arrived(ours, theirs, &id, text)
    }

    fn check_arrived(&self, ours: &Ours, theirs: &mut Theirs, id: &Uuid, text: &str) -> String {
        let received = theirs.wait(|event| event["event"] == "received" && event["message_id"] == json!(id));
        assert_eq!((received["text"].as_str(), &received["integrity"]), (Some(text), &json!("holds")));
        let message = until("a delivered receipt", PATIENCE, || {
            Some(self.message(ours, id)).filter(|message| message.state == State::Accepted && message.has_receipt(Kind::Delivered))
        });
        assert_eq!(received["leaf"], json!(message.leaf()), "both sides compute one leaf");
        assert_eq!((message.receipts[0].did, message.receipts[0].device), (theirs.address.did, theirs.address.device));
        received["form"].as_str().expect("a form").to_owned()
    }

    /// We have what they sent as they meant it.
    fn check_received(&self, ours: &Ours, theirs: &Theirs, sent: &Seen, text: &str) {
        let message = until("a message", PATIENCE, || self.runtime.block_on(ours.client.message(&sent.id)).ok());
        assert_eq!((message.state, message.reason.as_deref()), (State::Received, None));
        assert_eq!((message.text.as_str(), message.integrity.as_deref()), (text, Some("holds")));
        assert_eq!((message.sender, message.peer), (theirs.address, theirs.address.did));
        assert_eq!(json!(message.leaf()), sent.leaf, "both sides compute one leaf");
    }

    /// Their message can be proven by us: the leaf that they computed is in an anchor on the chain.
    fn prove(&self, ours: &Ours, sent: &Seen) {
        let bundle = self.runtime.block_on(ours.client.proof(&sent.id, PATIENCE)).expect("a proof");
        assert_eq!(bundle.items.len(), 1);
    }

    fn send(&self, ours: &Ours, theirs: &Theirs, text: &str) -> Uuid {
        self.runtime.block_on(ours.client.send(&theirs.address.did, text)).expect("stored")
    }

    fn message(&self, ours: &Ours, id: &Uuid) -> Message {
        self.runtime.block_on(ours.client.message(id)).expect("a message")
    }

    fn find(&self, ours: &Ours, fits: impl Fn(&Message) -> bool) -> Message {
        let history = self.runtime.block_on(ours.client.history(None, 1_000)).expect("a history");
        history.into_iter().find(fits).expect("one that fits")
    }

    fn listen(&self, ours: &Ours) -> Connection {
        self.runtime.block_on(ours.client.listen()).expect("a connection")
    }

    /// Connects once, so that the relay has prekeys.
    fn publish(&self, ours: &Ours) {
        self.runtime.block_on(async {
            let mut connection = ours.client.listen().await.expect("a connection");
            let caught_up = async { while !matches!(connection.next().await, Some(Event::CaughtUp)) {} };
            timeout(PATIENCE, caught_up).await.expect("an empty mailbox");
            connection.stop().await;
        });
    }

    /// A new person on our client, registered.
    fn ours(&mut self) -> Ours {
        self.people += 1;
        let folder = self.folder.path().join(format!("ours{}", self.people));
        let network = self.running.network();
        let gateway = network.gateway_url().expect("a gateway");
        let trust = network.load_genesis().expect("a genesis").trust();
        let settings = Settings { gateway: gateway.clone(), trust: trust.clone(), encoding: Encoding::Cbor };
        let passphrase = Passphrase::new("correct horse").expect("a passphrase");
        self.runtime.block_on(async {
            let client = Client::create(&folder, &passphrase, settings).await.expect("a device");
            client.register(None).await.expect("registered");
            let address = client.address().await.expect("registered");
            let mut chain = rpc::Chain::connect(&format!("{gateway}/rpc"), trust).expect("a URL");
            let entry = chain.identity(&address.did).await.expect("proven").value.expect("registered");
            let device = entry.device(address.device).expect("its device");
            let keys = DeviceKeys { key: device.key, signal: device.signal.identity_key };
            Ours { client, address, keys }
        })
    }

    /// A new person on Signal's npm package, registered and connected. They know our keys from the chain, which has no
    /// light client in JavaScript: we tell them.
    fn theirs(&self, package: &'static str, ours: &Ours) -> Theirs {
        let mut theirs = Theirs::start(self.folder.path(), package);
        let signal: SignalKey = serde_json::from_value(theirs.wait_for("keys")["signal_key"].take()).expect("a Signal key");
        let key = genesis::entropy::key();
        let chain = ours.client.chain().clone();
        let control = || Control::single(genesis::entropy::key().public());
        let first = genesis::entropy::key();
        let identity = Genesis {
            chain: chain.clone(),
            control: Control::single(first.public()),
            next_control: control().commitment(),
            recovery: control().recovery_commitment(),
            recovery_delay: genesis::keyring::RECOVERY_DELAY,
            devices: vec![DeviceKeys { key: key.public(), signal }].try_into().expect("one device"),
            services: List::default(),
            nonce: genesis::entropy::bytes(),
        };
        let height = self.runtime.block_on(self.running.height(0)).expect("it answers");
        let draft = Draft::create(identity, &[&key], Height(height + rpc::submit::VALID_FOR)).expect("a draft");
        let operation = draft.sign(0, &first).finish().expect("an operation");
        theirs.address.did = operation.did;
        let register = Register { did: operation.did, operation: Some(operation.to_bytes().into()), invitation: None };
        theirs.order(&json!({
            "gateway": self.running.network().gateway_url(),
            "chain": chain,
            "register": register,
            "did": operation.did,
            "device": theirs.address.device,
            "seed": hex::encode(key.seed()),
            "peer": {
                "did": ours.address.did,
                "device": ours.address.device,
                "key": ours.keys.key,
                "signal_key": ours.keys.signal,
            },
        }));
        theirs.wait_for("ready");
        theirs
    }
}
