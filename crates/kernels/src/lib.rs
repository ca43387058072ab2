//! Compiled convolutional networks: a program of steps over channel-blocked tensors in one arena.
//!
//! ```text
//! ProgramBuilder ─ tensors, steps, weights ─► build: halos, memory, offsets, proof ─► Program::run(picture) ─► scores
//! ```
//!
//! A caller describes the network in terms of [`View`]s of tensors; the builder refuses what does not fit together,
//! packs the weights, gives every tensor its place, and proves for every call of every kernel that it stays inside its
//! tensors. Running is then a list of loops without a check or an allocation.
//!
//! The kernels are written once over a small vector trait and compiled for AVX-512, AVX2 with FMA, NEON and the
//! target's baseline, those over bytes also for VNNI, AMX, dot products and i8mm; [`Isa`] and [`ByteIsa`] say which of them the
//! machine runs. The crate knows nothing of model files, holds networks of `f32` and of bytes, of batch one only, and depends on
//! nothing but the standard library, mmap(2) and, for AMX, arch_prctl(2). docs/engine.md explains the design.
//!
//! [`pixels`] has the loops of the front-end, which need the same detection; docs/front-end.md explains those.

#![allow(unsafe_code, reason = "kernels work on pointers into the arena; each block says why it is sound")]

mod activation;
mod block;
mod bounds;
mod byte_isa;
mod error;
mod floats;
mod isa;
mod kernel;
mod layout;
mod mapping;
pub mod pixels;
mod program;
mod threads;
mod vector;

pub use activation::Activation;
pub use byte_isa::ByteIsa;
pub use error::PlanError;
pub use isa::Isa;
pub use kernel::pointwise::Combination;
pub use kernel::pool::PoolKind;
pub use kernel::resize::Sample;
pub use layout::{LANES, MAX_FLOATS, MAX_LENGTH, MAX_PICTURE_CHANNELS, Shape};
pub use mapping::Mapping;
pub use program::builder::attention::MAX_TOKENS;
pub use program::builder::bytes::byte_of;
pub use program::builder::{ProgramBuilder, TensorId, View};
pub use program::bytes::Quantised;
pub use program::bytes::convolution::{ByteConvolution, ByteFinish};
pub use program::bytes::edges::{Arrival, ByteInput};
pub use program::convolution::Convolution;
pub use program::input::InputOrder;
pub use program::options::Options;
pub use program::resize::Samples;
pub use program::shelf::{KEPT_ALIGNMENT, KeptWeights, PACKING, PackedWeights};
pub use program::step::Picture;
pub use program::window::Window;
pub use program::{MAX_ARENA_FLOATS, Program, RunError, StageTime};
pub use threads::{MAX_THREADS, Threads};
