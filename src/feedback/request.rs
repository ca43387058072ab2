//! A request to the connector, and why one is not taken.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::sample::MetadataError;
use super::sampling::SamplingError;
use crate::name::S3UriError;

/// What a function or the classification service hands in (B-28).
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The feedback configuration (`ConfigId`).
    pub config_id: String,
    /// The sample (`ModelInput`).
    pub input: Bytes,
    /// What the model made of it (`ModelPrediction`).
    pub prediction: Value,
    /// What else there is to say (`Metadata`).
    pub metadata: Map<String, Value>,
}

/// Why a request was not taken; whoever asks hears it.
#[derive(Debug, thiserror::Error)]
pub enum FeedbackError {
    /// The group has no such connector.
    #[error("the group has no ML Feedback connector: deploy MLFeedback")]
    NoConnector,
    /// The connector has no such configuration.
    #[error("ConfigId {config_id:?} is no feedback configuration of the ML Feedback connector, which has {known}")]
    UnknownConfiguration {
        /// The id.
        config_id: String,
        /// Those that there are.
        known: String,
    },
    /// The prediction is neither a list nor a dictionary.
    #[error("ModelPrediction is a list of numbers or a dictionary")]
    Prediction,
    /// The strategy can make nothing of it.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The metadata cannot be an object's.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Configuration and id make no address.
    #[error(transparent)]
    Address(#[from] S3UriError),
}
