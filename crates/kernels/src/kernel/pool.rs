//! Greatest element or mean of a window, one row of one channel block at a time. Windows are clipped to the picture, so
//! that the halo is never read: its zeros would be greater than a negative maximum.

use std::ops::Range;

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
    /// The first pixel of the row that `rows` count from: the picture's, or one of a few that are held.
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
    let mut done = 0..0;
    if V::BY_LANE && !call.is_average && (call.window, call.rows.1 - call.rows.0) == (THREE, THREE) && call.stride == 2
    {
        done = whole_windows(call);
        // SAFETY: the caller's promise; these windows are inside the picture.
        unsafe { row_of_greatest::<V>(call, &done) };
    }
    for pixel in (0..done.start).chain(done.end..call.pixels) {
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

/// Neighbouring pixels whose windows are not clipped at the sides.
fn whole_windows(call: &PoolCall) -> Range<usize> {
    let first = call.padding.div_ceil(call.stride).min(call.pixels);
    let last = match (call.width + call.padding).checked_sub(call.window) {
        Some(room) => (room / call.stride + 1).clamp(first, call.pixels),
        None => first,
    };
    first..last
}

/// The greatest elements of neighbouring windows of 3 × 3 that lie two columns apart: the column that two of them see is
/// gone over once.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn row_of_greatest<V: Vector>(call: &PoolCall, pixels: &Range<usize>) {
    if pixels.is_empty() {
        return;
    }
    let first = call.rows.0 * call.row + (pixels.start * call.stride - call.padding) * LANES;
    for lane in (0..LANES).step_by(2 * V::LANES) {
        // SAFETY: the caller's promise; both vectors are inside the block.
        unsafe {
            let mut from = call.input.add(first + lane);
            let mut to = call.output.add(pixels.start * LANES + lane);
            let mut shared = greatest_of_column::<V>(from, call.row);
            for _ in pixels.clone() {
                let middle = greatest_of_column::<V>(from.add(LANES), call.row);
                let last = greatest_of_column::<V>(from.add(2 * LANES), call.row);
                shared[0].max(middle[0]).max(last[0]).store(to);
                shared[1].max(middle[1]).max(last[1]).store(to.add(V::LANES));
                shared = last;
                from = from.add(2 * LANES);
                to = to.add(LANES);
            }
        }
    }
}

/// The greatest elements of three rows, of two vectors that stand side by side.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn greatest_of_column<V: Vector>(from: *const f32, row: usize) -> [V; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        let (second, third) = (from.add(row), from.add(2 * row));
        let one = V::load(from).max(V::load(second)).max(V::load(third));
        let other = V::load(from.add(V::LANES)).max(V::load(second.add(V::LANES))).max(V::load(third.add(V::LANES)));
        [one, other]
    }
}

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
