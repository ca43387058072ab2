//! Whole models through the public interface: real ones against reference answers, small ones made for a purpose.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy.toml exempts tests, but not their helpers"
)]

mod artefact;
mod choice;
mod compiled;
mod families;
mod networks;
mod pixels;
mod protobuf;
mod quantised;
mod quantising;
mod real;
mod shared;
mod small;
mod transformers;
