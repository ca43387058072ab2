//! Greatest element or mean of a window, one row of one channel block at a time. Windows are clipped to the picture, so
//! that the halo is never read: its zeros would be greater than a negative maximum.

use crate::layout::LANES;
use crate::vector::Vector;

/// What is taken of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// The greatest element.
    Maximum,
    /// The mean; padding counts as zeros where `counts_padding`.
    Average {
        /// Whether a window at the edge is divided by its whole size.
        counts_padding: bool,
    },
}

/// What one call computes: one row of one channel block.
#[derive(Debug)]
pub(crate) struct PoolCall {
    /// The picture's first pixel.
    pub(crate) input: *const f32,
    /// Floats from a row of the input to the next.
    pub(crate) row: usize,
    /// Rows of the input that the windows cover, after clipping: first, and one past the last.
    pub(crate) rows: (usize, usize),
    /// Columns of the input.
    pub(crate) width: usize,
    /// Columns of a window.
    pub(crate) window: usize,
    /// Columns from a window to the next.
    pub(crate) stride: usize,
    /// Columns of padding before the first.
    pub(crate) padding: usize,
    /// Elements by which an average is divided; `None`: by those inside the picture.
    pub(crate) divisor: Option<f32>,
    /// Whether the mean is wanted, and not the greatest.
    pub(crate) is_average: bool,
    pub(crate) output: *mut f32,
    /// Pixels of the output's row.
    pub(crate) pixels: usize,
}

/// A compiled pooling kernel.
pub(crate) type PoolKernel = unsafe fn(&PoolCall);

/// # Safety
/// As for every kernel (`kernel.rs`). Every window has an element inside the picture.
#[inline(always)]
pub(crate) unsafe fn pool<V: Vector>(call: &PoolCall) {
    for pixel in 0..call.pixels {
        let from = pixel * call.stride;
        let first = from.saturating_sub(call.padding);
        let last = (from + call.window).saturating_sub(call.padding).min(call.width);
        if !call.is_average && last - first == THREE && call.rows.1 - call.rows.0 == THREE {
            // SAFETY: the caller's promise; the window is whole.
            unsafe {
                let corner = call.input.add(call.rows.0 * call.row + first * LANES);
                greatest_of_three::<V>(corner, call.row, call.output.add(pixel * LANES));
            }
            continue;
        }
        let inside = ((last - first) * (call.rows.1 - call.rows.0)) as f32;
        for lane in (0..LANES).step_by(V::LANES) {
            // SAFETY: the caller's promise; the window is clipped to the picture.
            unsafe {
                let corner = call.input.add(call.rows.0 * call.row + first * LANES + lane);
                let mut result = if call.is_average { V::splat(0.0) } else { V::load(corner) };
                for y in 0..call.rows.1 - call.rows.0 {
                    for x in 0..last - first {
                        let element = V::load(corner.add(y * call.row + x * LANES));
                        result = if call.is_average { result.add(element) } else { result.max(element) };
                    }
                }
                if call.is_average {
                    result = result.div(V::splat(call.divisor.unwrap_or(inside)));
                }
                result.store(call.output.add(pixel * LANES + lane));
            }
        }
    }
}

/// The side of most windows, which have a kernel of their own.
const THREE: usize = 3;

/// The greatest elements of a window of 3 × 3, of sixteen channels.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn greatest_of_three<V: Vector>(corner: *const f32, row: usize, output: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        // Two vectors side by side, where there are as many, are loaded at once.
        let vectors = if LANES > V::LANES { 2 } else { 1 };
        for lane in (0..LANES).step_by(vectors * V::LANES) {
            let mut results = [V::load(corner.add(lane)); 2];
            for vector in 0..vectors {
                results[vector] = V::load(corner.add(lane + vector * V::LANES));
            }
            for y in 0..THREE {
                for x in 0..THREE {
                    for vector in 0..vectors {
                        let place = y * row + x * LANES + lane + vector * V::LANES;
                        results[vector] = results[vector].max(V::load(corner.add(place)));
                    }
                }
            }
            for vector in 0..vectors {
                results[vector].store(output.add(lane + vector * V::LANES));
            }
        }
    }
}
