//! People with devices under test: a network with relay and gateway, every device behind a tap that
//! writes down what the device and the relay say to each other.

#![allow(dead_code, reason = "each test binary compiles this and uses a part of it")]

mod letters;
pub(crate) mod raw;
pub(crate) mod tap;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::history::Message;
use client::{Client, Connection, Event, Passphrase, RecoveryKit, Settings};
use devnet::{Network, Running, Service};
use identity::Did;
use ledger::SignedTransaction;
use light::Trust;
use mailbox::{Address, Encoding, history};
use tempfile::TempDir;
use tendermint::Time;
use tendermint_rpc::{Client as _, HttpClient};
use tokio::runtime::Runtime;
use uuid::Uuid;

pub(crate) use self::letters::Letters;
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

    /// A further device of a person: asks, is let in, waits for the chain.
    pub(crate) fn link(&mut self, first: &Phone) -> Phone {
        let (client, tap) = self.stranger();
        let did = first.address.did;
        let device = self.runtime.block_on(async {
            let code = client.link_request(&did).await.expect("a code");
            let accepted = first.client.link_accept(&code).await.expect("it is let in");
            assert_eq!(client.link_finish(PATIENCE).await.expect("it has joined"), accepted);
            accepted
        });
        let phone = self.phone(client, tap, None);
        assert_eq!(phone.address, Address { did, device });
        phone
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

    /// Marks everything from somebody as read, and has them told.
    pub(crate) fn read(&self, phone: &Phone, from: &Did) {
        self.runtime.block_on(phone.client.mark_read(from)).expect("it is marked");
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

    /// Kills the gateway and starts it again.
    pub(crate) fn restart_gateway(&mut self) {
        self.running.kill_service(Service::Gateway).expect("it ran");
        self.running.start_service(Service::Gateway, &[]).expect("it starts");
    }

    /// Waits until the relay answers.
    pub(crate) fn wait_for_relay(&mut self) {
        let waited = self.runtime.block_on(self.running.wait_for_service(Service::Relay, PATIENCE));
        waited.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Every transaction that the chain has taken, in its order.
    pub(crate) fn transactions(&self) -> Vec<SignedTransaction> {
        let url = self.network().url(0);
        self.runtime.block_on(async {
            let blocks = HttpClient::new(url.as_str()).expect("a URL");
            let tip = blocks.status().await.expect("it answers").sync_info.latest_block_height;
            let mut taken = Vec::new();
            for height in 1..=tip.value() {
                let height = tendermint::block::Height::try_from(height).expect("a height");
                let transactions = blocks.block(height).await.expect("a block").block.data;
                if transactions.is_empty() {
                    continue;
                }
                let results = blocks.block_results(height).await.expect("results").txs_results.expect("one for each");
                assert_eq!(results.len(), transactions.len());
                let succeeded = transactions.iter().zip(results).filter(|(_, result)| result.code.is_ok());
                taken.extend(succeeded.map(|(bytes, _)| SignedTransaction::parse(bytes).expect("a transaction")));
            }
            taken
        })
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
                "{waiting} messages have not left, {missing} devices miss some; the record shows {:?}:\n{}{:#?}",
                history::check(&self.tape.events()),
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
