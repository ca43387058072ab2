//! From an encoded camera frame to ranked, labelled predictions.
//!
//! ```text
//! FrameView ─ decode ─► Picture ─ resize, normalise ─► InputTensor ─ Engine ─► outputs ─ rank ─► Classification
//! ```
//!
//! [`Pipeline`] owns the way through and every buffer on it; [`ModelSpec`] is the data that describes it. An
//! [`Engine`] runs the network: [`engine::compiled`], or [`engine::tract`] where that covers less, or
//! [`engine::onnx_runtime`] where a device has its library. Only this crate names tract's types and ONNX Runtime's.
//!
//! The crate knows nothing of packages, sandboxes, queues or topics, and holds no `unsafe`. It parses two kinds of
//! bytes that come from outside, models and images, so it is meant to run inside an inference worker and never in
//! the core. Every input is bounded before it is parsed: [`engine::onnx::MAX_MODEL_BYTES`],
//! [`decode::MAX_FRAME_SIDE`], [`decode::MAX_FRAME_PIXELS`], [`spec::input::MAX_INPUT_SIDE`].
#![forbid(unsafe_code)]

pub mod clock;
pub mod engine;
pub mod golden;
pub mod inspect;
pub mod labels;
pub mod pipeline;
pub mod quantise;
pub mod rank;
pub mod spec;

pub use clock::{MonotonicClock, ProcessClock};
pub use engine::compiled::artefact::{Artefact, ArtefactKey, KeptArtefact, MAX_ARTEFACT_BYTES, Unusable};
pub use engine::execution::{EngineChoice, Execution, MAX_THREADS, Provider};
pub use engine::onnx_runtime::providers as onnx_runtime_providers;
pub use engine::{Engine, EngineError, Keeping, LoadError, Stage};
pub use golden::{GoldenError, GoldenSample, verify as verify_golden};
pub use inspect::{Coverage, ModelSummary, inspect};
pub use labels::{Labels, LabelsError};
pub use margay_frontend::{
    ColorOrder, DecodeError, Element, FrameView, InputSpec, InputTensor, Jpeg, Layout, Orientation, PixelFormat,
    Region, ResizeRule, Rotation, Still, StillError, TensorData, Thumbnailer, View, decode, frame, geometry, normalise,
    prepare, still, tensor, thumbnail,
};
pub use pipeline::{Classification, ClassifyError, Pipeline, Prediction, StageTimings};
pub use quantise::{QuantiseError, Quantiser};
pub use spec::output::{OutputKind, OutputSpec, Quantisation};
pub use spec::{ModelSpec, SpecError, SpecProblem};
