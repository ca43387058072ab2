//! Frames: where they come from, what their bytes mean, and how they travel between processes.
//!
//! * [`frame`] and [`format`](mod@format): pixel formats and what is known about one frame;
//! * [`picture`]: PNG and BMP files;
//! * [`ring`]: a sealed piece of shared memory through which one capture process hands frames to any number of
//!   readers, without ever waiting for them;
//! * [`source`]: the things that deliver frames, behind [`source::FrameSource`];
//! * [`mod@v4l2`] has the cameras;
//! * [`shared`]: the bytes of a frame where they lie;
//! * [`clock`]: the time and the pacing that sources are given.
//!
//! The crate decodes PNG and BMP files, within limits, and nothing else: a JPEG passes through as it was found, so
//! that the process that holds the camera never runs a JPEG decoder. It knows neither models nor the network, and it
//! is synchronous: it serves the capture worker, the inference worker and the preview page.

pub mod clock;
pub mod format;
pub mod frame;
pub mod fuzz;
pub mod picture;
pub mod ring;
pub mod shared;
pub mod source;
pub mod v4l2;

pub use format::{Misfit, PixelFormat};
pub use frame::{Capture, FrameMeta, Region, TimestampSource};
