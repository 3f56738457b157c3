//! A relay on a port, and devices that connect to it.

use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use mailbox::frame::{AcceptedItem, Acknowledge, Content, Delivery, Form, Open, Opened};
use mailbox::wire::{self, Encoding};
use mailbox::{Address, Bytes, ClientFrame, ServerFrame, Submission};
use rpc::relay::path;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use types::{Hash, Millis, SigningKey};
use uuid::Uuid;

use crate::accounts::tests::{Person, prekeys};
use crate::app::Parts;
use crate::config::Config;
use crate::http::tests::Door;
use crate::messages::Messages;
use crate::messages::tests::fixture;
use crate::{App, http};

/// How long something may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A relay that listens on loopback.
pub(super) struct World {
    pub(super) door: Door,
    pub(super) at: SocketAddr,
}

/// Somebody with an account, a session and prekeys.
pub(super) struct Member {
    pub(super) person: Person,
    pub(super) token: String,
}

impl Member {
    pub(super) fn address(&self) -> Address {
        self.person.address(1)
    }

    /// A message to them: for their only device, whose registration id is 5.
    pub(super) fn message(&self, number: u64) -> Submission {
        let content =
            Content { device_id: 1, registration_id: 5, form: Form::Prekey, encrypted_content: Bytes(number.to_be_bytes().to_vec()) };
        Submission {
            message_id: fixture::id(number),
            conversation_id: Hash([9; 32]),
            recipient_id: self.person.did(),
            contents: vec![content],
            own_contents: Vec::new(),
            content_hash: Some(audit::Commitment(Hash::sha256(&[&number.to_be_bytes()]))),
            timestamp: Millis(1_800_000_000_000),
        }
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(choose: impl FnOnce(&mut Config)) -> Self {
        let door = Door::with(choose).await;
        let at = serve(door.app.clone()).await;
        Self { door, at }
    }

    /// The same relay on another port, with another store of messages, which stops when it is told.
    pub(super) async fn over(self, messages: Messages) -> (Self, watch::Sender<bool>) {
        let (stop, stopped) = watch::channel(false);
        let app = &self.door.app;
        let parts = Parts {
            config: app.config.clone(),
            relay: app.relay.clone(),
            // The one that every door has, so that its tokens are good here.
            tokens: SigningKey::from_seed(&[9; 32]),
            accounts: app.accounts.clone(),
            messages,
            chain: app.chain.clone(),
            clock: app.clock.clone(),
            stop: stopped,
        };
        let at = serve(Arc::new(App::new(parts))).await;
        (Self { at, ..self }, stop)
    }

    pub(super) async fn member(&self) -> Member {
        let person = self.door.registered().await;
        let token = self.door.signed_in(&person, 1).await.access_token;
        let keys = prekeys(&person, 1, 5, 1, 100);
        self.door.app.accounts.publish(&person.address(1), &keys, self.door.app.now()).await.expect("they are published");
        Member { person, token }
    }

    pub(super) async fn connect(&self, encoding: Encoding) -> Device {
        let socket = self.try_connect(Some(encoding.subprotocol())).await.expect("it connects");
        Device { socket, encoding }
    }

    pub(super) async fn try_connect(&self, subprotocol: Option<&str>) -> Result<Socket, tungstenite::Error> {
        connect(self.at, subprotocol).await
    }

    /// Connects and opens a session.
    pub(super) async fn open(&self, member: &Member, encoding: Encoding, acknowledged: u64) -> (Device, Opened) {
        let mut device = self.connect(encoding).await;
        device.say(&ClientFrame::Open(Open { token: member.token.clone(), acknowledged })).await;
        let ServerFrame::Opened(opened) = device.hear().await else { panic!("the session does not open") };
        assert_eq!(opened.address, member.address());
        (device, opened)
    }
}

async fn connect(at: SocketAddr, subprotocol: Option<&str>) -> Result<Socket, tungstenite::Error> {
    let mut request = format!("ws://{at}{}", path::SESSION).into_client_request()?;
    if let Some(subprotocol) = subprotocol {
        request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().expect("a header"));
    }
    let (socket, response) = connect_async(request).await?;
    let chosen = response.headers().get("sec-websocket-protocol").and_then(|name| name.to_str().ok());
    assert!(subprotocol.is_some_and(|offered| offered.split(", ").any(|offered| Some(offered) == chosen)), "{chosen:?}");
    Ok(socket)
}

/// Serves on a port of loopback until the process ends.
pub(super) async fn serve(app: Arc<App>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    tokio::spawn(axum::serve(listener, http::router(app)).into_future());
    at
}

/// A connection's other end.
pub(super) struct Device {
    pub(super) socket: Socket,
    encoding: Encoding,
}

impl Device {
    /// Connects to a relay that may be gone.
    pub(super) async fn to(at: SocketAddr, encoding: Encoding) -> Option<Self> {
        Some(Self { socket: connect(at, Some(encoding.subprotocol())).await.ok()?, encoding })
    }

    /// Says something to a relay that may be gone. Whether it was there.
    pub(super) async fn try_say(&mut self, frame: &ClientFrame) -> bool {
        self.socket.send(self.message(wire::encode(self.encoding, frame))).await.is_ok()
    }

    fn message(&self, bytes: Vec<u8>) -> Message {
        match self.encoding {
            Encoding::Json => Message::text(String::from_utf8(bytes).expect("text")),
            Encoding::Cbor => Message::binary(bytes),
        }
    }

    pub(super) async fn say(&mut self, frame: &ClientFrame) {
        assert!(self.try_say(frame).await, "it is sent");
    }

    pub(super) async fn acknowledge(&mut self, upto: u64) {
        self.say(&ClientFrame::Acknowledge(Acknowledge { upto, also: Vec::new() })).await;
    }

    /// The next frame, or why there is none.
    pub(super) async fn listen(&mut self) -> Result<ServerFrame, Option<u16>> {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.expect("in time");
            match (message, self.encoding) {
                (Some(Ok(Message::Text(text))), Encoding::Json) => {
                    return Ok(wire::decode_server(self.encoding, text.as_bytes()).expect("a frame"));
                }
                (Some(Ok(Message::Binary(bytes))), Encoding::Cbor) => {
                    return Ok(wire::decode_server(self.encoding, &bytes).expect("a frame"));
                }
                (Some(Ok(Message::Ping(_) | Message::Pong(_))), _) => {}
                (Some(Ok(Message::Close(close))), _) => return Err(close.map(|close| close.code.into())),
                (None | Some(Err(_)), _) => return Err(None),
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    pub(super) async fn hear(&mut self) -> ServerFrame {
        self.listen().await.unwrap_or_else(|code| panic!("closed: {code:?}"))
    }

    /// The number of the problem, and with which code the connection was closed.
    pub(super) async fn closed(&mut self) -> (u32, Option<u16>) {
        let mut problem = 0;
        loop {
            match self.listen().await {
                Ok(ServerFrame::Error(error)) => problem = error.code,
                Ok(_) => {}
                Err(code) => return (problem, code),
            }
        }
    }

    /// Waits for the answers to so many messages.
    pub(super) async fn accepted(&mut self, count: usize) -> Vec<AcceptedItem> {
        let mut items = Vec::new();
        while items.len() < count {
            match self.hear().await {
                ServerFrame::Accepted(accepted) => items.extend(accepted.items),
                ServerFrame::Empty(_) | ServerFrame::SlowDown(_) => {}
                other => panic!("{other:?}"),
            }
        }
        items
    }

    /// Waits for so many messages.
    pub(super) async fn received(&mut self, count: usize) -> Vec<Delivery> {
        let mut items = Vec::new();
        while items.len() < count {
            match self.hear().await {
                ServerFrame::Received(received) => items.extend(received.items),
                ServerFrame::Empty(_) | ServerFrame::Accepted(_) => {}
                other => panic!("{other:?}"),
            }
        }
        items
    }

    /// Waits until the mailbox is said to be empty; whether nothing came before.
    pub(super) async fn is_empty(&mut self) -> bool {
        matches!(self.hear().await, ServerFrame::Empty(_))
    }

    pub(super) async fn send(&mut self, submission: Submission) -> ServerFrame {
        self.say(&ClientFrame::Send(submission)).await;
        loop {
            match self.hear().await {
                ServerFrame::Empty(_) => {}
                answer => return answer,
            }
        }
    }
}

/// The numbers and ids of what was received.
pub(super) fn names(items: &[Delivery]) -> Vec<(u64, Uuid)> {
    items.iter().map(|item| (item.sequence, item.message_id)).collect()
}
