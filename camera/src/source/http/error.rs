//! What can be wrong with a camera of the network.

use std::io;

use thiserror::Error;

use super::url::HttpUrl;

/// A camera of the network does not deliver frames.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// Nobody answers there.
    #[error("connecting to {url}: check the address, and that the camera is on and can be reached from here")]
    Connecting {
        /// Where.
        url: HttpUrl,
        /// What the system answered.
        source: io::Error,
    },
    /// The connection broke.
    #[error("reading from {url}")]
    Reading {
        /// Where.
        url: HttpUrl,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The answer does not come.
    #[error("{url} did not answer within {seconds} s: check that a camera is there, and not another service")]
    Silent {
        /// Where.
        url: HttpUrl,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The answer is no answer of HTTP, or longer than one may be.
    #[error("{url} does not answer by HTTP ({why}): check the port")]
    NotHttp {
        /// Where.
        url: HttpUrl,
        /// What is wrong.
        why: &'static str,
    },
    /// The answer is a refusal.
    #[error("{url} answers {status}: {advice}")]
    Status {
        /// Where.
        url: HttpUrl,
        /// The status code.
        status: u16,
        /// What to do.
        advice: String,
    },
    /// The answer is something else than a stream of pictures.
    #[error("{url} answers with {kind:?}, which is no stream of JPEG pictures: {advice}")]
    NotAStream {
        /// Where.
        url: HttpUrl,
        /// The content type, cut.
        kind: String,
        /// What to do.
        advice: &'static str,
    },
    /// The camera ended its answer.
    #[error("{url} ended its stream")]
    Ended {
        /// Where.
        url: HttpUrl,
    },
    /// No picture came.
    #[error("{url} brought no frame for {seconds:.1} s")]
    Stalled {
        /// Where.
        url: HttpUrl,
        /// How long.
        seconds: f64,
    },
    /// The stream has no pictures in it.
    #[error("{url} sent {bytes} bytes without a JPEG picture among them; its answer begins with \"{begins}\"")]
    Garbage {
        /// Where.
        url: HttpUrl,
        /// How many.
        bytes: u64,
        /// The first bytes of the answer.
        begins: String,
    },
}

impl HttpError {
    /// Whether the same may work later without anybody changing the settings. Nothing about another machine is for ever,
    /// but for an address that was moved, or is no stream.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotAStream { .. } => false,
            Self::Status { status, .. } => !(300..500).contains(status) || matches!(status, 408 | 429),
            _ => true,
        }
    }
}
