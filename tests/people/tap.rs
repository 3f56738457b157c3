//! A tap between a device and the gateway: passes every byte on, and writes down the frames.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use mailbox::frame::MAX_FRAME;
use mailbox::history::Event;
use mailbox::wire::{self, Encoding};
use mailbox::{Address, ClientFrame, ServerFrame, Submission};
use rpc::relay::path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What all devices said and heard, in the order in which it passed the taps.
#[derive(Clone, Default)]
pub(crate) struct Tape(Arc<Mutex<Vec<Event>>>);

impl Tape {
    /// What is on it.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One device's tap.
pub(crate) struct Tap {
    url: String,
    line: Arc<Line>,
    cut: watch::Sender<u64>,
    task: JoinHandle<()>,
}

struct Line {
    tape: Tape,
    by: OnceLock<Address>,
    /// Which session is the device's last. What still comes over an older one, nobody hears.
    session: Mutex<u64>,
}

impl Tap {
    /// A tap before the gateway at `url`.
    pub(crate) async fn open(url: &str, tape: Tape) -> Self {
        let gateway = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let line = Arc::new(Line { tape, by: OnceLock::new(), session: Mutex::new(0) });
        let cut = watch::Sender::new(0);
        let (shared, cuts) = (line.clone(), cut.clone());
        let task = tokio::spawn(async move {
            while let Ok((device, _)) = listener.accept().await {
                tokio::spawn(pass(device, gateway.clone(), shared.clone(), cuts.subscribe()));
            }
        });
        Self { url, line, cut, task }
    }

    /// Where the device finds its gateway.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Whose device it is. Nothing is written down before.
    pub(crate) fn is_of(&self, address: Address) {
        assert_eq!(self.line.by.get_or_init(|| address), &address, "one tap for one device");
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

/// One connection, until either side ends it.
async fn pass(device: TcpStream, gateway: String, line: Arc<Line>, mut cut: watch::Receiver<u64>) {
    let Ok(gateway) = TcpStream::connect(gateway).await else { return };
    for side in [&device, &gateway] {
        side.set_nodelay(true).expect("a socket");
    }
    let ((from_device, to_device), (from_gateway, to_gateway)) = (device.into_split(), gateway.into_split());
    let session = Arc::new(Mutex::new(None));
    let there = Side { line: line.clone(), session: session.clone(), ear: Ear::new(&format!("GET {} ", path::SESSION)), of_device: true };
    let back = Side { line, session, ear: Ear::new("HTTP/1.1 101 "), of_device: false };
    tokio::select! {
        () = async { tokio::join!(copy(from_device, to_gateway, there), copy(from_gateway, to_device, back)); } => {}
        _ = cut.changed() => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut side: Side) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        // Before it goes on: nobody can have answered what is not written down.
        side.heard(&buffer[..read]);
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    // The other side may be gone.
    let _ = to.shutdown().await;
}

/// One direction of a connection.
struct Side {
    line: Arc<Line>,
    /// Which of the device's sessions this connection has, and what its opening named.
    session: Arc<Mutex<Option<(u64, u64)>>>,
    ear: Ear,
    of_device: bool,
}

impl Side {
    fn heard(&mut self, bytes: &[u8]) {
        for (encoding, message) in self.ear.take(bytes) {
            let Some(by) = self.line.by.get().copied() else { continue };
            let (mut last, mut session) = (self.line.session.lock().expect("no panic here"), self.session.lock().expect("no panic here"));
            let events = if self.of_device {
                let frame = wire::decode_client(encoding, &message).expect("our own device says nothing else");
                if let ClientFrame::Open(open) = &frame {
                    *last += 1;
                    *session = Some((*last, open.acknowledged));
                }
                from_device(by, frame)
            } else {
                let frame = wire::decode_server(encoding, &message).expect("our own relay says nothing else");
                from_relay(by, frame, session.map_or(0, |(_, acknowledged)| acknowledged))
            };
            if session.is_some_and(|(number, _)| number == *last) {
                self.line.tape.0.lock().unwrap_or_else(PoisonError::into_inner).extend(events);
            }
        }
    }
}

fn from_device(by: Address, frame: ClientFrame) -> Vec<Event> {
    match frame {
        ClientFrame::Open(open) => vec![Event::Opened { by, acknowledged: open.acknowledged }],
        ClientFrame::Send(submission) | ClientFrame::Delivered(submission) | ClientFrame::Read(submission) => vec![sent(by, &submission)],
        ClientFrame::Acknowledge(done) => vec![Event::Acknowledged { by, upto: done.upto, also: done.also }],
    }
}

/// A submission as the history has it.
pub(crate) fn sent(by: Address, submission: &Submission) -> Event {
    let theirs = submission.contents.iter().map(|content| Address { did: submission.recipient_id, device: content.device_id });
    let own = submission.own_contents.iter().map(|content| Address { did: by.did, device: content.device_id });
    Event::Sent { by, message: submission.message_id, conversation: submission.conversation_id, to: theirs.chain(own).collect() }
}

fn from_relay(by: Address, frame: ServerFrame, named: u64) -> Vec<Event> {
    match frame {
        ServerFrame::Opened(opened) if opened.acknowledged > named => vec![Event::Expired { of: by, upto: opened.acknowledged }],
        ServerFrame::Accepted(accepted) => {
            accepted.items.into_iter().map(|item| Event::Accepted { by, message: item.message_id }).collect()
        }
        ServerFrame::Refused(refused) => vec![Event::Refused { by, message: refused.message_id }],
        ServerFrame::Received(received) => {
            let received = received.items.into_iter().map(|item| Event::Received {
                by,
                sequence: item.sequence,
                message: item.message_id,
                conversation: item.conversation_id,
                from: Address { did: item.sender_id, device: item.sender_device_id },
            });
            received.collect()
        }
        ServerFrame::Empty(_) => vec![Event::Drained { by }],
        ServerFrame::Opened(_) | ServerFrame::SlowDown(_) | ServerFrame::PrekeysLow(_) | ServerFrame::Error(_) => Vec::new(),
    }
}

/// Reads the messages out of one direction's bytes: an HTTP head, then RFC 6455.
struct Ear {
    /// How the head begins if frames follow it.
    opens: String,
    state: Hears,
    bytes: Vec<u8>,
    /// A message of several frames, as far as it has come, and its first opcode.
    message: (u8, Vec<u8>),
}

#[derive(PartialEq)]
enum Hears {
    Head,
    Frames,
    /// Something else than a session.
    Nothing,
}

impl Ear {
    fn new(opens: &str) -> Self {
        Self { opens: opens.to_owned(), state: Hears::Head, bytes: Vec::new(), message: (0, Vec::new()) }
    }

    /// The messages that are complete with these bytes.
    fn take(&mut self, bytes: &[u8]) -> Vec<(Encoding, Vec<u8>)> {
        if self.state == Hears::Nothing {
            return Vec::new();
        }
        self.bytes.extend_from_slice(bytes);
        if self.state == Hears::Head {
            let Some(end) = self.bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Vec::new() };
            self.state = if self.bytes.starts_with(self.opens.as_bytes()) { Hears::Frames } else { Hears::Nothing };
            self.bytes.drain(..end + 4);
            if self.state == Hears::Nothing {
                self.bytes = Vec::new();
                return Vec::new();
            }
        }
        let mut messages = Vec::new();
        while let Some((opcode, last, payload)) = self.frame() {
            match opcode {
                0 => self.message.1.extend(payload),
                1 | 2 => self.message = (opcode, payload),
                // Pings and their like are nobody's business here.
                _ => continue,
            }
            if last {
                let (opcode, message) = std::mem::take(&mut self.message);
                messages.push((if opcode == 1 { Encoding::Json } else { Encoding::Cbor }, message));
            }
        }
        messages
    }

    /// The next frame, if all of it is here: its opcode, whether it ends a message, its payload.
    fn frame(&mut self) -> Option<(u8, bool, Vec<u8>)> {
        let (first, second) = (*self.bytes.first()?, *self.bytes.get(1)?);
        let (length, mut at) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(self.bytes.get(2..4)?.try_into().expect("two bytes"))), 4),
            127 => (usize::try_from(u64::from_be_bytes(self.bytes.get(2..10)?.try_into().expect("eight bytes"))).expect("a length"), 10),
            short => (usize::from(short), 2),
        };
        assert!(length <= MAX_FRAME, "a frame of {length} bytes");
        let mask: [u8; 4] = if second & 0x80 == 0 {
            [0; 4]
        } else {
            at += 4;
            self.bytes.get(at - 4..at)?.try_into().expect("four bytes")
        };
        let payload = self.bytes.get(at..at + length)?.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        self.bytes.drain(..at + length);
        Some((first & 0x0f, first & 0x80 != 0, payload))
    }
}
