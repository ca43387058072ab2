//! What functions ask of the group's machine learning connectors by the SDK (B-27, B-28). Who answers is not theirs to know.

use std::fmt::Debug;
use std::pin::Pin;

use bytes::Bytes;
use serde_json::{Map, Value};

/// The largest picture or sample, in bytes: AWS Lambda's limit of 6 MB for what a function is invoked with.
pub const MAX_INPUT_BYTES: usize = 6 << 20;

/// A picture to be classified (`invoke_inference_service`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferenceRequest {
    /// `AlgoType`.
    pub algorithm: String,
    /// `ServiceName`.
    pub service: String,
    /// `ContentType`.
    pub content_type: String,
    /// `Body`.
    pub body: Bytes,
}

/// A sample for the feedback connector (`publish`).
#[derive(Debug, Clone, PartialEq)]
pub struct FeedbackRequest {
    /// `ConfigId`.
    pub config_id: String,
    /// `ModelInput`.
    pub input: Bytes,
    /// `ModelPrediction`.
    pub prediction: Value,
    /// `Metadata`.
    pub metadata: Map<String, Value>,
}

/// Why there is no answer. Its kind decides which exception the SDK raises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LearningError {
    /// There is no such service or connector, or it does not run now: `GreengrassDependencyException`.
    #[error("{0}")]
    Dependency(String),
    /// The service ran and has no answer: `GreengrassInferenceException`.
    #[error("{0}")]
    Inference(String),
    /// An argument makes no sense: `ValueError`.
    #[error("{0}")]
    Argument(String),
}

impl LearningError {
    /// As the interface names it to the SDK.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dependency(_) => "Dependency",
            Self::Inference(_) => "Inference",
            Self::Argument(_) => "Argument",
        }
    }
}

/// An answer that is waited for.
pub type Answering<T> = Pin<Box<dyn Future<Output = Result<T, LearningError>> + Send>>;

/// Who answers.
pub trait Learning: Debug + Send + Sync {
    /// The service's answer: a text such as `[0.3,0.1,0.04]`.
    fn infer(&self, request: InferenceRequest) -> Answering<String>;

    /// Takes a sample. What becomes of it is published.
    fn take_sample(&self, request: FeedbackRequest) -> Answering<()>;
}
