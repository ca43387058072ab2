//! What a classifier is told: its camera, its model's place, and the rules for both.

use margay_camera::source::SourceConfig;

use super::health::HealthSettings;
use super::plan::{CameraAccess, WorkerIdentity};
use super::policy::PolicySettings;
use super::running::Engines;

/// Everything a classifier needs to know, from the group document and the host.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The camera's name, for people and payloads.
    pub camera: String,
    /// Where frames come from, in the capture sandbox's own paths.
    pub source: SourceConfig,
    /// What the capture sandbox is shown of the host.
    pub access: CameraAccess,
    /// Where the model appears in the inference sandbox: the destination path of its resource (B-14).
    pub model_destination: std::path::PathBuf,
    /// Which classified frames become messages, and what they tell.
    pub policy: PolicySettings,
    /// Classes below this probability are left out, all but the best one; by default what the package says.
    pub threshold: Option<f32>,
    /// The longer side of a thumbnail of each frame, in pixels, if one is wanted.
    pub thumbnail: Option<u32>,
    /// Which part of a frame matters, and how the camera is mounted.
    pub view: margay_inference::View,
    /// The memory limit of each worker, in bytes.
    pub memory_limit: u64,
    /// Whom the workers run as.
    pub identity: WorkerIdentity,
    /// From when on the camera is ill.
    pub health: HealthSettings,
    /// Threads of the model, where the operator says; by default what was measured, or what leaves a core for the rest.
    pub threads: Option<usize>,
    /// Who knows how models are run on this device.
    pub engines: Engines,
}
