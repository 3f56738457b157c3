//! Connections that end when their other end has gone without a word.
//!
//! Every node pings every [`super::PING_EVERY`], so something comes on each connection that lives. Where nothing does
//! for [`SILENCE`], reading and writing fail. To close the connection, as one does whose ping was not answered,
//! would not be enough: closing writes, and when the system's buffer is full, nothing is written until the system gives up, after
//! a quarter of an hour.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep};

/// For so long nothing may come.
pub(super) const SILENCE: Duration = Duration::from_secs(20);

/// A stream of bytes that fails once nothing has come for too long.
#[derive(Debug)]
pub(super) struct Alive<T> {
    stream: T,
    silence: Duration,
    heard: Instant,
    wake: Pin<Box<Sleep>>,
}

impl<T> Alive<T> {
    /// Watches a stream on which something comes within every `silence`.
    pub(super) fn new(stream: T, silence: Duration) -> Self {
        Self { stream, silence, heard: Instant::now(), wake: Box::pin(sleep(silence)) }
    }

    /// Waits; an error once nothing has come for too long.
    fn wait<R>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        loop {
            ready!(self.wake.as_mut().poll(context));
            if self.heard.elapsed() >= self.silence {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing comes from the other end")));
            }
            self.wake.as_mut().reset(self.heard + self.silence);
        }
    }

    fn wait_after<R>(&mut self, result: Poll<io::Result<R>>, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        if result.is_ready() { result } else { self.wait(context) }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Alive<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        // What has come is read first: it may be this machine that stood still.
        let result = Pin::new(&mut self.stream).poll_read(context, bytes);
        if result.is_ready() {
            self.heard = Instant::now();
        }
        self.wait_after(result, context)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Alive<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wait_after(result, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.wait_after(result, context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_close(context);
        self.wait_after(result, context)
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt as _, AsyncWriteExt as _};
    use libp2p::tcp::tokio::TcpStream;
    use tokio::net::TcpListener;

    use super::*;

    const SHORT: Duration = Duration::from_millis(400);

    async fn pair() -> (Alive<TcpStream>, tokio::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (near, far) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        (Alive::new(TcpStream(near.expect("connected")), SHORT), far.expect("connected").0)
    }

    #[tokio::test]
    async fn who_says_something_now_and_then_stays() {
        let (mut near, mut far) = pair().await;
        for number in 0..12 {
            sleep(SHORT / 8).await;
            tokio::io::AsyncWriteExt::write_all(&mut far, &[number]).await.expect("it reads");
            let mut read = [0];
            near.read_exact(&mut read).await.expect("it came in time");
            assert_eq!(read, [number]);
        }
    }

    #[tokio::test]
    async fn who_says_nothing_is_given_up() {
        let (mut near, _far) = pair().await;
        let began = Instant::now();
        let error = near.read(&mut [0]).await.expect_err("nothing comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= SHORT / 2);
    }

    #[tokio::test]
    async fn who_reads_nothing_holds_nobody_up() {
        let (mut near, _far) = pair().await;
        // More than any buffer holds.
        let error = near.write_all(&vec![0; 64 << 20]).await.expect_err("nobody reads it");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_came_while_this_machine_stood_still_is_read() {
        let (mut near, mut far) = pair().await;
        tokio::io::AsyncWriteExt::write_all(&mut far, &[7]).await.expect("it is buffered");
        std::thread::sleep(SHORT * 2);
        let mut read = [0];
        near.read_exact(&mut read).await.expect("it had come");
        assert_eq!(read, [7]);
    }
}
