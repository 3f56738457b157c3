//! Every message there and back, and what is refused.

use proptest::prelude::*;
use serde_json::{Map, json};
use types::SigningKey;

use super::super::parts::Announcement;
use super::*;

/// A message by the name of its kind, with its bytes and how they read.
struct Sample {
    name: &'static str,
    bytes: Vec<u8>,
    read: fn(&[u8]) -> Result<Vec<u8>, DecodeError>,
}

/// The bytes of `value`, which must read back as itself.
fn sample<T: OnWire + PartialEq + std::fmt::Debug>(name: &'static str, value: &T) -> Sample
where
    Wire: Codec<T, Error = DecodeError>,
{
    let bytes = Wire.encode(value).expect("every message encodes");
    assert_eq!(Wire.decode(bytes.clone()).as_ref(), Ok(value), "{name}");
    Sample { name, bytes: bytes.to_vec(), read: read::<T> }
}

/// The bytes of what `bytes` read as.
fn read<T>(bytes: &[u8]) -> Result<Vec<u8>, DecodeError>
where
    Wire: Codec<T, Error = DecodeError>,
{
    let value: T = Wire.decode(Bytes::copy_from_slice(bytes))?;
    Wire.encode(&value).map(|bytes| bytes.to_vec())
}

fn address(byte: u8) -> Address {
    Address(account::Id::new([byte; 20]))
}

fn signature(byte: u8) -> ConsensusSignature {
    ConsensusSignature(Signature([byte; 64]))
}

fn hash(byte: u8) -> BlockHash {
    BlockHash(Hash([byte; 32]))
}

fn vote(kind: VoteType, value: NilOrVal<BlockHash>) -> SignedVote<Zynk> {
    let vote = Vote { kind, height: Height(300), round: Round::new(1), value, voter: address(2), extension: None };
    SignedMessage::new(vote, signature(3))
}

fn proposal(pol_round: Round) -> SignedProposal<Zynk> {
    let proposal = Proposal { height: Height(300), round: Round::new(4), value: hash(5), pol_round, proposer: address(6) };
    SignedMessage::new(proposal, signature(7))
}

fn peer() -> PeerId {
    let key = libp2p::identity::Keypair::ed25519_from_bytes([8; 32]).expect("32 bytes");
    PeerId::from_bytes(&key.public().to_peer_id().to_bytes()).expect("a peer id")
}

fn decided(body: &'static [u8]) -> sync::RawDecidedValue<Zynk> {
    let signatures =
        vec![ExtendedCommitSignature::new(address(2), signature(3), None), ExtendedCommitSignature::new(address(4), signature(5), None)];
    let certificate =
        ExtendedCommitCertificate { height: Height(300), round: Round::new(0), value_id: hash(1), commit_signatures: signatures };
    sync::RawDecidedValue::new(Bytes::from_static(body), certificate)
}

fn samples() -> Vec<Sample> {
    let polka = PolkaCertificate {
        height: Height(300),
        round: Round::new(2),
        value_id: hash(1),
        polka_signatures: vec![PolkaSignature::new(address(2), signature(3))],
    };
    let skip = |cert_type| RoundCertificate {
        height: Height(300),
        round: Round::new(2),
        cert_type,
        round_signatures: vec![
            RoundSignature::new(VoteType::Prevote, NilOrVal::Nil, address(2), signature(3)),
            RoundSignature::new(VoteType::Precommit, NilOrVal::Val(hash(4)), address(5), signature(6)),
        ],
    };
    let announcement = Announcement {
        height: 300,
        round: 1,
        valid_round: Some(0),
        proposer: [2; 20],
        block: Hash([3; 32]),
        size: 70_000,
        body: Hash([4; 32]),
    };
    let init = Part::Init(Box::new(Init { announcement, signature: Signature([5; 64]) }));
    let piece = Part::Data(Bytes::from_static(b"piece"));
    let id = StreamId::new(Bytes::from_static(&[1; 20]));
    let streamed = |content| StreamMessage::new(id.clone(), 129, content);
    let value = |valid_round, validity| ProposedValue {
        height: Height(300),
        round: Round::new(1),
        valid_round,
        proposer: address(2),
        value: hash(3),
        validity,
    };
    let key = SigningKey::from_seed(&[9; 32]).public();
    vec![
        sample("prevote", &SignedConsensusMsg::Vote(vote(VoteType::Prevote, NilOrVal::Val(hash(1))))),
        sample("precommit for nil", &SignedConsensusMsg::Vote(vote(VoteType::Precommit, NilOrVal::Nil))),
        sample("proposal", &SignedConsensusMsg::Proposal(proposal(Round::Nil))),
        sample("proposal again", &SignedConsensusMsg::Proposal(proposal(Round::new(3)))),
        sample("liveness vote", &LivenessMsg::Vote(vote(VoteType::Prevote, NilOrVal::Nil))),
        sample("liveness polka certificate", &LivenessMsg::PolkaCertificate(polka.clone())),
        sample("liveness skip certificate", &LivenessMsg::SkipRoundCertificate(skip(RoundCertificateType::Skip))),
        sample("liveness precommit certificate", &LivenessMsg::SkipRoundCertificate(skip(RoundCertificateType::Precommit))),
        sample("polka certificate", &polka),
        sample("part announcement", &init),
        sample("part piece", &piece),
        sample("stream announcement", &streamed(StreamContent::Data(init.clone()))),
        sample("stream piece", &streamed(StreamContent::Data(piece.clone()))),
        sample("stream end", &streamed(StreamContent::Fin)),
        sample("validator proof", &ValidatorProof::<Zynk>::new(key.0.to_vec(), peer().to_bytes(), signature(1))),
        sample("proposed value", &value(Round::Nil, Validity::Valid)),
        sample("proposed value again, invalid", &value(Round::new(0), Validity::Invalid)),
        sample("status", &sync::Status::<Zynk> { peer_id: peer(), tip_height: Height(300), history_min_height: Height(1) }),
        sample("sync request", &sync::Request::<Zynk>::ValueRequest(ValueRequest::new(Height(1)..=Height(300)))),
        sample("sync response", &sync::Response::ValueResponse(ValueResponse::new(Height(300), vec![decided(b"block"), decided(b"")]))),
        sample("sync response, empty", &sync::Response::<Zynk>::ValueResponse(ValueResponse::new(Height(7), Vec::new()))),
    ]
}

#[test]
fn the_formats_are_those_frozen() {
    let all: Map<_, _> = samples().into_iter().map(|sample| (sample.name.to_owned(), json!(hex::encode(sample.bytes)))).collect();
    support::frozen("consensus-wire", &json!(all));
}

#[test]
fn the_length_is_that_of_the_bytes() {
    let response = sync::Response::ValueResponse(ValueResponse::new(Height(300), vec![decided(b"block")]));
    let bytes = Codec::encode(&Wire, &response).expect("it encodes");
    assert_eq!(Wire.encoded_len(&response), Ok(bytes.len()));
}

#[test]
fn bytes_cut_and_bytes_left_over_are_refused() {
    for Sample { name, bytes, read } in samples() {
        for length in 0..bytes.len() {
            assert!(
                matches!(read(&bytes[..length]), Err(DecodeError::Truncated { .. })),
                "{name} cut at {length}: {:?}",
                read(&bytes[..length])
            );
        }
        assert_eq!(read(&[bytes.as_slice(), &[0]].concat()), Err(DecodeError::Trailing { left: 1 }), "{name}");
    }
}

#[test]
fn what_is_refused() {
    let all = samples();
    let check = |story: &str, name: &str, bend: &dyn Fn(&mut Vec<u8>), expected: DecodeError| {
        let found = all.iter().find(|sample| sample.name == name).unwrap_or_else(|| panic!("no sample {name}"));
        let mut bytes = found.bytes.clone();
        bend(&mut bytes);
        assert_eq!((found.read)(&bytes), Err(expected), "{story}");
    };
    let tag = |what, found| DecodeError::Tag { what, found };
    // Offsets are those of docs/spec/consensus-wire.md. Height 300 takes two bytes.
    check("an unknown message", "prevote", &|bytes| bytes[0] = 2, tag("consensus message", 2));
    check("an unknown kind of vote", "prevote", &|bytes| bytes[1] = 2, tag("vote", 2));
    check("a vote without a round", "prevote", &|bytes| drop(bytes.splice(4..6, [0])), DecodeError::Value { what: "round" });
    check("an option that is neither", "prevote", &|bytes| bytes[4] = 2, tag("bool", 2));
    check("an unknown value", "prevote", &|bytes| bytes[6] = 2, tag("vote value", 2));
    check("a height in a longer form", "prevote", &|bytes| drop(bytes.splice(2..4, [0xac, 0x82, 0])), DecodeError::Number);
    let far = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    check("a height of 2^62", "prevote", &|bytes| drop(bytes.splice(2..4, far)), DecodeError::Number);
    check("a round of 2^30", "prevote", &|bytes| drop(bytes.splice(5..6, [0x80, 0x80, 0x80, 0x80, 4])), DecodeError::Number);
    check("a proposal without a round", "proposal", &|bytes| drop(bytes.splice(3..5, [0])), DecodeError::Value { what: "round" });
    check("an unknown liveness message", "liveness vote", &|bytes| bytes[0] = 3, tag("liveness message", 3));
    let signers = DecodeError::Bound { found: 1025, bound: 1024 };
    check("1025 signers", "polka certificate", &|bytes| drop(bytes.splice(36..37, [0x81, 8])), signers.clone());
    check("an unknown certificate", "liveness skip certificate", &|bytes| bytes[5] = 2, tag("bool", 2));
    check("1025 signers of a round", "liveness skip certificate", &|bytes| drop(bytes.splice(6..7, [0x81, 8])), signers);
    check("an unknown part", "part piece", &|bytes| bytes[0] = 2, tag("part", 2));
    let piece = DecodeError::Bound { found: 65_537, bound: 65_536 };
    check("a piece too large", "part piece", &|bytes| drop(bytes.splice(1..2, [0x81, 0x80, 4])), piece);
    check("an unknown content", "stream end", &|bytes| *bytes.last_mut().expect("bytes") = 2, tag("stream content", 2));
    check("a stream id too long", "stream end", &|bytes| bytes[0] = 65, DecodeError::Bound { found: 65, bound: 64 });
    check("a key too long", "validator proof", &|bytes| bytes[0] = 65, DecodeError::Bound { found: 65, bound: 64 });
    check("a validity that is neither", "proposed value", &|bytes| *bytes.last_mut().expect("bytes") = 2, tag("bool", 2));
    check("no peer id", "status", &|bytes| bytes[1] = 0xff, DecodeError::Value { what: "peer id" });
    check("65 blocks", "sync response, empty", &|bytes| bytes[1] = 65, DecodeError::Bound { found: 65, bound: 64 });
    let block = DecodeError::Bound { found: (8 << 20) + 1, bound: 8 << 20 };
    check("a block above 8 MiB", "sync response", &|bytes| drop(bytes.splice(3..4, [0x81, 0x80, 0x80, 4])), block);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_what_is_read_is_canonical(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for Sample { name, read, .. } in samples() {
            if let Ok(again) = read(&bytes) {
                prop_assert_eq!(&again, &bytes, "{}", name);
            }
        }
    }

    #[test]
    fn bent_messages_never_panic_and_what_is_read_is_canonical(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        for Sample { name, mut bytes, read } in samples() {
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(again) = read(&bytes) {
                prop_assert_eq!(&again, &bytes, "{}", name);
            }
        }
    }
}
