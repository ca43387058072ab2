//! The listener of one function's process: a bounded number of connections, and none of anybody else's.
//!
//! In a network namespace of the function's own nobody else can connect. On the host's loopback everybody can, so that
//! each connection's user and socket are looked up in the kernel's table: of another user, or held by no process of the
//! sandbox, it is cut off.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use margay_sandbox::Sandboxed;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections of one process of a function at a time; more wait until one ends.
const MAX_CONNECTIONS: usize = 32;

/// How long to wait when the kernel has no descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The kernel's table of connections over IPv4 (proc(5)).
const TABLE: &str = "/proc/self/net/tcp";

/// Where its columns stand: local address, remote address, user, the socket's number.
const COLUMNS: [usize; 4] = [1, 2, 7, 9];

/// Descriptors of a sandbox that are looked at for one connection. One that has more open may lose connections.
const MOST_DESCRIPTORS: usize = 4096;

/// Who may connect over the host's loopback.
#[derive(Debug)]
pub(super) struct Guard {
    /// The user that the host sees.
    pub(super) user: u32,
    /// Where the connecting process has to be, if its control group tells.
    pub(super) sandbox: Weak<Sandboxed>,
}

impl Guard {
    fn admits(&self, table: &str, peer: SocketAddr, own: SocketAddr) -> bool {
        let Some((user, socket)) = owner_of(table, peer, own) else { return false };
        // Nobody is left to connect once it is gone.
        let Some(sandbox) = self.sandbox.upgrade() else { return false };
        user == self.user && sandbox.processes().is_none_or(|processes| is_held(&processes, socket))
    }
}

/// Whether one of the processes has this socket open.
fn is_held(processes: &[i32], socket: u64) -> bool {
    let wanted = format!("socket:[{socket}]");
    let descriptors = processes.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten());
    descriptors
        .flatten()
        .take(MOST_DESCRIPTORS)
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()))
}

/// The bounded listener.
#[derive(Debug)]
pub(super) struct FunctionListener {
    listener: TcpListener,
    /// Who may connect; `None` where the network is the function's own.
    guard: Option<Guard>,
    places: Arc<Semaphore>,
}

impl FunctionListener {
    /// Accepts from `listener`, on the host's loopback only whom `guard` admits. Within a tokio runtime.
    pub(super) fn new(listener: std::net::TcpListener, guard: Option<Guard>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { listener, guard, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)) })
    }

    fn is_welcome(&self, own: SocketAddr, peer: SocketAddr) -> bool {
        let Some(guard) = &self.guard else { return true };
        let table = fs::read_to_string(TABLE).unwrap_or_default();
        guard.admits(&table, peer, own)
    }
}

/// The user and the socket of the connection whose own end is `own` and whose other end is `other`.
fn owner_of(table: &str, own: SocketAddr, other: SocketAddr) -> Option<(u32, u64)> {
    let (own, other) = (hexadecimal(own)?, hexadecimal(other)?);
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [local, remote, user, socket] = COLUMNS.map(|column| fields.get(column).copied());
        if local? != own || remote? != other {
            return None;
        }
        Some((user?.parse().ok()?, socket?.parse().ok()?))
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
                    _ => tracing::debug!(%peer, "a connection to a function's interface is not the function's"),
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
    fn the_kernels_table_names_the_user_of_a_connection_and_its_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (own, other) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let table = fs::read_to_string(TABLE).unwrap();
        let (user, socket) = owner_of(&table, own, other).unwrap();
        assert_eq!(user, rustix::process::geteuid().as_raw());
        let me = std::process::id().cast_signed();
        assert!(is_held(&[me], socket) && !is_held(&[me], 1) && !is_held(&[], socket));
        assert_eq!(owner_of(&table, own, own), None);
        assert_eq!(owner_of("", own, other), None);
        assert_eq!(owner_of("1: x\n", own, other), None);
    }
}
