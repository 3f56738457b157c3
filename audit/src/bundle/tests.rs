//! Stories of bundles: whole, bent, old. The code of a refusal is in each row; 0 is a verdict.

use light::Checkpoint;
use light::testing::{Chain, State, key, validators};
use serde_json::json;
use types::{Address, Text};

use super::*;
use crate::anchor::Anchor;
use crate::batch::Batch;
use crate::commitment::Opening;
use crate::testing::{self, item};

/// How large the world around a bundle is.
struct World<'a> {
    /// Files in the batch.
    files: u32,
    /// Which of them the bundle shows.
    shown: &'a [u32],
    /// Anchors in the log of anchors.
    anchors: u64,
    /// Entries in the state beside the log's head.
    entries: u32,
    /// The sets of validators, each changed for the next after ten heights.
    sets: &'a [[u8; 4]],
}

const SMALL: World<'_> = World { files: 4, shown: &[2], anchors: 5, entries: 3, sets: &[[1, 2, 3, 4]] };
const CHANGED: World<'_> = World { sets: &[[1, 2, 3, 4], [1, 2, 3, 5]], ..SMALL };

impl World<'_> {
    fn bundle(&self) -> Bundle {
        let openings: Vec<_> = (0..self.files).map(opening).collect();
        let batch = self.batch(&openings);
        let mut items: Vec<_> = self.shown.iter().map(|number| item(&batch, &openings[*number as usize])).collect();
        items.sort_by_key(|item| item.index);
        let anchor = anchor(&batch);
        // The anchor stands in the middle.
        let (head, log) = testing::log(&anchor, self.anchors / 2, self.anchors);
        let state = self.state(&head);
        let sets: Vec<_> = self.sets.iter().map(|seeds| validators(seeds)).collect();
        let handoffs: Vec<_> = sets.windows(2).zip((10..).step_by(10)).map(|(pair, at)| chain().handoff(at, &pair[0], &pair[1])).collect();
        let last = sets.last().expect("a set at least");
        let signed = chain().block(10 * sets.len() as u64, state.root(), last, last);
        Bundle {
            version: VERSION,
            chain: chain().id().clone(),
            items: items.try_into().expect("few items"),
            anchor,
            log,
            head: state.prove(HEAD_KEY.as_bytes()),
            sealed: Sealed::of(&signed).expect("it seals"),
            handoffs: handoffs.try_into().expect("few hand-offs"),
        }
    }

    fn batch(&self, openings: &[LeafOpening]) -> Batch {
        let mut pad = self.files;
        let padding = || {
            pad += 1;
            Hash::sha256(&[b"padding", &pad.to_be_bytes()])
        };
        Batch::seal(openings.iter().map(LeafOpening::leaf).collect(), padding).expect("the leaves differ")
    }

    fn state(&self, head: &Head) -> State {
        let mut state = State::default();
        state.insert(HEAD_KEY.as_bytes(), &head.to_bytes());
        (0..self.entries).for_each(|number| state.insert(&number.to_be_bytes(), b"another entry"));
        state
    }

    fn genesis(&self) -> Trust {
        chain().genesis(&validators(&self.sets[0]))
    }
}

fn chain() -> Chain {
    Chain::new("zynk-test-1")
}

fn content(number: u32) -> Hash {
    Hash::sha256(&[b"file", &number.to_be_bytes()])
}

fn opening(number: u32) -> LeafOpening {
    let name = Text::try_from(format!("note {number}.txt")).expect("a short name");
    let body = Body::File { content: content(number), size: 1000, name: Some(name) };
    let opening = Opening { salt: Hash::sha256(&[b"salt", &number.to_be_bytes()]).0, body };
    LeafOpening { commitment: CommitmentPart::Opened(opening), envelope: EnvelopePart::Hidden(Hash([6; 32])) }
}

fn anchor(batch: &Batch) -> SignedAnchor {
    let log = LogId::derive(chain().id(), &Address([1; 20]), 1);
    let (opened, closed) = (Millis(1_790_000_000_000), Millis(1_790_000_000_250));
    SignedAnchor::sign(Anchor { opened, closed, ..testing::anchor(chain().id(), log, batch) }, &key(200))
}

fn outcome(bundle: &Bundle, trust: &Trust, now: u64) -> Result<Verdict, (u32, Option<u32>)> {
    verify(bundle, trust, chain().time(now), &Options::default()).map_err(|reason| (reason.code(), reason.cause()))
}

const DAY: u64 = 86_400;

#[test]
fn a_whole_bundle() {
    let bundle = World { shown: &[0, 2, 3], ..SMALL }.bundle();
    let verdict = outcome(&bundle, &SMALL.genesis(), 60).expect("it is whole");
    assert_eq!((verdict.height, verdict.sequence, verdict.handoffs), (Height(10), 1, 0));
    assert_eq!(verdict.time, chain().time(10));
    assert_eq!(verdict.basis, Basis::Genesis { within_trusting_period: true });
    let names: Vec<_> = verdict.items.iter().map(|item| (item.index, item.body.is_some(), item.envelope.is_none())).collect();
    assert_eq!(names, bundle.items.iter().map(|item| (item.index, true, true)).collect::<Vec<_>>());
}

#[test]
fn what_it_rests_on_is_said() {
    let four = World { sets: &[[1, 2, 3, 4], [5, 2, 3, 4], [5, 6, 3, 4], [5, 6, 7, 4], [5, 6, 7, 8]], ..SMALL };
    let bundle = four.bundle();
    let young = outcome(&bundle, &four.genesis(), 60).expect("every change is handed off");
    assert_eq!((young.handoffs, young.basis.to_string().as_str()), (4, "verified from genesis"));

    let old = outcome(&bundle, &four.genesis(), 400 * DAY).expect("every change is handed off");
    assert_eq!(old.basis, Basis::Genesis { within_trusting_period: false });
    assert!(old.basis.to_string().starts_with("verified from genesis, which is older than the trusting period: validators that have left"));

    let checkpoint = |height: u64, seeds: &[u8]| {
        let set = validators(seeds);
        let trust = Trust::genesis(chain().id().clone(), chain().time(0), set.clone());
        let verified = trust.accept(&chain().block(height, Hash::ZERO, &set, &set)).expect("an honest block");
        Trust::checkpoint(&Checkpoint::at(&verified, &set).expect("the same validators"))
    };
    let between = outcome(&bundle, &checkpoint(25, &[5, 6, 3, 4]), 25 + 3 * DAY).expect("two changes are left");
    assert_eq!((between.handoffs, between.basis.to_string().as_str()), (2, "verified from the checkpoint of height 25 (age 3 days)"));
    let after = outcome(&bundle, &checkpoint(99, &[5, 6, 7, 8]), 99 + 3600).expect("the validators are still the same");
    assert_eq!((after.handoffs, after.basis.to_string().as_str()), (0, "verified from the checkpoint of height 99 (age 1 hour)"));
    let stale = outcome(&bundle, &checkpoint(99, &[5, 6, 7, 8]), 99 + 15 * DAY).expect("it is signed all the same");
    assert!(stale.basis.to_string().contains("(age 15 days), which is older than the trusting period"));
    assert_eq!(outcome(&bundle, &checkpoint(99, &[1, 2, 3, 4]), 200), Err((3319, Some(1002))), "a checkpoint of other validators");
}

/// A bundle over one change of validators, bent, as seen from its genesis.
fn check(story: &str, bend: impl FnOnce(&mut Bundle), expected: (u32, Option<u32>)) {
    let mut bundle = CHANGED.bundle();
    bend(&mut bundle);
    assert_eq!(outcome(&bundle, &CHANGED.genesis(), 60).err(), Some(expected), "{story}");
}

#[test]
fn bent_bundles() {
    let (small, other) = (SMALL.bundle(), World { anchors: 6, ..CHANGED }.bundle());
    let two = World { shown: &[1, 2], ..CHANGED }.bundle();
    check("another chain", |bundle| bundle.chain = "zynk-test-2".parse().expect("a name"), (3311, None));
    check("an anchor of another chain", |bundle| bundle.anchor.anchor.chain = "zynk-test-2".parse().expect("a name"), (3311, None));
    check("no item", |bundle| bundle.items = List::default(), (3312, None));
    let twice = [small.items[0].clone(), small.items[0].clone()];
    check("an item twice", |bundle| bundle.items = twice.to_vec().try_into().expect("two"), (3313, None));
    let turned: Vec<_> = two.items.iter().rev().cloned().collect();
    check("items in another order", |bundle| bundle.items = turned.try_into().expect("two"), (3313, None));
    check("another opening", |bundle| bundle.items.iter_mut().for_each(|item| item.opening = opening(1)), (3314, Some(3005)));
    check("another place", |bundle| bundle.items.iter_mut().for_each(|item| item.index ^= 1), (3314, Some(3005)));
    check("a place outside the batch", |bundle| bundle.items.iter_mut().for_each(|item| item.index = 4), (3314, Some(3003)));
    let longer = |bundle: &mut Bundle| bundle.items.iter_mut().for_each(|item| item.path.push(Hash::ZERO).expect("a short path"));
    check("a sibling too many", longer, (3314, Some(3004)));
    check("a window that ends before it begins", |bundle| bundle.anchor.anchor.closed = Millis(0), (3315, Some(3202)));
    check("an anchor that is not in the log", |bundle| bundle.anchor.anchor.sequence = 2, (3315, Some(3204)));
    check("an anchor closed later", |bundle| bundle.anchor.anchor.closed.0 += 1, (3316, Some(3005)));
    check("an anchor with another signature", |bundle| bundle.anchor.signature.0[9] ^= 1, (3316, Some(3005)));
    check("another entry of the log", |bundle| bundle.log.index = 1, (3316, Some(3005)));
    check("an entry beyond the log", |bundle| bundle.log.index = 5, (3316, Some(3003)));
    check("another state's head", |bundle| bundle.head = other.head, (3317, Some(1017)));
    check("another state's header", |bundle| bundle.sealed = other.sealed, (3317, Some(1017)));
    check("a header of the validators before", |bundle| bundle.sealed = small.sealed, (3320, Some(1007)));
    check("a header that is forged", |bundle| bundle.sealed.header.app_hash = Hash::ZERO, (3319, Some(1005)));
    check("no hand-off", |bundle| bundle.handoffs = List::default(), (3319, Some(1002)));
    let again = |bundle: &mut Bundle| bundle.handoffs.push(chain().handoff(11, &validators(&[1, 2, 3, 5]), &validators(&[1, 2, 3, 6])));
    check("a hand-off too many", |bundle| again(bundle).expect("there is room"), (3319, Some(1002)));
    let other_set =
        |bundle: &mut Bundle| bundle.handoffs.iter_mut().for_each(|handoff| handoff.next_validators = validators(&[1, 2, 3, 6]));
    check("a hand-off to others", other_set, (3320, Some(1006)));
}

#[test]
fn a_head_that_is_none() {
    let set = validators(&[1, 2, 3, 4]);
    let mut bundle = SMALL.bundle();
    let mut state = State::default();
    state.insert(HEAD_KEY.as_bytes(), b"no head");
    bundle.head = state.prove(HEAD_KEY.as_bytes());
    bundle.sealed = Sealed::of(&chain().block(10, state.root(), &set, &set)).expect("it seals");
    assert_eq!(outcome(&bundle, &SMALL.genesis(), 60), Err((3318, None)));
}

#[test]
fn a_wrong_clock_is_noticed() {
    let bundle = SMALL.bundle();
    assert!(outcome(&bundle, &SMALL.genesis(), 6).is_ok(), "4 seconds behind");
    assert_eq!(outcome(&bundle, &SMALL.genesis(), 5), Err((3321, None)), "5 seconds behind");
}

#[test]
fn no_bit_of_a_bundle_can_be_flipped() {
    let (bytes, trust) = (CHANGED.bundle().to_bytes(), CHANGED.genesis());
    let believed = |bytes: &[u8]| Bundle::from_bytes(bytes).is_ok_and(|bundle| outcome(&bundle, &trust, 60).is_ok());
    assert!(believed(&bytes));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!believed(&flipped), "bit {} of byte {} flipped", bit % 8, bit / 8);
    }
    for end in 0..bytes.len() {
        assert!(!believed(&bytes[..end]), "cut to {end} bytes");
    }
    assert!(!believed(&[bytes.as_slice(), &[0]].concat()), "a byte too many");
}

#[test]
fn both_forms_are_one_bundle() {
    for bundle in [SMALL.bundle(), CHANGED.bundle(), World { shown: &[0, 1, 2, 3], ..SMALL }.bundle()] {
        assert_eq!(Bundle::parse(&bundle.to_bytes()), Ok(bundle.clone()));
        assert_eq!(Bundle::parse(bundle.to_json().as_bytes()), Ok(bundle));
    }
}

#[test]
fn what_is_not_a_bundle() {
    let refused = |file: &[u8]| Bundle::parse(file).expect_err("no bundle").code();
    let bytes = SMALL.bundle().to_bytes();
    assert_eq!(refused(b""), 3303, "nothing");
    assert_eq!(refused(b"ZYNK"), 3302, "no more than the magic");
    assert_eq!(refused(&[b"ZYNK\x02", &bytes[5..]].concat()), 3302, "a later version");
    assert_eq!(refused(&vec![b' '; MAX_BYTES + 1]), 3301, "too large");
    let bend = |bend: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(SMALL.bundle()).expect("it serialises");
        bend(&mut value);
        refused(value.to_string().as_bytes())
    };
    assert_eq!(bend(&|value| value["version"] = json!(2)), 3303, "a later version in JSON");
    assert_eq!(bend(&|value| value["note"] = json!("hello")), 3303, "a field that nobody knows");
    assert_eq!(bend(&|value| value["sealed"]["header"]["note"] = json!("hello")), 3303, "and deeper");
    assert_eq!(bend(&|value| value["log"]["path"] = json!(vec![Hash::ZERO; 65])), 3303, "a path that is too long");
    let text = BundleError::Json { line: 3, column: 7 }.to_string();
    assert_eq!(text, "not a bundle: the JSON fails at line 3, column 7", "nothing of the content");
}

#[test]
fn a_file_finds_its_item() {
    let bundle = World { shown: &[0, 2, 3], ..SMALL }.bundle();
    assert_eq!(bundle.item_for(&content(2)).map(|item| item.opening.clone()), Some(opening(2)));
    assert_eq!(bundle.item_for(&content(1)), None, "it is in the batch, but not shown");
}

#[test]
fn a_proof_is_small() {
    let world = World { files: 1 << 16, shown: &[77], anchors: 1 << 12, entries: 30, sets: SMALL.sets };
    let bundle = world.bundle();
    assert!(outcome(&bundle, &world.genesis(), 60).is_ok());
    let (binary, json) = (bundle.to_bytes().len(), bundle.to_json().len());
    assert!(binary <= 2300 && json <= 7000, "{binary} and {json} bytes; promised are 4096 and 12288");
}

#[test]
fn vectors() {
    let bundles = [("small", SMALL), ("after a change of validators", CHANGED), ("of three items", World { shown: &[0, 2, 3], ..SMALL })];
    let computed: serde_json::Map<_, _> = bundles
        .into_iter()
        .map(|(name, world)| {
            let bundle = world.bundle();
            let verdict = outcome(&bundle, &world.genesis(), 60).expect("it is whole");
            let bytes: String = bundle.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            let entry =
                json!({ "trust": world.genesis(), "bytes": bytes, "json": bundle, "verdict": verdict, "says": verdict.to_string() });
            (name.to_owned(), entry)
        })
        .collect();
    support::frozen("bundle", &computed.into());
}
