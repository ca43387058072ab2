//! Bytes that come through a pipe or a socket, read without ever waiting longer than asked.

use std::io::{self, BufRead, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio};

use crate::clock::timespec;

/// What is read at once. A pipe holds 64 KiB unless it is told otherwise.
const BUFFER: usize = 256 << 10;

/// The first bytes that came, kept to be shown to whoever has to find out what sent them.
const BEGINNING: usize = 80;

/// A stream whose reading says [`io::ErrorKind::WouldBlock`] where it would wait, and that can be waited for.
pub(super) trait Input: BufRead + Send + std::fmt::Debug {
    /// Waits for bytes, or for the end, at most `timeout`, and takes what is there; `false` where nothing came. At most
    /// a buffer's worth is taken, so that a sender without end does not keep anybody.
    fn wait(&mut self, timeout: Duration) -> io::Result<bool>;

    /// What came first, as text with everything else escaped.
    fn beginning(&self) -> String;
}

/// The reading end of a pipe or socket.
#[derive(Debug)]
pub(super) struct Incoming {
    from: OwnedFd,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    beginning: Vec<u8>,
}

impl Incoming {
    /// Takes the descriptor over, and makes its reads return at once.
    pub(super) fn new(from: OwnedFd) -> io::Result<Self> {
        ioctl_fionbio(&from, true)?;
        Ok(Self { from, buffer: vec![0; BUFFER], start: 0, end: 0, ended: false, beginning: Vec::new() })
    }

    /// The descriptor, to be written to where it is a socket.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.from
    }

    fn receive(&mut self) -> io::Result<bool> {
        match rustix::io::read(&self.from, &mut self.buffer[..]) {
            Ok(read) => {
                (self.start, self.end, self.ended) = (0, read, read == 0);
                let kept = BEGINNING.saturating_sub(self.beginning.len()).min(read);
                self.beginning.extend_from_slice(&self.buffer[..kept]);
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Input for Incoming {
    fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        if self.start < self.end || self.ended {
            return Ok(true);
        }
        if !readable(&self.from, timeout)? {
            return Ok(false);
        }
        self.receive()
    }

    fn beginning(&self) -> String {
        self.beginning.escape_ascii().to_string()
    }
}

/// Reads by way of a buffer: what it holds, as far as it fits into `into`.
pub(super) fn read_held(from: &mut impl BufRead, into: &mut [u8]) -> io::Result<usize> {
    let held = from.fill_buf()?;
    let taken = held.len().min(into.len());
    into[..taken].copy_from_slice(&held[..taken]);
    from.consume(taken);
    Ok(taken)
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_held(self, into)
    }
}

impl BufRead for Incoming {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes).min(self.end);
    }
}

/// Waits until `from` can be read, or has ended; `false` after `timeout`, or a signal.
pub(super) fn readable(from: &impl AsFd, timeout: Duration) -> io::Result<bool> {
    let mut polled = [PollFd::new(from, PollFlags::IN)];
    match poll(&mut polled, Some(&timespec(timeout))) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    fn pipe() -> (Incoming, File) {
        let (from, to) = rustix::pipe::pipe().unwrap();
        (Incoming::new(from).unwrap(), File::from(to))
    }

    #[test]
    fn nothing_is_waited_for_longer_than_asked() {
        let (mut incoming, _to) = pipe();
        assert!(!incoming.wait(Duration::ZERO).unwrap());
        assert!(!incoming.wait(Duration::from_millis(2)).unwrap());
        assert_eq!(incoming.fill_buf().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_came_is_read_and_the_end_is_told() {
        let (mut incoming, mut to) = pipe();
        to.write_all(b"one\n").unwrap();
        assert!(incoming.wait(Duration::from_secs(5)).unwrap());
        let mut bytes = [0; 3];
        incoming.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"one");
        assert!(incoming.wait(Duration::ZERO).unwrap(), "a byte is left");
        incoming.consume(1);
        drop(to);
        assert!(incoming.wait(Duration::from_secs(5)).unwrap());
        assert_eq!(incoming.fill_buf().unwrap(), b"");
        assert_eq!(incoming.beginning(), "one\\n");
    }
}
