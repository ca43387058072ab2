//! From the bytes of a camera frame to the tensor that a network takes, without naming any engine.
//!
//! ```text
//! FrameView ─ open ─► Picture ─ prepare: convert, resize, normalise ─► InputTensor
//! ```
//!
//! [`InputSpec`] says what the tensor is to be, [`Decoder`] and [`Preparer`] own every buffer on the way. What comes in
//! is bounded before memory is taken for it: [`decode::MAX_FRAME_SIDE`], [`decode::MAX_FRAME_PIXELS`],
//! [`still::MAX_STILL_BYTES`], [`input::MAX_INPUT_SIDE`].
//!
//! It stands apart from the engines because every pixel passes here: this crate is optimised in every build, while the
//! engines' generic code, which is compiled where it is used, need not be.
#![forbid(unsafe_code)]

pub mod decode;
pub mod frame;
pub mod fuzz;
pub mod geometry;
pub mod input;
pub mod normalise;
pub mod orientation;
pub mod picture;
mod plan;
pub mod prepare;
pub mod problem;
pub mod still;
mod strip;
pub mod tensor;
pub mod thumbnail;

pub use decode::{DecodeError, Decoder, RgbView, View};
pub use frame::{FrameView, Misfit, PixelFormat, Region};
pub use input::{ColorOrder, Element, InputSpec, Jpeg, Layout, ResizeRule};
pub use orientation::{Orientation, Rotation};
pub use picture::Picture;
pub use prepare::{PrepareError, Preparer};
pub use problem::SpecProblem;
pub use still::{Still, StillError};
pub use tensor::{InputTensor, TensorData};
pub use thumbnail::{Thumbnail, ThumbnailError, Thumbnailer};
