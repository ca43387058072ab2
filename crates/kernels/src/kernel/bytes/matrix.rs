//! Dense convolution of bytes by a matrix unit, which multiplies sixteen pixels by sixteen output channels over sixty-four
//! input channels at once. What such a unit reads lies otherwise than tensors do, so that three kernels take turns: one
//! *gathers* pixels, sixty-four channels side by side; one *multiplies*; one *finishes* the sums, row by row of the output.

use crate::block::{Block, Joint, Range};
use crate::bounds::{Access, Memory, touch};
use crate::layout::LANES;

/// Input channels of one product, and bytes of a gathered pixel.
pub(crate) const DEPTH: usize = 64;
/// Pixels of one product.
pub(crate) const ROWS: usize = 16;
/// Bytes of the gathered pixels, or of the weights, of one product; and of its sums.
pub(crate) const TILE: usize = ROWS * DEPTH;
/// Products side by side at most, of pixels and of output channels.
pub(crate) const SIDE: usize = 2;

/// Brings some pixels of four neighbouring blocks together.
#[derive(Debug)]
pub(crate) struct GatherCall {
    /// The first pixel in each block. Where there is no block, any other's will do: its weights are zeros.
    pub(crate) inputs: [*const u8; DEPTH / LANES],
    pub(crate) pixels: usize,
    /// Bytes from a pixel to the next.
    pub(crate) step: usize,
    pub(crate) output: *mut u8,
}

/// Multiplies gathered pixels by weights.
#[derive(Debug)]
pub(crate) struct MatrixCall<'a> {
    /// The first gathered pixel.
    pub(crate) input: *const u8,
    /// For each [`DEPTH`] channels of each element of the window, the bytes from there to its first pixel.
    pub(crate) places: &'a [u32],
    /// Sixteens of pixels and of output channels: 1 or 2.
    pub(crate) tiles: [usize; 2],
    /// For each place, for each sixteen of output channels, [`TILE`] bytes: four input channels of each.
    pub(crate) weights: *const u8,
    pub(crate) bias: *const i32,
    /// For each sixteen of output channels, as many sums for each pixel, of which [`SIDE`] · [`ROWS`] lie side by side.
    pub(crate) sums: *mut i32,
    /// What is asked for meanwhile, and lines of it for each place.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "the interpreter asks for nothing"))]
    pub(crate) ahead: (*const u8, usize),
}

/// Makes bytes, or floats, of the sums of some pixels of one block.
#[derive(Debug)]
pub(crate) struct FinishCall {
    pub(crate) sums: *const i32,
    pub(crate) pixels: usize,
    pub(crate) factors: *const f32,
    pub(crate) output: *mut u8,
    pub(crate) end: End,
}

/// What becomes of sums: as [`super::tile::Finish`], of one row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Bytes(Range),
    Joined(Range, Joint, *const u8),
    Floats(*const f32),
}

pub(crate) type GatherKernel = unsafe fn(&GatherCall);
pub(crate) type MatrixKernel = unsafe fn(&MatrixCall<'_>);
pub(crate) type FinishKernel = unsafe fn(&FinishCall);

/// The kernels of one matrix unit.
#[derive(Debug)]
pub(crate) struct MatrixSet {
    pub(crate) gather: GatherKernel,
    pub(crate) multiply: MatrixKernel,
    pub(crate) finish: FinishKernel,
    /// Before a thread multiplies, and when it has: the unit has a state.
    pub(crate) enter: unsafe fn(),
    pub(crate) leave: unsafe fn(),
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn gather<A: Memory>(call: &GatherCall) {
    let mut output = call.output.cast::<[u8; LANES]>();
    for pixel in 0..call.pixels {
        for block in 0..call.inputs.len() {
            // SAFETY: the caller's promise.
            unsafe {
                let input = call.inputs[block].add(pixel * call.step);
                A::write(A::read(input.cast::<[u8; LANES]>()), output);
                output = output.add(1);
            }
        }
    }
}

/// The products one by one, every access asked for.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
pub(crate) unsafe fn multiply(call: &MatrixCall<'_>) {
    let [pixels, blocks] = [call.tiles[0] * ROWS, call.tiles[1]];
    touch(call.bias, blocks * LANES, Access::Read);
    touch(call.weights, call.places.len() * blocks * TILE, Access::Read);
    for block in 0..blocks {
        touch(call.sums.wrapping_add(block * SIDE * ROWS * LANES), pixels * LANES, Access::Write);
    }
    for (block, pixel) in (0..blocks).flat_map(|block| (0..pixels).map(move |pixel| (block, pixel))) {
        // SAFETY: every access is asked for.
        unsafe {
            let mut sums = call.bias.add(block * LANES).cast::<[i32; LANES]>().read_unaligned();
            for (number, &place) in call.places.iter().enumerate() {
                let input = call.input.add(place as usize + pixel * DEPTH);
                touch(input, DEPTH, Access::Read);
                let weights = call.weights.add((number * blocks + block) * TILE);
                for channel in 0..DEPTH {
                    let byte = i32::from(*input.add(channel));
                    let row = weights.add(channel / 4 * 4 * LANES + channel % 4);
                    for lane in 0..LANES {
                        let weight = i32::from(row.add(lane * 4).read().cast_signed());
                        sums[lane] = sums[lane].wrapping_add(byte * weight);
                    }
                }
            }
            let to = call.sums.add((block * SIDE * ROWS + pixel) * LANES);
            to.cast::<[i32; LANES]>().write_unaligned(sums);
        }
    }
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn finish<B: Block>(call: &FinishCall) {
    let mut pixel = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while pixel + 4 <= call.pixels {
            some::<B, 4>(call, pixel);
            pixel += 4;
        }
        match call.pixels - pixel {
            1 => some::<B, 1>(call, pixel),
            2 => some::<B, 2>(call, pixel),
            3 => some::<B, 3>(call, pixel),
            _ => {}
        }
    }
}

/// Finishes `COUNT` pixels.
///
/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
unsafe fn some<B: Block, const COUNT: usize>(call: &FinishCall, pixel: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let sums = call.sums.add(pixel * LANES);
        let mut four = [B::load(sums); 4];
        for next in 1..COUNT {
            four[next] = B::load(sums.add(next * LANES));
        }
        match &call.end {
            End::Floats(addends) => {
                let output = call.output.cast::<f32>().add(pixel * LANES);
                for next in 0..COUNT {
                    four[next].store_floats(call.factors, *addends, output.add(next * LANES));
                }
            }
            End::Bytes(range) => {
                for next in 0..COUNT {
                    four[next] = four[next].scaled(call.factors);
                }
                B::store_row(four, COUNT, range, call.output.add(pixel * LANES));
            }
            End::Joined(range, joint, with) => {
                for next in 0..COUNT {
                    four[next] = four[next].scaled(call.factors).joined(joint, with.add((pixel + next) * LANES));
                }
                B::store_row(four, COUNT, range, call.output.add(pixel * LANES));
            }
        }
    }
}

/// The state that an interpreter needs: none.
pub(crate) unsafe fn nothing() {}
