//! Why a service has no prediction, or does not start.

use super::{ALGORITHM, MAX_WAITING};
use crate::classifier::model_directory::ModelDirectoryError;
use crate::classifier::one_shot::OneShotError;

/// Why there is no prediction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferenceError {
    /// Another algorithm than the connector's.
    #[error("AlgoType {algorithm:?} is not served: {service} classifies pictures, write {ALGORITHM}")]
    Algorithm {
        /// The service.
        service: String,
        /// What was asked for.
        algorithm: String,
    },
    /// Not one of the two formats.
    #[error("ContentType {content_type:?} is not served: write image/jpeg or image/png")]
    ContentType {
        /// What was asked for.
        content_type: String,
    },
    /// The body is no picture of either format.
    #[error("the Body, of {bytes} bytes, is neither a JPEG nor a PNG file")]
    NoPicture {
        /// Its size.
        bytes: usize,
    },
    /// Too many wait.
    #[error("{MAX_WAITING} requests wait for the service {service} already: come again")]
    Busy {
        /// The service.
        service: String,
    },
    /// It took too long.
    #[error("the service {service} had no prediction after {seconds} s (LocalInferenceServiceTimeoutSeconds)")]
    TimedOut {
        /// The service.
        service: String,
        /// The connector's timeout.
        seconds: u64,
    },
    /// The worker refused the picture.
    #[error("{why}")]
    Refused {
        /// Which stage, and why.
        why: String,
    },
    /// The worker ended over the picture.
    #[error(
        "the worker of the service {service}, which may use {memory_kb} KB (LocalInferenceServiceMemoryLimitKB), failed: {why}"
    )]
    Failed {
        /// The service.
        service: String,
        /// Its memory limit.
        memory_kb: u64,
        /// What became of it.
        why: String,
    },
    /// There is no worker now.
    #[error("the service {service} does not run: {why}")]
    NotRunning {
        /// The service.
        service: String,
        /// What keeps it.
        why: String,
    },
}

impl InferenceError {
    /// Whether the service itself is missing, not its answer.
    pub fn is_of_the_service(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::NotRunning { .. })
    }
}

/// Why a service could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The package is none.
    #[error(transparent)]
    Package(#[from] ModelDirectoryError),
    /// Its worker did not come up.
    #[error(transparent)]
    Worker(#[from] OneShotError),
}
