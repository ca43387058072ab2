//! Steps of quantised networks: over tensors of bytes, and between those and tensors of floats.

pub(crate) mod bands;
pub(crate) mod convolution;
pub(crate) mod depthwise;
pub(crate) mod edges;
pub(crate) mod matrix;
pub(crate) mod pack;
pub(crate) mod patches;
pub(crate) mod rows;
pub(crate) mod tiled;
pub(crate) mod winograd;

use super::input::InputOrder;
use super::levels::Levels;
use super::region::Region;
use super::resize::{ByteResizeStep, Samples};
use super::step::Step;
use super::window::Window;
use crate::block::{Joint, Range};
use crate::error::PlanError;
use crate::kernel::bytes::set::ByteSet;
use convolution::PackedBytes;
use depthwise::{ByteDepthwiseStep, PackedByteDepthwise};
use edges::{Arrival, DequantiseStep, PictureStep, QuantiseStep};
use matrix::PackedMatrix;
use matrix::step::MatrixStep;
use patches::ByteWinogradStep;
use rows::{ByteChannelStep, ByteMeanStep, BytePoolStep, ByteProductStep, ByteSumStep, TableStep};
use tiled::ByteConvolutionStep;
use winograd::PackedByteWinograd;

/// How bytes stand for numbers: `number = (byte − zero) · scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantised {
    /// The number that one step of the byte makes.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}

/// The kind of a step, with what it computes by.
#[derive(Debug)]
pub(crate) enum ByteWork {
    Picture(InputOrder, Arrival),
    Quantise(Quantised),
    Dequantise(Quantised),
    Convolution(PackedBytes),
    Depthwise(PackedByteDepthwise),
    Winograd(PackedByteWinograd),
    Matrix(PackedMatrix),
    Table(Box<[u8; 256]>),
    Sum { zeros: [i32; 2], joint: Joint },
    Product { zeros: [i32; 3], ratio: f32, limits: [u8; 2] },
    Pool(Window),
    Mean { zeros: [u8; 2], factor: f32 },
    Channels(Vec<(usize, usize)>),
    Resize(Samples),
}

impl ByteWork {
    /// Whether the step reads bytes, and whether it writes them.
    pub(crate) fn bytes(&self) -> [bool; 2] {
        match self {
            Self::Quantise(_) => [false, true],
            Self::Dequantise(_) => [true, false],
            Self::Convolution(packed) => [true, !packed.writes_floats()],
            Self::Matrix(packed) => [true, !packed.writes_floats()],
            _ => [true, true],
        }
    }

    /// Floats of scratch memory for each thread.
    pub(crate) fn scratch(&self) -> usize {
        match self {
            Self::Convolution(packed) => packed.scratch(),
            Self::Winograd(packed) => packed.scratch(),
            Self::Matrix(packed) => packed.scratch(),
            _ => 0,
        }
    }

    /// Floats of packed weights.
    pub(crate) fn weights(&self) -> usize {
        match self {
            Self::Convolution(packed) => packed.floats(),
            Self::Depthwise(packed) => packed.floats(),
            Self::Winograd(packed) => packed.floats(),
            Self::Matrix(packed) => packed.floats(),
            _ => 0,
        }
    }

    /// The step, with every offset settled; `scratch` is where its scratch memory begins, and how many threads share it;
    /// `levels` are what pixels of the picture stand for.
    pub(crate) fn step(
        self,
        inputs: Vec<Region>,
        output: Region,
        scratch: [usize; 2],
        (set, levels): (&'static ByteSet, Option<&Levels>),
    ) -> Result<Box<dyn Step>, PlanError> {
        let input = inputs.first().copied().unwrap_or(output);
        let second = inputs.get(1).copied();
        Ok(match self {
            Self::Picture(order, arrival) => Box::new(PictureStep::new(output, order, arrival, (set, levels))),
            Self::Quantise(as_bytes) => Box::new(QuantiseStep { input, output, as_bytes, set }),
            Self::Dequantise(as_bytes) => Box::new(DequantiseStep { input, output, as_bytes, set }),
            Self::Convolution(packed) => Box::new(ByteConvolutionStep::new(packed, input, output, second, scratch)?),
            Self::Winograd(packed) => Box::new(ByteWinogradStep::new(packed, [input, output], second, scratch)?),
            Self::Matrix(packed) => Box::new(MatrixStep::new(packed, [input, output], second, scratch)),
            Self::Depthwise(packed) => Box::new(ByteDepthwiseStep::new(packed, input, output)?),
            Self::Table(table) => Box::new(TableStep { input, output, table, set }),
            Self::Sum { zeros, joint } => {
                Box::new(ByteSumStep { inputs: [input, second.unwrap_or(input)], output, zeros, joint, set })
            }
            Self::Product { zeros, ratio, limits } => {
                let inputs = [input, second.unwrap_or(input)];
                Box::new(ByteProductStep { inputs, output, zeros, ratio, limits, set })
            }
            Self::Pool(window) => Box::new(BytePoolStep { window, input, output, set }),
            Self::Mean { zeros, factor } => Box::new(ByteMeanStep { input, output, zeros, factor, set }),
            Self::Channels(order) => Box::new(ByteChannelStep { inputs, output, order }),
            Self::Resize(samples) => Box::new(ByteResizeStep { samples, input, output }),
        })
    }
}

/// The range of a tensor's bytes, as its kernels hold them, between two unsigned ones.
pub(crate) fn range(zero: u8, [low, high]: [u8; 2], set: &ByteSet) -> Range {
    let number = |byte: u8| set.number(byte);
    Range { zero: number(zero), low: number(low), high: number(high) }
}
