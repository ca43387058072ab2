//! A TCP listener for neighbours that may misbehave: a bounded number of connections, each with a bounded life.
//!
//! Functions are users' code, and whoever is on the machine may ask for metrics. One who opens connections and says
//! nothing must not keep the others from their answers: every connection ends after five seconds, and where
//! [`MAX_CONNECTIONS`] are open, the oldest makes room for a new one. An answer takes less than a second, so only who
//! does not ask is ever the oldest for long.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// The most connections open at a time.
pub const MAX_CONNECTIONS: usize = 32;

/// How long a connection lives at most; the answer itself takes a second.
const LIFE: Duration = Duration::from_secs(5);

/// How long to wait when the kernel has no descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bounded listener.
#[derive(Debug)]
pub struct BoundedListener {
    listener: TcpListener,
    /// The open connections, oldest first; dropping one of these closes it.
    open: VecDeque<oneshot::Sender<()>>,
}

impl BoundedListener {
    /// Accepts from `listener`.
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, open: VecDeque::with_capacity(MAX_CONNECTIONS) }
    }

    fn admit(&mut self, stream: TcpStream) -> BoundedConnection {
        self.open.retain(|connection| !connection.is_closed());
        if self.open.len() >= MAX_CONNECTIONS {
            self.open.pop_front();
        }
        let (open, dismissed) = oneshot::channel();
        self.open.push_back(open);
        BoundedConnection { stream, end: Box::pin(tokio::time::sleep(LIFE)), dismissed }
    }
}

impl axum::serve::Listener for BoundedListener {
    type Io = BoundedConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (self.admit(stream), peer),
                Err(error) => {
                    tracing::debug!(%error, "accepting a connection on loopback");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when its life is over, or when it has to make room.
#[derive(Debug)]
pub struct BoundedConnection {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    dismissed: oneshot::Receiver<()>,
}

impl BoundedConnection {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.end.as_mut().poll(cx).is_ready() || Pin::new(&mut self.dismissed).poll(cx).is_ready() {
            return Poll::Ready(io::ErrorKind::TimedOut.into());
        }
        Poll::Pending
    }
}

impl AsyncRead for BoundedConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_end(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for BoundedConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(error) = self.poll_end(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
