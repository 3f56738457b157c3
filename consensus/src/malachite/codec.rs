//! The engine's messages on the wire and in its log, in our canonical encoding
//! (`docs/spec/consensus-wire.md`). Every list has a bound; whatever is left over is refused.

use bytes::Bytes;
use malachite::app::consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use malachite::app::streaming::{StreamContent, StreamId, StreamMessage};
use malachite::app::types::PeerId;
use malachite::app::types::codec::{Codec, HasEncodedLen};
use malachite::app::types::core::{
    ExtendedCommitCertificate, ExtendedCommitSignature, NilOrVal, PolkaCertificate, PolkaSignature, Round, RoundCertificate,
    RoundCertificateType, RoundSignature, SignedMessage, SignedProposal, SignedVote, ValidatorProof, Validity, VoteType,
};
use malachite::app::types::sync;
use malachite_sync::{ValueRequest, ValueResponse};
use tendermint::account;
use types::{Blob, Decode, DecodeError, Encode, Hash, Reader, Signature};

use super::context::{Address, BlockHash, ConsensusSignature, Height, Part, Proposal, Vote, Zynk};
use super::parts::{Init, PIECE_BYTES};

/// At most this many validators sign a certificate.
const MAX_SIGNERS: usize = 1024;
/// At most this many decided blocks travel in one answer.
const MAX_SYNCED: usize = 64;
/// At most this many bytes has a block that travels in an answer.
const MAX_BLOCK: usize = 8 * 1024 * 1024;
/// Heights and rounds are below these bounds, CometBFT's.
const MAX_HEIGHT: u64 = 1 << 62;
const MAX_ROUND: u32 = 1 << 30;

/// The codec of all the engine's messages.
#[derive(Clone, Copy, Debug)]
pub struct Wire;

macro_rules! encoded {
    ($type:ty) => {
        impl Codec<$type> for Wire {
            type Error = DecodeError;
            fn decode(&self, bytes: Bytes) -> Result<$type, DecodeError> {
                let mut reader = Reader::new(&bytes);
                let value = <$type as OnWire>::read(&mut reader)?;
                reader.finish()?;
                Ok(value)
            }
            fn encode(&self, value: &$type) -> Result<Bytes, DecodeError> {
                let mut out = Vec::new();
                value.write(&mut out);
                Ok(out.into())
            }
        }
    };
}

/// A foreign type's form on our wire.
trait OnWire: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

encoded!(Part);
encoded!(SignedConsensusMsg<Zynk>);
encoded!(LivenessMsg<Zynk>);
encoded!(StreamMessage<Part>);
encoded!(ValidatorProof<Zynk>);
encoded!(PolkaCertificate<Zynk>);
encoded!(ProposedValue<Zynk>);
encoded!(sync::Status<Zynk>);
encoded!(sync::Request<Zynk>);
encoded!(sync::Response<Zynk>);

impl HasEncodedLen<sync::Response<Zynk>> for Wire {
    fn encoded_len(&self, response: &sync::Response<Zynk>) -> Result<usize, DecodeError> {
        Ok(Codec::encode(self, response)?.len())
    }
}

fn unknown(what: &'static str, found: u8) -> DecodeError {
    DecodeError::Tag { what, found }
}

impl OnWire for Height {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::decode(reader).and_then(|height| if height < MAX_HEIGHT { Ok(Self(height)) } else { Err(DecodeError::Number) })
    }
}

impl OnWire for Round {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_u32().encode(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match Option::<u32>::decode(reader)? {
            None => Ok(Self::Nil),
            Some(round) if round < MAX_ROUND => Ok(Self::new(round)),
            Some(_) => Err(DecodeError::Number),
        }
    }
}

/// A round that must not be nil.
fn read_round(reader: &mut Reader<'_>) -> Result<Round, DecodeError> {
    match Round::read(reader)? {
        Round::Nil => Err(DecodeError::Value { what: "round" }),
        round @ Round::Some(_) => Ok(round),
    }
}

impl OnWire for Address {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(account::Id::new).map(Self)
    }
}

impl OnWire for BlockHash {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Hash::decode(reader).map(Self)
    }
}

impl OnWire for NilOrVal<BlockHash> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nil => out.push(0),
            Self::Val(hash) => {
                out.push(1);
                hash.write(out);
            }
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(Self::Nil),
            1 => BlockHash::read(reader).map(Self::Val),
            found => Err(unknown("vote value", found)),
        }
    }
}

impl OnWire for ConsensusSignature {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Signature::decode(reader).map(Self)
    }
}

impl OnWire for VoteType {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Prevote => 0,
            Self::Precommit => 1,
        });
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(Self::Prevote),
            1 => Ok(Self::Precommit),
            found => Err(unknown("vote", found)),
        }
    }
}

impl OnWire for SignedVote<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        let vote = &self.message;
        vote.kind.write(out);
        vote.height.write(out);
        vote.round.write(out);
        vote.value.write(out);
        vote.voter.write(out);
        self.signature.write(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let vote = Vote {
            kind: OnWire::read(reader)?,
            height: OnWire::read(reader)?,
            round: read_round(reader)?,
            value: OnWire::read(reader)?,
            voter: OnWire::read(reader)?,
            extension: None,
        };
        Ok(SignedMessage::new(vote, OnWire::read(reader)?))
    }
}

impl OnWire for SignedProposal<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        let proposal = &self.message;
        proposal.height.write(out);
        proposal.round.write(out);
        proposal.value.write(out);
        proposal.pol_round.write(out);
        proposal.proposer.write(out);
        self.signature.write(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let proposal = Proposal {
            height: OnWire::read(reader)?,
            round: read_round(reader)?,
            value: OnWire::read(reader)?,
            pol_round: OnWire::read(reader)?,
            proposer: OnWire::read(reader)?,
        };
        Ok(SignedMessage::new(proposal, OnWire::read(reader)?))
    }
}

impl OnWire for SignedConsensusMsg<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Vote(vote) => {
                out.push(0);
                vote.write(out);
            }
            Self::Proposal(proposal) => {
                out.push(1);
                proposal.write(out);
            }
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => OnWire::read(reader).map(Self::Vote),
            1 => OnWire::read(reader).map(Self::Proposal),
            found => Err(unknown("consensus message", found)),
        }
    }
}

/// A list of at most `bound` foreign values.
fn write_list<T: OnWire>(values: &[T], out: &mut Vec<u8>) {
    types::codec::put_number(values.len() as u64, out);
    for value in values {
        value.write(out);
    }
}

fn read_list<T: OnWire>(reader: &mut Reader<'_>, bound: usize) -> Result<Vec<T>, DecodeError> {
    let count = reader.count(bound)?;
    (0..count).map(|_| T::read(reader)).collect()
}

impl OnWire for PolkaSignature<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        self.address.write(out);
        self.signature.write(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::new(OnWire::read(reader)?, OnWire::read(reader)?))
    }
}

impl OnWire for PolkaCertificate<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        self.height.write(out);
        self.round.write(out);
        self.value_id.write(out);
        write_list(&self.polka_signatures, out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            height: OnWire::read(reader)?,
            round: read_round(reader)?,
            value_id: OnWire::read(reader)?,
            polka_signatures: read_list(reader, MAX_SIGNERS)?,
        })
    }
}

impl OnWire for RoundSignature<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        self.vote_type.write(out);
        self.value_id.write(out);
        self.address.write(out);
        self.signature.write(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::new(OnWire::read(reader)?, OnWire::read(reader)?, OnWire::read(reader)?, OnWire::read(reader)?))
    }
}

impl OnWire for RoundCertificate<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        self.height.write(out);
        self.round.write(out);
        (self.cert_type == RoundCertificateType::Skip).encode(out);
        write_list(&self.round_signatures, out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            height: OnWire::read(reader)?,
            round: read_round(reader)?,
            cert_type: if bool::decode(reader)? { RoundCertificateType::Skip } else { RoundCertificateType::Precommit },
            round_signatures: read_list(reader, MAX_SIGNERS)?,
        })
    }
}

impl OnWire for LivenessMsg<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Vote(vote) => {
                out.push(0);
                vote.write(out);
            }
            Self::PolkaCertificate(certificate) => {
                out.push(1);
                certificate.write(out);
            }
            Self::SkipRoundCertificate(certificate) => {
                out.push(2);
                certificate.write(out);
            }
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => OnWire::read(reader).map(Self::Vote),
            1 => OnWire::read(reader).map(Self::PolkaCertificate),
            2 => OnWire::read(reader).map(Self::SkipRoundCertificate),
            found => Err(unknown("liveness message", found)),
        }
    }
}

impl OnWire for Part {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Init(init) => {
                out.push(0);
                init.encode(out);
            }
            Self::Data(piece) => {
                out.push(1);
                types::codec::put_number(piece.len() as u64, out);
                out.extend_from_slice(piece);
            }
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Init::decode(reader).map(|init| Self::Init(Box::new(init))),
            1 => {
                let count = reader.count(PIECE_BYTES)?;
                Ok(Self::Data(Bytes::copy_from_slice(reader.take(count)?)))
            }
            found => Err(unknown("part", found)),
        }
    }
}

impl OnWire for StreamMessage<Part> {
    fn write(&self, out: &mut Vec<u8>) {
        let id = self.stream_id.to_bytes();
        types::codec::put_number(id.len() as u64, out);
        out.extend_from_slice(&id);
        self.sequence.encode(out);
        match &self.content {
            StreamContent::Fin => out.push(0),
            StreamContent::Data(part) => {
                out.push(1);
                part.write(out);
            }
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = Blob::<64>::decode(reader)?;
        let sequence = u64::decode(reader)?;
        let content = match u8::decode(reader)? {
            0 => StreamContent::Fin,
            1 => StreamContent::Data(Part::read(reader)?),
            found => return Err(unknown("stream content", found)),
        };
        Ok(Self::new(StreamId::new(Bytes::copy_from_slice(&id)), sequence, content))
    }
}

impl OnWire for ValidatorProof<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        for field in [&self.public_key, &self.peer_id] {
            types::codec::put_number(field.len() as u64, out);
            out.extend_from_slice(field);
        }
        self.signature.write(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (key, peer) = (Blob::<64>::decode(reader)?, Blob::<64>::decode(reader)?);
        Ok(Self::new(key.to_vec(), peer.to_vec(), OnWire::read(reader)?))
    }
}

impl OnWire for ProposedValue<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        self.height.write(out);
        self.round.write(out);
        self.valid_round.write(out);
        self.proposer.write(out);
        self.value.write(out);
        self.validity.is_valid().encode(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            height: OnWire::read(reader)?,
            round: read_round(reader)?,
            valid_round: OnWire::read(reader)?,
            proposer: OnWire::read(reader)?,
            value: OnWire::read(reader)?,
            validity: Validity::from_bool(bool::decode(reader)?),
        })
    }
}

impl OnWire for sync::Status<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        let peer = self.peer_id.to_bytes();
        types::codec::put_number(peer.len() as u64, out);
        out.extend_from_slice(&peer);
        self.tip_height.write(out);
        self.history_min_height.write(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let peer = Blob::<64>::decode(reader)?;
        let peer_id = PeerId::from_bytes(&peer).map_err(|_| DecodeError::Value { what: "peer id" })?;
        Ok(Self { peer_id, tip_height: OnWire::read(reader)?, history_min_height: OnWire::read(reader)? })
    }
}

impl OnWire for sync::Request<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        let Self::ValueRequest(request) = self;
        request.range.start().write(out);
        request.range.end().write(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (start, end) = (Height::read(reader)?, Height::read(reader)?);
        Ok(Self::ValueRequest(ValueRequest::new(start..=end)))
    }
}

impl OnWire for ExtendedCommitSignature<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        self.address.write(out);
        self.signature.write(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::new(OnWire::read(reader)?, OnWire::read(reader)?, None))
    }
}

impl OnWire for ExtendedCommitCertificate<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        self.height.write(out);
        self.round.write(out);
        self.value_id.write(out);
        write_list(&self.commit_signatures, out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            height: OnWire::read(reader)?,
            round: read_round(reader)?,
            value_id: OnWire::read(reader)?,
            commit_signatures: read_list(reader, MAX_SIGNERS)?,
        })
    }
}

impl OnWire for sync::RawDecidedValue<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        types::codec::put_number(self.value_bytes.len() as u64, out);
        out.extend_from_slice(&self.value_bytes);
        self.certificate.write(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.count(MAX_BLOCK)?;
        let body = Bytes::copy_from_slice(reader.take(count)?);
        Ok(Self::new(body, OnWire::read(reader)?))
    }
}

impl OnWire for sync::Response<Zynk> {
    fn write(&self, out: &mut Vec<u8>) {
        let Self::ValueResponse(response) = self;
        response.start_height.write(out);
        write_list(&response.values, out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = Height::read(reader)?;
        Ok(Self::ValueResponse(ValueResponse::new(start, read_list(reader, MAX_SYNCED)?)))
    }
}

#[cfg(test)]
mod tests;
