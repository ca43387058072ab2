//! Every step against plain loops, over grids of shapes, for every instruction set of the machine, on one thread and on
//! two; those of bytes bit for bit. Memory is poisoned before each run: what was not computed comes out as no number, and fails.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy.toml exempts tests, but not their helpers"
)]

mod attention;
mod byte_reference;
mod byte_rows;
mod bytes;
mod convolution;
mod kept;
mod normalisation;
mod pixels;
mod plans;
mod pointwise;
mod pooling;
mod reference;
mod resizing;
mod stack;
