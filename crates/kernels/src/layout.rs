//! Where the elements of a tensor lie in memory.
//!
//! A *blocked* tensor holds its channels in blocks of [`LANES`]: all pixels of the first sixteen channels, then those of
//! the next sixteen, each pixel as sixteen neighbouring floats (NCHW16c). Lanes past the last channel hold anything. A
//! *planar* one holds channel after channel, as pictures arrive. Around every plane lies a halo of zeros, as wide as its
//! widest reader pads, so that no kernel asks where the edge is.
//!
//! Places count floats: four bytes. A tensor of bytes is blocked as well, a pixel of a block being sixteen neighbouring
//! bytes, and its halo holds the byte that stands for zero. A planar one of bytes holds a picture of up to four channels
//! pixel after pixel, each as four bytes.

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

/// Channels of a planar tensor of bytes at most: those of a picture.
pub const MAX_PICTURE_CHANNELS: usize = 4;

/// Floats behind every tensor of bytes that kernels may read, and ignore: they read four pixels at a time.
pub(crate) const SLACK: usize = LANES;

/// Floats of one way of a first cache: what lies so far apart falls into one set.
const FIRST_CACHE_WAY: usize = 4096 / size_of::<f32>();

/// What a tensor's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Float,
    /// Bytes, with the one that stands for zero, as it is stored.
    Byte {
        zero: u8,
    },
}

/// The places of a tensor's elements, in floats from its first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shape: Shape,
    /// Zeros on every side of a plane, in pixels.
    pub(crate) halo: usize,
    pub(crate) is_planar: bool,
    pub(crate) element: Element,
}

impl Layout {
    pub(crate) fn is_bytes(&self) -> bool {
        self.element != Element::Float
    }

    /// Floats of one pixel of one block.
    pub(crate) fn pixel(&self) -> usize {
        match (self.is_planar, self.element) {
            (true, _) => 1,
            (false, Element::Float) => LANES,
            (false, Element::Byte { .. }) => LANES / size_of::<f32>(),
        }
    }

    /// Floats from a row to the next.
    pub(crate) fn row(&self) -> usize {
        (self.shape.width + 2 * self.halo) * self.pixel()
    }

    /// Rows of a plane with its halo.
    pub(crate) fn rows(&self) -> usize {
        self.shape.height + 2 * self.halo
    }

    /// Floats from a block (or a planar channel) to the next: a line more than its plane where planes would all fall into the
    /// same sets of the first cache.
    pub(crate) fn block(&self) -> usize {
        let plane = self.row() * self.rows();
        let collide = !self.is_planar && plane > 0 && plane.is_multiple_of(FIRST_CACHE_WAY);
        if collide { plane + LANES } else { plane }
    }

    /// Channels of a block, or of what stands for one in a planar tensor.
    pub(crate) fn of_block(&self) -> usize {
        match (self.is_planar, self.element) {
            (true, Element::Float) => 1,
            (true, Element::Byte { .. }) => MAX_PICTURE_CHANNELS,
            (false, _) => LANES,
        }
    }

    /// Blocks, or planar channels.
    pub(crate) fn blocks(&self) -> usize {
        self.shape.channels.div_ceil(self.of_block())
    }

    /// Floats of the whole tensor, halo and slack included.
    pub(crate) fn floats(&self) -> Result<usize, PlanError> {
        self.shape.check()?;
        let padded = |side: usize| side.checked_add(self.halo.checked_mul(2)?);
        let plane = padded(self.shape.height)
            .zip(padded(self.shape.width))
            .and_then(|(height, width)| height.checked_mul(width)?.checked_mul(self.pixel())?.checked_add(LANES));
        let floats = plane.and_then(|_| self.block().checked_mul(self.blocks()));
        let slack = if self.is_bytes() { SLACK } else { 0 };
        let floats = floats.and_then(|floats| floats.checked_add(slack));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(height: usize, width: usize, halo: usize, is_planar: bool) -> Layout {
        Layout { shape: Shape { channels: 40, height, width }, halo, is_planar, element: Element::Float }
    }

    #[test]
    fn planes_of_one_cache_way_lie_a_line_further_apart() {
        for (height, width, halo, apart) in [(56, 56, 0, LANES), (6, 6, 1, LANES), (28, 28, 0, 0), (56, 56, 1, 0)] {
            let blocked = layout(height, width, halo, false);
            assert_eq!(blocked.block(), blocked.row() * blocked.rows() + apart, "{height} × {width}, halo {halo}");
            assert_eq!(blocked.floats().unwrap(), 3 * blocked.block());
        }
        let planar = layout(32, 32, 0, true);
        assert_eq!((planar.block(), planar.floats().unwrap()), (1024, 40 * 1024));
    }
}
