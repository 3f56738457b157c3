//! The session with the relay: what is in the outbox leaves, what is in the mailbox is taken, and when the
//! line breaks it is begun again where it stood.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use genesis::file;
use mailbox::frame::{Accepted, Acknowledge, Delivery, MAX_FRAME, Open};
use mailbox::queue::Ahead;
use mailbox::wire::{self, Encoding};
use mailbox::{ClientFrame, ServerFrame};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use uuid::Uuid;

use crate::Error;
use crate::client::{Client, Inner, now};
use crate::event::Event;
use crate::history::State;
use crate::receiving::ACKNOWLEDGED;
use crate::store::outbox;

/// How many frames may be without an answer before the next one waits.
const MAX_FLIGHT: usize = 16;

/// How long the relay may take to say the first word.
const OPENING: Duration = Duration::from_secs(20);

/// How long an answer to a frame may take before the line counts as dead.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether another process put something into the outbox.
const LOOK: Duration = Duration::from_millis(250);

/// How often a ping shows that the line is alive.
const PING: Duration = Duration::from_secs(25);

/// The first wait before it is tried again, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// How long a message waits whose contact or relay is not to be had.
const RETRY_MS: u64 = 15_000;

mod answers;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A device that is connected until this is dropped or stopped.
#[derive(Debug)]
pub struct Connection {
    events: broadcast::Receiver<Event>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    over: bool,
}

impl Connection {
    /// The next event; none once the connection has ended by itself: after [`Event::Removed`]. Of more than 1,024 that nobody took, the oldest are
    /// gone; nothing is lost by that, since all of it is in the store.
    pub async fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        loop {
            match self.events.recv().await {
                Ok(event) => {
                    self.over = event == Event::Removed;
                    return Some(event);
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Ends the connection.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let _ = (&mut self.task).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A task that is ended between two polls has its transaction rolled back, as in a crash.
        self.task.abort();
    }
}

impl Client {
    /// Connects, and stays connected: sends what is in the outbox, receives, and tells of it.
    ///
    /// # Errors
    /// [`Error::NotRegistered`]; [`Error::Busy`] if another process is connected with this device: what is sent
    /// here leaves through that one.
    pub async fn listen(&self) -> Result<Connection, Error> {
        self.inner.device().await?.address()?;
        let lock = file::lock(&self.inner.folder.join("connection")).map_err(Error::Busy)?;
        let (stop, stopped) = watch::channel(false);
        let events = self.inner.events.subscribe();
        let inner = self.inner.clone();
        let task = tokio::spawn(async move {
            let _lock = lock;
            Box::pin(inner.stay(stopped)).await;
        });
        Ok(Connection { events, stop, task, over: false })
    }

    /// Waits until a message has left the outbox: accepted or refused. Connects for that, or waits for the process
    /// that is connected.
    ///
    /// # Errors
    /// [`Error::Timeout`] after `patience`; the message stays in the outbox. [`Error::NoMessage`].
    pub async fn settle(&self, id: &Uuid, patience: Duration) -> Result<crate::history::Message, Error> {
        self.inner.hurry(id).await?;
        let connection = match self.listen().await {
            Err(Error::Busy(_)) => None,
            connection => Some(connection?),
        };
        let until = Instant::now() + patience;
        let result = loop {
            let message = self.message(id).await?;
            if message.state != State::Queued {
                break Ok(message);
            }
            // A reason that does not pass is told at once.
            if message.code.is_some() || Instant::now() >= until {
                break if message.code.is_some() {
                    Ok(message)
                } else {
                    Err(Error::Timeout { what: "sending", after_s: patience.as_secs() })
                };
            }
            sleep(Duration::from_millis(20)).await;
        };
        if let Some(connection) = connection {
            connection.stop().await;
        }
        result
    }
}

/// One session that stands.
struct Session<'a> {
    inner: &'a Inner,
    socket: Socket,
    /// What was sent and not answered, with the time of it; at most [`MAX_FLIGHT`].
    flight: Vec<(Uuid, Instant)>,
    /// Nothing is sent before this.
    hold: Instant,
    /// Whether a message went either way.
    moved: &'a mut bool,
    /// Whether this device's next Signal key is on the chain and not in use yet: nothing is sent until the mailbox, which
    /// is for the key before, is empty.
    succeeding: bool,
}

impl Inner {
    async fn stay(&self, mut stopped: watch::Receiver<bool>) {
        let mut wait = BACKOFF.0;
        loop {
            let (begun, mut moved) = (Instant::now(), false);
            let ended = tokio::select! {
                ended = Box::pin(self.session(&mut moved)) => ended,
                _ = stopped.changed() => break,
            };
            // A session in which something moved, or that stood for a while, was a good one.
            if moved || begun.elapsed() > BACKOFF.1 {
                wait = BACKOFF.0;
            }
            if let Err(error) = ended {
                if matches!(&error, Error::Relay { status: 401 | 403, .. } | Error::Closed { code: 4401 | 7011..=7014, .. }) {
                    self.api.forget().await;
                }
                // The relay's mailbox was set back, and knows less than this device has: it begins anew, and what comes
                // twice is recognised.
                if matches!(&error, Error::Closed { code: Ahead::CODE, .. })
                    && let Err(error) = self.store.put(ACKNOWLEDGED, &0u64).await
                {
                    tracing::error!(code = error.code(), "the mailbox's number cannot be written");
                }
                // A device that was removed would try for ever, and have its whole address refused for that.
                if matches!(&error, Error::Relay { status: 401, .. }) && self.is_removed().await {
                    self.tell(Event::Removed);
                    return;
                }
                let retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                self.tell(Event::Disconnected { code: error.code(), reason: error.to_string(), retry_in_ms });
            }
            tokio::select! {
                () = sleep(wait) => {}
                _ = stopped.changed() => break,
            }
            wait = (wait * 2).min(BACKOFF.1);
        }
        self.api.sign_out().await;
    }

    /// Whether the chain proves that this device is not one of its identity.
    async fn is_removed(&self) -> bool {
        let Ok(device) = self.device().await else { return false };
        Box::pin(self.prove(&device.did())).await.is_ok_and(|person| !device.is_in(&person.entry))
    }

    /// One session, from signing in to its end, which is always an error. `moved` says whether a message went either way.
    async fn session(&self, moved: &mut bool) -> Result<(), Error> {
        let login = self.device().await?.login()?;
        let succeeding = Box::pin(self.is_succeeding()).await?;
        if !succeeding {
            Box::pin(self.keep_prekeys()).await?;
        }
        let token = self.api.token(&login).await?;
        let acknowledged: u64 = self.store.get(ACKNOWLEDGED).await?.unwrap_or(0);
        let mut socket = self.dial().await?;
        self.write(&mut socket, &ClientFrame::Open(Open { token, acknowledged })).await?;
        let first = timeout(OPENING, self.read(&mut socket))
            .await
            .map_err(|_| Error::Timeout { what: "the session", after_s: OPENING.as_secs() })??;
        let opened = match first {
            ServerFrame::Opened(opened) if opened.address == login.address => opened,
            ServerFrame::Error(problem) => return Err(Error::Closed { code: problem.code, reason: problem.message }),
            _ => return Err(Error::Answer { what: "session.open", fault: "not this device's session" }),
        };
        if opened.acknowledged > acknowledged {
            self.store.put(ACKNOWLEDGED, &opened.acknowledged).await?;
            self.tell(Event::Lost { from: acknowledged + 1, to: opened.acknowledged });
        }
        self.tell(Event::Connected);
        let now = Instant::now();
        Session { inner: self, socket, flight: Vec::new(), hold: now, moved, succeeding }.run().await
    }

    async fn dial(&self) -> Result<Socket, Error> {
        let unreachable = |error: tungstenite::Error| Error::Unreachable { reason: error.to_string() };
        let mut request = self.api.socket().into_client_request().map_err(unreachable)?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(self.encoding.subprotocol()));
        let config = WebSocketConfig::default().max_message_size(Some(MAX_FRAME)).max_frame_size(Some(MAX_FRAME));
        let dialled = timeout(OPENING, tokio_tungstenite::connect_async_with_config(request, Some(config), true)).await;
        let (socket, _) = dialled.map_err(|_| Error::Timeout { what: "the session", after_s: OPENING.as_secs() })?.map_err(unreachable)?;
        Ok(socket)
    }

    async fn write(&self, socket: &mut Socket, frame: &ClientFrame) -> Result<(), Error> {
        let bytes = wire::encode(self.encoding, frame);
        let message = match self.encoding {
            Encoding::Json => Message::text(String::from_utf8(bytes).map_err(|_| Error::Answer { what: "a frame", fault: "not text" })?),
            Encoding::Cbor => Message::binary(bytes),
        };
        socket.send(message).await.map_err(|error| Error::Unreachable { reason: error.to_string() })
    }

    async fn read(&self, socket: &mut Socket) -> Result<ServerFrame, Error> {
        loop {
            let message = match socket.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(Error::Unreachable { reason: error.to_string() }),
                None => return Err(Error::Unreachable { reason: "the relay hung up".to_owned() }),
            };
            match (message, self.encoding) {
                (Message::Text(text), Encoding::Json) => return Ok(wire::decode_server(Encoding::Json, text.as_bytes())?),
                (Message::Binary(bytes), Encoding::Cbor) => return Ok(wire::decode_server(Encoding::Cbor, &bytes)?),
                (Message::Close(frame), _) => {
                    let (code, reason) = frame.map_or((0, String::new()), |frame| (u16::from(frame.code), frame.reason.to_string()));
                    return Err(Error::Closed { code: u32::from(code), reason });
                }
                (Message::Ping(_) | Message::Pong(_), _) => {}
                _ => return Err(wire::Error::Medium.into()),
            }
        }
    }
}

impl Session<'_> {
    async fn run(mut self) -> Result<(), Error> {
        let mut look = tokio::time::interval(LOOK);
        let mut ping = tokio::time::interval(PING);
        let mut version = self.inner.store.data_version().await?;
        Box::pin(self.pump()).await?;
        loop {
            tokio::select! {
                frame = self.inner.read(&mut self.socket) => Box::pin(self.handle(frame?)).await?,
                () = self.inner.bell.notified() => {}
                _ = look.tick() => {
                    if self.flight.first().is_some_and(|(_, since)| since.elapsed() > PATIENCE) {
                        return Err(Error::Timeout { what: "an answer", after_s: PATIENCE.as_secs() });
                    }
                    let found = self.inner.store.data_version().await?;
                    let due = self.hold <= Instant::now() && self.is_due().await?;
                    if found == version && !due {
                        continue;
                    }
                    version = found;
                }
                _ = ping.tick() => {
                    let sent = self.socket.send(Message::Ping(Vec::new().into())).await;
                    sent.map_err(|error| Error::Unreachable { reason: error.to_string() })?;
                    // An operation whose answer was lost has reached the chain after all: the next session does what is left.
                    if !self.succeeding && Box::pin(self.inner.has_succeeded()).await? {
                        return Err(Error::Behind("Signal key"));
                    }
                    continue;
                }
            }
            Box::pin(self.pump()).await?;
        }
    }

    /// Whether something that waited may leave now.
    async fn is_due(&self) -> Result<bool, Error> {
        Ok(self.flight.len() < MAX_FLIGHT && self.next().await?.is_some())
    }

    /// The first item that may leave and has not yet.
    async fn next(&self) -> Result<Option<outbox::Item>, Error> {
        let mut tx = self.inner.store.begin().await?;
        let mut after = 0;
        while let Some(item) = outbox::next(&mut tx, after, now()).await? {
            if !self.flight.iter().any(|(id, _)| *id == item.message_id) {
                return Ok(Some(item));
            }
            after = item.row;
        }
        Ok(None)
    }

    /// Sends what is in the outbox, as far as the flight has room.
    async fn pump(&mut self) -> Result<(), Error> {
        if self.succeeding || self.hold > Instant::now() {
            return Ok(());
        }
        let mut tx = self.inner.store.begin().await?;
        while outbox::pay(&mut tx, now()).await? {}
        tx.commit().await?;
        while self.flight.len() < MAX_FLIGHT {
            let Some(item) = self.next().await? else { return Ok(()) };
            match Box::pin(self.inner.seal(&item)).await {
                Ok(frame) => {
                    let frame = wire::decode_client(Encoding::Cbor, &frame).map_err(|_| Error::StoreText { what: "frame" })?;
                    self.inner.write(&mut self.socket, &frame).await?;
                    self.flight.push((item.message_id, Instant::now()));
                }
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => self.inner.wait(&item, &error).await?,
            }
        }
        Ok(())
    }

    async fn handle(&mut self, frame: ServerFrame) -> Result<(), Error> {
        *self.moved |= matches!(&frame, ServerFrame::Received(_) | ServerFrame::Accepted(_));
        match frame {
            ServerFrame::Received(received) => self.receive(&received.items).await,
            ServerFrame::Accepted(Accepted { items }) => {
                for item in items {
                    self.flight.retain(|(id, _)| *id != item.message_id);
                    self.inner.accepted(&item).await?;
                }
                Ok(())
            }
            ServerFrame::Refused(refused) => {
                self.flight.retain(|(id, _)| *id != refused.message_id);
                let hold = self.inner.refused(&refused).await?;
                if let Some(hold) = hold {
                    self.hold = Instant::now() + hold;
                }
                Ok(())
            }
            ServerFrame::SlowDown(slow) => {
                self.hold = Instant::now() + Duration::from_millis(slow.retry_after_ms.min(RETRY_MS));
                Ok(())
            }
            // There are none at all, and soon there will be others.
            ServerFrame::PrekeysLow(_) if self.succeeding => Ok(()),
            ServerFrame::PrekeysLow(_) => Box::pin(self.inner.keep_prekeys()).await,
            ServerFrame::Empty(_) => {
                if self.succeeding {
                    Box::pin(self.inner.use_next_key()).await?;
                    self.succeeding = false;
                }
                self.inner.tell(Event::CaughtUp);
                Ok(())
            }
            ServerFrame::Error(problem) => Err(Error::Closed { code: problem.code, reason: problem.message }),
            ServerFrame::Opened(_) => Err(Error::Answer { what: "a session", fault: "opened twice" }),
        }
    }

    /// Stores each message, then acknowledges those that are stored.
    async fn receive(&mut self, items: &[Delivery]) -> Result<(), Error> {
        for item in items {
            Box::pin(self.inner.receive(item)).await?;
        }
        let Some(last) = items.last() else { return Ok(()) };
        let acknowledge = Acknowledge { upto: last.sequence, also: Vec::new() };
        self.inner.write(&mut self.socket, &ClientFrame::Acknowledge(acknowledge)).await
    }
}

#[cfg(test)]
mod tests;
