//! A camera of the network as a source: JPEG pictures one after the other in one HTTP answer
//! (`multipart/x-mixed-replace`, as MJPEG cameras send them).
//!
//! * [`HttpUrl`]: where it is; `head`: the answer's beginning; `chunked`: the transfer encoding of RFC 9112, section 7.1
//!
//! Pictures are found by their own markers, not by the parts' boundaries and lengths, which many cameras get wrong.

mod chunked;
mod error;
mod head;
mod url;

use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use error::HttpError;
pub use url::{HttpUrl, UrlError};

pub(crate) use chunked::fuzz as fuzz_chunked;
pub(crate) use head::fuzz as fuzz_head;

use self::chunked::Body;
use super::framing::FrameReader;
use super::incoming::Incoming;
use super::live::{Live, Turn, check_rate};
use super::{FrameSource, Next, SourceError};
use crate::clock::Clock;
use crate::frame::Capture;

/// How long a connection may take.
pub const CONNECTING: Duration = Duration::from_secs(5);

/// How long the answer, and after it the first picture, may take.
const ANSWERING: Duration = Duration::from_secs(10);

/// A camera of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSource {
    /// Where it is: `http://host[:port]/path`.
    pub url: HttpUrl,
    /// Frames a second that are taken of those that come, above 0 and at most [`super::MOST_FRAMES_PER_SECOND`].
    pub frames_per_second: f64,
}

/// The pictures of one answer. An item's number is its place in it.
#[derive(Debug)]
pub(super) struct Http {
    live: Live<Body<Incoming>>,
    url: HttpUrl,
    first: Option<Capture>,
    clock: Arc<dyn Clock>,
}

/// Connects to where `url` says, trying each of the host's addresses.
///
/// # Errors
/// [`HttpError`]: the name is not known, or nobody answers.
pub fn connect(url: &HttpUrl) -> Result<TcpStream, HttpError> {
    let failed = |source| HttpError::Connecting { url: url.clone(), source };
    let mut last = std::io::ErrorKind::NotFound.into();
    for address in (url.host(), url.port()).to_socket_addrs().map_err(failed)? {
        match TcpStream::connect_timeout(&address, CONNECTING) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

impl Http {
    /// Asks for the pictures over a connection, and waits for the first.
    pub(super) fn open(config: &HttpSource, connection: OwnedFd, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        check_rate(config.frames_per_second)?;
        Ok(Self::start(config, connection, clock)?)
    }

    fn start(config: &HttpSource, connection: OwnedFd, clock: Arc<dyn Clock>) -> Result<Self, HttpError> {
        let url = config.url.clone();
        let failed = |source| HttpError::Reading { url: url.clone(), source };
        let mut input = Incoming::new(connection).map_err(failed)?;
        head::ask(input.descriptor(), &url).map_err(failed)?;
        let head = head::receive(&mut input, &url, ANSWERING, clock.as_ref())?;
        let body = Body::new(input, head.length);
        let rate = config.frames_per_second;
        let live = Live::new(body, FrameReader::of_jpeg(), rate, ANSWERING, clock.clone());
        let mut http = Self { live, url, first: None, clock };
        while http.first.is_none() {
            if let Turn::Frame(capture) = http.turn(ANSWERING)? {
                http.first = Some(capture);
            }
        }
        http.live.expect(rate);
        Ok(http)
    }

    fn turn(&mut self, timeout: Duration) -> Result<Turn, HttpError> {
        let deadline = self.clock.boottime().saturating_add(timeout);
        let url = || self.url.clone();
        match self.live.turn(deadline, &mut || {}).map_err(|source| HttpError::Reading { url: url(), source })? {
            Turn::Ended { .. } => Err(HttpError::Ended { url: url() }),
            Turn::Stalled(silence) => Err(HttpError::Stalled { url: url(), seconds: silence.as_secs_f64() }),
            Turn::Garbage { bytes } => Err(HttpError::Garbage { url: url(), bytes, begins: self.live.beginning() }),
            turn => Ok(turn),
        }
    }
}

impl FrameSource for Http {
    fn next(&mut self, timeout: Duration, into: &mut Vec<u8>) -> Result<Next, SourceError> {
        let turn = match self.first.take() {
            Some(capture) => Turn::Frame(capture),
            None => self.turn(timeout)?,
        };
        Ok(self.live.give(turn, into, &self.url))
    }
}

#[cfg(test)]
mod tests;
