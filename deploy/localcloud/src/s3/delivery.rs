//! The body of an answer that carries an object: sends its bytes in pieces, counts what it sends, and does to them what
//! a fault asks for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::range::ByteRange;
use crate::counters::Counters;
use crate::faults::S3Fault;

/// Largest piece handed over at once.
const PIECE: usize = 64 * 1024;

/// How often a slow body sends something.
const SLOW_PIECES_PER_SECOND: u32 = 20;

/// Time between the last bytes of a body that is cut and its end. An error of the body makes the server drop what it
/// has not sent yet, and there is no way to ask it whether it has.
const BEFORE_CUT: Duration = Duration::from_millis(100);

/// The bytes of one answer.
pub(super) struct Delivery {
    rest: Bytes,
    /// Bytes until the body is cut.
    cut_after: Option<u64>,
    /// Most bytes at once.
    piece: usize,
    pace: Option<Duration>,
    /// Nothing is sent before its end.
    pause: Option<Pin<Box<Sleep>>>,
    counters: Counters,
}

impl Delivery {
    /// `range` of the object, treated as `fault` says. A fault that is not about bodies changes nothing.
    pub(super) fn new(object: &Bytes, range: ByteRange, fault: Option<S3Fault>, counters: Counters) -> Self {
        let rest = object.slice(range.indices());
        let mut delivery = Self { rest, cut_after: None, piece: PIECE, pace: None, pause: None, counters };
        match fault {
            Some(S3Fault::Corrupt { offset }) if (range.start..range.end).contains(&offset) => {
                delivery.rest = invert(&delivery.rest, offset - range.start);
            }
            Some(S3Fault::Truncate { after }) => {
                delivery.cut_after = Some(after);
                delivery.pause = (after == 0).then(|| Box::pin(sleep(BEFORE_CUT)));
            }
            Some(S3Fault::Slow { bytes_per_second }) => {
                let piece = (bytes_per_second / SLOW_PIECES_PER_SECOND).max(1);
                delivery.piece = usize::try_from(piece).unwrap_or(PIECE);
                delivery.pace = Some(Duration::from_secs(1) / SLOW_PIECES_PER_SECOND);
            }
            _ => {}
        }
        delivery
    }

    /// The next piece, no larger than the pace and the cut allow, and the pause after it.
    fn take_piece(&mut self) -> io::Result<Bytes> {
        let mut length = self.rest.len().min(self.piece);
        self.pause = self.pace.map(|pace| Box::pin(sleep(pace)));
        if let Some(left) = &mut self.cut_after {
            if *left == 0 {
                return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the body was cut on request"));
            }
            length = length.min(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= length as u64;
            if *left == 0 {
                self.pause = Some(Box::pin(sleep(BEFORE_CUT)));
            }
        }
        self.counters.add(|served| served.s3_bytes += length as u64);
        Ok(self.rest.split_to(length))
    }
}

impl Body for Delivery {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let body = self.get_mut();
        if body.rest.is_empty() {
            return Poll::Ready(None);
        }
        if let Some(pause) = &mut body.pause {
            ready!(pause.as_mut().poll(context));
        }
        Poll::Ready(Some(body.take_piece().map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

fn invert(bytes: &Bytes, offset: u64) -> Bytes {
    let mut copy = bytes.to_vec();
    if let Some(byte) = usize::try_from(offset).ok().and_then(|offset| copy.get_mut(offset)) {
        *byte = !*byte;
    }
    Bytes::from(copy)
}
