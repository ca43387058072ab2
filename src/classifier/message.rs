//! What the core and its two kinds of worker say to each other, as JSON over [`crate::ipc`].
//!
//! Every message of a worker is checked by the core as input from outside: a worker parses models and pictures, and may
//! have been taken over by one.

use margay_camera::source::SourceConfig;
use serde::{Deserialize, Serialize};

use super::glance::Shades;
use super::health::Look;
use super::running::Running;
use crate::payload::{Ranked, Thumbnail};

/// From the core to the capture worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToCapture {
    /// Capture from this source into the ring whose memfd comes along, writable; for a camera of the network, a connection
    /// to it comes second.
    Begin {
        /// Where frames come from, in the sandbox's own paths.
        source: SourceConfig,
    },
}

/// From the capture worker to the core.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromCapture {
    /// The ring is mapped: no other writer needs it any more, and the source is open.
    Capturing,
    /// Items of the source were passed over; they never became frames.
    Skipped {
        /// The source's number of the last of them.
        item: u64,
        /// How many.
        items: u64,
        /// What was wrong.
        why: String,
    },
    /// The source has no more frames; the ring is closed.
    Ended,
    /// The source failed; the worker ends after saying so.
    Failed {
        /// What was tried, on what, and what came back.
        why: String,
    },
}

/// From the core to an inference worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToInference {
    /// Load the model and warm it.
    Load {
        /// The package's directory inside the sandbox.
        directory: String,
        /// How many classes to report for a frame.
        classes: usize,
        /// Classes below this probability are not to be told, all but the best one; by default what the package says.
        threshold: Option<f32>,
        /// The longer side of the thumbnail to report with each frame, in pixels, if one is wanted.
        thumbnail: Option<u32>,
        /// What counts as dark and as bright in looks.
        shades: Shades,
        /// Which part of a frame matters, and how the camera is mounted.
        view: margay_inference::View,
        /// On which engine and how many threads.
        running: Running,
        /// What may be kept of the compiled model.
        keeping: Option<KeepingOrder>,
    },
    /// Frames are to be read from the ring whose memfd comes along, read-only. A ring that came before is final: its
    /// writer is gone, and what it still holds is classified first.
    Ring,
    /// Classify frames from this number on.
    ServeFrom {
        /// The first frame of this worker.
        frame: u64,
    },
    /// Account for every frame up to this number, or up to the last one already accounted for if that is later; say
    /// which with [`FromInference::Stopping`], and end there.
    StopAfter {
        /// The last frame wanted of this worker.
        frame: u64,
    },
}

/// What an inference worker may keep of its compiled model. A pipe comes along, into which it writes the artefact if it made
/// one; and second the artefact of an earlier start, for reading, if there is one.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeepingOrder {
    /// The digest of the package, whose artefacts these are.
    pub digest: String,
}

/// From an inference worker to the core.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromInference {
    /// The model is loaded and has run once.
    Loaded {
        /// The engine that runs it.
        engine: String,
        /// Load, optimise and first run, in microseconds.
        load_us: u64,
        /// That the model runs otherwise than was to be expected, and why.
        remark: Option<String>,
        /// Whether it was compiled at an earlier start.
        is_kept: bool,
        /// Why what an earlier start kept was not used.
        passed_over: Option<String>,
    },
    /// The model cannot be used; the worker ends after saying so.
    Refused {
        /// What was tried, on what, and what came back.
        why: String,
    },
    /// A run of frames has been dealt with.
    Accounted(Account),
    /// What a frame of late looks like; sent now and then.
    Looked(Look),
    /// The answer to [`ToInference::StopAfter`]: another worker may serve the frames after this one.
    Stopping {
        /// The last frame that this worker accounts for.
        after: u64,
    },
    /// Every frame up to the one of [`FromInference::Stopping`] is accounted for; the worker ends.
    Finished,
}

/// One step of the ledger: what became of the frames `from..=through`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Account {
    /// The first frame of the run.
    pub from: u64,
    /// The last frame of the run, the one that `outcome` speaks of.
    pub through: u64,
    /// What became of `through`. Those before it were superseded: the newest frame wins.
    pub outcome: Outcome,
}

/// What became of a frame that the worker turned to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was classified.
    Inferred(Inferred),
    /// The ring's slot held another frame by the time it was read.
    Overwritten,
    /// Its bytes could not be decoded.
    Undecodable {
        /// What the decoder said.
        why: String,
    },
    /// The engine failed on it.
    InferenceFailed {
        /// What the engine said.
        why: String,
    },
}

/// A classified frame.
#[derive(Debug, Serialize, Deserialize)]
pub struct Inferred {
    /// The source's number of the picture.
    pub item: u64,
    /// When it was captured, CLOCK_BOOTTIME in nanoseconds.
    pub captured_ns: u64,
    /// Who took that time.
    pub captured_at_source: margay_camera::TimestampSource,
    /// The classes, most probable first.
    pub predictions: Vec<Ranked>,
    /// Those below this probability are not to be told, all but the best one.
    pub threshold: f32,
    /// The frame in small, if that was wanted and could be made.
    pub thumbnail: Option<Thumbnail>,
    /// From capture to the moment the worker took the frame, in microseconds.
    pub queue_us: u64,
    /// Decoding, in microseconds.
    pub decode_us: u64,
    /// Resizing and normalising, in microseconds.
    pub resize_us: u64,
    /// The model, in microseconds.
    pub inference_us: u64,
    /// Softmax and ranking, in microseconds.
    pub postprocess_us: u64,
}
