//! Rows of pictures of another size: each pixel copied, or blended from the four around it.

use crate::layout::LANES;
use crate::vector::Vector;

/// Where a row or a column of a resized picture comes from: between two of the input's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The first of the two, from 0.
    pub first: u32,
    /// The second, from 0.
    pub second: u32,
    /// The second's part, 0 to 1; the rest is the first's. With 0 the first is copied.
    pub weight: f32,
}

impl Sample {
    /// A row or column as it is.
    #[must_use]
    pub fn copy_of(place: u32) -> Self {
        Self { first: place, second: place, weight: 0.0 }
    }

    /// Whether the first is copied.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.weight == 0.0
    }
}

/// What one call computes: one row of one channel block.
#[derive(Debug)]
pub(crate) struct ResizeCall<'a> {
    /// The first pixels of the two rows between which the output's lies.
    pub(crate) rows: [*const f32; 2],
    /// The second row's part.
    pub(crate) weight: f32,
    /// For each pixel of the output the columns between which it lies, all of which both rows have.
    pub(crate) columns: &'a [Sample],
    /// Whether pixels of the first row are copied.
    pub(crate) is_copy: bool,
    pub(crate) output: *mut f32,
}

/// A compiled resizing kernel.
pub(crate) type ResizeKernel = unsafe fn(&ResizeCall<'_>);

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn resize<V: Vector>(call: &ResizeCall<'_>) {
    // SAFETY: the caller's promise.
    unsafe { if call.is_copy { copy::<V>(call) } else { blend::<V>(call) } }
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn copy<V: Vector>(call: &ResizeCall<'_>) {
    for (pixel, column) in call.columns.iter().enumerate() {
        let from = column.first as usize * LANES;
        for lane in (0..LANES).step_by(V::LANES) {
            // SAFETY: the caller's promise.
            unsafe { V::load(call.rows[0].add(from + lane)).store(call.output.add(pixel * LANES + lane)) };
        }
    }
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn blend<V: Vector>(call: &ResizeCall<'_>) {
    let [above, below] = call.rows;
    for (pixel, column) in call.columns.iter().enumerate() {
        let (left, right) = (column.first as usize * LANES, column.second as usize * LANES);
        for lane in (0..LANES).step_by(V::LANES) {
            // SAFETY: the caller's promise.
            unsafe {
                let (across, down) = (V::splat(column.weight), V::splat(call.weight));
                let (first, second) = (V::load(above.add(left + lane)), V::load(above.add(right + lane)));
                let top = second.sub(first).fma(across, first);
                let (first, second) = (V::load(below.add(left + lane)), V::load(below.add(right + lane)));
                let bottom = second.sub(first).fma(across, first);
                bottom.sub(top).fma(down, top).store(call.output.add(pixel * LANES + lane));
            }
        }
    }
}
