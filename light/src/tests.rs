//! Stories of what is believed and what is not. Each row is a chain's block, bent or not, and the
//! code of the refusal; 0 is belief.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use tendermint::block::CommitSig;
use tendermint::block::signed_header::SignedHeader;
use tendermint::crypto::{default, signature};
use tendermint::{AppHash, Signature, Time};
use types::{Decode, Encode, Hash, Height};

use crate::sealed::{BlockId, Parts, SealedVote};
use crate::testing::{Ballot, Chain, Manner, key, validators};
use crate::{Checkpoint, Error, Handoff, LightBlock, Options, Origin, Sealed, Trust, Validator, Validators};

const APP: Hash = Hash([7; 32]);

fn code<T>(result: Result<T, Error>) -> u32 {
    result.err().map_or(0, |error| error.code())
}

fn chain() -> Chain {
    Chain::new("zynk-test-1")
}

/// A block at height 5 of validators 1 to 4, in this manner.
fn block(manner: Manner<'_>) -> SignedHeader {
    let set = validators(&[1, 2, 3, 4]);
    chain().sign(chain().header(5, APP, &set, &set), &set, manner)
}

fn check(story: &str, signed: &SignedHeader, expected: u32) {
    let trust = chain().genesis(&validators(&[1, 2, 3, 4]));
    assert_eq!(code(trust.accept(signed)), expected, "{story}");
    // The compact form leaves out what it can derive, so it may open as another block than this one,
    // but never as this one where this one is refused.
    match Sealed::of(signed).and_then(|sealed| trust.open(&sealed)) {
        Ok(verified) => assert!(expected == 0 || verified.signed_header() != signed, "{story}, sealed"),
        Err(error) => assert_ne!(expected, 0, "{story}, sealed: {error}"),
    }
}

fn bent(bend: impl FnOnce(&mut SignedHeader)) -> SignedHeader {
    let mut signed = block(Manner::EMBEDDED);
    bend(&mut signed);
    signed
}

fn ballots(ballots: &[Ballot]) -> SignedHeader {
    block(Manner { ballots, ..Manner::EMBEDDED })
}

fn flipped(signature: &mut CommitSig, bit: usize) {
    let CommitSig::BlockIdFlagCommit { signature: Some(signature), .. } = signature else { panic!("a vote for the block") };
    let mut bytes = signature.as_bytes().to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    *signature = Signature::try_from(bytes.as_slice()).expect("64 bytes");
}

#[test]
fn commits() {
    use Ballot::{Absent, Commit, Nil};
    check("everybody signs", &block(Manner::EMBEDDED), 0);
    check("everybody signs in CometBFT's manner", &block(Manner::COMETBFT), 0);
    check("three of four are enough", &ballots(&[Commit, Absent]), 0);
    check("a vote for no block does no harm", &ballots(&[Nil]), 0);
    check("two of four are too few", &ballots(&[Absent, Commit, Absent]), 1004);
    check("votes for no block do not count", &ballots(&[Nil, Nil]), 1004);
    check("nobody signs", &ballots(&[Absent; 4]), 1015);
    check("a vote twice", &bent(|signed| signed.commit.signatures[1] = signed.commit.signatures[0].clone()), 1005);
    check("votes in another order", &bent(|signed| signed.commit.signatures.swap(2, 3)), 1005);
    check("a vote missing at the end", &bent(|signed| drop(signed.commit.signatures.pop())), 1005);
    check("an entry too many", &bent(|signed| signed.commit.signatures.push(CommitSig::BlockIdFlagAbsent)), 1005);
    check("a flipped bit in the last signature", &bent(|signed| flipped(&mut signed.commit.signatures[3], 300)), 1005);
    check("another round than was voted in", &bent(|signed| signed.commit.round = 1u16.into()), 1005);
}

#[test]
fn a_vote_must_have_a_signature_and_the_right_voter() {
    let unsigned = bent(|signed| {
        let CommitSig::BlockIdFlagCommit { signature, .. } = &mut signed.commit.signatures[3] else { panic!("a vote") };
        *signature = None;
    });
    check("a vote without a signature", &unsigned, 1005);
    let mixed = validators(&[1, 2, 3, 9]);
    let stranger = chain().sign(chain().header(5, APP, &validators(&[1, 2, 3, 4]), &mixed), &mixed, Manner::EMBEDDED);
    check("an unknown validator among them", &stranger, 1005);
    let nil_as_commit = {
        let mut signed = ballots(&[Ballot::Nil]);
        let CommitSig::BlockIdFlagNil { validator_address, timestamp, signature } = signed.commit.signatures[0].clone() else {
            panic!("a vote for no block")
        };
        signed.commit.signatures[0] = CommitSig::BlockIdFlagCommit { validator_address, timestamp, signature };
        signed
    };
    check("a vote for no block passed off as one for it", &nil_as_commit, 1005);
}

#[test]
fn headers() {
    let set = validators(&[1, 2, 3, 4]);
    let signed = |bend: &dyn Fn(&mut tendermint::block::Header)| {
        let mut header = chain().header(5, APP, &set, &set);
        bend(&mut header);
        chain().sign(header, &set, Manner::EMBEDDED)
    };
    let forged = AppHash::try_from(vec![8; 32]).expect("a hash");
    check("a forged application hash", &bent(|signed| signed.header.app_hash = forged.clone()), 1003);
    let renamed = bent(|signed| {
        signed.header.app_hash = forged;
        signed.commit.block_id.hash = signed.header.hash();
    });
    check("a forged application hash under the forged block's name", &renamed, 1005);
    check("another chain", &Chain::new("zynk-test-2").block(5, APP, &set, &set), 1001);
    check("another chain's name put in", &bent(|signed| signed.header.chain_id = "zynk-test-2".parse().expect("a name")), 1001);
    let others = validators(&[5, 6, 7, 8]);
    check("other validators", &chain().block(5, APP, &others, &others), 1002);
    check("two heights", &bent(|signed| signed.commit.height = 6u32.into()), 1007);
    check("no height", &signed(&|header| header.height = 0u32.into()), 1007);
    check("the last height", &signed(&|header| header.height = i64::MAX.try_into().expect("a height")), 1007);
    check("a time before the genesis", &signed(&|header| header.time = Time::unix_epoch()), 1008);
    check("the time of the genesis", &signed(&|header| header.time = chain().time(0)), 0);
}

#[test]
fn no_bit_of_a_sealed_header_can_be_flipped() {
    let trust = chain().genesis(&validators(&[1, 2, 3, 4]));
    for manner in [Manner::EMBEDDED, Manner::COMETBFT, Manner { ballots: &[Ballot::Nil, Ballot::Commit], ..Manner::EMBEDDED }] {
        let bytes = Sealed::of(&block(manner)).expect("it seals").to_bytes();
        each_flip(&bytes, |flipped| Sealed::from_bytes(flipped).is_ok_and(|sealed| trust.open(&sealed).is_ok()));
    }
}

#[test]
fn no_bit_of_a_handoff_can_be_flipped() {
    let trust = chain().genesis(&validators(&[1, 2, 3, 4]));
    let bytes = chain().handoff(9, &validators(&[1, 2, 3, 4]), &validators(&[1, 2, 3, 5])).to_bytes();
    each_flip(&bytes, |flipped| Handoff::from_bytes(flipped).is_ok_and(|handoff| trust.clone().hand_off(&handoff).is_ok()));
}

fn each_flip(bytes: &[u8], believed: impl Fn(&[u8]) -> bool) {
    assert!(believed(bytes), "the bytes themselves are believed");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!believed(&flipped), "bit {} of byte {} flipped", bit % 8, bit / 8);
    }
    for end in 0..bytes.len() {
        assert!(!believed(&bytes[..end]), "cut to {end} bytes");
    }
    assert!(!believed(&[bytes, &[0]].concat()), "a byte too many");
}

#[test]
fn four_validators_are_small() {
    let first = Sealed::of(&block(Manner::EMBEDDED)).expect("it seals").to_bytes().len();
    let cometbft = Sealed::of(&block(Manner::COMETBFT)).expect("it seals").to_bytes().len();
    assert!(first <= 560 && cometbft <= 660, "{first} and {cometbft} bytes");
}

#[test]
fn a_sealed_header_opens_as_it_was() {
    let set = validators(&[1, 2, 3, 4]);
    for manner in [Manner::EMBEDDED, Manner::COMETBFT, Manner { ballots: &[Ballot::Absent, Ballot::Nil], ..Manner::COMETBFT }] {
        for height in [1, 2] {
            let signed = chain().sign(chain().header(height, APP, &set, &validators(&[1, 2, 3])), &set, manner);
            let sealed = Sealed::of(&signed).expect("it seals");
            assert_eq!(Sealed::from_bytes(&sealed.to_bytes()).expect("it decodes"), sealed);
            let text = serde_json::to_string(&sealed).expect("it serialises");
            assert_eq!(serde_json::from_str::<Sealed>(&text).expect("it parses"), sealed);
            assert_eq!(sealed.open(&set).expect("it opens"), signed);
        }
    }
}

#[test]
fn only_the_shortest_form_opens() {
    let set = validators(&[1, 2, 3, 4]);
    let check = |story: &str, bend: &dyn Fn(&mut Sealed), expected| {
        let mut sealed = Sealed::of(&block(Manner::EMBEDDED)).expect("it seals");
        bend(&mut sealed);
        assert_eq!(code(sealed.open(&set)), expected, "{story}");
    };
    let hash = validators_hash(&block(Manner::EMBEDDED));
    check("as it was sealed", &|_| (), 0);
    check("the embedded engine's parts spelled out", &|sealed| sealed.commit.parts = Some(Parts { total: 1, hash }), 1014);
    let before = |sealed: &mut Sealed| {
        let id = sealed.header.last_block_id.expect("a block before");
        sealed.header.last_block_id = Some(BlockId { parts: Some(Parts { total: 1, hash: id.hash }), ..id });
    };
    check("the same before", &before, 1014);
    check("parts of which there are none", &|sealed| sealed.commit.parts = Some(Parts { total: 0, hash }), 1014);
    let timestamp = |sealed: &mut Sealed| {
        let mut votes = sealed.commit.votes.to_vec();
        let SealedVote::Commit(cast) = &mut votes[0] else { panic!("a vote for the block") };
        cast.timestamp = Some(crate::sealed::embedded_time());
        sealed.commit.votes = votes.try_into().expect("few votes");
    };
    check("the embedded engine's timestamp spelled out", &timestamp, 1014);
    let early = Time::from_unix_timestamp(-1, 0).expect("a time");
    check("a time before 1970", &|sealed| sealed.header.time = early, 1014);
    check("a round out of range", &|sealed| sealed.commit.round = u32::MAX, 1014);
    check("a height out of range", &|sealed| sealed.header.height = Height(u64::MAX), 1014);
    check("a vote too few", &|sealed| sealed.commit.votes = sealed.commit.votes[..3].to_vec().try_into().expect("few votes"), 1005);
}

/// Counts how often a signature is worked out.
#[derive(Default)]
struct Counting(std::cell::Cell<usize>);

impl signature::Verifier for Counting {
    fn verify(&self, key: tendermint::PublicKey, message: &[u8], signature: &Signature) -> Result<(), signature::Error> {
        self.0.set(self.0.get() + 1);
        default::signature::Verifier.verify(key, message, signature)
    }
}

#[test]
fn each_signature_is_worked_out_once() {
    use Ballot::{Absent, Commit, Nil};
    let trust = chain().genesis(&validators(&[1, 2, 3, 4]));
    for (ballots, expected) in [(&[][..], 4), (&[Nil], 4), (&[Commit, Absent], 3)] {
        let crypto = Counting::default();
        trust.accept_by(&block(Manner { ballots, ..Manner::EMBEDDED }), &crypto).expect("enough sign");
        assert_eq!(crypto.0.get(), expected, "{ballots:?}");
    }
    // The published verifier counts votes twice for a jump: against the old set and the new.
    let (crypto, jump) = (Counting::default(), light_block(9, &[1, 2, 5, 6], &[1, 2, 5, 6]));
    trust.skip(&jump, chain().time(10), &Options::default(), &crypto).expect("half of them are there");
    assert_eq!(crypto.0.get(), 4);
}

fn validators_hash(signed: &SignedHeader) -> Hash {
    let tendermint::Hash::Sha256(bytes) = signed.header.hash() else { panic!("a hash") };
    Hash(bytes)
}

#[test]
fn sets() {
    let member = |seed: u8, power| Validator { public_key: key(seed).public(), power };
    let check = |story: &str, members: &[Validator], expected| assert_eq!(code(Validators::new(members)), expected, "{story}");
    check("one validator", &[member(1, 1)], 0);
    check("nobody", &[], 1013);
    check("a key twice", &[member(1, 1), member(1, 2)], 1013);
    check("no power", &[member(1, 0)], 1013);
    check("the most power", &[member(1, (i64::MAX / 8) as u64 - 1), member(2, 1)], 0);
    check("too much power", &[member(1, (i64::MAX / 8) as u64), member(2, 1)], 1013);
    check("power that overflows", &[member(1, u64::MAX), member(2, u64::MAX)], 1013);
    let many: Vec<_> = (0..1025u16).map(|number| Validator { public_key: types::PublicKey(number_bytes(number)), power: 1 }).collect();
    check("1024 validators", &many[..1024], 0);
    check("1025 validators", &many, 1013);

    let ordered = Validators::new(&[member(1, 5), member(2, 9), member(3, 5)]).expect("a set");
    assert_eq!(ordered, Validators::from_bytes(&ordered.to_bytes()).expect("it decodes"));
    let mut reversed: Vec<_> = ordered.members().collect();
    reversed.reverse();
    let reversed = types::List::<_, 1024>::try_from(reversed).expect("few").to_bytes();
    Validators::from_bytes(&reversed).expect_err("a set out of order is refused");
    assert_eq!(ordered, Validators::try_from(ordered.set()).expect("the set it was"));
    let mut wrong = ordered.set().clone();
    wrong.validators[0].address = wrong.validators[1].address;
    assert_eq!(code(Validators::try_from(&wrong)), 1013, "an address that is not the key's");
}

fn number_bytes(number: u16) -> [u8; 32] {
    Hash::sha256(&[&number.to_be_bytes()]).0
}

/// The hand-offs by which validators 1 to 4 give way to 5 to 8, one by one.
fn replacement() -> (Vec<Handoff>, Validators) {
    let sets = [[1, 2, 3, 4], [5, 2, 3, 4], [5, 6, 3, 4], [5, 6, 7, 4], [5, 6, 7, 8]].map(|seeds| validators(&seeds));
    let handoffs = sets.windows(2).zip([10, 20, 30, 40]).map(|(pair, height)| chain().handoff(height, &pair[0], &pair[1])).collect();
    (handoffs, validators(&[5, 6, 7, 8]))
}

#[test]
fn handoffs_lead_through_a_full_replacement() {
    let (handoffs, last) = replacement();
    let genesis = chain().genesis(&validators(&[1, 2, 3, 4]));
    let block = chain().block(50, APP, &last, &last);
    let walk = |handoffs: &[&Handoff]| {
        let mut trust = genesis.clone();
        handoffs.iter().try_for_each(|handoff| trust.hand_off(handoff).map(drop))?;
        trust.accept(&block)
    };
    let all: Vec<_> = handoffs.iter().collect();
    assert_eq!(walk(&all).expect("every change is handed off").height(), Height(50));
    for missing in 0..all.len() {
        let mut some = all.clone();
        some.remove(missing);
        assert_eq!(code(walk(&some)), 1002, "without hand-off {missing}");
    }
    assert_eq!(code(walk(&[all[0], all[0]])), 1007, "a hand-off twice");
}

#[test]
fn a_refused_handoff_changes_nothing() {
    let genesis = chain().genesis(&validators(&[1, 2, 3, 4]));
    let mut handoff = chain().handoff(9, &validators(&[1, 2, 3, 4]), &validators(&[1, 2, 3, 5]));
    handoff.next_validators = validators(&[1, 2, 3, 6]);
    let mut trust = genesis.clone();
    assert_eq!(code(trust.hand_off(&handoff)), 1006);
    assert_eq!(trust, genesis);
    let signed = chain().block(9, APP, &validators(&[1, 2, 3, 4]), &validators(&[1, 2, 3, 5]));
    assert_eq!(code(Handoff::new(&signed, &validators(&[1, 2, 3, 6]))), 1006, "nor is it made");
}

fn light_block(height: u64, set: &[u8], next: &[u8]) -> LightBlock {
    let (validators, next_validators) = (validators(set), validators(next));
    let signed_header = chain().block(height, APP, &validators, &next_validators);
    LightBlock { signed_header, validators, next_validators }
}

/// Follows `blocks` from the genesis of validators 1 to 4, the clock at `now` seconds, a trusting
/// period of 100; tells the code of the last.
fn follow(now: u64, blocks: &[LightBlock]) -> u32 {
    let options = Options { trusting_period: Duration::from_secs(100), ..Options::default() };
    let mut trust = chain().genesis(&validators(&[1, 2, 3, 4]));
    let mut last = 0;
    for block in blocks {
        let before = trust.clone();
        last = code(trust.follow(block, chain().time(now), &options));
        assert_eq!(last == 0, trust != before, "trust moves if the block is believed");
    }
    last
}

#[test]
fn following() {
    let same = |height| light_block(height, &[1, 2, 3, 4], &[1, 2, 3, 4]);
    assert_eq!(follow(10, &[same(1)]), 0, "the first block");
    assert_eq!(follow(10, &[same(9)]), 0, "a later block of the genesis validators");
    assert_eq!(follow(10, &[same(1), same(2), same(9)]), 0, "the next block, then a later one");
    assert_eq!(follow(10, &[same(9), same(9)]), 1007, "the same block again");
    assert_eq!(follow(10, &[same(9), same(8)]), 1007, "an earlier block");
    assert_eq!(follow(99, &[same(1)]), 0, "just inside the trusting period");
    assert_eq!(follow(100, &[same(1)]), 1009, "just outside");
    assert_eq!(follow(5, &[same(9)]), 0, "a clock 4 seconds behind");
    assert_eq!(follow(4, &[same(9)]), 1010, "a clock 5 seconds behind");
    assert_eq!(follow(10, &[light_block(9, &[1, 2, 5, 6], &[1, 2, 5, 6])]), 0, "half of the validators are still there");
    assert_eq!(follow(10, &[light_block(9, &[1, 5, 6, 7], &[1, 5, 6, 7])]), 1011, "one of four is too few");
    assert_eq!(
        follow(10, &[light_block(4, &[1, 2, 5, 6], &[1, 2, 5, 6]), light_block(9, &[1, 5, 6, 7], &[5, 6, 7, 8])]),
        0,
        "a block between"
    );
    let changed = [light_block(4, &[1, 2, 3, 4], &[5, 6, 7, 8]), light_block(5, &[5, 6, 7, 8], &[5, 6, 7, 8])];
    assert_eq!(follow(10, &changed), 0, "all change at the next block");
    let undeclared = [same(4), light_block(5, &[1, 2, 3, 5], &[1, 2, 3, 5])];
    assert_eq!(follow(10, &undeclared), 1015, "a change that the block before does not name");
}

#[test]
fn following_forgeries() {
    let bend = |bend: &dyn Fn(&mut LightBlock)| {
        let mut block = light_block(9, &[1, 2, 3, 5], &[1, 2, 3, 5]);
        bend(&mut block);
        follow(10, &[block])
    };
    assert_eq!(bend(&|_| ()), 0);
    assert_eq!(bend(&|block| block.next_validators = validators(&[1, 2, 3, 6])), 1015, "other next validators");
    assert_eq!(bend(&|block| block.validators = validators(&[1, 2, 3, 6])), 1015, "other validators");
    assert_eq!(bend(&|block| flipped(&mut block.signed_header.commit.signatures[3], 1)), 1005, "a bit of the last signature");
    let two = Manner { ballots: &[Ballot::Absent, Ballot::Absent], ..Manner::EMBEDDED };
    let few = |block: &mut LightBlock| block.signed_header = chain().sign(block.signed_header.header.clone(), &block.validators, two);
    assert!([1004, 1011].contains(&bend(&few)), "two of four signed");
    let other = Chain::new("zynk-test-2").block(9, APP, &validators(&[1, 2, 3, 5]), &validators(&[1, 2, 3, 5]));
    assert_eq!(bend(&|block| block.signed_header = other.clone()), 1001, "another chain");
    let first = {
        let mut header = chain().header(1, APP, &validators(&[1, 2, 3, 4]), &validators(&[1, 2, 3, 4]));
        header.time = chain().time(0);
        let mut block = light_block(1, &[1, 2, 3, 4], &[1, 2, 3, 4]);
        block.signed_header = chain().sign(header, &block.validators, Manner::COMETBFT);
        block
    };
    assert_eq!(follow(10, &[first]), 0, "CometBFT's first block, which has the time of the genesis");
}

#[test]
fn checkpoints() {
    let set = validators(&[1, 2, 3, 4]);
    let verified = chain().genesis(&set).accept(&chain().block(9, APP, &set, &set)).expect("an honest block");
    let checkpoint = Checkpoint::at(&verified, &set).expect("the next validators are the same");
    assert_eq!(code(Checkpoint::at(&verified, &validators(&[1, 2, 3]))), 1006, "a checkpoint with other validators");
    let text = serde_json::to_string(&checkpoint).expect("it serialises");
    let trust = Trust::checkpoint(&serde_json::from_str(&text).expect("it parses"));
    assert_eq!(trust.origin(), Origin::Checkpoint { height: Height(9), time: chain().time(9) });
    assert_eq!(trust.age(chain().time(19)), Duration::from_secs(10));
    assert_eq!(trust.age(chain().time(0)), Duration::ZERO, "a clock that is behind");

    let at = |height, app| code(trust.accept(&chain().block(height, app, &set, &set)));
    assert_eq!(at(12, APP), 0, "a later block");
    assert_eq!(at(3, APP), 0, "an earlier block of the same validators");
    assert_eq!(at(9, APP), 0, "the checkpoint's own block");
    assert_eq!(at(9, Hash([8; 32])), 1012, "another block signed at its height");
    let timed = |height, time| {
        let mut header = chain().header(height, APP, &set, &set);
        header.time = chain().time(time);
        code(trust.accept(&chain().sign(header, &set, Manner::EMBEDDED)))
    };
    assert_eq!(timed(12, 9), 1008, "a later block that is not later");
    assert_eq!(timed(3, 9), 1008, "an earlier block that is not earlier");

    let mut unknown: serde_json::Value = serde_json::from_str(&text).expect("it parses");
    unknown["height_hint"] = json!(1);
    serde_json::from_value::<Checkpoint>(unknown).expect_err("a field that nobody knows");
}

#[test]
fn trust_is_kept_as_json() {
    let (handoffs, _) = replacement();
    let mut trust = chain().genesis(&validators(&[1, 2, 3, 4]));
    for handoff in &handoffs {
        let text = serde_json::to_string(&trust).expect("it serialises");
        assert_eq!(serde_json::from_str::<Trust>(&text).expect("it parses"), trust);
        trust.hand_off(handoff).expect("an honest hand-off");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever bytes decode, they are the bytes of the value.
    #[test]
    fn bytes_are_canonical(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut bytes = chain().handoff(9, &validators(&[1, 2, 3, 4]), &validators(&[1, 2, 3, 5])).to_bytes();
        for (index, byte) in changes {
            let place = index.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(handoff) = Handoff::from_bytes(&bytes) {
            prop_assert_eq!(handoff.to_bytes(), bytes);
        }
    }

    /// A header of any values seals, and opens as it was.
    #[test]
    fn headers_round_trip(height in 1u64..1 << 62, nanos in 0u32..1_000_000_000, version in any::<u64>(), root in 0u8..3, first in any::<bool>()) {
        let set = validators(&[1, 2, 3, 4]);
        let mut header = chain().header(5, APP, &set, &set);
        let empty = header.evidence_hash;
        header.height = Height(height).try_into().expect("a height");
        header.time = Time::from_unix_timestamp(1_800_000_000, nanos).expect("a time");
        header.version.app = version;
        header.data_hash = [None, empty, Some(tendermint::Hash::Sha256([5; 32]))][usize::from(root)];
        header.last_block_id = header.last_block_id.filter(|_| !first);
        let signed = chain().sign(header, &set, Manner::EMBEDDED);
        let sealed = Sealed::of(&signed).expect("it seals");
        let decoded = Sealed::from_bytes(&sealed.to_bytes()).expect("it decodes");
        prop_assert_eq!(decoded.open(&set).expect("it opens"), signed);
    }
}

#[test]
fn vectors() {
    let set = validators(&[1, 2, 3, 4]);
    let sealed = |manner| {
        let sealed = Sealed::of(&block(manner)).expect("it seals");
        json!({ "bytes": hex::encode(sealed.to_bytes()), "json": sealed, "hash": validators_hash(&block(manner)) })
    };
    let verified = chain().genesis(&set).accept(&block(Manner::EMBEDDED)).expect("an honest block");
    let mut state = crate::testing::State::default();
    (0..30u8).for_each(|number| state.insert(&[b'k', number], &[b'v', number]));
    let mixed = Manner { ballots: &[Ballot::Absent, Ballot::Nil], ..Manner::COMETBFT };
    let computed = json!({
        "validators": { "bytes": hex::encode(set.to_bytes()), "json": set, "hash": set.hash() },
        "sealed": { "embedded": sealed(Manner::EMBEDDED), "cometbft": sealed(Manner::COMETBFT), "absent and nil": sealed(mixed) },
        "handoff": hex::encode(chain().handoff(9, &set, &validators(&[1, 2, 3, 5])).to_bytes()),
        "checkpoint": Checkpoint::at(&verified, &set).expect("the same validators"),
        "trust": chain().genesis(&set),
        "state": { "root": state.root(), "key": hex::encode(b"k\x05"), "proof": hex::encode(state.prove(b"k\x05").to_bytes()), "json": state.prove(b"k\x05") },
    });
    support::frozen("light", &computed);
}
