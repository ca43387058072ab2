//! A listener on the loopback of another network namespace, for the token exchange endpoint of a function that has one:
//! AWS SDKs speak HTTP to loopback only, and the host's loopback is not the function's.
//!
//! A core that runs as root sends a thread: it enters the namespace, brings its loopback interface up, binds, and ends;
//! the socket stays where it was made. The namespaces of an ordinary user's core belong to a user namespace, which only
//! a process of its own may enter: [`entrant`].

pub mod entrant;

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A namespace's loopback could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listening for a function's credential requests in the network namespace {}: the core could not {step}", path.display())]
pub struct NamespaceError {
    /// The namespace.
    pub path: PathBuf,
    /// What failed.
    pub step: &'static str,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// What failed, and what the kernel said.
type Step = (&'static str, io::Error);

/// Listens on 127.0.0.1:`port` (0 takes any) of the network namespace of the process `pid`. `program` is `margay` itself,
/// such as `/proc/self/exe`.
///
/// Blocks for a moment. The interface `lo` of the namespace is up afterwards.
///
/// # Errors
/// [`NamespaceError`] names the step; nothing is left behind but the interface.
pub fn listen_in(program: &Path, pid: u32, port: u16) -> Result<TcpListener, NamespaceError> {
    let listener = match listen_by_thread(pid, port) {
        Err((_, error)) if error.kind() == io::ErrorKind::PermissionDenied => entrant::start(program, pid, port),
        outcome => outcome,
    };
    named(pid, listener)
}

fn named<T>(pid: u32, outcome: Result<T, Step>) -> Result<T, NamespaceError> {
    let path = || PathBuf::from(format!("/proc/{pid}/ns/net"));
    outcome.map_err(|(step, source)| NamespaceError { path: path(), step, source })
}

fn open(pid: u32, kind: &str) -> Result<OwnedFd, Step> {
    let opened = File::open(format!("/proc/{pid}/ns/{kind}"));
    opened.map(OwnedFd::from).map_err(|error| ("open it", error))
}

fn listen_by_thread(pid: u32, port: u16) -> Result<TcpListener, Step> {
    let namespace = open(pid, "net")?;
    let inside = move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| ("enter it", error.into()))?;
        raise_and_bind(port)
    };
    // Of its own, so that no other code ever runs in the namespace.
    let worker = thread::Builder::new().name("namespace".to_owned()).spawn(inside);
    let worker = worker.map_err(|error| ("start a thread", error))?;
    worker.join().unwrap_or_else(|_| Err(("finish", io::Error::other("its thread panicked"))))
}

fn raise_and_bind(port: u16) -> Result<TcpListener, Step> {
    raise_loopback().map_err(|error| ("bring its loopback interface up", error))?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| ("bind 127.0.0.1", error))
}

/// Sets IFF_UP on the interface with index 1, which is `lo` in every network namespace, by RTM_NEWLINK (rtnetlink(7)).
fn raise_loopback() -> io::Result<()> {
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    sendto(&socket, &up_message(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 1024];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    match acknowledged(&answer[..length]) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is no acknowledgement")),
    }
}

/// `struct nlmsghdr` and `struct ifinfomsg`, in the machine's byte order.
fn up_message() -> Vec<u8> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_AND_ACK: u16 = 0x1 | 0x4;
    const LOOPBACK_INDEX: i32 = 1;
    const IFF_UP: u32 = 1;
    let mut message = Vec::with_capacity(32);
    message.extend(32u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]); // sequence, port
    message.extend([0; 4]); // family, padding, type
    message.extend(LOOPBACK_INDEX.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes()); // which flags to change
    message
}

/// The error number of an NLMSG_ERROR, negative or 0.
fn acknowledged(answer: &[u8]) -> Option<i32> {
    const NLMSG_ERROR: u16 = 2;
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_none_is_named() {
        let error = listen_in(Path::new("/proc/self/exe"), u32::MAX, 0).unwrap_err();
        assert!(error.to_string().contains("/proc/4294967295/ns/net: the core could not open it"), "{error}");
    }

    #[test]
    fn only_an_acknowledgement_says_that_the_interface_is_up() {
        let mut answer = vec![0; 36];
        assert_eq!(acknowledged(&answer), None);
        answer[4] = 2;
        assert_eq!(acknowledged(&answer), Some(0));
        answer[16..20].copy_from_slice(&(-1i32).to_ne_bytes());
        assert_eq!(acknowledged(&answer), Some(-1));
        assert_eq!(acknowledged(&answer[..10]), None);
    }
}
