//! The socket between the core and a sandbox: messages, descriptors, and a life line.
//!
//! `SOCK_SEQPACKET` keeps messages apart, reports the end of the other side, and with `SO_PASSCRED` the kernel stamps
//! each message with its sender's process id, translated into the receiver's PID namespace: that is how the core learns
//! the worker's process id without trusting anybody for it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::net::sockopt::{Timeout, set_socket_passcred, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg, shutdown, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message. The kernel's default send buffer, 208 KiB, takes it in one piece.
const LONGEST_MESSAGE: usize = 128 << 10;

/// The most descriptors that go with one message; the kernel's own limit is 253 (`SCM_MAX_FD`).
pub(crate) const MOST_DESCRIPTORS: usize = 64;

/// One end of the socket.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// A message as it arrived.
#[derive(Debug)]
pub(crate) struct Received<T> {
    pub message: T,
    /// The sender's process id; only on the end made by [`Channel::pair`].
    pub sender: Option<i32>,
    pub descriptors: Vec<OwnedFd>,
}

impl Channel {
    /// A connected pair: the core's end, which learns who sends, and the other.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_passcred(&ours, true)?;
        Ok((Self(ours), theirs))
    }

    /// The end that a process was started with.
    pub fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Makes [`Self::receive`] fail after this long without a message.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        Ok(set_socket_timeout(&self.0, Timeout::Recv, patience)?)
    }

    /// Sends one message.
    pub fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > LONGEST_MESSAGE {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for one message. `None`: the other side is gone.
    pub fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<Received<T>>> {
        let mut bytes = vec![0; self.next_length()?];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        if got.bytes == 0 {
            return Ok(None);
        }
        if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        let (mut sender, mut descriptors) = (None, Vec::new());
        for part in control.drain() {
            match part {
                RecvAncillaryMessage::ScmRights(rights) => descriptors.extend(rights),
                RecvAncillaryMessage::ScmCredentials(credentials) => {
                    sender = Some(credentials.pid.as_raw_nonzero().get());
                }
                _ => {}
            }
        }
        let message = serde_json::from_slice(&bytes[..got.bytes])?;
        Ok(Some(Received { message, sender, descriptors }))
    }

    /// Waits for a message, and returns how many bytes it has, at most [`LONGEST_MESSAGE`]; zero at the end.
    fn next_length(&self) -> io::Result<usize> {
        let mut control = RecvAncillaryBuffer::default();
        loop {
            // The one call for receiving that a worker's list has.
            match recvmsg(&self.0, &mut [], &mut control, RecvFlags::PEEK | RecvFlags::TRUNC) {
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?.bytes.min(LONGEST_MESSAGE)),
            }
        }
    }

    /// Lets the other side see the end, while its last messages can still be received.
    pub fn hang_up(&self) -> io::Result<()> {
        Ok(shutdown(&self.0, Shutdown::Write)?)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
