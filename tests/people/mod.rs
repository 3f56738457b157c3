//! People with devices under test: a network with relay and gateway, every device behind a tap that
//! writes down what the device and the relay say to each other.

#![allow(dead_code, reason = "each test binary compiles this and uses a part of it")]

pub(crate) mod raw;
pub(crate) mod tap;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::history::{Message, State};
use client::{Client, Connection, Event, Passphrase, RecoveryKit, Settings};
use devnet::{Network, Running, Service};
use identity::Did;
use light::Trust;
use mailbox::frame::Kind;
use mailbox::{Address, Encoding, history};
use tempfile::TempDir;
use tendermint::Time;
use tokio::runtime::Runtime;
use uuid::Uuid;

use self::tap::{Tap, Tape};
use crate::world::{PATIENCE, ZYNK, quick};

/// How long a proof may take: an anchor, two blocks, on a busy machine.
const PROVING: Duration = Duration::from_secs(60);

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(25);

/// As many messages as one question for a history gives.
const PAGE: u32 = 1_000;

static TURN: Mutex<()> = Mutex::new(());

/// Four validators, a relay and a gateway. Dropped, their processes are killed and their files gone.
pub(crate) struct Town {
    pub(crate) running: Running,
    pub(crate) runtime: Runtime,
    pub(crate) tape: Tape,
    folder: TempDir,
    people: usize,
    _turn: MutexGuard<'static, ()>,
}

/// A device with its folder, its tap, and everything that it told.
pub(crate) struct Phone {
    pub(crate) client: Client,
    pub(crate) address: Address,
    pub(crate) kit: Option<RecoveryKit>,
    pub(crate) tap: Tap,
    connection: Option<Connection>,
    /// What the device told since it was made.
    pub(crate) events: Vec<Event>,
}

/// The passphrase of every device here.
pub(crate) fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery staple").expect("a passphrase")
}

impl Town {
    /// A network whose relay and gateway answer.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// The same, with its homes changed before anything runs.
    pub(crate) fn start_with(change: impl FnOnce(&Network)) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = TempDir::new().expect("a folder");
        let settings = devnet::Settings {
            chain: "zynk-test".parse().expect("a chain id"),
            validators: 4,
            first_port: 0,
            services: true,
            params: quick(),
        };
        let network = Network::create(&folder.path().join("network"), &settings, Time::now()).expect("a network");
        // Everybody here comes from one address, and proves more in a minute than a person in a year.
        let home = network.gateway_home().settings();
        let mut gateway = gateway::Settings::load(&home).expect("settings");
        (gateway.limits.burst, gateway.limits.per_second) = (100_000, 100_000);
        gateway.save(&home).expect("it is written");
        change(&network);
        let mut running = network.start(Path::new(ZYNK)).expect("it starts");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(async {
            for place in 0..4 {
                running.wait_for(place, 1, PATIENCE).await.unwrap_or_else(|error| panic!("{error:#}"));
            }
            for service in [Service::Relay, Service::Gateway] {
                running.start_service(service, &[]).expect("it starts");
                running.wait_for_service(service, PATIENCE).await.unwrap_or_else(|error| panic!("{error:#}"));
            }
        });
        Self { running, runtime, tape: Tape::default(), folder, people: 0, _turn: turn }
    }

    /// The network's files and addresses.
    pub(crate) const fn network(&self) -> &Network {
        self.running.network()
    }

    /// What a device trusts.
    pub(crate) fn trust(&self) -> Trust {
        self.network().load_genesis().expect("a genesis").trust()
    }

    /// A folder that nobody has yet.
    pub(crate) fn beside(&mut self) -> PathBuf {
        self.people += 1;
        self.folder.path().join(format!("device{}", self.people))
    }

    /// A device without an identity, behind a tap. They speak JSON and CBOR by turns.
    pub(crate) fn stranger(&mut self) -> (Client, Tap) {
        let folder = self.beside();
        let gateway = self.network().gateway_url().expect("a gateway");
        let tap = self.runtime.block_on(Tap::open(&gateway, self.tape.clone()));
        let encoding = if self.people.is_multiple_of(2) { Encoding::Json } else { Encoding::Cbor };
        let settings = Settings { gateway: tap.url(), trust: self.trust(), encoding };
        let client = self.runtime.block_on(Client::create(&folder, &passphrase(), settings)).expect("a device");
        (client, tap)
    }

    /// A person who has registered, with a first device that is not connected.
    pub(crate) fn person(&mut self) -> Phone {
        let (client, tap) = self.stranger();
        let registered = self.runtime.block_on(client.register(None)).expect("an identity");
        self.phone(client, tap, Some(registered.kit))
    }

    /// The device of somebody, once it has an address.
    pub(crate) fn phone(&self, client: Client, tap: Tap, kit: Option<RecoveryKit>) -> Phone {
        let address = self.runtime.block_on(client.address()).expect("an address");
        tap.is_of(address);
        Phone { client, address, kit, tap, connection: None, events: Vec::new() }
    }

    /// Has devices connect, each anew, and waits until their mailboxes are empty.
    pub(crate) fn connect<'a>(&self, phones: impl IntoIterator<Item = &'a mut Phone>) {
        for phone in phones {
            self.hang_up(phone);
            phone.connection = Some(self.runtime.block_on(phone.client.listen()).expect("it connects"));
            self.hear(phone, "an empty mailbox", |event| matches!(event, Event::CaughtUp));
        }
    }

    /// Has a device disconnect.
    pub(crate) fn hang_up(&self, phone: &mut Phone) {
        if let Some(connection) = phone.connection.take() {
            self.runtime.block_on(connection.stop());
        }
    }

    /// Waits until a connected device tells something; gives it.
    pub(crate) fn hear(&self, phone: &mut Phone, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let connection = phone.connection.as_mut().expect("it is connected");
            let left = deadline.saturating_duration_since(Instant::now());
            let next = self.runtime.block_on(async { tokio::time::timeout(left, connection.next()).await });
            match next {
                Ok(Some(event)) => {
                    phone.events.push(event.clone());
                    if is_it(&event) {
                        return event;
                    }
                }
                ended => panic!("not heard within {PATIENCE:?}: {what} ({ended:?})\n{}", self.last_words()),
            }
        }
    }

    /// Takes what a device has told by now.
    pub(crate) fn overhear(&self, phone: &mut Phone) {
        let Some(connection) = phone.connection.as_mut() else { return };
        while let Ok(Some(event)) = self.runtime.block_on(async { tokio::time::timeout(Duration::ZERO, connection.next()).await }) {
            phone.events.push(event);
        }
    }

    /// Writes; the message leaves when the device is connected.
    pub(crate) fn write(&self, from: &Phone, to: &Did, text: &str) -> Uuid {
        self.runtime.block_on(from.client.send(to, text)).expect("it is stored")
    }

    /// How many messages and receipts of a device have not left.
    pub(crate) fn waiting(&self, phone: &Phone) -> u64 {
        self.runtime.block_on(phone.client.waiting()).expect("an outbox")
    }

    /// What came from somebody, and what was sent to them, each in its order.
    pub(crate) fn conversation(&self, phone: &Phone, with: &Did) -> Vec<Message> {
        self.runtime.block_on(phone.client.history(Some(with), PAGE)).expect("a history")
    }

    /// Kills the relay and starts it with `environment`, without waiting for it.
    pub(crate) fn restart_relay(&mut self, environment: &[(&str, &str)]) {
        // It may have died by itself.
        let _ = self.running.kill_service(Service::Relay);
        self.running.start_service(Service::Relay, environment).expect("it starts");
    }

    /// Waits until the relay answers.
    pub(crate) fn wait_for_relay(&mut self) {
        let waited = self.runtime.block_on(self.running.wait_for_service(Service::Relay, PATIENCE));
        waited.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Everything that the relay has said since it was first started.
    pub(crate) fn relay_log(&self) -> String {
        std::fs::read_to_string(self.network().relay_folder().join("relay.log")).unwrap_or_default()
    }

    /// The last lines of both services, for a test that fails.
    pub(crate) fn last_words(&self) -> String {
        let words =
            [Service::Relay, Service::Gateway].map(|service| format!("{}:\n{}\n", service.name(), self.running.last_words_of(service)));
        words.concat()
    }

    /// Waits until nobody's outbox holds anything and everybody has what the others sent; then nothing may
    /// be missing, doubled or out of order, and the record must keep the relay's promise.
    pub(crate) fn settle(&self, phones: &mut [&mut Phone], sent: &Letters) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            phones.iter_mut().for_each(|phone| self.overhear(phone));
            let waiting: u64 = phones.iter().map(|phone| self.waiting(phone)).sum();
            let missing = phones.iter().filter(|phone| sent.are_missing(self, phone)).count();
            if waiting == 0 && missing == 0 {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{waiting} messages have not left, {missing} devices miss some:\n{}{:#?}",
                self.last_words(),
                phones.iter().flat_map(|phone| phone.events.iter().rev().take(3)).collect::<Vec<_>>()
            );
            std::thread::sleep(LOOK);
        }
        phones.iter().for_each(|phone| sent.check(self, phone));
        self.judge();
    }

    /// Whether the record keeps the promise, as far as it goes.
    pub(crate) fn judge(&self) {
        let events = self.tape.events();
        let violations = history::check(&events);
        assert!(violations.is_empty(), "{violations:#?}\n{}", self.last_words());
    }

    /// The proof of a message, verified with the genesis and nothing else.
    pub(crate) fn prove(&self, phone: &Phone, id: &Uuid) -> audit::Bundle {
        let bundle = self.runtime.block_on(phone.client.proof(id, PROVING));
        let bundle = bundle.unwrap_or_else(|error| panic!("{id}: {error}\n{}", self.last_words()));
        let verdict = audit::bundle::verify(&bundle, &self.trust(), Time::now(), &light::Options::default());
        let verdict = verdict.unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(verdict.items.len(), 1);
        bundle
    }
}

/// What was written: by whom, to whom, in order.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    texts: BTreeMap<(Address, Did), Vec<(Uuid, String)>>,
}

impl Letters {
    /// Writes a numbered message.
    pub(crate) fn write(&mut self, town: &Town, from: &Phone, to: &Did) -> Uuid {
        let texts = self.texts.entry((from.address, *to)).or_default();
        let text = format!("number {}", texts.len());
        let id = town.write(from, to, &text);
        texts.push((id, text));
        id
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.values().map(Vec::len).sum()
    }

    /// All ids, with who wrote them and to whom.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (Address, Did, Uuid)> {
        self.texts.iter().flat_map(|((from, to), texts)| texts.iter().map(|(id, _)| (*from, *to, *id)))
    }

    /// Whether something that is for this device has not come, or not been accepted and delivered.
    fn are_missing(&self, town: &Town, phone: &Phone) -> bool {
        self.at(phone).any(|(from, with, texts)| {
            let mut found = seen(town, phone, from, with, texts);
            // The sender waits for the second tick.
            found.retain(|message| message.state != State::Queued && (!message.outgoing || message.has_receipt(Kind::Delivered)));
            found.len() < texts.len().min(PAGE as usize / 2)
        })
    }

    /// Everything that is for a device stands in its history once, whole and in order.
    fn check(&self, town: &Town, phone: &Phone) {
        for (from, with, texts) in self.at(phone) {
            let messages = seen(town, phone, from, with, texts);
            let found: Vec<(Uuid, String)> = messages.iter().map(|message| (message.message_id, message.text.clone())).collect();
            // A history is asked for by the page.
            let newest = &texts[texts.len() - found.len().min(texts.len())..];
            assert_eq!(found, newest, "from {from:?} at {:?}", phone.address);
            let expected = if from.did == phone.address.did { State::Accepted } else { State::Received };
            for message in &messages {
                assert_eq!((message.state, &message.reason), (expected, &None), "{}", message.message_id);
                assert!(matches!(message.integrity.as_deref(), None | Some("holds")), "{:?}", message.integrity);
            }
        }
    }

    /// What a device must have: from whom, in the conversation with whom.
    fn at(&self, phone: &Phone) -> impl Iterator<Item = (&Address, &Did, &[(Uuid, String)])> {
        let own = phone.address.did;
        self.texts.iter().filter_map(move |((from, to), texts)| match () {
            () if *to == own => Some((from, &from.did, texts.as_slice())),
            () if from.did == own => Some((from, to, texts.as_slice())),
            () => None,
        })
    }
}

/// What a device has of a sender since the first of some messages: ids are by time.
fn seen(town: &Town, phone: &Phone, from: &Address, with: &Did, since: &[(Uuid, String)]) -> Vec<Message> {
    let mut messages = town.conversation(phone, with);
    messages.retain(|message| message.sender == *from && since.first().is_none_or(|(first, _)| message.message_id >= *first));
    messages
}
