//! How a compiled model goes from one worker to the next: the core hands over the artefact of an earlier start for reading,
//! and takes what a worker makes out of a pipe. It looks at neither: what a worker makes is input from outside, and the
//! next worker checks it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use margay_inference::MAX_ARTEFACT_BYTES;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::inference_side::DeployedModel;
use super::message::KeepingOrder;
use crate::causes::explain;
use crate::store::CompiledPlace;

/// A worker has written its artefact by then, or it is not kept: as long as it may load its model.
const LIMIT: Duration = Duration::from_secs(180);

/// What goes along with an order to load a model.
#[derive(Debug)]
pub(super) struct Exchange {
    digest: String,
    pipe: OwnedFd,
    kept: Option<File>,
}

impl Exchange {
    /// Opens what is kept of a model, and takes in what its worker makes; `None` where the system gives no pipe or thread.
    pub(super) fn begin(model: &DeployedModel) -> Option<Self> {
        let (reader, pipe) = pipe_with(PipeFlags::CLOEXEC).ok()?;
        let place = model.compiled.clone();
        // No task of the runtime: it would wait for this one when it ends, and this one waits for a worker.
        thread::Builder::new().name("artefact".to_owned()).spawn(move || take_in(reader, &place)).ok()?;
        Some(Self { digest: model.identity.digest.clone(), pipe, kept: model.compiled.open() })
    }

    pub(super) fn order(&self) -> KeepingOrder {
        KeepingOrder { digest: self.digest.clone() }
    }

    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        [self.pipe.as_fd()].into_iter().chain(self.kept.as_ref().map(AsFd::as_fd)).collect()
    }
}

/// Keeps what comes out of a worker's pipe.
fn take_in(pipe: OwnedFd, place: &CompiledPlace) {
    let mut pipe = Bounded { pipe: File::from(pipe), until: Instant::now() + LIMIT };
    match place.keep(&mut pipe, MAX_ARTEFACT_BYTES) {
        Ok(0) => {}
        Ok(bytes) => tracing::info!(bytes, path = %place.path().display(), "the compiled model is kept"),
        Err(error) => tracing::info!(error = explain(&error), "the compiled model is not kept"),
    }
}

/// A pipe that ends with an error at a point in time.
struct Bounded {
    pipe: File,
    until: Instant,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        match poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(&timeout))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => self.pipe.read(buffer),
        }
    }
}
