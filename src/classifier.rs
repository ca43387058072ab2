//! The classifier of one camera: frames from a capture worker, through a ring in shared memory, to an inference worker,
//! whose predictions come back to the core. The core itself sees no pixel and parses no model.
//!
//! * `worker`: a sandboxed process as the core sees it; `plan`: what each kind of worker may see and do, and
//!   `command_access` what a program does that delivers frames
//! * `connection`: to a camera of the network, for a worker without one
//! * `capture_side`, `inference_side`: the two halves, their restarts and the hand-over to a new model
//! * `supervisor`: the task that owns both; `handle`: how the core reaches it; `settings`: what it is told
//! * `health`: whether the camera shows anything, by the looks that `glance` takes where the pixels are
//! * [`ledger`]: what became of every frame; [`policy`]: which of the classified ones become messages
//! * [`capture_worker`], [`inference_worker`]: the programs that run inside the sandboxes; the second is where a frame
//!   becomes a tensor
//! * [`message`]: what they say to each other
//! * [`model_directory`]: a model package as it lies unpacked
//! * [`running`]: the engine and the threads of a model; [`tuning`]: the choice that was measured, on which [`processor`];
//!   [`onnx_library`]: where ONNX Runtime is

mod artefact_exchange;
mod capture_side;
pub mod capture_worker;
mod command_access;
mod connection;
mod glance;
mod handle;
mod health;
mod inference_side;
pub mod inference_worker;
pub mod ledger;
pub mod message;
pub mod model_directory;
pub mod one_shot;
pub mod onnx_library;
mod plan;
pub mod policy;
pub mod processor;
pub mod running;
mod settings;
mod status;
mod supervisor;
pub mod tuning;
mod worker;

pub use capture_side::CaptureState;
pub use command_access::{CameraStack, CommandAccess};
pub use connection::connect;
pub use glance::{Glance, Shades};
pub use handle::{ActivationError, Classifier, Observation, SharedRing};
pub use health::{Condition, HealthReport, HealthSettings, Look};
pub use inference_side::{Activated, DeployedModel, Loaded};
pub use plan::{CameraAccess, WorkerIdentity};
pub use running::{Engines, Running};
pub use settings::Settings;
pub use status::{ClassifierStatus, Restarts, WorkerStatus};
pub(crate) use worker::forward_log;
pub use worker::{CHANNEL_FD, Role, SpawnError};
