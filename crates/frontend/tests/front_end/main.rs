//! What the front-end promises, from the bytes of a frame to the tensor.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod formats;
mod jpegs;
mod pictures;
mod pillow;
mod pixels;
mod turned;
