//! What happens to rows of bytes besides convolution, in plain Rust that the compiler turns into vectors: the lengths are
//! those of a channel block.

use crate::block::Joint;
use crate::block::portable::nearest;
use crate::block::sixteen::Sixteen;
use crate::bounds::Memory;
use crate::layout::LANES;

/// Sixteen bytes of one pixel.
type Pixel = [u8; LANES];
/// Sixteen floats of one pixel.
type Floats = [f32; LANES];

/// What turns stored bytes into unsigned ones and back: 128 where tensors hold bytes less 128.
#[inline(always)]
const fn flip(is_signed: bool) -> u8 {
    if is_signed { 0x80 } else { 0 }
}

/// A row of floats to bytes, or of bytes to floats.
#[derive(Debug)]
pub(crate) struct ConvertCall {
    /// The row's first pixel.
    pub(crate) floats: *mut f32,
    pub(crate) bytes: *mut u8,
    pub(crate) pixels: usize,
    pub(crate) scale: f32,
    /// The unsigned byte that stands for 0.
    pub(crate) zero: u8,
}

/// Compiled conversions.
pub(crate) type ConvertKernel = unsafe fn(&ConvertCall);

/// The byte that stands for a number, by the definition of QuantizeLinear. What is no number becomes any byte.
#[inline(always)]
pub(crate) fn quantised(number: f32, scale: f32, zero: u8) -> u8 {
    let (low, high) = (-f32::from(zero), f32::from(255 - zero));
    let steps = number / scale;
    let steps = if steps > low { steps } else { low };
    let steps = if steps < high { steps } else { high };
    (nearest(steps) + i32::from(zero)) as u8
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn quantise<A: Memory, const SIGNED: bool>(call: &ConvertCall) {
    for pixel in 0..call.pixels {
        // SAFETY: the caller's promise.
        unsafe {
            let floats = A::read(call.floats.cast::<Floats>().add(pixel));
            let mut bytes: Pixel = [0; LANES];
            for lane in 0..LANES {
                bytes[lane] = quantised(floats[lane], call.scale, call.zero) ^ flip(SIGNED);
            }
            A::write(bytes, call.bytes.cast::<Pixel>().add(pixel));
        }
    }
}

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn dequantise<A: Memory, const SIGNED: bool>(call: &ConvertCall) {
    for pixel in 0..call.pixels {
        // SAFETY: the caller's promise.
        unsafe {
            let bytes = A::read(call.bytes.cast::<Pixel>().add(pixel));
            let mut floats: Floats = [0.0; LANES];
            for lane in 0..LANES {
                let steps = i32::from(bytes[lane] ^ flip(SIGNED)) - i32::from(call.zero);
                floats[lane] = steps as f32 * call.scale;
            }
            A::write(floats, call.floats.cast::<Floats>().add(pixel));
        }
    }
}

/// A row of bytes by a table, which is of stored bytes.
#[derive(Debug)]
pub(crate) struct TableCall<'a> {
    pub(crate) input: *const u8,
    pub(crate) table: &'a [u8; 256],
    pub(crate) output: *mut u8,
    pub(crate) pixels: usize,
}

/// A compiled look-up.
pub(crate) type TableKernel = unsafe fn(&TableCall<'_>);

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn look_up<A: Memory>(call: &TableCall<'_>) {
    for byte in 0..call.pixels * LANES {
        // SAFETY: the caller's promise.
        unsafe { A::write(call.table[usize::from(A::read(call.input.add(byte)))], call.output.add(byte)) };
    }
}

/// The sum of two rows of bytes.
#[derive(Debug)]
pub(crate) struct SumRowCall {
    pub(crate) inputs: [*const u8; 2],
    /// The range is that of the output, and its zero the first input's; all are unsigned.
    pub(crate) zeros: [i32; 2],
    pub(crate) joint: Joint,
    pub(crate) output: *mut u8,
    pub(crate) pixels: usize,
}

/// A compiled sum.
pub(crate) type SumRowKernel = unsafe fn(&SumRowCall);

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn sum<A: Memory, const SIGNED: bool>(call: &SumRowCall) {
    let Joint { range, ratios, .. } = call.joint;
    let (low, high) = ((range.low - range.zero) as f32, (range.high - range.zero) as f32);
    for pixel in 0..call.pixels {
        // SAFETY: the caller's promise.
        unsafe {
            let first = A::read(call.inputs[0].cast::<Pixel>().add(pixel));
            let second = A::read(call.inputs[1].cast::<Pixel>().add(pixel));
            let mut bytes: Pixel = [0; LANES];
            for lane in 0..LANES {
                let a = i32::from(first[lane] ^ flip(SIGNED)) - call.zeros[0];
                let b = i32::from(second[lane] ^ flip(SIGNED)) - call.zeros[1];
                let sum = a as f32 * ratios[0] + b as f32 * ratios[1];
                let sum = if sum > low { sum } else { low };
                let sum = if sum < high { sum } else { high };
                bytes[lane] = (nearest(sum) + range.zero) as u8 ^ flip(SIGNED);
            }
            A::write(bytes, call.output.cast::<Pixel>().add(pixel));
        }
    }
}

/// The product of two rows of bytes, or of a row and sixteen channels.
#[derive(Debug)]
pub(crate) struct ProductRowCall {
    pub(crate) inputs: [*const u8; 2],
    /// Bytes of the second input from a pixel to the next: none, where it is the same for all.
    pub(crate) second_pixel: usize,
    /// Unsigned zeros of the inputs and of the output.
    pub(crate) zeros: [i32; 3],
    /// Steps of the output for a product of steps.
    pub(crate) ratio: f32,
    /// Unsigned.
    pub(crate) limits: [u8; 2],
    pub(crate) output: *mut u8,
    pub(crate) pixels: usize,
}

/// A compiled product.
pub(crate) type ProductRowKernel = unsafe fn(&ProductRowCall);

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn product<A: Memory, const SIGNED: bool>(call: &ProductRowCall) {
    let [first_zero, second_zero, zero] = call.zeros;
    let low = (i32::from(call.limits[0]) - zero) as f32;
    let high = (i32::from(call.limits[1]) - zero) as f32;
    for pixel in 0..call.pixels {
        // SAFETY: the caller's promise.
        unsafe {
            let first = A::read(call.inputs[0].cast::<Pixel>().add(pixel));
            let second = A::read(call.inputs[1].add(pixel * call.second_pixel).cast::<Pixel>());
            let mut bytes: Pixel = [0; LANES];
            for lane in 0..LANES {
                let a = i32::from(first[lane] ^ flip(SIGNED)) - first_zero;
                let b = i32::from(second[lane] ^ flip(SIGNED)) - second_zero;
                let steps = (a * b) as f32 * call.ratio;
                let steps = if steps > low { steps } else { low };
                let steps = if steps < high { steps } else { high };
                bytes[lane] = (nearest(steps) + zero) as u8 ^ flip(SIGNED);
            }
            A::write(bytes, call.output.cast::<Pixel>().add(pixel));
        }
    }
}

/// A row of a picture of up to four channels, whose floats become bytes side by side.
#[derive(Debug)]
pub(crate) struct PixelsCall<'a> {
    /// A row for each channel, all of one length.
    pub(crate) rows: &'a [&'a [f32]],
    pub(crate) scale: f32,
    /// The unsigned byte that stands for 0.
    pub(crate) zero: u8,
    /// Four bytes for each pixel.
    pub(crate) output: *mut u8,
}

/// A compiled conversion of pictures.
pub(crate) type PixelsKernel = unsafe fn(&PixelsCall<'_>);

/// # Safety
/// As for every kernel (`kernel.rs`).
#[inline(always)]
pub(crate) unsafe fn pixels<A: Memory, const SIGNED: bool>(call: &PixelsCall<'_>) {
    for (channel, row) in call.rows.iter().enumerate() {
        let shift = 8 * channel as u32;
        for (x, &number) in row.iter().enumerate() {
            let byte = u32::from(quantised(number, call.scale, call.zero) ^ flip(SIGNED)) << shift;
            // SAFETY: the caller's promise.
            unsafe {
                let to = call.output.cast::<u32>().add(x);
                let others = if channel == 0 { 0 } else { A::read(to.cast_const()) };
                A::write(others | byte, to);
            }
        }
    }
}

/// The greatest bytes of windows: one row of one channel block, as `kernel/pool.rs` has it.
#[derive(Debug)]
pub(crate) struct BytePoolCall {
    /// The picture's first pixel.
    pub(crate) input: *const u8,
    /// Bytes from a row of the input to the next.
    pub(crate) row: usize,
    /// Rows of the input that the windows cover, after clipping: first, and one past the last.
    pub(crate) rows: (usize, usize),
    /// Columns of the input.
    pub(crate) width: usize,
    /// Columns of a window, from a window to the next, and of padding before the first.
    pub(crate) window: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) output: *mut u8,
    pub(crate) pixels: usize,
}

/// A compiled pooling.
pub(crate) type BytePoolKernel = unsafe fn(&BytePoolCall);

/// # Safety
/// As for every kernel (`kernel.rs`). Every window has an element inside the picture.
#[inline(always)]
pub(crate) unsafe fn greatest<A: Memory, const SIGNED: bool>(call: &BytePoolCall) {
    for pixel in 0..call.pixels {
        let from = pixel * call.stride;
        let first = from.saturating_sub(call.padding);
        let last = (from + call.window).saturating_sub(call.padding).min(call.width);
        // SAFETY: the caller's promise; the window is clipped to the picture.
        unsafe {
            let mut greatest = Sixteen::splat(flip(SIGNED));
            for y in call.rows.0..call.rows.1 {
                let row = call.input.add(y * call.row);
                for x in first..last {
                    greatest = greatest.max::<SIGNED>(A::read(row.add(x * LANES).cast::<Sixteen>()));
                }
            }
            A::write(greatest, call.output.add(pixel * LANES).cast::<Sixteen>());
        }
    }
}

/// The mean of a whole plane: sixteen bytes.
#[derive(Debug)]
pub(crate) struct ByteMeanCall {
    /// The plane's first pixel.
    pub(crate) input: *const u8,
    /// Bytes from a row to the next.
    pub(crate) row: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Unsigned zeros of input and output.
    pub(crate) zeros: [u8; 2],
    /// Steps of the output for the sum's steps.
    pub(crate) factor: f32,
    pub(crate) output: *mut u8,
}

/// A compiled mean.
pub(crate) type ByteMeanKernel = unsafe fn(&ByteMeanCall);

/// # Safety
/// As for every kernel (`kernel.rs`). The plane has fewer than 2²³ pixels.
#[inline(always)]
pub(crate) unsafe fn mean<A: Memory, const SIGNED: bool>(call: &ByteMeanCall) {
    let mut sums = [0_i32; LANES];
    for y in 0..call.height {
        for x in 0..call.width {
            // SAFETY: the caller's promise.
            let bytes = unsafe { A::read(call.input.add(y * call.row).cast::<Pixel>().add(x)) };
            for lane in 0..LANES {
                sums[lane] = sums[lane].wrapping_add(i32::from(bytes[lane] ^ flip(SIGNED)));
            }
        }
    }
    let zeros = (call.height * call.width) as i32 * i32::from(call.zeros[0]);
    let mut bytes: Pixel = [0; LANES];
    for lane in 0..LANES {
        let steps = (sums[lane].wrapping_sub(zeros)) as f32 * call.factor;
        bytes[lane] = quantised(steps, 1.0, call.zeros[1]) ^ flip(SIGNED);
    }
    // SAFETY: the caller's promise.
    unsafe { A::write(bytes, call.output.cast::<Pixel>()) };
}
