use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::Path as At;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Router, body::Body};
use tempfile::TempDir;
use tokio::net::TcpListener;
use types::Hash;

use super::*;
use crate::snapshot::FORMAT;

const CHUNKS: usize = 40;

fn content(number: usize) -> Vec<u8> {
    format!("the chunk {number}").repeat(50).into_bytes()
}

fn manifest() -> Manifest {
    let bytes = (0..CHUNKS).map(|number| content(number).len() as u64).sum();
    let chunks = (0..CHUNKS).map(|number| Hash::sha256(&[&content(number)])).collect();
    let (chain, hash) = ("zynk-test-1".parse().expect("a name"), Hash::ZERO);
    Manifest { format: FORMAT, chain, genesis: hash, height: 9, app_hash: hash, entries: 1, anchors: 0, headers: 1, bytes, chunks }
}

/// A server of these chunks that does to each what `bend` says; none is no answer. And how often it was asked.
async fn serve(bend: fn(usize, Vec<u8>) -> Option<Vec<u8>>) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let answer = move |At((height, number)): At<(u64, usize)>| {
        counted.fetch_add(1, Ordering::SeqCst);
        assert_eq!(height, 9);
        let bytes = bend(number, content(number));
        async move { bytes.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |bytes| Body::from(bytes).into_response()) }
    };
    let router = Router::new().route("/snapshots/{height}/{number}", get(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    (url, asked)
}

async fn fetch(urls: &[String], folder: &Path) -> (Result<(), String>, Servers) {
    fetch_by(urls, folder, manifest(), 0).await
}

/// By this manifest, with so many bytes of the disk left alone.
async fn fetch_by(urls: &[String], folder: &Path, manifest: Manifest, reserve: u64) -> (Result<(), String>, Servers) {
    let mut servers = Servers::new(urls).expect("URLs");
    let offer = Offer { height: 9, manifest: Hash::ZERO, chunks: CHUNKS, by: (0..urls.len()).collect() };
    let room = Room::of(folder, reserve);
    let fetched = chunks(&mut servers, &offer, &Arc::new(manifest), folder, &room).await.map_err(|failed| match failed {
        Failed::Offer(reason) => reason,
        Failed::False(error) => format!("a lie: {error}"),
        Failed::Whole(error) => error.to_string(),
    });
    (fetched, servers)
}

fn assert_whole(folder: &Path) {
    (0..CHUNKS).for_each(|number| assert_eq!(fs::read(folder.join(chunk_name(number))).expect("a chunk"), content(number)));
}

/// What a server makes of a chunk.
type Lie = fn(usize, Vec<u8>) -> Option<Vec<u8>>;

#[tokio::test]
async fn all_who_have_it_are_asked_and_who_lies_no_more() {
    let honest = |_: usize, bytes: Vec<u8>| Some(bytes);
    let lies: [(&str, Lie, bool); 5] = [
        (
            "a bit flipped",
            |_, mut bytes| {
                bytes[3] ^= 1;
                Some(bytes)
            },
            true,
        ),
        ("cut short", |_, bytes| Some(bytes[1..].to_vec()), true),
        ("another chunk", |number, _| Some(content(number + 1)), true),
        ("too long", |_, _| Some(vec![0; MAX_CHUNK + 1]), false),
        ("nothing", |_, _| None, false),
    ];
    for (story, lie, at_once) in lies {
        let folder = TempDir::new().expect("a folder");
        let (one, asked_one) = serve(honest).await;
        let (two, asked_two) = serve(honest).await;
        let (liar, asked) = serve(lie).await;
        let (fetched, servers) = fetch(&[liar.clone(), one, two], folder.path()).await;
        assert_eq!(fetched, Ok(()), "{story}");
        assert_whole(folder.path());
        assert!(!servers.is_alive(0) && servers.is_alive(1) && servers.is_alive(2), "{story}");
        assert!(servers.into_notes().iter().any(|note| note.starts_with(&liar)), "{story}: it is named");
        // What was on its way when it was found out comes, and no more.
        let most = if at_once { AT_ONCE } else { AT_ONCE + 5 };
        assert!(asked.load(Ordering::SeqCst) <= most, "{story}: asked {} times", asked.load(Ordering::SeqCst));
        assert!(asked_one.load(Ordering::SeqCst).abs_diff(asked_two.load(Ordering::SeqCst)) <= 2, "{story}: both carry it");
    }
}

#[tokio::test]
async fn what_is_here_is_not_fetched_again() {
    let folder = TempDir::new().expect("a folder");
    // Half of it, and then the only server is gone for good.
    let (half, _) = serve(|number, bytes| (number < CHUNKS / 2).then_some(bytes)).await;
    let (fetched, _) = fetch(&[half], folder.path()).await;
    assert!(fetched.is_err_and(|reason| reason.contains("nobody is left")), "it has no more");
    // A crash left one damaged, and one beside its place.
    fs::write(folder.path().join(chunk_name(3)), b"half").expect("written");
    fs::write(folder.path().join("000004.new"), b"half").expect("written");
    let (whole, asked) = serve(|_, bytes| Some(bytes)).await;
    let (fetched, _) = fetch(&[whole], folder.path()).await;
    assert_eq!(fetched, Ok(()));
    assert_whole(folder.path());
    assert_eq!(asked.load(Ordering::SeqCst), CHUNKS / 2 + 1);
}

#[tokio::test]
async fn what_the_disk_has_no_room_for_is_not_begun() {
    let folder = TempDir::new().expect("a folder");
    let (url, asked) = serve(|_, bytes| Some(bytes)).await;
    let urls = [url];
    // More than any disk has; and a disk of which nothing may be used.
    let large = Manifest { entries: u64::MAX / 512, ..manifest() };
    for (manifest, reserve) in [(large, 0), (manifest(), u64::MAX)] {
        let (fetched, servers) = fetch_by(&urls, folder.path(), manifest, reserve).await;
        let reason = fetched.expect_err("there is no room");
        assert!(reason.starts_with("it needs ") && reason.ends_with("MiB free: make room"), "{reason}");
        assert!(servers.is_alive(0), "it may be true");
        assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing was asked for");
    }
    assert_eq!(fetch(&urls, folder.path()).await.0, Ok(()));
}

#[tokio::test]
async fn who_sends_more_or_less_than_the_manifest_says_is_found_out() {
    let whole = manifest().bytes;
    let (url, asked) = serve(|_, bytes| Some(bytes)).await;
    for (said, most) in [(whole / 4, CHUNKS / 2), (whole - 1, CHUNKS), (whole + 1, CHUNKS)] {
        let folder = TempDir::new().expect("a folder");
        let before = asked.load(Ordering::SeqCst);
        let (fetched, _) = fetch_by(std::slice::from_ref(&url), folder.path(), Manifest { bytes: said, ..manifest() }, 0).await;
        assert_eq!(fetched, Err(format!("a lie: the manifest is none: its chunks are not {said} bytes together, as it says")));
        let kept: u64 =
            fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("one").metadata().expect("a file").len()).sum();
        assert!(kept <= said, "no more of it comes onto the disk than {said} bytes: {kept}");
        assert!(asked.load(Ordering::SeqCst) - before <= most, "it is not fetched to its end");
    }
}

#[test]
fn what_a_snapshot_takes_is_worked_out_from_its_manifest() {
    let manifest = Manifest { bytes: 1_000, entries: 10, anchors: 2, headers: 3, ..manifest() };
    assert_eq!(room::needed(&manifest, 0, 4), 1_000 + 4 * 4096 + 2_000 + 15 * 256);
    assert_eq!(room::needed(&manifest, 1_000, 0), 2_000 + 15 * 256, "the database alone");
    let boundless = Manifest { bytes: u64::MAX, entries: u64::MAX, anchors: u64::MAX, ..manifest };
    assert_eq!(room::needed(&boundless, 0, 1), u64::MAX);
}
