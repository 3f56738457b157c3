//! An engine's end of ABCI's socket, frame by frame: what CometBFT says to an application.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use prost::Message as _;
use tendermint_proto::v0_38::abci::{Request, Response, request, response};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection to an application.
#[derive(Debug)]
pub struct Client(TcpStream);

impl Client {
    /// Connects to the application at `address`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When the connection ends or the answer does not come.
    ///
    /// # Panics
    /// When the answer is none of ABCI's.
    pub fn ask(&mut self, request: request::Value) -> io::Result<response::Value> {
        self.send(&Request { value: Some(request) }.encode_to_vec())?;
        let mut length = 0u64;
        for shift in (0..).step_by(7) {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            length |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut bytes = vec![0; usize::try_from(length).expect("a length")];
        self.0.read_exact(&mut bytes)?;
        let answer = Response::decode(bytes.as_slice()).expect("one of ABCI's answers");
        Ok(answer.value.expect("an answer says something"))
    }

    /// Sends one frame, whatever is in it.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        prost::encode_length_delimiter(bytes.len(), &mut frame).expect("a vector takes it");
        frame.extend(bytes);
        self.0.write_all(&frame)
    }

    /// Whether the application answers nothing for a while: neither bytes nor the connection's end.
    ///
    /// # Errors
    /// When the connection cannot be set up for that.
    pub fn is_left_waiting(&mut self, long: Duration) -> io::Result<bool> {
        self.0.set_read_timeout(Some(long))?;
        let answered = self.0.read(&mut [0]);
        self.0.set_read_timeout(Some(PATIENCE))?;
        Ok(matches!(answered, Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)))
    }
}
