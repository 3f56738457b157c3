//! The relay dies at each step of a message while devices are connected to it, and comes back: a
//! child of this test binary is the relay, the devices are here.
#![cfg(debug_assertions)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mailbox::frame::{Acknowledge, Open};
use mailbox::history::{self, Event};
use mailbox::wire::Encoding;
use mailbox::{Address, ClientFrame, ServerFrame};
use rpc::relay::Registration;
use tokio::sync::watch;
use types::{Hash, Millis, SigningKey};

use super::device::{Device, Member, serve};
use crate::App;
use crate::accounts::tests::{CHAIN, Person, prekeys};
use crate::accounts::{Accounts as _, Sqlite};
use crate::app::Parts;
use crate::auth::Auth;
use crate::config::{Config, Limits, Sponsor};
use crate::fault::POINTS;
use crate::http::tests::TestChain;
use crate::messages::{Messages, now};

/// Names the folder of the child's relay; without it the child does nothing.
const HOME: &str = "ZYNK_SOCKET_CRASH_TEST_HOME";

/// How many messages are sent over one crash.
const MESSAGES: u64 = 12;

pub(super) const AUDIENCE: &str = "a relay that dies";

pub(super) fn tokens() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

/// The relay. Run by the test below, in a process of its own.
#[test]
fn child() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let config = Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            node: "http://127.0.0.1:1".to_owned(),
            registration: Registration::Closed,
            anchor_interval_ms: 1_000,
            sponsor: Sponsor::default(),
            limits: Limits::default(),
        };
        let relay = rpc::relay::Relay {
            chain: CHAIN.parse().expect("a chain"),
            log: audit::LogId(Hash([3; 32])),
            audience: AUDIENCE.to_owned(),
            registration: Registration::Closed,
            anchor_interval_ms: 1_000,
            time: Millis(0),
            version: "test".to_owned(),
        };
        let accounts = Sqlite::open(&home.join("accounts.sqlite")).await.expect("a store of accounts");
        let messages = Messages::open(&home.join("messages")).expect("a store of messages");
        let (_stop, stop) = watch::channel(false);
        let app = App::new(Parts {
            config,
            relay,
            tokens: tokens(),
            accounts: Arc::new(accounts),
            messages,
            chain: Arc::new(TestChain::new()),
            clock: Arc::new(now),
            stop,
        });
        let at = serve(Arc::new(app)).await;
        writeln!(std::io::stderr(), "listening on {at}").expect("the parent reads");
        // Until it is killed.
        std::future::pending::<()>().await;
    });
}

/// A relay in a process, and where it listens.
pub(super) fn start(home: &Path, fault: Option<&str>) -> (Child, SocketAddr, BufReader<std::process::ChildStderr>) {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "socket::tests::crashes::child", "--nocapture", "--test-threads", "1"]).env(HOME, home);
    if let Some(fault) = fault {
        command.env("ZYNK_FAULT", fault);
    }
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the child runs");
    let mut said = BufReader::new(child.stderr.take().expect("it is piped"));
    let at = said.by_ref().lines().map_while(Result::ok).find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
    (child, at.expect("the child says where it listens").parse().expect("an address"), said)
}

type History = Arc<Mutex<Vec<Event>>>;

fn note(history: &History, event: Event) {
    history.lock().expect("no test panics here").push(event);
}

/// Opens a session with whatever relay is there by now.
async fn open(relay: &watch::Receiver<SocketAddr>, member: &Member, encoding: Encoding, acknowledged: u64) -> Option<Device> {
    tokio::time::sleep(Duration::from_millis(10)).await;
    let at = *relay.borrow();
    let mut device = Device::to(at, encoding).await?;
    let opened = device.try_say(&ClientFrame::Open(Open { token: member.token.clone(), acknowledged })).await;
    (opened && matches!(device.listen().await, Ok(ServerFrame::Opened(_)))).then_some(device)
}

/// Sends each message until it is answered, each time under the same id.
async fn sender(relay: watch::Receiver<SocketAddr>, from: Arc<Member>, to: Arc<Member>, history: History) {
    let mut device = None;
    for number in 0..MESSAGES {
        let sent = to.message(number);
        loop {
            let Some(open) = &mut device else {
                device = open(&relay, &from, Encoding::Cbor, 0).await;
                continue;
            };
            note(
                &history,
                Event::Sent { by: from.address(), message: sent.message_id, conversation: sent.conversation_id, to: vec![to.address()] },
            );
            let answered = open.try_say(&ClientFrame::Send(sent.clone())).await && accepted(open).await;
            if answered {
                note(&history, Event::Accepted { by: from.address(), message: sent.message_id });
                break;
            }
            device = None;
        }
    }
}

async fn accepted(device: &mut Device) -> bool {
    loop {
        match device.listen().await {
            Ok(ServerFrame::Accepted(_)) => return true,
            Ok(ServerFrame::Empty(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(_) => return false,
        }
    }
}

/// Takes messages until all have come and the mailbox is empty.
async fn receiver(relay: watch::Receiver<SocketAddr>, of: Arc<Member>, history: History) {
    let (by, mut acknowledged, mut device) = (of.address(), 0, None);
    loop {
        let Some(open) = &mut device else {
            // Noted before it is tried, as a client can only know what it says.
            note(&history, Event::Opened { by, acknowledged });
            device = open(&relay, &of, Encoding::Json, acknowledged).await;
            continue;
        };
        match open.listen().await {
            Ok(ServerFrame::Received(received)) => {
                for item in received.items {
                    let from = Address { did: item.sender_id, device: item.sender_device_id };
                    let (sequence, message, conversation) = (item.sequence, item.message_id, item.conversation_id);
                    note(&history, Event::Received { by, sequence, message, conversation, from });
                    acknowledged = sequence;
                }
                note(&history, Event::Acknowledged { by, upto: acknowledged, also: Vec::new() });
                let said = open.try_say(&ClientFrame::Acknowledge(Acknowledge { upto: acknowledged, also: Vec::new() })).await;
                if acknowledged == MESSAGES {
                    break;
                }
                if !said {
                    device = None;
                }
            }
            Ok(ServerFrame::Empty(_)) => note(&history, Event::Drained { by }),
            Ok(other) => panic!("{other:?}"),
            Err(_) => device = None,
        }
    }
}

async fn story(point: &str, hits: u32) {
    let home = tempfile::tempdir().expect("a folder");
    let accounts = Sqlite::open(&home.path().join("accounts.sqlite")).await.expect("a store of accounts");
    let auth = Auth::new(&tokens(), AUDIENCE, Arc::new(now));
    let mut members = Vec::new();
    for session in 0..2u8 {
        let person = Person::new();
        accounts.register(&person.did(), &person.known(), now()).await.expect("it is stored");
        accounts.publish(&person.address(1), &prekeys(&person, 1, 5, 1, 100), now()).await.expect("they are published");
        let token = auth.issue(person.address(1), [session; 16]);
        members.push(Arc::new(Member { person, token }));
    }
    accounts.close().await;
    let [alice, bob] = <[_; 2]>::try_from(members).unwrap_or_else(|_| unreachable!("two"));
    let (mut child, at, said) = start(home.path(), Some(&format!("{point}:{hits}")));
    let (relay, history) = (watch::Sender::new(at), History::default());
    let sending = tokio::spawn(sender(relay.subscribe(), alice, bob.clone(), history.clone()));
    let receiving = tokio::spawn(receiver(relay.subscribe(), bob.clone(), history.clone()));
    let folder = home.path().to_owned();
    let (again, mut second) = tokio::task::spawn_blocking(move || {
        let last: Vec<String> = said.lines().map_while(Result::ok).collect();
        assert!(!child.wait().expect("it ends").success());
        let (second, at, said) = start(&folder, None);
        // What it says from here on nobody reads; the pipe stays open.
        ((at, last), (second, said))
    })
    .await
    .expect("the relay dies and comes back");
    let (at, last) = again;
    assert!(last.contains(&format!("crash point {point} reached {hits} times")), "{point}: {last:?}");
    relay.send_replace(at);
    sending.await.expect("the sender does not panic");
    receiving.await.expect("the receiver does not panic");
    // Once more, to see that nothing is left and nothing comes again.
    note(&history, Event::Opened { by: bob.address(), acknowledged: MESSAGES });
    let mut device = open(&relay.subscribe(), &bob, Encoding::Cbor, MESSAGES).await.expect("it opens");
    assert!(device.is_empty().await, "{point}");
    note(&history, Event::Drained { by: bob.address() });
    second.0.kill().expect("it is killed");
    second.0.wait().expect("it ends");
    assert_eq!(history::check(&history.lock().expect("no test panics here")), [], "{point}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_with_devices_connected_keeps_its_promise() {
    let on_the_way = ["accept", "commit", "answer", "deliver", "acknowledge"];
    for point in POINTS.into_iter().filter(|point| on_the_way.iter().any(|step| point.starts_with(step))) {
        for hits in [1, 3] {
            Box::pin(story(point, hits)).await;
        }
    }
}
