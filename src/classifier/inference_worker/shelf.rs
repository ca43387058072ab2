//! What an inference worker was given of an earlier start's compiled model, and where it writes its own.

use std::fs::File;
use std::io::BufWriter;
use std::os::fd::OwnedFd;

use margay_inference::{Keeping, KeptArtefact, Pipeline};

use super::super::message::KeepingOrder;
use crate::package::Sha256Digest;

/// The artefact of an earlier start, and the pipe for another.
pub(super) struct Shelf {
    pub(super) keeping: Keeping,
    pipe: File,
}

impl Shelf {
    /// From an order and its descriptors; `None` where the digest is none, or the pipe is missing.
    pub(super) fn of(order: &KeepingOrder, descriptors: Vec<OwnedFd>) -> Option<Self> {
        let digest: Sha256Digest = order.digest.parse().ok()?;
        let mut files = descriptors.into_iter().map(File::from);
        let pipe = files.next()?;
        // One that cannot be mapped is as good as none.
        let kept = files.next().and_then(|file| KeptArtefact::open(&file).ok());
        Some(Self { keeping: Keeping { key: *digest.as_bytes(), kept }, pipe })
    }

    /// Writes what can be kept of the model, if it was compiled anew, and closes the pipe. A core that does not take it has
    /// its reasons, and the next start compiles again.
    pub(super) fn put(self, pipeline: &mut Pipeline) {
        if let Some(artefact) = pipeline.take_artefact() {
            let _ = artefact.write(&self.keeping.key, &mut BufWriter::with_capacity(64 << 10, self.pipe));
        }
    }
}
