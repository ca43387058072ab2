//! A file as the body of a request: read piece by piece while it is sent, at the client's pace, and never held whole.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;

use super::pace::Pace;

/// The largest piece, in bytes.
const PIECE: usize = 64 * 1024;

type Payment = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The first `left` bytes of a file that are still to be sent.
pub(super) struct FileBody {
    file: File,
    left: u64,
    sent: watch::Sender<u64>,
    pace: Arc<Pace>,
    /// For the piece sent last; the next one waits for it.
    payment: Option<Payment>,
}

impl FileBody {
    /// `length` bytes of `file` from where it stands. `sent` is told how many have been handed over.
    pub(super) fn new(file: File, length: u64, sent: watch::Sender<u64>, pace: Arc<Pace>) -> Self {
        Self { file, left: length, sent, pace, payment: None }
    }

    fn handed_over(&mut self, piece: usize) {
        self.left -= piece as u64;
        self.sent.send_modify(|sent| *sent += piece as u64);
        let pace = Arc::clone(&self.pace);
        self.payment = Some(Box::pin(async move { pace.pay(piece).await }));
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let body = self.get_mut();
        if let Some(payment) = &mut body.payment {
            ready!(payment.as_mut().poll(cx));
            body.payment = None;
        }
        if body.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(body.left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; length];
        let mut buffer = ReadBuf::new(&mut piece);
        if let Err(error) = ready!(Pin::new(&mut body.file).poll_read(cx, &mut buffer)) {
            return Poll::Ready(Some(Err(error)));
        }
        let length = buffer.filled().len();
        if length == 0 {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was sent");
            return Poll::Ready(Some(Err(error)));
        }
        piece.truncate(length);
        body.handed_over(length);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
