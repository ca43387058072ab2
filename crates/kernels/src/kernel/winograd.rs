//! The two ends of Winograd's F(4×4, 3×3) and F(2×2, 3×3): from 6 × 6 pixels of the input to 36 numbers, and from 36 sums to
//! 4 × 4 pixels of the output; or from 4 × 4 to 16, and to 2 × 2. Between them lie 36, or 16, products of matrices, which the
//! tile kernel computes: 36 multiplications for 16 pixels instead of 144, or 16 for 4 instead of 36 (Lavin and Gray, 2015;
//! the points are 0, ±1, ∞, and ±2 for the larger).
//!
//! With stride 2 a side's even pixels meet the filter's first and last element alone, which is a convolution of two elements
//! and stride 1, and the odd ones its middle one, which is no more than a product. The even ones go by F(4, 2), the odd ones
//! as they are: from 9 × 9 pixels to 81 numbers and 4 × 4 pixels, 81 multiplications instead of 144; or from 5 × 5 to 25 and
//! 2 × 2, 25 instead of 36. All odd ones share a filter, so that filters have 36, or 16, numbers here, too.
//!
//! Where four pixels are one too many, at the end of a row of 7 or of 14, a patch may be *short*: three pixels by the same
//! points but one, so that it meets the same numbers of the filters, and leaves one of them out.
//!
//! What a filter's numbers are multiplied with is chosen so that they come of few operations ([`Recipe`]); the second
//! transform has factors of its own either way, and makes up for it.

pub(crate) mod filters;
pub(crate) mod method;
pub(crate) mod transforms;

use filters::{FilterKernel, Recipe};

/// How large patches are.
#[derive(Debug)]
pub(crate) struct Size {
    /// Pixels of a side of the input's patch, and numbers of a side of its transform.
    pub(crate) patch: usize,
    /// Pixels of a side of the output's patch.
    pub(crate) output: usize,
    /// Pixels from a window to the next, in both directions.
    pub(crate) stride: usize,
    /// Filters go through this on both sides.
    pub(crate) filter: &'static [[f64; 3]],
    /// For each number of a side of a patch's transform, the row of `filter` that it is multiplied with.
    pub(crate) rows: &'static [usize],
    /// Patches of a pixel less.
    pub(crate) short: Option<Short>,
}

/// A side of patches whose output is a pixel shorter, by the same filters.
#[derive(Debug)]
pub(crate) struct Short {
    /// As [`Size::patch`].
    pub(crate) patch: usize,
    /// As [`Size::output`].
    pub(crate) output: usize,
    /// Numbers of a side of a whole patch's transform that a short one has not.
    pub(crate) left_out: &'static [usize],
}

impl Size {
    /// Numbers of a transformed patch.
    pub(crate) fn planes(&self) -> usize {
        self.patch * self.patch
    }

    /// Numbers of a transformed filter.
    pub(crate) fn filters(&self) -> usize {
        self.filter.len() * self.filter.len()
    }

    /// The row and the column of a filter's number that a number of a patch is multiplied with.
    pub(crate) fn filter_of(&self, plane: usize) -> [usize; 2] {
        [plane / self.patch, plane % self.patch].map(|side| self.rows[side])
    }

    /// Whether patches whose rows are short, and those whose columns are, have not a number.
    pub(crate) fn is_left_out(&self, plane: usize) -> [bool; 2] {
        let left_out = self.short.as_ref().map_or(&[][..], |short| short.left_out);
        [plane / self.patch, plane % self.patch].map(|side| left_out.contains(&side))
    }
}

/// The transforms of a size, compiled. Of those of patches there are four: of whole ones, of those whose columns are short,
/// of those whose rows are, and of those that are short in both; one, four times, where nothing is short.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) size: &'static Size,
    pub(crate) patch: [PatchKernel; 4],
    pub(crate) sums: [SumKernel; 4],
    /// That of filters in every run, where patches may be short, too.
    pub(crate) filters: Option<(&'static Recipe, FilterKernel)>,
}

/// F(4×4, 3×3). A short side goes by F(3, 3), without the point -2.
pub(crate) static FOUR: Size = Size {
    patch: 6,
    output: 4,
    stride: 1,
    filter: &[
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 12.0, -1.0 / 6.0, -1.0 / 3.0],
        [-1.0 / 12.0, 1.0 / 6.0, -1.0 / 3.0],
        [0.0, 0.0, -1.0 / 4.0],
    ],
    rows: &[0, 1, 2, 3, 4, 5],
    short: Some(Short { patch: 5, output: 3, left_out: &[4] }),
};

/// F(2×2, 3×3).
pub(crate) static TWO: Size = Size {
    patch: 4,
    output: 2,
    stride: 1,
    filter: &[[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]],
    rows: &[0, 1, 2, 3],
    short: None,
};

/// Stride 2: the even pixels by F(4, 2), whose points are 0, ±1, 2 and ∞, then the odd ones. A short side goes by F(3, 2),
/// without the point 2, and has an odd pixel less.
pub(crate) static FOUR_STRIDED: Size = Size {
    patch: 9,
    output: 4,
    stride: 2,
    filter: &[[0.5, 0.0, 0.0], [0.5, 0.0, 0.5], [0.5, 0.0, -0.5], [0.5, 0.0, 1.0], [0.0, 0.0, 0.5], [0.0, 1.0, 0.0]],
    rows: &[0, 1, 2, 3, 4, 5, 5, 5, 5],
    short: Some(Short { patch: 7, output: 3, left_out: &[3, 8] }),
};

/// Stride 2: the even pixels by F(2, 2), whose points are 0, 1 and ∞, then the odd ones.
pub(crate) static TWO_STRIDED: Size = Size {
    patch: 5,
    output: 2,
    stride: 2,
    filter: &[[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]],
    rows: &[0, 1, 2, 3, 3],
    short: None,
};

/// What one call of the first transform computes: one patch of one channel block.
#[derive(Debug)]
pub(crate) struct PatchCall {
    /// The patch's first pixel.
    pub(crate) input: *const f32,
    /// Floats from a row to the next.
    pub(crate) row: usize,
    /// Rows and columns of the patch that exist; others count as zeros.
    pub(crate) inside: (usize, usize),
    /// The first of its numbers.
    pub(crate) output: *mut f32,
    /// Floats from a number to the next.
    pub(crate) plane: usize,
}

/// What one call of the second transform computes: one patch of one channel block.
#[derive(Debug)]
pub(crate) struct SumCall {
    /// The first of its sums.
    pub(crate) input: *const f32,
    /// Floats from a sum to the next.
    pub(crate) plane: usize,
    /// Sixteen channels.
    pub(crate) bias: *const f32,
    /// Added before the clamp: its first pixel, and floats from a row to the next.
    pub(crate) residual: Option<(*const f32, usize)>,
    /// Least and greatest result.
    pub(crate) clamp: Option<(f32, f32)>,
    /// The patch's first pixel.
    pub(crate) output: *mut f32,
    /// Floats from a row to the next.
    pub(crate) row: usize,
    /// Rows and columns of the patch that are inside the picture.
    pub(crate) inside: (usize, usize),
}

/// A compiled first transform.
pub(crate) type PatchKernel = unsafe fn(&PatchCall);
/// A compiled second transform.
pub(crate) type SumKernel = unsafe fn(&SumCall);
