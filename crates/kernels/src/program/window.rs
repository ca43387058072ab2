//! The windows that a convolution or a pooling looks through.

use crate::error::PlanError;
use crate::layout::{MAX_LENGTH, Shape};

/// A window's size, and how it moves over a picture. Pairs are rows, then columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Elements of a side.
    pub kernel: [usize; 2],
    /// Pixels from a window to the next.
    pub stride: [usize; 2],
    /// Padding above and to the left. What is needed below and to the right follows from the output's shape.
    pub padding: [usize; 2],
    /// Pixels from an element to the next.
    pub dilation: [usize; 2],
}

impl Window {
    /// A square window, padded on both sides.
    #[must_use]
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2], dilation: [1; 2] }
    }

    /// Pixels from the first element to the last along an axis (0: rows, 1: columns), both included.
    ///
    /// # Panics
    /// There is no third axis.
    #[must_use]
    pub fn span(&self, axis: usize) -> usize {
        self.kernel[axis].saturating_sub(1).saturating_mul(self.dilation[axis]).saturating_add(1)
    }

    pub(crate) fn check(&self, step: &'static str) -> Result<(), PlanError> {
        let lengths = [self.kernel, self.stride, self.dilation];
        let is_bounded = lengths.iter().flatten().all(|length| (1..=MAX_LENGTH).contains(length))
            && self.padding.iter().all(|&padding| padding <= MAX_LENGTH)
            && self.kernel[0].checked_mul(self.kernel[1]).is_some_and(|elements| elements <= MAX_LENGTH);
        if is_bounded {
            Ok(())
        } else {
            Err(PlanError::step(step, format!("its window is beyond the limits: {self:?}")))
        }
    }

    /// Pixels of halo that reading `input` through this window takes, for an output of `height` × `width`.
    pub(crate) fn halo(&self, input: Shape, output: Shape) -> usize {
        let sides = [(input.height, output.height), (input.width, output.width)];
        let after = sides.iter().enumerate().map(|(axis, &(input, output))| {
            let last = (output - 1).saturating_mul(self.stride[axis]);
            last.saturating_add(self.span(axis)).saturating_sub(self.padding[axis] + input)
        });
        after.chain(self.padding).max().unwrap_or(0)
    }
}
