//! Where the elements of a tensor lie in memory.
//!
//! A *blocked* tensor holds its channels in blocks of [`LANES`]: all pixels of the first sixteen channels, then those of
//! the next sixteen, each pixel as sixteen neighbouring floats (NCHW16c). Lanes past the last channel hold anything. A
//! *planar* one holds channel after channel, as pictures arrive. Around every plane lies a halo of zeros, as wide as its
//! widest reader pads, so that no kernel asks where the edge is.

use std::fmt;

use crate::error::PlanError;

/// Channels in a block.
pub const LANES: usize = 16;

/// Longest side, most channels, widest halo.
pub const MAX_LENGTH: usize = 1 << 20;

/// Floats in one tensor, or of one layer's packed weights, at most: 256 MiB.
pub const MAX_FLOATS: usize = 1 << 26;

/// Channels, rows and columns of a tensor; the batch is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {} × {}", self.channels, self.height, self.width)
    }
}

impl Shape {
    /// A shape of one pixel: a vector.
    #[must_use]
    pub fn vector(channels: usize) -> Self {
        Self { channels, height: 1, width: 1 }
    }

    /// All elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Elements of one channel.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    pub(crate) fn check(&self) -> Result<(), PlanError> {
        let sides = [self.channels, self.height, self.width];
        let is_bounded = sides.iter().all(|side| (1..=MAX_LENGTH).contains(side));
        let elements = || {
            let pixels = self.height.checked_mul(self.width)?;
            pixels.checked_mul(self.channels.next_multiple_of(LANES))
        };
        if is_bounded && elements().is_some_and(|elements| elements <= MAX_FLOATS) {
            Ok(())
        } else {
            Err(PlanError::Shape(*self))
        }
    }
}

/// The places of a tensor's elements, in floats from its first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shape: Shape,
    /// Zeros on every side of a plane, in pixels.
    pub(crate) halo: usize,
    pub(crate) is_planar: bool,
}

impl Layout {
    /// Floats of one pixel of one block.
    pub(crate) fn pixel(&self) -> usize {
        if self.is_planar { 1 } else { LANES }
    }

    /// Floats from a row to the next.
    pub(crate) fn row(&self) -> usize {
        (self.shape.width + 2 * self.halo) * self.pixel()
    }

    /// Rows of a plane with its halo.
    pub(crate) fn rows(&self) -> usize {
        self.shape.height + 2 * self.halo
    }

    /// Floats from a block (or a planar channel) to the next.
    pub(crate) fn block(&self) -> usize {
        self.row() * self.rows()
    }

    /// Blocks, or planar channels.
    pub(crate) fn blocks(&self) -> usize {
        if self.is_planar { self.shape.channels } else { self.shape.channels.div_ceil(LANES) }
    }

    /// Floats of the whole tensor, halo included.
    pub(crate) fn floats(&self) -> Result<usize, PlanError> {
        self.shape.check()?;
        let padded = |side: usize| side.checked_add(self.halo.checked_mul(2)?);
        let floats = padded(self.shape.height).zip(padded(self.shape.width)).and_then(|(height, width)| {
            height.checked_mul(width)?.checked_mul(self.pixel())?.checked_mul(self.blocks())
        });
        floats.filter(|&floats| floats <= MAX_FLOATS).ok_or(PlanError::Shape(self.shape))
    }

    /// A pixel of the first block; the first row and column are 0.
    pub(crate) fn at(&self, y: usize, x: usize) -> usize {
        (y + self.halo) * self.row() + (x + self.halo) * self.pixel()
    }

    /// One element.
    pub(crate) fn element(&self, channel: usize, y: usize, x: usize) -> usize {
        let (block, lane) = if self.is_planar { (channel, 0) } else { (channel / LANES, channel % LANES) };
        block * self.block() + self.at(y, x) + lane
    }
}
