//! The exchange of addresses: one node asks another whom it knows, and says with it where it is itself
//! reached. Nobody is told what it did not ask for, so nobody can be flooded.

use std::io;

use async_trait::async_trait;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::StreamProtocol;
use libp2p::request_response::{self, ProtocolSupport};
use types::{ChainId, List};

use super::announcement::{Announcement, MAX_BYTES};
use super::book::EXPECTED;

/// So many announcements, beside those of whom the asked one expects, are in an answer.
pub(super) const OTHERS: usize = 64;
/// A request has at most so many bytes: none, or an announcement.
const MAX_REQUEST: usize = MAX_BYTES;
/// An answer has at most so many.
const MAX_ANSWER: usize = 3 + (EXPECTED + OTHERS) * MAX_BYTES;

/// What an answer says.
pub(super) type Answer = List<Announcement, { EXPECTED + OTHERS }>;

/// The behaviour: bytes for bytes.
pub(super) type Behaviour = request_response::Behaviour<Codec>;
/// What it tells.
pub(super) type Event = request_response::Event<Vec<u8>, Vec<u8>>;

/// The exchange of one chain's nodes.
pub(super) fn behaviour(chain: &ChainId) -> Result<Behaviour, libp2p::swarm::InvalidProtocol> {
    let protocol = StreamProtocol::try_from_owned(format!("/zynk/{chain}/peers/1"))?;
    let config =
        request_response::Config::default().with_request_timeout(std::time::Duration::from_secs(10)).with_max_concurrent_streams(4);
    Ok(Behaviour::with_codec(Codec, [(protocol, ProtocolSupport::Full)], config))
}

/// Reads and writes until the stream ends, within bounds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Codec;

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T, bound: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(bound as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > bound {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes than a message may have"));
    }
    Ok(bytes)
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    io.write_all(bytes).await?;
    io.close().await
}

#[async_trait]
impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>> {
        read(io, MAX_REQUEST).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>> {
        read(io, MAX_ANSWER).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()> {
        write(io, &bytes).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()> {
        write(io, &bytes).await
    }
}
