//! Layers over bytes, and between bytes and floats.

use std::sync::Arc;

use margay_kernels::{Activation, Quantised, Window};

/// How a value that is bytes stands for numbers. Bytes are unsigned throughout: signed ones plus 128.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Stored {
    /// Of the unsigned bytes.
    pub(in super::super) quantised: Quantised,
    /// Whether the model's own bytes are signed.
    pub(in super::super) is_signed: bool,
}

/// What a convolution's scaled sums become.
#[derive(Debug, Clone)]
pub(in super::super) enum Finish {
    /// Floats, plus addends for the channels, if any.
    Floats(Vec<f32>),
    /// Bytes between the two given ones.
    Bytes(Quantised, [u8; 2]),
    /// Bytes of `between`, which are added to the second input's bytes and make bytes between the two given ones.
    Sum { between: Quantised, residual: Quantised, to: Quantised, limits: [u8; 2] },
}

/// A convolution of bytes, with floats meant.
#[derive(Debug, Clone)]
pub(in super::super) struct ByteFilters {
    /// How the input stands for numbers.
    pub(in super::super) from: Quantised,
    /// Less their zeros, as [`margay_kernels::ByteConvolution`] has them.
    pub(in super::super) weights: Arc<[i16]>,
    /// The weights' scales, by output channel.
    pub(in super::super) scales: Vec<f32>,
    /// In steps of the input's scale times the weights'.
    pub(in super::super) bias: Vec<i32>,
    pub(in super::super) window: Window,
    pub(in super::super) groups: usize,
    /// A clamp, where the output are floats.
    pub(in super::super) activation: Activation,
    pub(in super::super) finish: Finish,
}

/// What a step over bytes computes.
#[derive(Debug, Clone)]
pub(in super::super) enum ByteLayer {
    /// Floats to bytes.
    Quantise(Quantised),
    /// Bytes to floats.
    Dequantise(Quantised),
    Convolution(Box<ByteFilters>),
    /// Every byte by a table.
    Table(Box<[u8; 256]>),
    /// The sum of two tensors as bytes between the two given ones.
    Sum {
        from: [Quantised; 2],
        to: Quantised,
        limits: [u8; 2],
    },
    /// The product of two tensors, or of one and a vector of its channels, as bytes between the two given ones.
    Product {
        from: [Quantised; 2],
        to: Quantised,
        limits: [u8; 2],
    },
    /// The greatest byte of each window.
    Pool(Window),
    /// The mean of every channel.
    Mean {
        from: Quantised,
        to: Quantised,
    },
}

impl ByteLayer {
    /// The activation that follows, where the layer can have one.
    pub(in super::super) fn activation(&mut self) -> Option<&mut Activation> {
        match self {
            Self::Convolution(filters) if matches!(filters.finish, Finish::Floats(_)) => Some(&mut filters.activation),
            _ => None,
        }
    }
}
