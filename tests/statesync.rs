//! What nodes keep of their chain, as processes: snapshots while blocks go on, a new node that begins with one among servers
//! that lie, pruning, undoing, replaying, and death at every durable step of it.

#![allow(clippy::print_stdout, reason = "a long story says how far it is")]

mod world;

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use audit::Bundle;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use devnet::Network;
use node::config::Config;
use node::snapshot::Manifest;
use rpc::{Chain, Node};
use serde_json::{Value, json};
use types::{Encode as _, Hash, Height};
use world::{PATIENCE, World, ZYNK, until};

/// How often the validators make a snapshot, in heights.
const INTERVAL: u64 = 10;

/// How many blocks validator 1 keeps.
const KEPT: u64 = 15;

/// The validators' `[state]`.
fn keeping(network: Network) -> (Network, PathBuf) {
    for place in 0..network.len() {
        let path = network.home(place).config();
        let mut config = Config::load(&path).expect("a configuration");
        config.state.snapshot_interval = INTERVAL;
        config.state.snapshot_keep = Some(3);
        config.state.keep_blocks = if place == 1 { KEPT } else { 0 };
        config.save(&path).expect("written");
    }
    (network, PathBuf::from(ZYNK))
}

fn zynk(world: &World, line: &str) -> Result<Value, String> {
    let mut command = Command::new(ZYNK);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ZYNK_")) {
        command.env_remove(name);
    }
    let network = world.running.network();
    command.env("ZYNK_NODE", world.url(0)).env("ZYNK_GENESIS", network.genesis()).env("ZYNK_KEY", network.faucet());
    let output = command.args(line.split_whitespace()).arg("--json").current_dir(world.beside("")).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(format!("{line}: {said}{}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_str(&said).map_err(|error| format!("{line}: {error}: {said}"))
}

fn done(world: &World, line: &str) -> Value {
    zynk(world, line).unwrap_or_else(|error| panic!("{error}"))
}

/// `GET`; the status and the body.
fn get(world: &World, url: &str) -> (u16, Vec<u8>) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    world.runtime.block_on(async {
        let response = client.get(url).send().await.expect("it answers");
        (response.status().as_u16(), response.bytes().await.expect("a body").to_vec())
    })
}

/// The heights and manifests that a node offers.
fn offers(world: &World, url: &str) -> Vec<(u64, String)> {
    let list: Value = serde_json::from_slice(&get(world, &format!("{url}/snapshots")).1).expect("JSON");
    let listed = list["snapshots"].as_array().expect("a list").iter();
    listed.map(|one| (one["height"].as_u64().expect("a height"), one["manifest"].as_str().expect("a hash").to_owned())).collect()
}

/// The newest snapshot above a height that all of these validators offer alike; transfers go on until then.
fn common_snapshot(world: &World, above: u64, places: &[usize]) -> (u64, String) {
    until("a snapshot", PATIENCE, || {
        world.transfer(0).expect("included");
        let mut common = offers(world, &world.url(places[0]));
        common.retain(|one| one.0 > above && places.iter().all(|place| offers(world, &world.url(*place)).contains(one)));
        common.pop()
    })
}

/// A new node: its home's name, its URL, and its process once it runs.
struct Newcomer {
    name: String,
    url: String,
    child: Option<Child>,
}

impl Newcomer {
    fn init(world: &World, name: &str, servers: &[String]) -> Self {
        let port = free_port();
        let shown = done(world, &format!("node show --home {}", world.home(0).display()));
        let peer = shown["peer"].as_str().expect("a peer").to_owned();
        let servers: String = servers.iter().map(|url| format!(" --state-sync {url}")).collect();
        let line = format!("node init --home {name} --moniker {name} --validator --listen 127.0.0.1 --port {port} --peer {peer}{servers}");
        done(world, &line);
        fs::copy(world.running.network().genesis(), world.beside(name).join("genesis.json")).expect("copied");
        // `--peer` goes by three ports in a row, which the validators of a test do not have.
        let (path, other) = (world.beside(name).join("node.toml"), Config::load(&world.running.network().home(0).config()));
        let mut config = Config::load(&path).expect("a configuration");
        let named = config.gossip.peers[0].to_string();
        let id = named.split_once("/p2p/").expect("a peer's id").1;
        let listens = other.expect("a configuration").gossip.listen;
        config.gossip.peers = vec![format!("{listens}/p2p/{id}").parse().expect("an address")];
        config.save(&path).expect("written");
        Self { name: name.to_owned(), url: format!("http://127.0.0.1:{}", port + 1), child: None }
    }

    fn home(&self, world: &World) -> PathBuf {
        world.beside(&self.name)
    }

    fn start(&mut self, world: &World, fault: Option<&str>) {
        let log = File::options().create(true).append(true).open(self.home(world).join("node.log")).expect("a log");
        let mut command = Command::new(ZYNK);
        command.args(["node", "--attached", "--home"]).arg(self.home(world)).env("ZYNK_LOG", "info,arc_malachitebft=warn");
        command.envs(fault.map(|fault| ("ZYNK_FAULT", fault)));
        let child = command.stdin(Stdio::piped()).stdout(log.try_clone().expect("a handle")).stderr(log).spawn();
        self.child = Some(child.expect("it starts"));
    }

    fn log(&self, world: &World) -> String {
        fs::read_to_string(self.home(world).join("node.log")).unwrap_or_default()
    }

    /// Waits until its process has ended by itself.
    fn wait_for_end(&mut self, world: &World) {
        let child = self.child.as_mut().expect("it runs");
        until("its end", PATIENCE, || child.try_wait().expect("our child"));
        println!("{} ended: {}", self.name, self.log(world).lines().last().unwrap_or_default());
    }

    /// Waits until it has a block above `height`.
    fn wait_for(&self, world: &World, height: u64) -> u64 {
        let node = Node::new(&self.url).expect("a URL");
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let status = world.runtime.block_on(node.status());
            match status.map(|status| status.sync_info.latest_block_height.value()) {
                Ok(reached) if reached > height => return reached,
                _ => assert!(std::time::Instant::now() < deadline, "{} is not past {height}:\n{}", self.name, self.log(world)),
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The end of its standard input is what it stops at.
            drop(child.stdin.take());
            child.wait().expect("our child");
        }
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // One that is gone already cannot be killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Three ports in a row that are free now.
fn free_port() -> u16 {
    let begin = 24_000 + u16::try_from(std::process::id() % 300).expect("below 300") * 10;
    let free = |first: &u16| (*first..first + 3).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    (begin..).step_by(3).find(free).expect("a free port")
}

/// What a server in the middle does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    FlipsAByte,
    CutsShort,
    OffersAnotherState,
    IsOfAnotherChain,
    ShowsNoHeaders,
}

/// A server that passes everything on to a node, but lies about its snapshots; its URL.
fn liar(world: &World, lie: Lie) -> String {
    let (upstream, client) = (world.url(3), reqwest::Client::builder().no_proxy().build().expect("a client"));
    let answer = move |request: Request| {
        let (upstream, client) = (upstream.clone(), client.clone());
        async move { pass_on(lie, &upstream, &client, request).await }
    };
    world.runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        url
    })
}

async fn pass_on(lie: Lie, upstream: &str, client: &reqwest::Client, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let fetch = async |path: String| {
        client.get(format!("{upstream}{path}")).send().await.expect("it answers").bytes().await.expect("a body").to_vec()
    };
    // It knows how to tell of a state that is none: its manifest names the newest snapshot's chunks, one height later.
    let forged = async || {
        let list: Value = serde_json::from_slice(&fetch("/snapshots".to_owned()).await).expect("JSON");
        let height = list["snapshots"].as_array().and_then(|all| all.last()?["height"].as_u64()).expect("a snapshot");
        let manifest = Manifest::parse(&fetch(format!("/snapshots/{height}")).await).expect("a manifest");
        (list, Manifest { height: height + 1, app_hash: Hash::ZERO, ..manifest })
    };
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (lie, parts.as_slice()) {
        (Lie::IsOfAnotherChain, ["snapshots"]) => {
            let mut list: Value = serde_json::from_slice(&fetch(path).await).expect("JSON");
            list["chain"] = json!("another-1");
            list.to_string().into_response()
        }
        (Lie::OffersAnotherState, ["snapshots"]) => {
            let (mut list, manifest) = forged().await;
            let (height, chunks) = (manifest.height, manifest.chunks.len());
            list["snapshots"] = json!([{"height": height, "format": 1, "manifest": manifest.hash(), "bytes": 1, "chunks": chunks}]);
            list.to_string().into_response()
        }
        (Lie::OffersAnotherState, ["snapshots", _]) => forged().await.1.to_bytes().into_response(),
        (Lie::FlipsAByte, ["snapshots", _, _]) => {
            let mut bytes = fetch(path).await;
            bytes[7] ^= 1;
            bytes.into_response()
        }
        (Lie::CutsShort, ["snapshots", _, _]) => {
            let bytes = fetch(path).await;
            bytes[..bytes.len() / 2].to_vec().into_response()
        }
        (Lie::ShowsNoHeaders, [""]) => axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => {
            let (method, path) = (request.method().clone(), request.uri().to_string());
            let body = to_bytes(request.into_body(), 1 << 20).await.expect("a body");
            let passed = client.request(method, format!("{upstream}{path}")).header("content-type", "application/json").body(body).send();
            Body::from(passed.await.expect("it answers").bytes().await.expect("a body")).into_response()
        }
    }
}

/// Something of every kind; the proof of the stamp.
fn live(world: &World) -> PathBuf {
    fs::write(world.beside("report.txt"), b"a report").expect("written");
    done(world, "stamp report.txt");
    let validators = done(world, "validator list");
    let address = validators["validators"][0]["validator"].as_str().unwrap_or_else(|| panic!("an address in {validators}")).to_owned();
    done(world, &format!("stake delegate {address} --amount 10"));
    done(world, "did create --out someone.key");
    world.beside("report.txt.zproof")
}

/// The old stamp's proof again, put together from a node that never saw its block.
fn prove_again(world: &World, url: &str, old: &Path) {
    let old = Bundle::from_bytes(&fs::read(old).expect("a proof")).expect("a proof");
    let trust = world.running.network().load_genesis().expect("a genesis").trust();
    let mut chain = Chain::connect(url, trust).expect("a URL");
    let items = old.items.to_vec();
    let (log, sequence) = (old.anchor.anchor.log, old.anchor.anchor.sequence);
    let bundle = world.runtime.block_on(Box::pin(chain.bundle(items, log, sequence))).expect("it can be proven");
    assert!(!bundle.handoffs.is_empty(), "the validators have changed since the genesis");
    fs::write(world.beside("again.zproof"), bundle.to_bytes()).expect("written");
    let verdict = done(world, "verify again.zproof --file report.txt");
    assert_eq!(verdict["verified"], json!(true), "{verdict}");
}

fn header(world: &World, url: &str, height: u64) -> (tendermint::Hash, tendermint::AppHash) {
    let node = Node::new(url).expect("a URL");
    let header = world.runtime.block_on(node.commit(Some(Height(height)))).expect("a commit").header;
    (header.hash(), header.app_hash)
}

#[test]
fn a_new_node_begins_with_a_snapshot_among_servers_that_lie() {
    let mut world = World::start_with(keeping);
    let proof = live(&world);
    let (height, manifest) = common_snapshot(&world, world.height(0), &[0, 1, 2, 3]);
    println!("snapshot of height {height}, manifest {manifest}, alike on all four");
    let bytes = get(&world, &format!("{}/snapshots/{height}", world.url(0))).1;
    assert_eq!(Hash::sha256(&[&bytes]).to_string(), manifest, "it goes by the hash of its bytes");
    assert_eq!(get(&world, &format!("{}/snapshots/{}", world.url(0), height + 1)).0, 404);
    assert_eq!(get(&world, &format!("{}/snapshots/{height}/99999", world.url(0))).0, 404);

    // Each lie is found out, and the node begins all the same.
    let lies = [
        (Lie::FlipsAByte, "chunk 0 has the hash"),
        (Lie::CutsShort, "chunk 0 has the hash"),
        (Lie::OffersAnotherState, "has the application hash"),
        (Lie::IsOfAnotherChain, "it is of chain another-1"),
    ];
    for (lie, words) in lies {
        let (url, name) = (liar(&world, lie), format!("{lie:?}").to_lowercase());
        let mut servers = vec![url.clone(), world.url(0), world.url(2)];
        if lie == Lie::OffersAnotherState {
            // What only one offers comes behind what two agree on: here two lie alike.
            servers.push(liar(&world, lie));
        }
        let mut newcomer = Newcomer::init(&world, &name, &servers);
        newcomer.start(&world, None);
        newcomer.wait_for(&world, height);
        let log = newcomer.log(&world);
        let line = log.lines().find(|line| line.contains("this server is asked no more")).unwrap_or_else(|| panic!("{lie:?}: {log}"));
        assert!(line.contains(url.trim_start_matches("http://")) && line.contains(words), "{lie:?}: {line}");
        println!("{lie:?} is found out");
        newcomer.stop();
    }

    // Nobody but liars: it begins with nothing, and says of each why.
    let urls = [liar(&world, Lie::FlipsAByte), liar(&world, Lie::IsOfAnotherChain)];
    let mut betrayed = Newcomer::init(&world, "betrayed", &urls);
    betrayed.start(&world, None);
    betrayed.wait_for_end(&world);
    let log = betrayed.log(&world);
    assert!(log.contains("9121") && urls.iter().all(|url| log.contains(url.as_str())), "{log}");
    assert!(!betrayed.home(&world).join("data/db").exists(), "no database was begun");

    // Of two servers one lies. Where it shows the same headers the other's snapshot is taken; where it does not, nobody is
    // left who could confirm them.
    let mut one_lies = Newcomer::init(&world, "one-lies", &[liar(&world, Lie::OffersAnotherState), world.url(0)]);
    one_lies.start(&world, None);
    one_lies.wait_for(&world, height);
    one_lies.stop();
    let mut alone = Newcomer::init(&world, "alone", &[liar(&world, Lie::ShowsNoHeaders), world.url(0)]);
    alone.start(&world, None);
    alone.wait_for_end(&world);
    let log = alone.log(&world);
    let reason = format!("none of the other servers confirms the headers that {} shows, and one alone is not believed", world.url(0));
    assert!(log.contains("9121") && log.contains(&reason), "{log}");
    assert!(!alone.home(&world).join("data/db").exists(), "no database was begun");

    // Killed at every durable step it resumes.
    let servers = [world.url(0), world.url(1), world.url(2)];
    let mut newcomer = Newcomer::init(&world, "newcomer", &servers);
    if cfg!(debug_assertions) {
        for point in ["statesync.chunk", "statesync.build.before", "statesync.publish.before", "statesync.publish.after"] {
            newcomer.start(&world, Some(&format!("{point}:1")));
            newcomer.wait_for_end(&world);
            assert!(newcomer.log(&world).contains(&format!("crash point {point} reached")), "{}", newcomer.log(&world));
        }
        assert!(newcomer.log(&world).contains("going on with a snapshot that was begun"), "{}", newcomer.log(&world));
    }
    newcomer.start(&world, None);
    let reached = newcomer.wait_for(&world, height);
    world.transfer(0).expect("included");
    let tip = newcomer.wait_for(&world, reached);
    for at in [height + 1, reached, tip] {
        world.wait_for(0, at);
        assert_eq!(header(&world, &newcomer.url, at), header(&world, &world.url(0), at));
    }
    // Blocks before it are not here, and it says so; hand-offs and old anchors are.
    let status: Value = serde_json::from_slice(&get(&world, &format!("{}/status", newcomer.url)).1).expect("JSON");
    let earliest: u64 = status["result"]["sync_info"]["earliest_block_height"].as_str().expect("a height").parse().expect("a number");
    assert!(earliest > height - INTERVAL, "it executed no block below: {status}");
    let gone = String::from_utf8(get(&world, &format!("{}/block?height=2", newcomer.url)).1).expect("text");
    assert!(gone.contains(&format!("height 2 is not available, lowest height is {earliest}")), "{gone}");
    prove_again(&world, &newcomer.url, &proof);
    println!("synced at {}, at {tip} now, and proves what was before", earliest - 1);

    // Its guard is new on a chain that goes on: it signs once that is safe, and is a validator.
    done(&world, "validator create --home newcomer --stake 200 --commission-bps 100");
    let key = genesis::KeyFile::load(&newcomer.home(&world).join("validator.key"), genesis::KeyKind::Validator).expect("a key");
    let address = tendermint::account::Id::from(key.public().address());
    until("its signature in a commit", PATIENCE, || {
        world.transfer(0).expect("included");
        let node = world.node(0);
        let tip = Height(world.height(0) - 1);
        let commit = world.runtime.block_on(node.commit(Some(tip))).ok()?.commit;
        commit.signatures.iter().any(|entry| entry.is_commit() && entry.validator_address() == Some(address)).then_some(())
    });
    println!("it signs");

    // Looked at, replayed and undone while it stands still.
    newcomer.stop();
    let found = done(&world, "node inspect --home newcomer");
    assert_eq!((found["earliest_block"].as_u64(), found["format"].as_u64()), (Some(earliest), Some(2)), "{found}");
    let before = found["height"].as_u64().expect("a height");
    assert!(found["signed"].as_u64() >= Some(before), "{found}");
    let refused = zynk(&world, "node rollback --home newcomer").expect_err("unconfirmed");
    assert!(refused.contains("--yes"), "{refused}");
    assert_eq!(done(&world, "node rollback --home newcomer --yes")["height"].as_u64(), Some(before - 1));
    let gap = zynk(&world, "node replay --home newcomer").expect_err("it has no snapshot of its own");
    assert!(gap.contains("9141"), "{gap}");
    newcomer.start(&world, None);
    let again = newcomer.wait_for(&world, before);
    assert_eq!(header(&world, &newcomer.url, again), header(&world, &world.url(0), again));
    println!("undone and followed again");

    // The validator that prunes: its old blocks are gone, its hand-offs are not, and it replays from its own snapshot.
    let earliest = until("validator 1 prunes", PATIENCE, || {
        let status = world.runtime.block_on(world.node(1).status()).ok()?;
        let earliest = status.sync_info.earliest_block_height.value();
        (earliest > height.saturating_sub(KEPT)).then_some(earliest)
    });
    let gone = String::from_utf8(get(&world, &format!("{}/block?height=1", world.url(1))).1).expect("text");
    assert!(gone.contains("height 1 is not available, lowest height is"), "{gone}");
    prove_again(&world, &world.url(1), &proof);
    println!("validator 1 keeps blocks from {earliest} on, and proves what was before");
    for place in [1, 2] {
        world.stop(place);
        let replayed = done(&world, &format!("node replay --home {}", world.home(place).display()));
        assert_eq!(replayed["from"].as_u64().map(|from| from > 0), Some(place == 1), "{replayed}");
        world.revive(place, &[]);
        println!("validator {place} replayed: {replayed}");
    }
}

#[test]
#[cfg(debug_assertions)]
fn a_crash_while_old_blocks_go_or_a_snapshot_is_written_is_survived() {
    let mut world = World::start_with(keeping);
    let victim = 1;
    for _ in 0..12 {
        world.transfer(0).expect("included");
    }
    for point in ["prune.before", "prune.after", "snapshot.chunk", "snapshot.publish.before", "snapshot.publish.after"] {
        world.stop(victim);
        world.revive(victim, &[("ZYNK_FAULT", &format!("{point}:1"))]);
        until(&format!("{point} is reached"), PATIENCE, || {
            world.transfer(0).unwrap_or_else(|error| panic!("{point}: the other three go on: {error}"));
            world.running.fallen().into_iter().find(|(fallen, _)| *fallen == victim)
        });
        assert!(world.log(victim).contains(&format!("crash point {point} reached")), "{}", world.last_words());
        world.revive(victim, &[]);
        let missed = world.transfer(0).expect("included").height.0;
        world.wait_for(victim, missed);
        world.assert_agreed(missed);
        let partial = |path: &Path| path.extension().is_some_and(|extension| extension == "partial");
        let left = fs::read_dir(world.home(victim).join("data/snapshots")).expect("a folder").filter_map(Result::ok);
        assert_eq!(left.filter(|entry| partial(&entry.path())).count(), 0, "{point}: nothing half written is left");
        println!("{point}: survived");
    }
    common_snapshot(&world, world.height(0), &[0, victim]);
}
