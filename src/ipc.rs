//! Channels between the core and its workers: JSON messages and file descriptors over a Unix `SOCK_SEQPACKET` socket
//! (unix(7)). One packet is one message, so a peer can send too much but never half a message.
//!
//! The core holds a [`CoreChannel`] on its runtime; a worker, which is a synchronous program, holds a
//! [`WorkerChannel`]. Neither end trusts the other: packets are bounded by [`MAX_MESSAGE`], descriptors by
//! [`MAX_DESCRIPTORS`], and what does not parse is an error that names the message, never a panic.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// The largest packet either end sends or accepts, in bytes. A prediction with 1000 labels stays below a third of it.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The most descriptors one message may carry.
pub const MAX_DESCRIPTORS: usize = 4;

/// A message with the descriptors that came with it.
#[derive(Debug)]
pub struct Received<T> {
    /// The parsed message.
    pub message: T,
    /// Its descriptors, in the order sent, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Why a message could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum IpcError {
    /// The system call failed; a broken pipe means that the peer is gone.
    #[error("exchanging a message with the {peer}")]
    Socket {
        /// Who is at the other end.
        peer: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The message is larger than [`MAX_MESSAGE`].
    #[error("a message of {actual} bytes for the {peer} is over the limit of {MAX_MESSAGE}")]
    TooLarge {
        /// Who is at the other end.
        peer: &'static str,
        /// The size of the message, in bytes.
        actual: usize,
    },
    /// The peer sent more bytes or descriptors than one message may hold.
    #[error("the {peer} sent a message over the limit of {MAX_MESSAGE} bytes and {MAX_DESCRIPTORS} descriptors")]
    Truncated {
        /// Who sent it.
        peer: &'static str,
    },
    /// The peer sent something that is not a message of this protocol.
    #[error("the {peer} sent a message that this version does not understand: {why}")]
    Malformed {
        /// Who sent it.
        peer: &'static str,
        /// What the parser said, without the content.
        why: String,
    },
}

/// A connected pair: the first end for the core, the second for the worker that will inherit it. Both close on exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// The core's end, driven by its runtime.
#[derive(Debug)]
pub struct CoreChannel {
    /// Only the registration with the runtime is used of this type; packets go through sendmsg and recvmsg.
    socket: UnixStream,
    peer: &'static str,
}

impl CoreChannel {
    /// Wraps the core's end of [`pair`]; `peer` names the worker in errors. Must be called on a runtime.
    pub fn new(socket: OwnedFd, peer: &'static str) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket: UnixStream::from_std(socket.into())?, peer })
    }

    /// Sends one message with `descriptors`. Cancel-safe: a message is sent whole or not at all.
    pub async fn send<T: Serialize>(&self, message: &T, descriptors: &[BorrowedFd<'_>]) -> Result<(), IpcError> {
        let packet = encode(message, self.peer)?;
        self.socket
            .async_io(Interest::WRITABLE, || send_packet(self.socket.as_fd(), &packet, descriptors))
            .await
            .map_err(|source| IpcError::Socket { peer: self.peer, source })
    }

    /// The next message; `None` when the worker has closed its end. Cancel-safe.
    pub async fn receive<T: DeserializeOwned>(&self) -> Result<Option<Received<T>>, IpcError> {
        let packet = self
            .socket
            .async_io(Interest::READABLE, || receive_packet(self.socket.as_fd()))
            .await
            .map_err(|source| IpcError::Socket { peer: self.peer, source })?;
        decode(packet, self.peer)
    }
}

/// A worker's end: blocking, with bounded waits.
#[derive(Debug)]
pub struct WorkerChannel {
    socket: OwnedFd,
}

/// What a bounded wait for a message came to.
#[derive(Debug)]
pub enum Waited<T> {
    /// A message.
    Message(Received<T>),
    /// Nothing came in the time allowed.
    Nothing,
    /// The core has closed its end, or is gone: the worker has nobody to work for.
    CoreGone,
}

impl WorkerChannel {
    /// Wraps the worker's end of [`pair`].
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Sends one message, waiting while the core's queue is full.
    pub fn send<T: Serialize>(&self, message: &T) -> Result<(), IpcError> {
        let packet = encode(message, CORE)?;
        send_packet(self.socket.as_fd(), &packet, &[]).map_err(|source| IpcError::Socket { peer: CORE, source })
    }

    /// The next message, waiting at most `timeout`.
    pub fn receive<T: DeserializeOwned>(&self, timeout: Duration) -> Result<Waited<T>, IpcError> {
        let failed = |source| IpcError::Socket { peer: CORE, source };
        if !readable(self.socket.as_fd(), timeout).map_err(failed)? {
            return Ok(Waited::Nothing);
        }
        let packet = receive_packet(self.socket.as_fd()).map_err(failed)?;
        Ok(decode(packet, CORE)?.map_or(Waited::CoreGone, Waited::Message))
    }
}

const CORE: &str = "core";

fn readable(socket: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(timeout).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut watched = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    match poll(&mut watched, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn encode<T: Serialize>(message: &T, peer: &'static str) -> Result<Vec<u8>, IpcError> {
    let packet = serde_json::to_vec(message).map_err(|error| IpcError::Malformed { peer, why: error.to_string() })?;
    if packet.len() > MAX_MESSAGE {
        return Err(IpcError::TooLarge { peer, actual: packet.len() });
    }
    Ok(packet)
}

fn send_packet(socket: BorrowedFd<'_>, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

struct Packet {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    truncated: bool,
}

fn receive_packet(socket: BorrowedFd<'_>) -> io::Result<Packet> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let outcome = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(outcome) => break outcome,
            Err(rustix::io::Errno::INTR) => {}
            // A peer that died with unread messages in its queue resets the connection: for the reader, its end.
            Err(rustix::io::Errno::CONNRESET) => {
                return Ok(Packet { bytes: Vec::new(), descriptors: Vec::new(), truncated: false });
            }
            Err(error) => return Err(error.into()),
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    bytes.truncate(outcome.bytes);
    bytes.shrink_to_fit();
    Ok(Packet { bytes, descriptors, truncated: outcome.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) })
}

fn decode<T: DeserializeOwned>(packet: Packet, peer: &'static str) -> Result<Option<Received<T>>, IpcError> {
    if packet.truncated {
        return Err(IpcError::Truncated { peer });
    }
    if packet.bytes.is_empty() {
        return Ok(None);
    }
    let message =
        serde_json::from_slice(&packet.bytes).map_err(|error| IpcError::Malformed { peer, why: error.to_string() })?;
    Ok(Some(Received { message, descriptors: packet.descriptors }))
}

/// The two ends of a worker's log: the first for the core's runtime, the second for the worker's standard output or error.
///
/// # Errors
/// What the system says.
pub fn log_pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((pipe::Receiver::from_owned_fd(reader)?, writer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_message_arrives_whole_with_its_descriptors() {
        runtime().block_on(async {
            let (ours, theirs) = pair().unwrap();
            let core = CoreChannel::new(ours, "test worker").unwrap();
            let worker = WorkerChannel::new(theirs);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"ring").unwrap();

            core.send(&("ring", 7), &[file.as_fd()]).await.unwrap();

            let Waited::Message(received) = worker.receive::<(String, u32)>(Duration::from_secs(5)).unwrap() else {
                panic!("no message");
            };
            assert_eq!(received.message, ("ring".to_owned(), 7));
            let mut passed = File::from(received.descriptors.into_iter().next().unwrap());
            let mut text = String::new();
            passed.rewind().unwrap();
            passed.read_to_string(&mut text).unwrap();
            assert_eq!(text, "ring");
        });
    }

    #[test]
    fn a_closed_peer_is_an_end_and_not_an_error() {
        runtime().block_on(async {
            let (ours, theirs) = pair().unwrap();
            let core = CoreChannel::new(ours, "test worker").unwrap();
            drop(theirs);
            assert!(core.receive::<String>().await.unwrap().is_none());
        });
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_it_is_sent() {
        let (_ours, theirs) = pair().unwrap();
        let error = WorkerChannel::new(theirs).send(&"x".repeat(MAX_MESSAGE)).unwrap_err();
        assert!(matches!(error, IpcError::TooLarge { actual, .. } if actual == MAX_MESSAGE + 2), "{error}");
    }

    #[test]
    fn what_is_not_a_message_is_refused_with_its_sender() {
        let (ours, theirs) = pair().unwrap();
        send_packet(ours.as_fd(), b"\x00not json", &[]).unwrap();
        let error = WorkerChannel::new(theirs).receive::<String>(Duration::from_secs(5)).unwrap_err();
        assert!(error.to_string().starts_with("the core sent a message that this version does not understand"));
    }

    #[test]
    fn a_packet_that_does_not_fit_is_refused_rather_than_cut() {
        let (ours, theirs) = pair().unwrap();
        send_packet(ours.as_fd(), &vec![b'1'; MAX_MESSAGE + 1], &[]).unwrap();
        let error = WorkerChannel::new(theirs).receive::<u64>(Duration::from_secs(5)).unwrap_err();
        assert!(matches!(error, IpcError::Truncated { .. }));
    }
}
