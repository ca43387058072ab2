//! The loops that compute, each written once over [`crate::vector::Vector`] and compiled for every instruction set.
//!
//! A kernel is told where to read and write by a *call*: plain pointers and strides. Nothing is checked here; the steps
//! of a program (`program/`) prove once, when the program is built, that every call they will make stays inside its
//! tensors. That is the safety condition of every kernel: *each pointer of the call, and every place the loop reaches
//! from it, lies in memory that this call alone writes, and the machine has the vector's instruction set*.

#![allow(clippy::needless_range_loop, reason = "indices over registers, of which the compiler leaves none")]

pub(crate) mod ahead;
pub(crate) mod average;
pub(crate) mod bytes;
pub(crate) mod depthwise;
pub(crate) mod interpreter;
pub(crate) mod normalise;
pub(crate) mod pointwise;
pub(crate) mod pool;
pub(crate) mod resize;
pub(crate) mod set;
pub(crate) mod softmax;
pub(crate) mod tile;
pub(crate) mod winograd;
