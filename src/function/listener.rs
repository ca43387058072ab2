//! The listener of one function's process: a bounded number of connections, and none of another user's.
//!
//! In a network namespace of the function's own nobody else can connect. On the host's loopback everybody can, so that
//! each connection's user is looked up in the kernel's table, and others are cut off.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections of one process of a function at a time; more wait until one ends.
const MAX_CONNECTIONS: usize = 32;

/// How long to wait when the kernel has no descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The kernel's table of connections over IPv4 (proc(5)).
const TABLE: &str = "/proc/self/net/tcp";

/// Where its columns stand: local address, remote address, user.
const COLUMNS: [usize; 3] = [1, 2, 7];

/// The bounded listener.
#[derive(Debug)]
pub(super) struct FunctionListener {
    listener: TcpListener,
    /// The only user that may connect; `None` where the network is the function's own.
    user: Option<u32>,
    places: Arc<Semaphore>,
}

impl FunctionListener {
    /// Accepts from `listener`, on the host's loopback only who runs as `user`. Within a tokio runtime.
    pub(super) fn new(listener: std::net::TcpListener, user: Option<u32>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { listener, user, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)) })
    }

    fn is_welcome(&self, own: SocketAddr, peer: SocketAddr) -> bool {
        let Some(user) = self.user else { return true };
        let table = fs::read_to_string(TABLE).unwrap_or_default();
        user_of(&table, peer, own) == Some(user)
    }
}

/// The user of the connection whose own end is `own` and whose other end is `other`.
fn user_of(table: &str, own: SocketAddr, other: SocketAddr) -> Option<u32> {
    let (own, other) = (hexadecimal(own)?, hexadecimal(other)?);
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [local, remote, user] = COLUMNS.map(|column| fields.get(column).copied());
        (local? == own && remote? == other).then(|| user?.parse().ok())?
    })
}

/// An address as the table has it: the four bytes as one number of the machine's order.
fn hexadecimal(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let number = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{number:08X}:{:04X}", address.port()))
}

impl axum::serve::Listener for FunctionListener {
    type Io = FunctionConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let place = self.places.clone().acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, peer)) => match stream.local_addr() {
                    Ok(own) if self.is_welcome(own, peer) => {
                        return (FunctionConnection { stream, _place: place }, peer);
                    }
                    _ => tracing::debug!(%peer, "a connection to a function's interface is another user's"),
                },
                Err(error) => {
                    tracing::debug!(%error, "accepting a connection of a function");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that holds its place.
#[derive(Debug)]
pub(super) struct FunctionConnection {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for FunctionConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for FunctionConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A listener on the host's loopback, on any port.
pub(super) fn on_host() -> io::Result<std::net::TcpListener> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_names_the_user_of_a_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (own, other) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let table = fs::read_to_string(TABLE).unwrap();
        assert_eq!(user_of(&table, own, other), Some(rustix::process::geteuid().as_raw()));
        assert_eq!(user_of(&table, own, own), None);
        assert_eq!(user_of("", own, other), None);
        assert_eq!(user_of("1: x\n", own, other), None);
    }
}
