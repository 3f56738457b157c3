//! The index over chains that are made by hand, in SQLite and in PostgreSQL: both run the same stories.

mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::Body;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use tempfile::TempDir;
use tendermint::abci::response::FinalizeBlock;
use tendermint::abci::types::ExecTxResult;
use tendermint::abci::{Event, EventAttributeIndexExt as _};
use types::{Amount, Hash};

use super::database::{Cell, Statement, TABLES};
use super::query::{self, Pair, Query};
use super::rows::Rows;
use super::sqlite::Sqlite;
use super::*;
use crate::testing::{Bench, RICH, key, transfer};

/// Pages large enough for all.
const ALL: Range = Range { descending: false, skip: 0, count: 1_000 };

const PATIENCE: Duration = Duration::from_secs(60);

/// Places for an index, a new one each time.
struct Places {
    folder: TempDir,
    server: Option<server::Server>,
    made: std::cell::Cell<u32>,
}

impl Places {
    fn sqlite() -> Self {
        Self { folder: TempDir::new().expect("a folder"), server: None, made: std::cell::Cell::default() }
    }

    /// None where PostgreSQL is not installed.
    fn postgres() -> Option<Self> {
        let server = server::Server::start()?;
        Some(Self { folder: TempDir::new().expect("a folder"), server: Some(server), made: std::cell::Cell::default() })
    }

    fn new_place(&self) -> Settings {
        self.made.set(self.made.get() + 1);
        match &self.server {
            None => Settings::Sqlite(self.folder.path().join(format!("{}.sqlite", self.made.get()))),
            Some(server) => Settings::Postgres(server.new_database(&format!("index{}", self.made.get()))),
        }
    }
}

/// Both kinds of places, as far as they are to be had.
fn everywhere() -> Vec<Places> {
    std::iter::once(Places::sqlite()).chain(Places::postgres()).collect()
}

/// All rows of all tables.
async fn dump(settings: &Settings) -> BTreeMap<&'static str, Vec<Vec<Cell>>> {
    let database = follower::open(settings).await.expect("it opens");
    let mut all = BTreeMap::new();
    for table in TABLES {
        let mut rows = database.read(format!("SELECT * FROM {table}"), Vec::new()).await.expect("rows");
        rows.sort();
        all.insert(table, rows);
    }
    database.close().await;
    all
}

async fn reaches(index: &Index, height: u64) {
    let until = Instant::now() + PATIENCE;
    while !matches!(index.state(), State::Follows(progress) if progress.height >= height) {
        assert!(Instant::now() < until, "the index is {:?}, not at {height}", index.state());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn texts(found: &Found<Listed>, column: usize) -> Vec<String> {
    found
        .page
        .iter()
        .map(|row| match &row[column] {
            Cell::Number(number) => number.to_string(),
            cell => cell.text().to_owned(),
        })
        .collect()
}

/// A chain with something in most tables: transfers, a log with two anchors, an identity.
fn chain() -> Bench {
    let bench = Bench::new();
    bench.make(1);
    let submit = |bytes: Vec<u8>| bench.app.submit(bytes.into()).map(drop).expect("it is taken");
    let body = |sequence: u64, body: Body| types::Encode::to_bytes(&bench.transaction(sequence, body));
    submit(body(0, transfer()));
    submit(body(1, Body::RegisterLog { key: key(42).public(), bond: Amount(10_000_000) }));
    bench.make(2);
    let log = audit::LogId::derive(bench.app.genesis().chain(), &key(RICH).public().address(), 1);
    let content = audit::Body::File { content: Hash::sha256(&[b"content"]), size: 7, name: None };
    let (batch, _) = audit::testing::stamped(content, [Hash([1; 32])]);
    let anchor = audit::testing::anchor(bench.app.genesis().chain(), log, &batch);
    let signed = audit::SignedAnchor::sign(anchor, &key(42));
    submit(body(2, Body::Anchor(Box::new(signed.clone()))));
    bench.make(1);
    submit(body(3, Body::Anchor(Box::new(signed))));
    submit(body(4, Body::RetireLog { log }));
    bench.make(2);
    submit(body(5, transfer()));
    bench.make(3);
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_follows_is_asked_and_is_the_same_when_made_anew() {
    for places in everywhere() {
        let (bench, settings) = (chain(), places.new_place());
        let tip = bench.app.chain().tip().value();
        let index = Index::start(settings.clone(), Arc::clone(&bench.app)).expect("threads");
        reaches(&index, tip).await;
        let list = |list: List, of: Option<&str>| {
            let (index, of) = (index.clone(), of.map(str::to_owned));
            async move { index.list(list, of, ALL).await.expect("a list") }
        };
        let owner = key(RICH).public().address().to_string();
        let logs = list(List::LOGS, Some(&owner)).await;
        assert_eq!((logs.total, texts(&logs, 1), texts(&logs, 4)), (1, vec![owner], vec!["5".to_owned()]), "{settings:?}");
        let log = texts(&logs, 0).remove(0);
        let anchors = list(List::ANCHORS, Some(&log)).await;
        assert_eq!((anchors.total, texts(&anchors, 1), texts(&anchors, 2)), (1, vec!["1".to_owned()], vec!["4".to_owned()]));
        assert_eq!(list(List::ANCHORS, Some("' OR '1' = '1")).await.total, 0);
        assert_eq!(list(List::LOGS, Some("nobody")).await.total, 0);
        let validators = list(List::VALIDATORS, None).await;
        assert_eq!((validators.total, texts(&validators, 3)), (4, vec!["10".to_owned(); 4]));
        assert_eq!(list(List::POWERS, Some(&texts(&validators, 0)[0])).await.total, 1);

        let query = |text: &str| Query::parse(text).expect("a query");
        let found = index.transactions(query("transfer EXISTS"), Range { descending: true, skip: 1, count: 1 }).await.expect("found");
        assert_eq!((found.total, found.page.len(), found.page[0].height, found.page[0].place), (2, 1, 2, 0));
        let found = index.transactions(query("anchor.again = 'true' AND tx.height > 4.5"), ALL).await.expect("found");
        assert_eq!((found.total, found.page[0].height), (1, 5));

        // The follower goes on with new blocks, and after a stop.
        bench.make(1);
        reaches(&index, tip + 1).await;
        index.stop().await;
        bench.make(2);
        let index = Index::start(settings.clone(), Arc::clone(&bench.app)).expect("threads");
        reaches(&index, tip + 3).await;
        index.stop().await;
        let other = places.new_place();
        let rebuilt = follower::rebuild(&bench.app, &other).await.expect("rebuilt");
        assert_eq!(rebuilt, Some(Rebuilt { from: 1, to: tip + 3 }));
        let again = follower::rebuild(&bench.app, &settings).await.expect("in place, too");
        assert_eq!(again, rebuilt);
        let dumped = dump(&other).await;
        assert_eq!(dump(&settings).await, dumped);
        assert!(
            ["blocks", "transactions", "attributes", "logs", "anchors", "validators", "powers"]
                .iter()
                .all(|table| !dumped[table].is_empty())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_said_and_overcome_where_it_can_be() {
    for places in everywhere() {
        let (bench, settings) = (chain(), places.new_place());
        let tip = bench.app.chain().tip().value();
        follower::rebuild(&bench.app, &settings).await.expect("rebuilt");
        // An index of another chain, or one that is ahead of it.
        for (story, sql) in [
            ("another chain", "UPDATE progress SET genesis = 'another'".to_owned()),
            ("ahead", format!("UPDATE progress SET height = {}", tip + 5)),
        ] {
            let database = follower::open(&settings).await.expect("it opens");
            database.write(vec![Statement::new(sql, Vec::new())]).await.expect("written");
            database.close().await;
            let index = Index::start(settings.clone(), Arc::clone(&bench.app)).expect("threads");
            if places.server.is_some() {
                let away = |state: State| matches!(state, State::Away { reason } if reason.contains("zynk node reindex"));
                let until = Instant::now() + PATIENCE;
                while !away(index.state()) {
                    assert!(Instant::now() < until, "{story}: {:?}", index.state());
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                let refused = index.transactions(Query::parse("transfer EXISTS").expect("a query"), ALL).await;
                assert!(matches!(&refused, Err(Unanswered::Away(reason)) if reason.contains("zynk node reindex")), "{story}: {refused:?}");
                index.stop().await;
                follower::rebuild(&bench.app, &settings).await.expect("rebuilt");
            } else {
                reaches(&index, tip).await;
                index.stop().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_put_aside_and_made_anew() {
    let (places, bench) = (Places::sqlite(), chain());
    let settings = places.new_place();
    let Settings::Sqlite(path) = &settings else { panic!("a file") };
    follower::rebuild(&bench.app, &settings).await.expect("rebuilt");
    let (whole, tip) = (dump(&settings).await, bench.app.chain().tip().value());
    let length = usize::try_from(std::fs::metadata(path).expect("a file").len()).expect("small");
    for (story, damage) in [("no database", vec![0x5a; length]), ("cut", Vec::from(&b"SQLite format 3\0"[..])), ("gone", Vec::new())] {
        if damage.is_empty() {
            Sqlite::remove(path, false).expect("gone")
        } else {
            std::fs::write(path, &damage).expect("written")
        }
        let index = Index::start(settings.clone(), Arc::clone(&bench.app)).expect("threads");
        reaches(&index, tip).await;
        index.stop().await;
        assert_eq!(dump(&settings).await, whole, "{story}");
    }
    let aside = path.with_file_name(format!("{}.damaged", path.file_name().expect("a name").to_string_lossy()));
    assert!(aside.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_damaged_or_gone_while_it_is_used_is_made_anew() {
    let (places, bench) = (Places::sqlite(), chain());
    let settings = places.new_place();
    let Settings::Sqlite(path) = &settings else { panic!("a file") };
    let index = Index::start(settings.clone(), Arc::clone(&bench.app)).expect("threads");
    reaches(&index, bench.app.chain().tip().value()).await;
    for story in ["zeroed", "gone"] {
        if story == "gone" {
            Sqlite::remove(path, false).expect("removed");
        } else {
            for file in [path.clone(), path.with_file_name(format!("{}-wal", path.file_name().expect("a name").to_string_lossy()))] {
                let length = std::fs::metadata(&file).expect("a file").len();
                std::fs::write(&file, vec![0x5a; usize::try_from(length).expect("small")]).expect("written");
            }
        }
        bench.make(3);
        reaches(&index, bench.app.chain().tip().value()).await;
        // Whoever asks may be the first to see the damage.
        let until = Instant::now() + PATIENCE;
        loop {
            match index.transactions(Query::parse("transfer EXISTS").expect("a query"), ALL).await {
                Ok(found) if found.total == 2 => break,
                found => assert!(Instant::now() < until, "{story}: {found:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        reaches(&index, bench.app.chain().tip().value()).await;
    }
    index.stop().await;
    let other = places.new_place();
    follower::rebuild(&bench.app, &other).await.expect("rebuilt");
    assert_eq!(dump(&settings).await, dump(&other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_or_locked_database_is_waited_for() {
    let bench = chain();
    let nowhere = Settings::Postgres("postgres://zynk@127.0.0.1:1/nowhere".to_owned());
    let index = Index::start(nowhere, Arc::clone(&bench.app)).expect("threads");
    let until = Instant::now() + PATIENCE;
    while !matches!(index.state(), State::Away { .. }) {
        assert!(Instant::now() < until, "{:?}", index.state());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.make(2);
    let refused = index.blocks(Query::parse("block.height > 0").expect("a query"), ALL).await.expect_err("nobody is there");
    assert!(refused.to_string().starts_with("the index is not to be had: "), "{refused}");
    index.stop().await;
    assert_eq!(Index::off().blocks(Query::parse("block.height > 0").expect("a query"), ALL).await, Err(Unanswered::Off));
    assert_eq!(Unanswered::Off.to_string(), "transaction indexing is disabled");

    // Somebody holds the file's lock for longer than a writer waits.
    let (places, tip) = (Places::sqlite(), bench.app.chain().tip().value());
    let settings = places.new_place();
    let Settings::Sqlite(path) = &settings else { panic!("a file") };
    follower::rebuild(&bench.app, &settings).await.expect("rebuilt");
    let pool = sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(path)).await.expect("a connection");
    let lock = pool.begin_with("BEGIN IMMEDIATE").await.expect("the lock");
    bench.make(1);
    let index = Index::start(settings.clone(), Arc::clone(&bench.app)).expect("threads");
    let until = Instant::now() + PATIENCE;
    while !matches!(index.state(), State::Away { .. }) {
        assert!(Instant::now() < until, "{:?}", index.state());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    lock.rollback().await.expect("given back");
    reaches(&index, tip + 1).await;
    index.stop().await;
}

/// Height and place of a transaction.
type Place = (u64, u64);

/// Chains of events that nobody's ledger made: many kinds of values, several events of a kind.
struct Invented {
    settings: Settings,
    /// Own attributes and events, of blocks and of transactions.
    blocks: Vec<(Vec<Pair>, Vec<Vec<Pair>>)>,
    transactions: Vec<(Place, Vec<Pair>, Vec<Vec<Pair>>)>,
}

const KINDS: [&str; 3] = ["transfer", "anchor.made", "x"];
const KEYS: [&str; 3] = ["amount", "to", "at"];
const VALUES: [&str; 22] = [
    "",
    "0",
    "1",
    "2",
    "10",
    "10.5",
    "9",
    "09",
    "10zynk",
    "-3",
    "18446744073709551616",
    "18446744073709551615",
    "ab",
    "abc",
    "it''s",
    "%",
    "_",
    "2026-01-31",
    "2026-02-01",
    "2026-01-31T10:00:00Z",
    "2026-01-31T11:00:00.5+01:00",
    "é",
];

fn pick<'a, T: ?Sized>(runner: &mut TestRunner, from: &[&'a T]) -> &'a T {
    from[(0..from.len()).new_tree(runner).expect("a number").current()]
}

fn events(runner: &mut TestRunner) -> Vec<Event> {
    let event = |runner: &mut TestRunner| {
        let count = (0..3usize).new_tree(runner).expect("a number").current();
        let attributes: Vec<_> = (0..count).map(|_| (pick(runner, &KEYS).to_owned(), pick(runner, &VALUES).to_owned()).index()).collect();
        Event::new(pick(runner, &KINDS), attributes)
    };
    (0..(0..4usize).new_tree(runner).expect("a number").current()).map(|_| event(runner)).collect()
}

impl Invented {
    async fn new(settings: Settings, runner: &mut TestRunner) -> Self {
        let bench = Bench::new();
        bench.make(1);
        let (template, _) = bench.app.store().block(1u32.into()).expect("a block");
        let mut invented = Self { settings, blocks: Vec::new(), transactions: Vec::new() };
        let (mut rows, pair) = (Rows::default(), |key: &str, value: String| (key.to_owned(), value));
        for height in 1..=40u64 {
            let mut block = template.clone();
            block.header.height = height.try_into().expect("a height");
            let mut results = Vec::new();
            for place in 0..height % 4 {
                let bytes = format!("{height}/{place}").into_bytes();
                let hash = hex::encode_upper(Hash::sha256(&[&bytes]).0);
                let events = events(runner);
                let own = vec![pair("tm.event", "Tx".to_owned()), pair("tx.hash", hash), pair("tx.height", height.to_string())];
                invented.transactions.push(((height, place), own, events.iter().map(query::pairs).collect()));
                block.data.push(bytes);
                results.push(ExecTxResult { events, ..Default::default() });
            }
            let events = events(runner);
            let own = vec![pair("tm.event", "NewBlock".to_owned()), pair("block.height", height.to_string())];
            invented.blocks.push((own, events.iter().map(query::pairs).collect()));
            let texts = vec!["{}".to_owned(); results.len()];
            let outcome = FinalizeBlock { events, tx_results: results, ..empty() };
            rows.add(bench.app.genesis().chain(), &block, &outcome, &texts);
        }
        let database = follower::open(&invented.settings).await.expect("it opens");
        database.write(rows.into_statements()).await.expect("written");
        database.close().await;
        invented
    }
}

fn empty() -> FinalizeBlock {
    let app_hash = tendermint::AppHash::default();
    FinalizeBlock { events: Vec::new(), tx_results: Vec::new(), validator_updates: Vec::new(), consensus_param_updates: None, app_hash }
}

/// A query that is likely to match something.
fn random_query(runner: &mut TestRunner, invented: &Invented) -> String {
    let operands =
        ["5", "10", "10.5", "0", "18446744073709551615", "DATE 2026-01-31", "TIME 2026-01-31T10:00:00.5Z", "TIME 2026-01-31T10:00:00Z"];
    let condition = |runner: &mut TestRunner| {
        let key = match (0..10u32).new_tree(runner).expect("a number").current() {
            0 => pick(runner, &["tx.height", "block.height"]).to_owned(),
            1 => "tm.event".to_owned(),
            2 => pick(runner, &KINDS).to_owned(),
            3 => {
                let place = (0..invented.transactions.len()).new_tree(runner).expect("a number").current();
                return format!("tx.hash = '{}'", invented.transactions[place].1[1].1);
            }
            _ => format!("{}.{}", pick(runner, &KINDS), pick(runner, &KEYS)),
        };
        match (0..5u32).new_tree(runner).expect("a number").current() {
            0 => format!("{key} EXISTS"),
            1 => format!("{key} CONTAINS '{}'", pick(runner, &["", "1", "a", "é", "%", "it"])),
            2 => format!("{key} = '{}'", pick(runner, &["Tx", "NewBlock", "10", "7", "ab", "", "%", "2026-01-31"])),
            _ => format!("{key} {} {}", pick(runner, &["=", "<", "<=", ">", ">="]), pick(runner, &operands)),
        }
    };
    let count = (1..4usize).new_tree(runner).expect("a number").current();
    (0..count).map(|_| condition(runner)).collect::<Vec<_>>().join(" AND ")
}

/// An index that is not followed, to be asked.
async fn asked(settings: &Settings) -> Index {
    let database = follower::open(settings).await.expect("it opens");
    let shared = Arc::new(Shared::new(State::Begins));
    shared.publish(Some(database));
    let (stop, ended) = watch::channel(true);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    Index(Arc::new(Inner { shared, stop, ended, runtime: Mutex::new(Some(runtime)) }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_what_a_look_at_every_event_finds() {
    let mut runner = TestRunner::deterministic();
    for places in everywhere() {
        let invented = Invented::new(places.new_place(), &mut runner).await;
        let index = asked(&invented.settings).await;
        let (mut hits, mut compared) = (0, 0);
        for _ in 0..400 {
            let text = random_query(&mut runner, &invented);
            let query = Query::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let naive: Vec<u64> = (1..)
                .zip(&invented.blocks)
                .filter(|(_, (own, events))| query.matches_within(own, events))
                .map(|(height, _)| height)
                .collect();
            let found = index.blocks(query.clone(), ALL).await.unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((found.total, &found.page), (naive.len(), &naive), "blocks of {text}");
            let all = invented.transactions.iter();
            let naive: Vec<(u64, u64)> = all.filter(|(_, own, events)| query.matches_within(own, events)).map(|(at, _, _)| *at).collect();
            let found = index.transactions(query, ALL).await.unwrap_or_else(|error| panic!("{text}: {error}"));
            let places: Vec<(u64, u64)> = found.page.iter().map(|found| (found.height, found.place)).collect();
            assert_eq!((found.total, &places), (naive.len(), &naive), "transactions of {text}");
            hits += usize::from(!naive.is_empty());
            compared += 1;
        }
        assert!(hits > compared / 10, "{hits} of {compared} queries found something");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_search_is_answered_or_refused_and_changes_nothing() {
    let mut runner = TestRunner::deterministic();
    for places in everywhere() {
        let invented = Invented::new(places.new_place(), &mut runner).await;
        let before = dump(&invented.settings).await;
        let index = asked(&invented.settings).await;
        let deep = ["x EXISTS"; 39].join(" AND ");
        let huge = format!("transfer.amount < {}", "9".repeat(480));
        let stories = [
            ("x = '; DROP TABLE attributes; --'", true),
            ("x.to = ''' OR 1 = 1 --'", false),
            ("x.to = '\" OR \"\" = \"'", true),
            ("x.to CONTAINS '%'", true),
            ("transfer.to CONTAINS '_'", true),
            ("x.to = '$1'", true),
            ("x.to = '\\'", true),
            ("attributes.value = 'x' AND a.key EXISTS", true),
            ("x EXISTS AND x.to = 'a'; SELECT 1", false),
            (deep.as_str(), true),
            (huge.as_str(), true),
            ("tx.height > 99999999999999999999999999", true),
            ("tx.height < 99999999999999999999999999", true),
            ("tx.height = 9223372036854775808", true),
            ("tx.height = '+5'", true),
            ("tx.height = '05'", true),
            ("tx.hash = 'zz'", true),
        ];
        for (text, is_query) in stories {
            let query = Query::parse(text);
            assert_eq!(query.is_ok(), is_query, "{text}");
            if let Ok(query) = query {
                let naive = invented.transactions.iter().filter(|(_, own, events)| query.matches_within(own, events)).count();
                let found = index.transactions(query, ALL).await.map(|found| found.total);
                assert_eq!(found, Ok(naive), "{text}");
            }
        }
        let query = Query::parse("tx.hash > 5").expect("a query");
        assert!(matches!(index.transactions(query, ALL).await, Err(Unanswered::NotSearched(_))));
        assert_eq!(dump(&invented.settings).await, before);
    }
}
