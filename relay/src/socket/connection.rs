//! One connection: feeds its session, and carries out what the session says, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use mailbox::frame::{Kind, PrekeysLow, Problem, Refused};
use mailbox::queue::Ahead;
use mailbox::session::{Input, MAX_SUBMISSIONS, Output, close, join};
use mailbox::wire::{self, Encoding};
use mailbox::{Address, Refusal, ServerFrame, Session, Submission};
use uuid::Uuid;

use super::beat::Seat;
use super::{READ_BYTES, Shared};
use crate::messages::{Pending, RETRY_AFTER_MS, Rung, Watch};
use crate::{App, Error, fault};

/// The time between two pings, in milliseconds.
const PING_MS: u64 = 25_000;

/// A device that says nothing for this long, not even a pong, is gone, in milliseconds.
const SILENCE_MS: u64 = 60_000;

/// A device that does not take a frame for this long is gone, in milliseconds.
const SLOW_MS: u64 = 30_000;

/// How often it is looked whether a slow device has taken a frame, in milliseconds.
const LOOK_MS: u64 = 5_000;

/// Why a connection ends.
enum End {
    /// There is nobody to tell.
    Gone,
    /// The device is told why.
    Told(u16, &'static str),
}

/// Whose session it is.
struct Who {
    address: Address,
    _watch: Watch,
}

pub(super) struct Connection {
    app: Arc<App>,
    shared: Arc<Shared>,
    socket: WebSocket,
    encoding: Encoding,
    seat: Seat,
    session: Session,
    who: Option<Who>,
    /// Submissions that wait for their answer, in the order in which they came.
    pending: VecDeque<(Uuid, Pending)>,
    /// One that waits for room; until it has some, nothing is read.
    held: Option<(Uuid, BoxFuture<'static, Pending>)>,
    /// When the device was last heard.
    heard: u64,
    /// The relay stops: nothing is read, what waits is answered.
    stopping: bool,
}

impl Connection {
    pub(super) fn new(app: Arc<App>, shared: Arc<Shared>, socket: WebSocket, encoding: Encoding, seat: Seat) -> Self {
        let (session, heard) = (Session::new(app.now()), seat.now());
        Self { app, shared, socket, encoding, seat, session, who: None, pending: VecDeque::new(), held: None, heard, stopping: false }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self) {
        self.seat.wake_in(1_000);
        if let Err(End::Told(code, reason)) = self.converse().await {
            let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
            // It may be gone by now.
            if self.send(close).await.is_ok() {
                // Its own close is waited for, or what was said last could be lost with the connection.
                self.seat.wake_in(1_000);
                let bell = self.seat.bell().clone();
                tokio::select! {
                    () = async { while let Some(Ok(_)) = self.socket.recv().await {} } => {}
                    () = async { while !bell.heard().await.has(Rung::DUE) {} } => {}
                }
            }
        }
    }

    async fn converse(&mut self) -> Result<(), End> {
        let bell = self.seat.bell().clone();
        loop {
            if self.stopping && self.pending.is_empty() && self.held.is_none() {
                return Err(End::Told(close_code::AWAY, "the relay stops"));
            }
            let listens = !self.stopping && self.held.is_none() && self.session.listens();
            let mut outputs = Vec::new();
            tokio::select! {
                biased;
                rung = bell.heard() => self.rung(rung, &mut outputs).await?,
                answer = answer(&mut self.pending), if !self.pending.is_empty() => self.answered(answer, &mut outputs),
                (id, pending) = place(&mut self.held), if self.held.is_some() => {
                    self.held = None;
                    self.pending.push_back((id, pending));
                    self.session.step(Input::Relieved, &mut outputs);
                }
                received = self.socket.recv(), if listens => self.received(received, &mut outputs)?,
            }
            self.carry_out(outputs).await?;
        }
    }

    async fn rung(&mut self, rung: Rung, outputs: &mut Vec<Output>) -> Result<(), End> {
        self.stopping |= rung.has(Rung::STOP);
        if rung.has(Rung::REPLACED) {
            self.session.step(Input::Replaced, outputs);
        }
        if rung.has(Rung::REVOKED) {
            self.session.step(Input::NotAuthenticated(problem(&Error::EndedSession)), outputs);
        }
        if rung.has(Rung::DUE) {
            self.look_at_the_clock(outputs).await?;
        }
        if rung.has(Rung::AVAILABLE) {
            self.session.step(Input::Available, outputs);
        }
        Ok(())
    }

    async fn look_at_the_clock(&mut self, outputs: &mut Vec<Output>) -> Result<(), End> {
        self.session.step(Input::Tick(self.app.now()), outputs);
        if self.who.is_none() {
            self.seat.wake_in(1_000);
            return Ok(());
        }
        let silent = self.seat.now().saturating_sub(self.heard);
        if silent >= SILENCE_MS {
            return Err(End::Gone);
        }
        if silent >= PING_MS {
            self.send(Message::Ping(bytes::Bytes::new())).await?;
        }
        self.seat.wake_in(PING_MS);
        Ok(())
    }

    /// Takes all answers that are there, so that they go out together.
    fn answered(&mut self, mut answered: (Uuid, Result<mailbox::frame::AcceptedItem, Refusal>), outputs: &mut Vec<Output>) {
        for _ in 0..MAX_SUBMISSIONS {
            let (message_id, answer) = answered;
            self.pending.pop_front();
            let input = match answer {
                Ok(item) => Input::Accepted(item),
                Err(refusal) => Input::Refused(Refused { message_id, refusal }),
            };
            self.session.step(input, outputs);
            match answer_now(&mut self.pending) {
                Some(next) => answered = next,
                None => break,
            }
        }
        join(outputs);
        if self.pending.is_empty() {
            self.pending.shrink_to_fit();
        }
    }

    fn received(&mut self, received: Option<Result<Message, axum::Error>>, outputs: &mut Vec<Output>) -> Result<(), End> {
        self.heard = self.seat.now();
        let frame = match (received, self.encoding) {
            (Some(Ok(Message::Text(text))), Encoding::Json) => wire::decode_client(self.encoding, text.as_bytes()),
            (Some(Ok(Message::Binary(bytes))), Encoding::Cbor) => wire::decode_client(self.encoding, &bytes),
            (Some(Ok(Message::Text(_) | Message::Binary(_))), _) => Err(wire::Error::Medium),
            (Some(Ok(Message::Ping(_) | Message::Pong(_))), _) => return Ok(()),
            (Some(Ok(Message::Close(_))) | None, _) => return Err(End::Gone),
            // Too long, or not the protocol; where it is the network, telling it fails as well.
            (Some(Err(_)), _) => return Err(End::Told(close::MALFORMED, "no frame of this protocol, or too long")),
        };
        self.session.step(frame.map_or_else(Input::Malformed, Input::Frame), outputs);
        Ok(())
    }

    async fn carry_out(&mut self, outputs: Vec<Output>) -> Result<(), End> {
        let mut outputs = VecDeque::from(outputs);
        while let Some(output) = outputs.pop_front() {
            let mut more = Vec::new();
            match output {
                Output::Send(frame) => self.tell(&frame).await?,
                Output::Authenticate { token, acknowledged } => self.authenticate(&token, acknowledged, &mut more).await?,
                Output::Submit { kind, submission } => self.submit(kind, submission, &mut more).await,
                Output::Read { after, items, bytes } => {
                    let of = self.address()?;
                    let page = self.app.messages.read(of, after, items, bytes.min(READ_BYTES)).await.map_err(|error| broken(&error))?;
                    self.session.step(Input::Read { items: page.items, more: page.more }, &mut more);
                }
                Output::Acknowledge(acknowledge) => {
                    let of = self.address()?;
                    self.app.messages.acknowledge(of, acknowledge).await;
                }
                Output::Close { code, reason } => return Err(End::Told(code, reason)),
            }
            outputs.extend(more);
        }
        Ok(())
    }

    async fn authenticate(&mut self, token: &str, acknowledged: u64, more: &mut Vec<Output>) -> Result<(), End> {
        let claims = match self.app.auth.verify(token) {
            Ok(claims) => claims,
            Err(error) => {
                self.session.step(Input::NotAuthenticated(problem(&error)), more);
                return Ok(());
            }
        };
        self.seat.stands_for(claims.session);
        // It may have ended between the two.
        if self.app.auth.has_ended(&claims.session) {
            self.session.step(Input::NotAuthenticated(problem(&Error::EndedSession)), more);
            return Ok(());
        }
        let address = claims.address;
        // Rings from here on, so that nothing is missed between resuming and the first read.
        let watch = self.app.messages.watch(address, self.seat.bell().clone());
        self.who = Some(Who { address, _watch: watch });
        self.seat.wake_in(PING_MS);
        match self.app.messages.resume(address, acknowledged).await.map_err(|error| broken(&error))? {
            Ok(acknowledged) => self.session.step(Input::Authenticated { address, acknowledged }, more),
            Err(ahead) => {
                let problem = Problem { code: Ahead::CODE, message: ahead.to_string() };
                self.session.step(Input::NotAuthenticated(problem), more);
                return Ok(());
            }
        }
        let stock = self.app.accounts.stock(&address).await.map_err(|error| broken(&error))?;
        let (one_time, one_time_kyber) = stock.map_or((0, 0), |stock| (stock.one_time, stock.one_time_kyber));
        if one_time.min(one_time_kyber) < self.app.config.limits.low_stock {
            self.session.step(Input::PrekeysLow(PrekeysLow { one_time, one_time_kyber }), more);
        }
        Ok(())
    }

    async fn submit(&mut self, kind: Kind, submission: Submission, more: &mut Vec<Output>) {
        let message_id = submission.message_id;
        let prepared = match self.prepare(kind, &submission).await {
            Ok(prepared) => prepared,
            Err(refusal) => {
                self.session.step(Input::Refused(Refused { message_id, refusal }), more);
                return;
            }
        };
        match self.app.messages.offer(prepared) {
            Ok(pending) => self.pending.push_back((message_id, pending)),
            Err(prepared) => {
                let messages = self.app.messages.clone();
                self.held = Some((message_id, Box::pin(async move { messages.hand_over(prepared).await })));
                self.session.step(Input::Overloaded { retry_after_ms: RETRY_AFTER_MS }, more);
            }
        }
    }

    async fn prepare(&mut self, kind: Kind, submission: &Submission) -> Result<crate::messages::Prepared, Refusal> {
        let Some(Who { address: from, .. }) = self.who else { return Err(Refusal::Unavailable) };
        let (rate, now) = (self.app.config.limits.messages, self.app.now());
        let taken = self.shared.limits.take(from.did, kind, rate, now);
        taken.map_err(|retry_after_ms| Refusal::TooMany { retry_after_ms })?;
        let unavailable = |error: Error| {
            tracing::error!(code = error.code(), "devices cannot be read");
            Refusal::Unavailable
        };
        let own = self.app.accounts.devices(&from.did).await.map_err(unavailable)?;
        if submission.recipient_id == from.did {
            return Ok(self.app.messages.prepare(from, kind, submission, own.as_ref(), &own.clone().unwrap_or_default()));
        }
        let recipient = self.app.accounts.devices(&submission.recipient_id).await.map_err(unavailable)?;
        Ok(self.app.messages.prepare(from, kind, submission, recipient.as_ref(), &own.unwrap_or_default()))
    }

    async fn tell(&mut self, frame: &ServerFrame) -> Result<(), End> {
        let delivers = matches!(frame, ServerFrame::Received(_));
        if delivers {
            fault::point("deliver.before");
        }
        let bytes = wire::encode(self.encoding, frame);
        let message = match self.encoding {
            Encoding::Json => Message::Text(String::from_utf8(bytes).expect("JSON is text").into()),
            Encoding::Cbor => Message::Binary(bytes.into()),
        };
        self.send(message).await?;
        if delivers {
            fault::point("deliver.after");
        }
        Ok(())
    }

    /// Sends, as long as the device takes what it is sent and its session stands.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        let sending = self.socket.send(message);
        tokio::pin!(sending);
        // Nearly always it is taken at once.
        if let Some(sent) = sending.as_mut().now_or_never() {
            return sent.map_err(|_| End::Gone);
        }
        let (bell, began) = (self.seat.bell().clone(), self.seat.now());
        self.seat.wake_in(LOOK_MS);
        let mut put_off = None;
        let sent = loop {
            tokio::select! {
                sent = &mut sending => break sent.map_err(|_| End::Gone),
                rung = bell.heard() => {
                    let ends = [Rung::REPLACED, Rung::REVOKED, Rung::STOP].into_iter().any(|why| rung.has(why));
                    if ends || self.seat.now().saturating_sub(began) >= SLOW_MS {
                        return Err(End::Gone);
                    }
                    if rung.has(Rung::AVAILABLE) {
                        put_off = Some(Rung::AVAILABLE);
                    }
                    self.seat.wake_in(LOOK_MS);
                }
            }
        };
        self.seat.wake_in(LOOK_MS);
        if let Some(why) = put_off {
            bell.ring(why);
        }
        sent
    }

    fn address(&self) -> Result<Address, End> {
        // A session that was not opened asks for nothing.
        self.who.as_ref().map(|who| who.address).ok_or(End::Gone)
    }
}

/// The answer to the oldest submission that waits for one.
async fn answer(pending: &mut VecDeque<(Uuid, Pending)>) -> (Uuid, Result<mailbox::frame::AcceptedItem, Refusal>) {
    match pending.front_mut() {
        Some((id, pending)) => (*id, pending.answer().await),
        None => std::future::pending().await,
    }
}

fn answer_now(pending: &mut VecDeque<(Uuid, Pending)>) -> Option<(Uuid, Result<mailbox::frame::AcceptedItem, Refusal>)> {
    let (id, pending) = pending.front_mut()?;
    pending.answer().now_or_never().map(|answer| (*id, answer))
}

/// The submission that waited for room.
async fn place(held: &mut Option<(Uuid, BoxFuture<'static, Pending>)>) -> (Uuid, Pending) {
    match held {
        Some((id, waiting)) => (*id, waiting.await),
        None => std::future::pending().await,
    }
}

fn problem(error: &Error) -> Problem {
    Problem { code: error.code(), message: error.to_string() }
}

fn broken(error: &dyn std::fmt::Display) -> End {
    tracing::error!(reason = %error, "a store fails");
    End::Told(close_code::ERROR, "the relay cannot go on")
}
