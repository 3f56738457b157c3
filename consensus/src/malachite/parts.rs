//! Blocks on the wire: taken apart by the proposer, put together by everyone else.
//!
//! A stream is one [`Init`], which has the proposer's signature of the proposal and names the size and hash of what
//! follows, then the block's bytes in pieces. So nothing is kept for long that no proposer has signed for, and a wrong byte
//! shows before the block is decoded.

use std::collections::BTreeMap;

use bytes::Bytes;
use malachite::app::streaming::{StreamContent, StreamId, StreamMessage};
use malachite::app::types::PeerId;
use tendermint::account;
use tendermint::block::Round;
use tendermint::proposal::Proposal;
use types::{Hash, Signature};

use super::context::{BlockHash, Part};
use super::signing;

/// The size of a piece, in bytes; the last may be shorter.
pub const PIECE_BYTES: usize = 64 * 1024;

/// At most this many streams are open for one publishing peer; a new one displaces the oldest.
const OPEN_PER_PEER: usize = 4;

/// At most this many publishing peers have open streams. Beyond it a new one displaces one for whom no proposer
/// has signed, since anybody can make up peers; where there is none, one of the lowest height and round. Above this node's
/// own round the driver looks at 10 rounds, and at 11 of the next height: with [`OPEN_PER_TURN`] they never fill this.
const PEERS: usize = 256;

/// At most this many announced streams are open of one height and round; one more is dropped. It is one proposer's
/// turn, but whoever has seen its announcement can say it again, in the names of made-up peers and with any size.
const OPEN_PER_TURN: usize = 8;

/// Streams without an announcement hold at most this many blocks' worth of bytes together. Beyond it those of the publisher
/// that holds the most go.
const UNANNOUNCED: usize = 8;

/// What a proposer says before a block's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The height at which the block is proposed.
    pub height: u64,
    /// The round in which it is proposed.
    pub round: u32,
    /// The round in which it had a quorum of prevotes before, if it is proposed again.
    pub valid_round: Option<u32>,
    /// Who proposes: the address of the key that signs this.
    pub proposer: [u8; 20],
    /// The hash of the block's header.
    pub block: Hash,
    /// The size of the block, in bytes.
    pub size: u32,
    /// BLAKE3 of the block's bytes.
    pub body: Hash,
}
types::codec!(Announcement { height, round, valid_round, proposer, block, size, body });

/// An announcement and its proposer's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// What is announced.
    pub announcement: Announcement,
    /// The proposer's signature over [`Announcement::proposal`].
    pub signature: Signature,
}
types::codec!(Init { announcement, signature });

impl Announcement {
    /// What the proposer signs: the proposal itself, so that it signs once, and any signer of Tendermint's can. Size and hash
    /// of the bytes are not in it; what they bring together is the block that was signed for, or is dropped. `None` if
    /// height or rounds are none of Tendermint's.
    #[must_use]
    pub fn proposal(&self) -> Option<Proposal> {
        let pol_round = self.valid_round.map(Round::try_from).transpose().ok()?;
        Some(signing::proposal(self.height.try_into().ok()?, self.round.try_into().ok()?, pol_round, BlockHash(self.block)))
    }

    /// The proposer's address.
    #[must_use]
    pub fn proposer(&self) -> account::Id {
        account::Id::new(self.proposer)
    }
}

/// Takes a block apart into the messages of one stream.
#[must_use]
pub fn split(init: Init, body: &Bytes, stream: u64) -> Vec<StreamMessage<Part>> {
    let announcement = &init.announcement;
    let mut id = announcement.height.to_be_bytes().to_vec();
    id.extend(announcement.round.to_be_bytes());
    id.extend(stream.to_be_bytes());
    let id = StreamId::new(id.into());
    let init = Part::Init(Box::new(init));
    let pieces = (0..body.len()).step_by(PIECE_BYTES).map(|at| body.slice(at..body.len().min(at + PIECE_BYTES)));
    let parts = std::iter::once(init).chain(pieces.map(Part::Data));
    let content = parts.map(StreamContent::Data).chain(std::iter::once(StreamContent::Fin));
    content.zip(0..).map(|(content, sequence)| StreamMessage::new(id.clone(), sequence, content)).collect()
}

/// A stream that is complete: the announcement, and the bytes that it announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// What was announced and signed.
    pub init: Init,
    /// The block's bytes; their hash is the announced one.
    pub body: Bytes,
}

/// Streams that are not complete yet.
#[derive(Debug, Default)]
pub struct Assembly {
    open: BTreeMap<Vec<u8>, Vec<Stream>>,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    init: Option<Init>,
    pieces: BTreeMap<u64, Bytes>,
    held: usize,
    end: Option<u64>,
}

impl Assembly {
    /// Takes a part; hands out the block when the stream is complete.
    ///
    /// `accepts` judges an announcement (a validator of this height signed it, the size is within
    /// the bound); a stream whose announcement is refused is dropped, and nothing is kept of a
    /// stream before its announcement but one block's worth of bytes, within what all such streams may hold.
    pub fn take(
        &mut self,
        publisher: Option<PeerId>,
        message: StreamMessage<Part>,
        max_bytes: usize,
        accepts: impl FnOnce(&Init) -> bool,
    ) -> Option<Assembled> {
        let publisher = publisher.map_or_else(Vec::new, |peer| peer.to_bytes());
        if let StreamContent::Data(Part::Init(init)) = &message.content
            && self.streams().filter(|stream| stream.turn() == Some(turn(init))).count() >= OPEN_PER_TURN
        {
            return None;
        }
        if !self.open.contains_key(&publisher) && self.open.len() >= PEERS {
            self.make_room();
        }
        let streams = self.open.entry(publisher.clone()).or_default();
        let place = match streams.iter().position(|stream| stream.id == message.stream_id) {
            Some(place) => place,
            None => {
                if streams.len() == OPEN_PER_PEER {
                    streams.remove(0);
                }
                streams.push(Stream::new(message.stream_id.clone()));
                streams.len() - 1
            }
        };
        let fits = streams[place].take(message, max_bytes, accepts);
        if fits && !streams[place].is_complete() {
            if streams[place].init.is_none() {
                self.make_room_for_bytes(max_bytes);
            }
            return None;
        }
        let stream = streams.remove(place);
        if streams.is_empty() {
            self.open.remove(&publisher);
        }
        if fits { stream.assemble() } else { None }
    }

    /// Drops the streams of a publisher that has announced nothing, or else nothing but what is oldest.
    fn make_room(&mut self) {
        let latest = |streams: &[Stream]| streams.iter().filter_map(Stream::turn).max();
        let least = self.open.iter().min_by_key(|(_, streams)| latest(streams)).map(|(publisher, _)| publisher.clone());
        if let Some(publisher) = least {
            self.open.remove(&publisher);
        }
    }

    /// Drops unannounced streams while all of them hold more than they may.
    fn make_room_for_bytes(&mut self, max_bytes: usize) {
        let held = |streams: &[Stream]| -> usize { streams.iter().filter(|stream| stream.init.is_none()).map(|stream| stream.held).sum() };
        while self.open.values().map(|streams| held(streams)).sum::<usize>() > UNANNOUNCED.saturating_mul(max_bytes) {
            let Some(streams) = self.open.values_mut().max_by_key(|streams| held(streams)) else { return };
            streams.retain(|stream| stream.init.is_some());
            self.open.retain(|_, streams| !streams.is_empty());
        }
    }

    fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.open.values().flatten()
    }

    /// Drops every stream for `height` and below.
    pub fn forget(&mut self, height: u64) {
        for streams in self.open.values_mut() {
            streams.retain(|stream| stream.init.as_ref().is_some_and(|init| init.announcement.height > height));
        }
        self.open.retain(|_, streams| !streams.is_empty());
    }
}

impl Stream {
    const fn new(id: StreamId) -> Self {
        Self { id, init: None, pieces: BTreeMap::new(), held: 0, end: None }
    }

    /// Takes a part; `false` if the stream breaks a rule and is to be dropped.
    fn take(&mut self, message: StreamMessage<Part>, max_bytes: usize, accepts: impl FnOnce(&Init) -> bool) -> bool {
        match (message.sequence, message.content) {
            (0, StreamContent::Data(Part::Init(init))) => {
                if self.init.is_none() && !accepts(&init) {
                    return false;
                }
                self.init.get_or_insert(*init);
                true
            }
            (1.., StreamContent::Data(Part::Data(piece))) if !piece.is_empty() && piece.len() <= PIECE_BYTES => {
                let bound = self.init.as_ref().map_or(max_bytes, |init| init.announcement.size as usize);
                self.held += piece.len();
                // Only the last piece is short, so that many tiny ones cannot take more memory than the block.
                let numbered = message.sequence <= bound.div_ceil(PIECE_BYTES) as u64;
                numbered && self.pieces.insert(message.sequence, piece).is_none() && self.held <= bound
            }
            (end @ 1.., StreamContent::Fin) => {
                self.end = Some(end);
                true
            }
            _ => false,
        }
    }

    fn turn(&self) -> Option<(u64, u32)> {
        self.init.as_ref().map(turn)
    }

    fn is_complete(&self) -> bool {
        self.init.is_some() && self.end == Some(self.pieces.len() as u64 + 1)
    }

    fn assemble(self) -> Option<Assembled> {
        let init = self.init?;
        let body: Vec<u8> = self.pieces.into_values().flatten().collect();
        let announced = body.len() == init.announcement.size as usize && Hash(*blake3::hash(&body).as_bytes()) == init.announcement.body;
        announced.then(|| Assembled { init, body: body.into() })
    }
}

/// The height and round of an announcement.
const fn turn(init: &Init) -> (u64, u32) {
    (init.announcement.height, init.announcement.round)
}

#[cfg(test)]
mod tests;
