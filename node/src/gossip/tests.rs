//! Nodes in one process, over loopback.

use bytes::Bytes;
use libp2p::multiaddr::Protocol;
use types::Encode as _;

use super::offers::First;
use super::*;
use crate::config::Network;
use crate::testing::{Bench, RICH, key, transfer};
use crate::tx::Tx;

/// Long enough for a transaction to be offered again; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node's gossip that listens on a free port, and the address to dial it at.
pub(super) async fn listening(bench: &Bench, seed: u8, peers: Vec<Multiaddr>) -> (Gossip, Multiaddr) {
    let network = Network::new("/ip4/127.0.0.1/tcp/0".parse().expect("an address"), peers);
    let mut gossip = started(bench, seed, &network, None);
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = gossip.swarm.select_next_some().await {
            gossip.discovery.own.listens(&address);
            break address.with(Protocol::P2p(*gossip.swarm.local_peer_id()));
        }
    };
    (gossip, address)
}

pub(super) fn started(bench: &Bench, seed: u8, network: &Network, addresses: Option<std::path::PathBuf>) -> Gossip {
    let consensus = Network::new(format!("/ip4/127.0.0.1/tcp/{}", 30_000 + u16::from(seed)).parse().expect("an address"), Vec::new());
    let key = key(seed);
    let setup = Setup { key: &key, moniker: "one", gossip: network, consensus: &consensus, validates: true, addresses };
    Gossip::start(&setup, Arc::clone(&bench.app)).expect("a free port")
}

/// Ends when a transaction waits there.
pub(super) async fn arrives(app: &App, bytes: &Bytes) {
    let hash = Hash::sha256(&[bytes]);
    let waiting = async {
        while !app.is_waiting(&hash) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it arrives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_reaches_the_neighbour_and_its_neighbour() {
    let (one, two, three) = (Bench::new(), Bench::new(), Bench::new());
    // It waits before there is anybody to offer it to, so it is offered again.
    let early = one.transfer(0);
    one.app.submit(early.clone()).expect("a transfer that can be paid");
    let (first, first_address) = listening(&one, 21, Vec::new()).await;
    let (second, second_address) = listening(&two, 22, vec![first_address]).await;
    let (third, _) = listening(&three, 23, vec![second_address]).await;
    let running = [first, second, third].map(|gossip| tokio::spawn(gossip.run()));
    for there in [&two, &three] {
        arrives(&there.app, &early).await;
    }
    // Now everybody knows everybody.
    let late = one.transfer(1);
    one.app.submit(late.clone()).expect("a transfer that can be paid");
    for there in [&two, &three] {
        arrives(&there.app, &late).await;
    }
    assert_eq!((two.app.waiting(), three.app.waiting()), (2, 2));
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

fn judge(app: &App, messages: Vec<Message>) -> Vec<Verdict> {
    let all: Vec<Tx> = messages.iter().flat_map(|message| message.transactions.clone()).collect();
    let verified = app.verify_all(&all);
    judging::judge(app, messages, all.into_iter().zip(verified).collect())
}

/// A transaction as it goes into a message.
fn tx(bytes: &Bytes) -> Tx {
    bytes.clone().into()
}

/// A peer that counts every copy of a transaction that comes, by who sent it and under which stamp, and
/// passes none on.
struct Counter {
    swarm: Swarm<Behaviour>,
    transactions: IdentTopic,
    copies: BTreeMap<(PeerId, u64, Bytes), usize>,
    /// Messages under the stamp of a first offer.
    messages: usize,
    /// The transactions as they came.
    order: Vec<Bytes>,
}

impl Counter {
    /// One that dials these, and knows that they listen to transactions.
    async fn new(bench: &Bench, seed: u8, peers: Vec<Multiaddr>) -> Self {
        let keypair = libp2p::identity::Keypair::ed25519_from_bytes(*key(seed).seed()).expect("a key");
        let chain = bench.app.genesis().chain().clone();
        let counted = std::sync::atomic::AtomicU64::new(0);
        let config = gossipsub::ConfigBuilder::default()
            .heartbeat_interval(Duration::from_millis(300))
            .validation_mode(ValidationMode::Anonymous)
            .validate_messages()
            .flood_publish(true)
            // Each copy has a name of its own: none is dropped as known.
            .message_id_fn(move |_| counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_be_bytes().to_vec().into())
            .build()
            .expect("a configuration");
        let mut swarm = libp2p::SwarmBuilder::with_existing_identity(keypair.clone())
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .expect("a transport")
            .with_behaviour(|keypair| {
                let usual = behaviour(&chain, keypair, MAX_MESSAGE, "counter", 8)?;
                let known = gossipsub::WhitelistSubscriptionFilter([topic(&chain, TRANSACTIONS).hash()].into());
                let gossip = Topics::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, known)?;
                Ok(Behaviour { gossip, ..usual })
            })
            .expect("a behaviour")
            .build();
        let transactions = topic(&chain, TRANSACTIONS);
        swarm.behaviour_mut().gossip.subscribe(&transactions).expect("a topic");
        for peer in peers.clone() {
            swarm.dial(peer).expect("an address");
        }
        let mut counter = Self { swarm, transactions, copies: BTreeMap::new(), messages: 0, order: Vec::new() };
        let mesh = |counter: &Self| counter.swarm.behaviour().gossip.mesh_peers(&counter.transactions.hash()).count();
        while mesh(&counter) < peers.len() {
            counter.listen(Duration::from_millis(100)).await;
        }
        // As long again, so that they have this one in their meshes.
        counter.listen(Duration::from_secs(1)).await;
        counter
    }

    /// Counts for this long.
    async fn listen(&mut self, time: Duration) {
        let counting = async {
            loop {
                if let SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message, .. })) =
                    self.swarm.select_next_some().await
                {
                    let (stamp, transactions) = message::read(&message.data).expect("honest nodes write what they read");
                    self.messages += usize::from(stamp == message::FIRST);
                    for bytes in transactions.iter().map(Tx::bytes) {
                        self.order.push(bytes.clone());
                        *self.copies.entry((propagation_source, stamp, bytes.clone())).or_default() += 1;
                    }
                }
            }
        };
        let () = tokio::time::timeout(time, counting).await.unwrap_or_default();
    }

    /// Tells everybody.
    fn tell(&mut self, data: Vec<u8>) {
        self.swarm.behaviour_mut().gossip.publish(self.transactions.clone(), data).expect("peers");
    }

    fn first_copies(&self, bytes: &Bytes) -> usize {
        self.copies.iter().filter(|((_, stamp, copied), _)| *stamp == 0 && copied == bytes).map(|(_, count)| count).sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_crosses_a_link_once_and_never_goes_back() {
    let (one, two) = (Bench::new(), Bench::new());
    let (first, first_address) = listening(&one, 21, Vec::new()).await;
    let (second, second_address) = listening(&two, 22, vec![first_address.clone()]).await;
    let running = [first, second].map(|gossip| tokio::spawn(gossip.run()));
    let making = Counter::new(&one, 23, vec![first_address, second_address]);
    let mut counter = tokio::time::timeout(PATIENCE, making).await.expect("all know each other");

    // From one of them: each tells it to the counter at most once.
    let told = one.transfer(0);
    one.app.submit(told.clone()).expect("a transfer that can be paid");
    counter.listen(Duration::from_secs(2)).await;
    for there in [&one, &two] {
        arrives(&there.app, &told).await;
    }
    assert!((1..=2).contains(&counter.first_copies(&told)), "{:?}", counter.copies);
    // From the counter to both of them: neither tells it back.
    let own = one.transfer(1);
    counter.tell(message::write(message::FIRST, &[tx(&own)]));
    counter.listen(Duration::from_secs(2)).await;
    for there in [&one, &two] {
        arrives(&there.app, &own).await;
    }
    assert_eq!(counter.first_copies(&own), 0, "{:?}", counter.copies);
    // One behind a gap is told to nobody, until the gap closes.
    let (gap, behind) = (one.transfer(2), one.transfer(3));
    one.app.submit(behind.clone()).expect("it is held");
    counter.listen(Duration::from_millis(500)).await;
    assert!(!counter.copies.keys().any(|(_, _, copied)| *copied == behind));
    one.app.submit(gap.clone()).expect("a transfer that can be paid");
    counter.listen(Duration::from_secs(2)).await;
    assert!((1..=2).contains(&counter.first_copies(&gap)) && (1..=2).contains(&counter.first_copies(&behind)), "{:?}", counter.copies);
    assert!(counter.copies.values().all(|count| *count == 1), "offered again, too, it comes once from each: {:?}", counter.copies);
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_tells_the_same_at_the_same_time_does_no_wrong() {
    let (one, two) = (Bench::new(), Bench::new());
    let (mut first, address) = listening(&one, 21, Vec::new()).await;
    let (mut second, _) = listening(&two, 22, vec![address]).await;
    let (here, there) = (*first.swarm.local_peer_id(), *second.swarm.local_peer_id());
    second.tick();
    let knows = |gossip: &Gossip, peer: &PeerId| {
        gossip.swarm.behaviour().gossip.all_peers().any(|(other, topics)| other == peer && topics.contains(&&gossip.heights.hash()))
    };
    let meeting = async {
        while !knows(&first, &there) || !knows(&second, &here) {
            tokio::select! {
                event = first.swarm.select_next_some() => first.handle(event),
                event = second.swarm.select_next_some() => second.handle(event),
            }
        }
    };
    tokio::time::timeout(PATIENCE, meeting).await.expect("each knows what the other listens to");
    // As two nodes do whose seconds begin in the same millisecond, and as two do to which one transaction was given.
    let (mut heights, mut penalties) = (0, Vec::new());
    let transaction = one.transfer(0);
    for gossip in [&mut first, &mut second] {
        for height in 0..10 {
            let data = write_height(height, Duration::from_millis(1));
            heights += usize::from(gossip.swarm.behaviour_mut().gossip.publish(gossip.heights.clone(), data).is_ok());
        }
        gossip.app.submit(transaction.clone()).expect("a transfer that can be paid");
        gossip.gathering.add(tx(&transaction));
        gossip.offer_ready();
    }
    assert_eq!(heights, 20, "each told all before it heard any");
    let () = tokio::time::timeout(Duration::from_secs(3), async {
        loop {
            tokio::select! {
                event = first.swarm.select_next_some() => first.handle(event),
                event = second.swarm.select_next_some() => second.handle(event),
            }
        }
    })
    .await
    .unwrap_or_default();
    for (gossip, peer) in [(&first, &there), (&second, &here)] {
        penalties.push(gossip.swarm.behaviour().gossip.peer_score(peer));
    }
    assert_eq!(penalties, [Some(0.0), Some(0.0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_messages_fit_into_a_frame() {
    let chain: ChainId =
        "a-chain-whose-name-is-as-long-as-a-name-may-be-0001".chars().take(50).collect::<String>().parse().expect("a chain id");
    let swarm = |seed: u8| {
        let keypair = libp2p::identity::Keypair::ed25519_from_bytes(*key(seed).seed()).expect("a key");
        let mut swarm = libp2p::SwarmBuilder::with_existing_identity(keypair)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .expect("a transport")
            .with_behaviour(|keypair| Ok(behaviour(&chain, keypair, MAX_MESSAGE, "one", 8)?))
            .expect("a behaviour")
            .build();
        for name in [TRANSACTIONS, HEIGHTS, evidence::TOPIC] {
            swarm.behaviour_mut().gossip.subscribe(&topic(&chain, name)).expect("a topic");
        }
        swarm
    };
    let (mut one, mut two) = (swarm(21), swarm(22));
    one.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("a free port");
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = one.select_next_some().await {
            break address;
        }
    };
    two.dial(address).expect("an address");
    // Six of each: after some broken streams gossipsub opens no more.
    let longest = |length: usize, number: u8| vec![number; length];
    let (mut told, mut heard, mut known) = (false, Vec::new(), 0);
    let hearing = async {
        while heard.len() < 12 {
            tokio::select! {
                event = one.select_next_some() => if let SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message { message, .. })) = event {
                    heard.push(message.data.len());
                },
                event = two.select_next_some() => known += usize::from(matches!(event, SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed { .. })))),
            }
            if known == 3 && !told {
                told = true;
                for number in 0..6 {
                    for (name, length) in [(TRANSACTIONS, MAX_MESSAGE), (evidence::TOPIC, evidence::MAX_MESSAGE)] {
                        two.behaviour_mut().gossip.publish(topic(&chain, name), longest(length, number)).expect("a peer");
                    }
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, hearing).await.expect("all are heard");
    heard.sort_unstable();
    assert_eq!(heard, [[MAX_MESSAGE; 6], [evidence::MAX_MESSAGE; 6]].concat());
}

#[tokio::test]
async fn what_was_held_is_not_offered_before_what_it_was_held_for() {
    let bench = Bench::new();
    let (mut gossip, address) = listening(&bench, 21, Vec::new()).await;
    let making = Counter::new(&bench, 23, vec![address]);
    // The counter waits for a neighbour that runs.
    let mut making = Box::pin(making);
    let mut counter = loop {
        tokio::select! {
            counter = &mut making => break counter,
            event = gossip.swarm.select_next_some() => gossip.handle(event),
        }
    };
    let [first, behind, last] = [0, 1, 2].map(|number| bench.transfer(number));
    gossip.offers.is_held(*tx(&behind).hash());
    for bytes in [&first, &behind, &last] {
        gossip.gathering.add(tx(bytes));
    }
    gossip.offer_ready();
    let listening = async {
        loop {
            gossip.swarm.select_next_some().await;
        }
    };
    tokio::select! {
        () = listening => {}
        () = counter.listen(Duration::from_secs(2)) => {}
    }
    assert_eq!(counter.order, [first, behind, last]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_hostile_peer_sends_changes_anything() {
    let (bench, honest) = (Bench::new(), Bench::new());
    let (gossip, address) = listening(&bench, 21, Vec::new()).await;
    let victim = *gossip.swarm.local_peer_id();
    let running = tokio::spawn(gossip.run());

    // A peer like any other, but its messages may be longer than ours.
    let keypair = libp2p::identity::Keypair::ed25519_from_bytes(*key(66).seed()).expect("a key");
    let chain = bench.app.genesis().chain().clone();
    let (transactions, heights) = (topic(&chain, TRANSACTIONS), topic(&chain, HEIGHTS));
    let mut hostile = libp2p::SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .expect("a transport")
        .with_behaviour(|keypair| Ok(behaviour(&chain, keypair, 1 << 20, "hostile", 8)?))
        .expect("a behaviour")
        .build();
    hostile.dial(address.clone()).expect("an address");
    let subscribed = async {
        let mut told = 0;
        while told < 3 {
            if let SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed { peer_id, .. })) =
                hostile.select_next_some().await
            {
                told += usize::from(peer_id == victim);
            }
        }
    };
    tokio::time::timeout(PATIENCE, subscribed).await.expect("the victim says what it listens to");
    let stamped = |bytes: &[u8]| [&[0; 8], bytes].concat();
    let mut forged = bench.transfer(0).to_vec();
    *forged.iter_mut().nth_back(1).expect("a signature") ^= 1;
    for (story, topic, data) in [
        ("nothing", &transactions, Vec::new()),
        ("half a stamp", &transactions, vec![0; 4]),
        ("a stamp alone", &transactions, stamped(&[])),
        ("no transaction", &transactions, stamped(&[0])),
        ("noise", &transactions, stamped(&[7; 300])),
        ("a transaction of noise", &transactions, message::write(message::FIRST, &[Bytes::from(vec![7; 300]).into()])),
        ("a forged signature", &transactions, message::write(message::FIRST, &[Bytes::from(forged).into()])),
        ("a gap", &transactions, message::write(message::FIRST, &[tx(&bench.transfer(9))])),
        ("two offered again", &transactions, message::write(window(), &[tx(&bench.transfer(9)), tx(&bench.transfer(10))])),
        ("no height", &heights, vec![9]),
        ("half a height", &heights, vec![255; 8]),
        ("too long a height", &heights, vec![255; 17]),
        ("more than a message may carry", &transactions, stamped(&vec![1; MAX_MESSAGE])),
        ("as much as it can", &heights, vec![255; 1 << 19]),
    ] {
        assert!(hostile.behaviour_mut().gossip.publish(topic.clone(), data).is_ok(), "{story}");
    }
    let hostile = tokio::spawn(async move {
        loop {
            hostile.select_next_some().await;
        }
    });

    // Meanwhile an honest neighbour is heard.
    let (other, _) = listening(&honest, 22, vec![address]).await;
    let other = tokio::spawn(other.run());
    let good = honest.transfer(0);
    honest.app.submit(good.clone()).expect("a transfer that can be paid");
    arrives(&bench.app, &good).await;
    assert_eq!(bench.app.waiting(), 1);
    assert!(bench.app.heard().is_none_or(|highest| highest == 0), "only the honest one told its height");
    for task in [running, hostile, other] {
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_nobody_knows_are_not_remembered() {
    let bench = Bench::new();
    let (mut gossip, address) = listening(&bench, 21, Vec::new()).await;
    let keypair = libp2p::identity::Keypair::ed25519_from_bytes(*key(66).seed()).expect("a key");
    let chain = bench.app.genesis().chain().clone();
    let config = gossipsub::ConfigBuilder::default().validation_mode(ValidationMode::Anonymous).build().expect("a configuration");
    let mut hostile = libp2p::SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .expect("a transport")
        .with_behaviour(|_| Ok(gossipsub::Behaviour::<gossipsub::IdentityTransform>::new(MessageAuthenticity::Anonymous, config)?))
        .expect("a behaviour")
        .build();
    for number in 0..100 {
        hostile.behaviour_mut().subscribe(&topic(&chain, &number.to_string())).expect("a topic");
    }
    hostile.behaviour_mut().subscribe(&topic(&chain, HEIGHTS)).expect("a topic");
    hostile.dial(address).expect("an address");
    let (peer, heights) = (*hostile.local_peer_id(), gossip.heights.hash());
    let told = async {
        loop {
            tokio::select! {
                _ = hostile.select_next_some() => {}
                event = gossip.swarm.select_next_some() => gossip.handle(event),
            }
            let told = gossip.swarm.behaviour().gossip.all_peers().find(|(other, _)| **other == peer).map(|(_, topics)| topics);
            if let Some(topics) = told.filter(|topics| topics.contains(&&heights)) {
                break topics.len();
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, told).await.expect("it is heard"), 1);
    // All of what it told before has been read by then, or comes now.
    let more = async {
        loop {
            tokio::select! {
                _ = hostile.select_next_some() => {}
                event = gossip.swarm.select_next_some() => gossip.handle(event),
            }
        }
    };
    let () = tokio::time::timeout(Duration::from_secs(1), more).await.unwrap_or_default();
    let topics = gossip.swarm.behaviour().gossip.all_peers().find(|(other, _)| **other == peer).map(|(_, topics)| topics);
    assert_eq!(topics, Some(vec![&heights]));
}

#[test]
fn messages_are_judged_by_what_the_mempool_says() {
    let bench = Bench::new();
    let check = |story: &str, bytes: Bytes, offered_again: bool, expected: MessageAcceptance, waiting: usize| {
        let (hash, offer) = (Hash::sha256(&[&bytes]), if offered_again { Offer::Again } else { Offer::First });
        let verdict = judge(&bench.app, vec![Message { transactions: vec![bytes.into()], offer }]).remove(0);
        assert_eq!(format!("{:?}", verdict.acceptance), format!("{expected:?}"), "{story}");
        assert_eq!(bench.app.waiting(), waiting, "{story}");
        let held: Vec<Hash> = story.contains("gap").then_some(hash).into_iter().collect();
        assert_eq!(
            (bench.app.is_held(&hash), verdict.held, verdict.new.len()),
            (!held.is_empty(), held, usize::from(story == "in order")),
            "{story}"
        );
    };
    let mut forged = bench.transfer(0).to_vec();
    *forged.iter_mut().nth_back(1).expect("a signature") ^= 1;
    let mut longer = bench.transfer(0).to_vec();
    longer.push(0);
    let mut terms = bench.terms(0);
    terms.chain = "zynk-other-1".parse().expect("a chain id");
    let elsewhere = terms.sign(&key(RICH), rpc::FeePayer::Author, transfer()).to_bytes();
    check("nothing", Bytes::new(), false, MessageAcceptance::Reject, 0);
    check("noise", vec![7; 300].into(), false, MessageAcceptance::Reject, 0);
    check("too large", vec![1; ledger::transaction::MAX_BYTES + 1].into(), true, MessageAcceptance::Reject, 0);
    check("a forged signature", forged.into(), false, MessageAcceptance::Reject, 0);
    check("a byte too many", longer.into(), false, MessageAcceptance::Reject, 0);
    check("another chain's", elsewhere.into(), false, MessageAcceptance::Ignore, 0);
    check("a gap", bench.transfer(2), true, MessageAcceptance::Ignore, 0);
    check("known, behind a gap, and offered again", bench.transfer(2), true, MessageAcceptance::Ignore, 0);
    check("in order", bench.transfer(0), false, MessageAcceptance::Accept, 1);
    check("known", bench.transfer(0), false, MessageAcceptance::Ignore, 1);
    check("known, and offered again", bench.transfer(0), true, MessageAcceptance::Accept, 1);
    bench.make(1);
    check("included", bench.transfer(0), true, MessageAcceptance::Ignore, 0);
}

#[test]
fn a_message_goes_on_only_if_all_of_it_may() {
    use MessageAcceptance::{Accept, Ignore, Reject};
    use Offer::{Again, First, Stray};
    let good = |bench: &Bench, number| bench.transfer(number);
    let mut forged = Bench::new().transfer(0).to_vec();
    *forged.iter_mut().nth_back(1).expect("a signature") ^= 1;
    // What a message has, beside 0 which waits: transactions by their sequence. What becomes of it; what is held then, and what is new.
    type Row<'a> = (&'a str, &'a [u64], Offer, bool, MessageAcceptance, &'a [u64], &'a [u64]);
    let rows: [Row<'_>; 11] = [
        ("all are new", &[1, 2, 3], First, false, Accept, &[], &[1, 2, 3]),
        ("half is new", &[0, 1], First, false, Accept, &[], &[1]),
        ("less than half is new", &[0, 0, 1], First, false, Ignore, &[], &[1]),
        ("none is new", &[0], First, false, Ignore, &[], &[]),
        ("none is new, offered again", &[0], Again, false, Accept, &[], &[]),
        ("out of order", &[2, 1], First, false, Accept, &[], &[2, 1]),
        ("one is behind a gap", &[1, 3], First, false, Ignore, &[3], &[1]),
        ("the same twice", &[1, 1], First, false, Accept, &[], &[1]),
        ("one is forged", &[1, 2], First, true, Reject, &[], &[1, 2]),
        ("it is new, under a stamp of no time", &[1], Stray, false, Ignore, &[], &[1]),
        ("none is new and one is forged", &[0], First, true, Reject, &[], &[]),
    ];
    for (story, sequences, offer, with_forged, expected, held, new) in rows {
        let bench = Bench::new();
        bench.app.submit(good(&bench, 0)).expect("a transfer that can be paid");
        let mut transactions: Vec<Bytes> = sequences.iter().map(|number| good(&bench, *number)).collect();
        transactions.extend(with_forged.then(|| Bytes::from(forged.clone())));
        let transactions = transactions.into_iter().map(Tx::from).collect();
        let verdict = judge(&bench.app, vec![Message { transactions, offer }]).remove(0);
        assert_eq!(format!("{:?}", verdict.acceptance), format!("{expected:?}"), "{story}");
        assert_eq!(verdict.held, held.iter().map(|number| *tx(&good(&bench, *number)).hash()).collect::<Vec<_>>(), "{story}");
        assert_eq!(verdict.new, new.iter().map(|number| tx(&good(&bench, *number))).collect::<Vec<_>>(), "{story}");
        assert_eq!(verdict.again.is_some(), offer == Again, "{story}: what was offered again rests");
    }
    // One that a block has: its message is late, and the others do not suffer for it.
    let bench = Bench::new();
    bench.app.submit(good(&bench, 0)).expect("a transfer that can be paid");
    bench.make(1);
    let judged = |sequences: &[u64], offer: Offer| {
        let transactions = sequences.iter().map(|number| tx(&good(&bench, *number))).collect();
        let verdict = judge(&bench.app, vec![Message { transactions, offer }]).remove(0);
        (format!("{:?}", verdict.acceptance), verdict.new)
    };
    assert_eq!(judged(&[0, 1], First), (format!("{Accept:?}"), vec![tx(&good(&bench, 1))]), "one is in a block");
    assert_eq!(judged(&[0, 0, 2], First), (format!("{Ignore:?}"), vec![tx(&good(&bench, 2))]), "most are");
    assert_eq!(judged(&[0], Again), (format!("{Ignore:?}"), Vec::new()), "it alone, and offered again");
    // And one whose sequence another one has used.
    let other =
        bench.terms(0).sign(&key(RICH), rpc::FeePayer::Author, ledger::Body::RegisterLog { key: key(9).public(), bond: types::Amount(1) });
    let transactions = vec![Bytes::from(other.to_bytes()).into(), tx(&good(&bench, 3))];
    let verdict = judge(&bench.app, vec![Message { transactions, offer: First }]).remove(0);
    assert_eq!((format!("{:?}", verdict.acceptance), verdict.new), (format!("{Ignore:?}"), vec![tx(&good(&bench, 3))]));
}

#[test]
fn what_a_message_brings_goes_on_with_it_and_is_not_offered_beside_it() {
    let bench = Bench::new();
    let mut to_offer = bench.app.to_offer();
    let hear = |sequences: &[u64]| {
        let transactions = sequences.iter().map(|number| tx(&bench.transfer(*number))).collect();
        judge(&bench.app, vec![Message { transactions, offer: Offer::First }])
    };
    hear(&[0, 2, 1]);
    assert_eq!(bench.app.waiting(), 3);
    assert!(to_offer.is_empty(), "whatever the order in which it came");
    // What was held goes on with no message, and what a client hands in came with none.
    hear(&[4]);
    hear(&[3]);
    assert_eq!(to_offer.try_recv().ok(), Some(tx(&bench.transfer(4))));
    bench.app.submit(bench.transfer(5)).expect("a transfer that can be paid");
    assert_eq!(to_offer.try_recv().ok(), Some(tx(&bench.transfer(5))));
    assert!(to_offer.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_ready_together_travels_together_and_none_for_another() {
    let (one, two) = (Bench::new(), Bench::new());
    let (first, first_address) = listening(&one, 21, Vec::new()).await;
    let (second, _) = listening(&two, 22, vec![first_address.clone()]).await;
    let running = [first, second].map(|gossip| tokio::spawn(gossip.run()));
    // The counter is the first one's neighbour alone, so the second hears what the first passes on or offers.
    let making = Counter::new(&one, 23, vec![first_address]);
    let mut counter = tokio::time::timeout(PATIENCE, making).await.expect("they know each other");
    counter.tell(message::write(message::FIRST, &[tx(&one.transfer(0)), tx(&one.transfer(5))]));
    counter.listen(Duration::from_secs(2)).await;
    // What rode with one behind a gap.
    for there in [&one, &two] {
        arrives(&there.app, &one.transfer(0)).await;
    }
    assert!(!two.app.is_waiting(tx(&one.transfer(5)).hash()), "nobody may ever have to pay for it");
    // Thirty that become ready at once, since the first of them comes last: a message for each of which nobody needs.
    counter.messages = 0;
    let many: Vec<Bytes> = (1..=4).chain(6..32).rev().map(|number| one.transfer(number)).collect();
    assert!(one.app.submit_all(many.iter().map(tx).collect()).iter().all(Result::is_ok));
    counter.listen(Duration::from_secs(2)).await;
    for number in 1..32 {
        arrives(&two.app, &one.transfer(number)).await;
    }
    let copies: usize = many.iter().map(|bytes| counter.first_copies(bytes)).sum();
    assert_eq!(copies, many.len(), "each once: {:?}", counter.copies);
    assert!(counter.messages <= 10, "{} messages", counter.messages);
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_judged_soon_is_handed_back() {
    let bench = Bench::new();
    // Nobody takes the verdicts: one is reported, one waits for that, one waits to be judged.
    let (judge, mut verdicts) = Judge::start(Arc::clone(&bench.app), (1, 1), 1);
    let message = |number: u64| Received {
        id: gossipsub::MessageId::from(number.to_be_bytes().to_vec()),
        from: libp2p::identity::Keypair::ed25519_from_bytes([5; 32]).expect("a key").public().to_peer_id(),
        message: Message { transactions: vec![bench.transfer(number).into()], offer: Offer::First },
    };
    let full = async {
        let mut taken = 0;
        while taken < 3 {
            if judge.take(message(taken)).is_ok() {
                taken += 1;
            }
            tokio::task::yield_now().await;
        }
        while bench.app.waiting() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.expect("the judge works");
    let ignored = judge.take(message(9)).expect_err("there is no room");
    assert!(matches!(ignored.acceptance, MessageAcceptance::Ignore));
    for number in 0..3u64 {
        let judged = tokio::time::timeout(PATIENCE, verdicts.recv()).await.expect("a verdict").expect("the judge lives");
        let found = (judged.id, format!("{:?}", judged.verdict.acceptance));
        assert_eq!(found, (gossipsub::MessageId::from(number.to_be_bytes().to_vec()), "Accept".to_owned()), "in order");
    }
    // Room again, and an end with its queue.
    judge.take(message(3)).expect("room");
    drop(judge);
    assert_eq!(verdicts.recv().await.map(|judged| format!("{:?}", judged.verdict.acceptance)), Some("Accept".to_owned()));
    assert!(verdicts.recv().await.is_none());
}

#[test]
fn heights_that_peers_tell_are_remembered() {
    let bench = Bench::new();
    let heard = |heights: &[u64]| {
        heights.iter().for_each(|height| bench.app.hear(*height));
        (bench.app.heard(), consensus::Host::peers_tip(&*bench.app))
    };
    assert_eq!(heard(&[]), (None, 0), "nobody has told one");
    assert_eq!(heard(&[0]), (Some(0), 0), "somebody who has none");
    assert_eq!(heard(&[7, 9, 8]), (Some(9), 9));
}

#[test]
fn a_height_is_sixteen_bytes() {
    let data = write_height(7, Duration::from_millis(9));
    assert_eq!(data, [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9]);
    for (data, expected) in [(&data[..], Some(7)), (&data[..15], None), (&data[..8], None), (&[][..], None), (&[1; 17][..], None)] {
        assert_eq!(read_height(data), expected, "{} bytes", data.len());
    }
}

#[test]
fn a_height_is_a_new_message_each_time_and_a_transaction_never() {
    let chain = "zynk-test-1".parse().expect("a chain id");
    let (transactions, heights) = (topic(&chain, TRANSACTIONS).hash(), topic(&chain, HEIGHTS).hash());
    let peer = |seed: u8| libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).expect("a key").public().to_peer_id();
    let message = |seed: u8, number: u64, topic: &gossipsub::TopicHash, data: &[u8]| {
        let message =
            gossipsub::Message { source: Some(peer(seed)), data: data.to_vec(), sequence_number: Some(number), topic: topic.clone() };
        name(&message)
    };
    let at = |millis: u64| write_height(7, Duration::from_millis(millis));
    assert_eq!(message(1, 1, &transactions, b"one"), message(2, 9, &transactions, b"one"), "whoever offers it");
    assert_ne!(message(1, 1, &transactions, b"one"), message(1, 1, &transactions, b"two"));
    assert_ne!(message(1, 1, &transactions, b"one"), message(1, 1, &heights, b"one"), "where it is refused, it must not keep others away");
    assert_eq!(message(1, 1, &heights, &at(1)), message(2, 1, &heights, &at(1)), "whoever tells it");
    assert_ne!(message(1, 1, &heights, &at(1)), message(1, 1, &heights, &at(2)), "each time anew");
}

#[tokio::test]
async fn what_nobody_could_take_is_offered_again() {
    let bench = Bench::new();
    let (mut gossip, _) = listening(&bench, 21, Vec::new()).await;
    let bytes = bench.transfer(0);
    gossip.gathering.add(tx(&bytes));
    gossip.offer_ready();
    assert_eq!(gossip.offers.first(&Hash::sha256(&[&bytes])), First::New, "nobody was there");
}
