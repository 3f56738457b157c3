//! A device's WebSocket, as bare as it can be: what it costs here is taken from the same processors.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use mailbox::frame::{MAX_FRAME, Open};
use mailbox::wire::{self, Encoding};
use mailbox::{ClientFrame, ServerFrame};
use rpc::relay::path;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::people::Guest;
use crate::failure::Failure;

/// How long a session may take to stand.
const OPENING: Duration = Duration::from_secs(60);

/// What is read at once, in bytes: ten thousand connections have one each.
const READ_BUFFER: usize = 8 << 10;

/// A session that stands.
#[derive(Debug)]
pub(super) struct Line {
    socket: WebSocketStream<TcpStream>,
}

impl Line {
    /// Connects at `url` and opens a session. `acknowledged`: up to where the device has everything.
    pub(super) async fn open(url: &str, guest: &Guest, acknowledged: u64) -> Result<Self, Failure> {
        let opening = async {
            let mut line = Self::connect(url).await?;
            let open = Open { token: guest.token.clone(), acknowledged };
            line.put(&ClientFrame::Open(open)).await?;
            line.flush().await?;
            match line.hear().await? {
                ServerFrame::Opened(_) => Ok(line),
                frame => Err(ended(&format!("no session: {frame:?}"))),
            }
        };
        timeout(OPENING, opening).await.map_err(|_| ended("no session in time"))?
    }

    async fn connect(url: &str) -> Result<Self, Failure> {
        let host = url.trim_start_matches("http://");
        let stream = TcpStream::connect(host).await.map_err(|error| ended(&error))?;
        stream.set_nodelay(true).map_err(|error| ended(&error))?;
        let mut request = format!("ws://{host}{}", path::SESSION).into_client_request().map_err(|error| ended(&error))?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(Encoding::Cbor.subprotocol()));
        let config =
            WebSocketConfig::default().read_buffer_size(READ_BUFFER).max_message_size(Some(MAX_FRAME)).max_frame_size(Some(MAX_FRAME));
        // Boxed: a handshake is larger than everything that follows.
        let connected = Box::pin(client_async_with_config(request, stream, Some(config))).await;
        let (socket, _) = connected.map_err(|error| ended(&error))?;
        Ok(Self { socket })
    }

    /// Writes a frame, which leaves with the next [`Self::flush`] at the latest.
    pub(super) async fn put(&mut self, frame: &ClientFrame) -> Result<(), Failure> {
        let bytes = wire::encode(Encoding::Cbor, frame);
        self.socket.feed(Message::binary(bytes)).await.map_err(|error| ended(&error))
    }

    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        self.socket.flush().await.map_err(|error| ended(&error))
    }

    /// The next frame. Safe to drop and call again.
    pub(super) async fn hear(&mut self) -> Result<ServerFrame, Failure> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => {
                    return wire::decode_server(Encoding::Cbor, &bytes).map_err(|error| ended(&error));
                }
                // Reading answers pings.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(frame))) => {
                    return Err(ended(&frame.map_or_else(|| "it was closed".to_owned(), |frame| frame.to_string())));
                }
                Some(Ok(_)) => return Err(ended("another kind of WebSocket message")),
                Some(Err(error)) => return Err(ended(&error)),
                None => return Err(ended("it was closed")),
            }
        }
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        // The other side may be gone.
        let _ = self.socket.close(None).await;
    }
}

fn ended<T: std::fmt::Display + ?Sized>(why: &T) -> Failure {
    Failure::Bench(format!("a device's connection: {why}"))
}
