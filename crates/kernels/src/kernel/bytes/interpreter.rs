//! The kernels over bytes as an interpreter has them: planned for an instruction set, with its sizes and its packed weights,
//! and computed sixteen channels at a time in plain Rust, which asks before every access ([`crate::bounds`]). Sums are
//! exact, so that the bytes are those of every instruction set.

use std::sync::LazyLock;

use super::depthwise::{ByteDepthwiseCall, COLUMNS, FIVE, TAPS};
use super::matrix::{self, MatrixSet};
use super::pairs::{PAIR_STEP, PairSet};
use super::rows::{dequantise, greatest, look_up, mean, pixels, product, quantise, sum};
use super::set::ByteSet;
use super::tile::{BytePlace, ByteTileCall, Finish, widen};
use super::winograd::{Ends, FOUR, Four, TWO, Two, transform_patch, transform_sums};
use crate::block::checked::{Checked, Kind, Narrow, OfHalves, OfSixteen, Signed, Symmetric, Unsigned, Wide};
use crate::block::{Block, Form, Pairs};
use crate::bounds::{Asked, Memory};
use crate::byte_isa::ByteIsa;
use crate::layout::LANES;

/// The interpreter in place of an instruction set, with its sizes.
pub(crate) fn set(isa: ByteIsa) -> &'static ByteSet {
    static AMX: LazyLock<ByteSet> = LazyLock::new(|| of(ByteSet::of(ByteIsa::Amx), None));
    static VBMI: LazyLock<ByteSet> = LazyLock::new(|| of(ByteSet::of(ByteIsa::Avx512Vbmi), None));
    static VNNI: LazyLock<ByteSet> = LazyLock::new(|| of(ByteSet::of(ByteIsa::Avx512Vnni), None));
    static AVX_VNNI: LazyLock<ByteSet> = LazyLock::new(|| of(ByteSet::of(ByteIsa::AvxVnni), None));
    static NARROW: LazyLock<Option<ByteSet>> =
        LazyLock::new(|| ByteSet::of(ByteIsa::Avx2).narrow.map(|narrow| of(narrow, None)));
    static AVX2: LazyLock<ByteSet> = LazyLock::new(|| of(ByteSet::of(ByteIsa::Avx2), NARROW.as_ref()));
    static I8MM: LazyLock<ByteSet> = LazyLock::new(|| of(ByteSet::of(ByteIsa::NeonI8mm), None));
    static DOT: LazyLock<ByteSet> = LazyLock::new(|| of(ByteSet::of(ByteIsa::NeonDot), None));
    static NEON: LazyLock<ByteSet> = LazyLock::new(|| of(ByteSet::of(ByteIsa::Neon), None));
    static PORTABLE: LazyLock<ByteSet> = LazyLock::new(|| of(ByteSet::of(ByteIsa::Portable), None));
    match isa {
        ByteIsa::Amx => &AMX,
        ByteIsa::Avx512Vbmi => &VBMI,
        ByteIsa::Avx512Vnni => &VNNI,
        ByteIsa::AvxVnni => &AVX_VNNI,
        ByteIsa::Avx2 => &AVX2,
        ByteIsa::NeonI8mm => &I8MM,
        ByteIsa::NeonDot => &DOT,
        ByteIsa::Neon => &NEON,
        ByteIsa::Portable => &PORTABLE,
    }
}

/// The interpreter with the sizes of a set.
fn of(sizes: &ByteSet, narrow: Option<&'static ByteSet>) -> ByteSet {
    match (sizes.form, sizes.is_signed) {
        (Form::Words, _) => of_kind::<Wide, false>(sizes, narrow),
        (Form::NarrowBytes, _) => of_kind::<Narrow, false>(sizes, narrow),
        (Form::SymmetricBytes, _) => of_kind::<Symmetric, true>(sizes, narrow),
        (Form::Bytes, true) if sizes.dense == Form::Eights => {
            ByteSet { tile: |_, _, _| Some(tile_of_eights), ..of_kind::<Signed, true>(sizes, narrow) }
        }
        (Form::Bytes, true) => of_kind::<Signed, true>(sizes, narrow),
        (Form::Bytes | Form::Pairs | Form::Halves | Form::Eights, _) => of_kind::<Unsigned, false>(sizes, narrow),
    }
}

fn of_kind<K: Kind, const SIGNED: bool>(sizes: &ByteSet, narrow: Option<&'static ByteSet>) -> ByteSet {
    ByteSet {
        form: sizes.form,
        dense: sizes.dense,
        is_signed: sizes.is_signed,
        joins_columns: sizes.joins_columns,
        blocks: sizes.blocks,
        tall_blocks: sizes.tall_blocks,
        pixels: sizes.pixels,
        tile: |_, _, _| Some(tile::<Checked<K>>),
        depthwise_pixels: sizes.depthwise_pixels,
        depthwise: |_| Some(depthwise::<Checked<K>>),
        depthwise_pairs: |_| Some(depthwise_pairs::<Checked<K>>),
        depthwise_fives: match (sizes.depthwise_fives)(1, 1) {
            Some(_) => |_, _| Some(depthwise_fives::<Checked<K>>),
            None => |_, _| None,
        },
        quantise: quantise::<Asked, SIGNED>,
        dequantise: dequantise::<Asked, SIGNED>,
        look_up: look_up::<Asked>,
        sum: sum::<Asked, SIGNED>,
        product: product::<Asked, SIGNED>,
        picture: pixels::<Asked, SIGNED>,
        greatest: greatest::<Asked, SIGNED>,
        mean: mean::<Asked, SIGNED>,
        narrow,
        pairs: sizes.pairs.map(pairs),
        matrix: sizes.matrix.map(|_| &MATRIX),
    }
}

/// The interpreter in place of a matrix unit.
static MATRIX: MatrixSet = MatrixSet {
    gather: matrix::gather::<Asked>,
    multiply: matrix::multiply,
    finish: matrix::finish::<Checked<Unsigned>>,
    enter: matrix::nothing,
    leave: matrix::nothing,
};

/// The interpreter with the sizes of a set that multiplies in sixteen bits: there are three.
fn pairs(sizes: &'static PairSet) -> &'static PairSet {
    static AVX2: LazyLock<Option<PairSet>> = LazyLock::new(|| ByteSet::of(ByteIsa::Avx2).pairs.map(of_pairs));
    static NEON: LazyLock<Option<PairSet>> = LazyLock::new(|| ByteSet::of(ByteIsa::Neon).pairs.map(of_pairs));
    static PORTABLE: LazyLock<Option<PairSet>> = LazyLock::new(|| ByteSet::of(ByteIsa::Portable).pairs.map(of_pairs));
    let is_it = |set: &&PairSet| (set.pixels, set.form) == (sizes.pixels, sizes.form);
    [&AVX2, &NEON, &PORTABLE].into_iter().filter_map(|set| set.as_ref()).find(is_it).unwrap_or(sizes)
}

fn of_pairs(sizes: &'static PairSet) -> PairSet {
    if sizes.form == Form::Halves { pairs_of::<OfHalves, true>(sizes) } else { pairs_of::<OfSixteen, false>(sizes) }
}

fn pairs_of<K: Kind, const SIGNED: bool>(sizes: &'static PairSet) -> PairSet {
    PairSet {
        form: sizes.form,
        blocks: sizes.blocks,
        pixels: sizes.pixels,
        tile: |_, _| Some(tile::<Checked<K>>),
        widen: widen::<Asked, SIGNED, false>,
        widen_dense: widen::<Asked, SIGNED, true>,
        depthwise_pixels: sizes.depthwise_pixels,
        depthwise: |_, _| Some(depthwise_rows::<Checked<K>>),
        most_of_four: sizes.most_of_four,
        four: Ends {
            size: &FOUR,
            patch: transform_patch::<Asked, Four, 6, 4, SIGNED>,
            sums: transform_sums::<Asked, Checked<K>, Four, 6, 4>,
        },
        two: Ends {
            size: &TWO,
            patch: transform_patch::<Asked, Two, 4, 2, SIGNED>,
            sums: transform_sums::<Asked, Checked<K>, Two, 4, 2>,
        },
    }
}

/// # Safety
/// None that a caller could break: what the call must not touch ends the run. The pointers' memory must exist.
unsafe fn tile<B: Block>(call: &ByteTileCall<'_>) {
    // SAFETY: the caller's promise.
    unsafe { tile_by(call, B::FORM, dot::<B>) }
}

/// The product of a word.
///
/// # Safety
/// As for [`tile`].
unsafe fn dot<B: Block>(sum: B, input: *const i32, weights: *const u8) -> B {
    // SAFETY: every access is asked for.
    unsafe { sum.dot(B::broadcast(input), B::weights(weights)) }
}

/// # Safety
/// As for [`tile`].
unsafe fn tile_of_eights(call: &ByteTileCall<'_>) {
    // SAFETY: the caller's promise.
    unsafe { tile_by(call, Form::Eights, dot_eights) }
}

/// The product of two words.
///
/// # Safety
/// As for [`tile`].
unsafe fn dot_eights(sum: Checked<Signed>, input: *const i32, weights: *const u8) -> Checked<Signed> {
    // SAFETY: every access is asked for.
    unsafe {
        let eights: [[[u8; 4]; 2]; LANES] = Asked::read(weights.cast());
        let of_word = |word: usize| eights.map(|eight| eight[word].map(|byte| i32::from(byte.cast_signed())));
        let [first, second] = [input, input.add(1)].map(|word| Checked::<Signed>::broadcast(word));
        sum.dot(first, of_word(0)).dot(second, of_word(1))
    }
}

/// # Safety
/// As for [`tile`].
unsafe fn tile_by<B: Block>(call: &ByteTileCall<'_>, form: Form, product: unsafe fn(B, *const i32, *const u8) -> B) {
    let step = if form.of_sixteen(0).is_some() { PAIR_STEP } else { call.step };
    let half = call.pixels / 2;
    let all = || (0..call.pixels).flat_map(|pixel| (0..call.blocks).map(move |block| (pixel, block)));
    for (place, (pixel, block)) in call.tiles.iter().flat_map(|place| all().map(move |at| (place, at))) {
        let (side, of_half) = if pixel < half { (0, pixel) } else { (1, pixel - half) };
        // SAFETY: every access is asked for.
        unsafe {
            let mut sum = B::load(call.bias.add(block * LANES));
            let mut weights = call.weights.add(block * form.bytes());
            for run in call.runs {
                let input = call.input.add(place.input[side] + run.offset as usize + of_half * step);
                for word in 0..run.length as usize {
                    sum = product(sum, input.add(word * form.words()), weights);
                    // Past the last there may be no weight.
                    weights = weights.wrapping_add(call.blocks * form.bytes());
                }
            }
            finish(sum, call, (place, block), (side, of_half));
        }
    }
}

/// Rounds, joins and stores the sums of one block of one pixel of a tile: of a half, so many pixels on.
///
/// # Safety
/// As for [`tile`].
unsafe fn finish<B: Block>(
    sum: B,
    call: &ByteTileCall<'_>,
    (tile, block): (&BytePlace, usize),
    (side, pixel): (usize, usize),
) {
    let place = |of_block: usize, size: usize| block * of_block + pixel * size;
    // SAFETY: every access is asked for.
    unsafe {
        let factors = call.factors.add(block * LANES);
        let output = call.output.add(tile.output[side]);
        let bytes = output.add(place(call.output_block, LANES));
        let floats = output.add(place(call.output_block, 4 * LANES));
        match &call.finish {
            Finish::Floats(addends) => sum.store_floats(factors, addends.add(block * LANES), floats.cast()),
            Finish::Sums => sum.store_sums(floats.cast()),
            Finish::Bytes(range) => sum.scaled(factors).store(range, bytes),
            Finish::Joined { range, joint, with, block: of_block } => {
                let with = with.add(tile.with[side] + place(*of_block, LANES));
                sum.scaled(factors).joined(joint, with).store(range, bytes);
            }
        }
    }
}

/// # Safety
/// As for [`tile`].
unsafe fn depthwise<B: Block>(call: &ByteDepthwiseCall) {
    for pixel in 0..call.pixels {
        // SAFETY: every access is asked for.
        unsafe {
            let (mut sum, mut weights) = (B::load(call.bias), call.weights);
            for row in 0..call.passes * call.rows {
                let input = call.input.add(row % call.rows * call.row + pixel * call.step);
                for four in 0..call.fours {
                    sum = sum.dot(B::neighbours(input.add(four * TAPS * LANES)), B::weights(weights));
                    weights = weights.wrapping_add(B::FORM.bytes());
                }
            }
            sum.scaled(call.factors).store(&call.range, call.output.add(pixel * LANES));
        }
    }
}

/// # Safety
/// As for [`tile`].
unsafe fn depthwise_pairs<B: Block>(call: &ByteDepthwiseCall) {
    let rows = call.passes * call.rows;
    for pixel in 0..call.pixels {
        // SAFETY: every access is asked for.
        unsafe {
            let mut sum = B::load(call.bias);
            for row in 0..rows {
                let input = call.input.add(row % call.rows * call.row + pixel / 2 * 2 * LANES);
                let weights = call.weights.add((pixel % 2 * rows + row) * B::FORM.bytes());
                sum = sum.dot(B::neighbours(input), B::weights(weights));
            }
            sum.scaled(call.factors).store(&call.range, call.output.add(pixel * LANES));
        }
    }
}

/// Windows of five columns.
///
/// # Safety
/// As for [`tile`].
unsafe fn depthwise_fives<B: Block>(call: &ByteDepthwiseCall) {
    let (rows, stride, fours) = (call.passes * call.rows, call.step / LANES, FIVE.div_ceil(TAPS));
    for pixel in 0..call.pixels {
        // SAFETY: every access is asked for.
        unsafe {
            let (mut sum, shift) = (B::load(call.bias), pixel * stride % TAPS / stride);
            for (row, four) in (0..rows).flat_map(|row| (0..fours).map(move |four| (row, four))) {
                let input = call.input.add(row % call.rows * call.row + (pixel * stride / TAPS + four) * TAPS * LANES);
                let weights = call.weights.add(((shift * rows + row) * fours + four) * B::FORM.bytes());
                sum = sum.dot(B::neighbours(input), B::weights(weights));
            }
            sum.scaled(call.factors).store(&call.range, call.output.add(pixel * LANES));
        }
    }
}

/// # Safety
/// As for [`tile`].
unsafe fn depthwise_rows<B: Pairs>(call: &ByteDepthwiseCall) {
    for pixel in 0..call.pixels {
        // SAFETY: every access is asked for.
        unsafe {
            let mut sum = B::load(call.bias);
            for row in (0..call.rows).step_by(2) {
                for column in 0..COLUMNS {
                    let first = call.input.add(row * call.row + pixel * call.step + column * LANES);
                    let weights = call.weights.add((row / 2 * COLUMNS + column) * B::FORM.bytes());
                    let input = if row + 1 < call.rows { B::rows(first, first.add(call.row)) } else { B::row(first) };
                    sum = sum.dot_pairs(input, B::weights(weights));
                }
            }
            sum.scaled(call.factors).store(&call.range, call.output.add(pixel * LANES));
        }
    }
}
