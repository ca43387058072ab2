//! The way into a network namespace that a user namespace owns: only a process with a single thread may enter a user
//! namespace (setns(2)), so a short-lived child of the core does, binds there, and passes the socket back.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Step, open, raise_and_bind};

/// The hidden subcommand that the child is started with.
pub const SUBCOMMAND: &str = "enter-namespace";

/// The most that is heard of a child that failed, in bytes.
const MAX_COMPLAINT: u64 = 4096;

/// Starts `program` as the child for the namespaces of process `pid`; gives the socket that it bound.
///
/// # Errors
/// [`NamespaceError`](super::NamespaceError) names the step, or quotes the child.
pub fn listen_by(program: &Path, pid: u32, port: u16) -> Result<TcpListener, super::NamespaceError> {
    super::named(pid, start(program, pid, port))
}

pub(super) fn start(program: &Path, pid: u32, port: u16) -> Result<TcpListener, Step> {
    let failed = |error| ("start a process that enters it", error);
    let (own, childs) = UnixStream::pair().map_err(failed)?;
    let mut child = Command::new(program)
        .args([SUBCOMMAND, &pid.to_string(), &port.to_string()])
        .stdin(OwnedFd::from(childs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // The command above held the child's end; it is gone now, so a child that dies is the end of the stream.
    let received = receive(&own);
    let mut complaint = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(MAX_COMPLAINT).read_to_string(&mut complaint);
    }
    child.wait().map_err(failed)?;
    match received {
        Ok(Some(listener)) => Ok(TcpListener::from(listener)),
        Ok(None) => Err(("enter it by a process of its own", io::Error::other(complaint.trim().to_owned()))),
        Err(error) => Err(("receive the socket that was bound in it", error)),
    }
}

/// Enters the user and the network namespace of process `pid`, binds, and sends the socket to `core`. For a process
/// with a single thread, whose business this is.
///
/// # Errors
/// [`NamespaceError`](super::NamespaceError) names the step.
pub fn enter(pid: u32, port: u16, core: BorrowedFd<'_>) -> Result<(), super::NamespaceError> {
    super::named(pid, enter_and_send(pid, port, core))
}

fn enter_and_send(pid: u32, port: u16, core: BorrowedFd<'_>) -> Result<(), Step> {
    let (user, network) = (open(pid, "user")?, open(pid, "net")?);
    for (namespace, kind) in [(&user, LinkNameSpaceType::User), (&network, LinkNameSpaceType::Network)] {
        move_into_link_name_space(namespace.as_fd(), Some(kind)).map_err(|error| ("enter it", error.into()))?;
    }
    let listener = raise_and_bind(port)?;
    send(core, listener.as_fd()).map_err(|error| ("send the socket that was bound in it", error))
}

fn send(core: BorrowedFd<'_>, listener: BorrowedFd<'_>) -> io::Result<()> {
    let descriptors = [listener];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(core, &[IoSlice::new(b"l")], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

/// The descriptor that comes with the first byte; `None` at the end of the stream.
fn receive(own: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(own, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(descriptors.next().and_then(|mut descriptors| descriptors.next()))
}
