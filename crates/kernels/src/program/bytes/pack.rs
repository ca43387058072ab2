//! How the weights of a quantised convolution are packed, and the proof that no sum overflows.

use std::ops::Range;

use crate::block::Form;
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::bytes::set::ByteSet;
use crate::layout::{LANES, MAX_FLOATS};
use crate::program::window::Window;

/// Input channels in one word of bytes.
pub(crate) const OF_WORD: usize = 4;

/// Filters of a convolution: `[outputs][inputs of a group][rows][columns]`, each weight less its zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filters<'a> {
    pub(crate) weights: &'a [i16],
    pub(crate) outputs: usize,
    pub(crate) of_group: usize,
    pub(crate) to_group: usize,
    pub(crate) window: Window,
}

impl Filters<'_> {
    /// The weight of an output channel for an element of its window; 0 where it does not see the channel.
    pub(crate) fn weight(&self, output: usize, channel: usize, row: usize, column: usize) -> i16 {
        let seen = output / self.to_group * self.of_group;
        if output >= self.outputs || !(seen..seen + self.of_group).contains(&channel) {
            return 0;
        }
        let [rows, columns] = self.window.kernel;
        let filter = output * self.of_group + channel - seen;
        self.weights[(filter * rows + row) * columns + column]
    }

    /// Sum of an output channel's weights, and of their magnitudes.
    pub(crate) fn sums(&self, output: usize) -> (i64, i64) {
        let length = self.of_group * self.window.kernel[0] * self.window.kernel[1];
        let filter = &self.weights[output * length..(output + 1) * length];
        let sum = filter.iter().map(|&weight| i64::from(weight)).sum();
        (sum, filter.iter().map(|&weight| i64::from(weight).abs()).sum())
    }

    /// How often the windows must be gone over so that every weight fits a form: each time with as much of the weights as
    /// it takes.
    pub(crate) fn passes(&self, form: Form) -> usize {
        let fits = |passes: usize| self.weights.iter().all(|&weight| part(weight, passes, form) == 0);
        (1..MAX_PASSES).find(|&passes| fits(passes)).unwrap_or(MAX_PASSES)
    }
}

/// Passes for a weight of 255, in bytes of up to 127.
const MAX_PASSES: usize = 3;

/// What a pass multiplies of a weight.
pub(crate) fn part(weight: i16, pass: usize, form: Form) -> i16 {
    let [low, high] = form.limits();
    let done = weight.clamp(low * pass as i16, high * pass as i16);
    (weight - done).clamp(low, high)
}

/// Sums of products of bytes and weights, plus the bias, must stay below 2³¹ whatever the bytes; so must what the factor
/// makes of them.
///
/// Returns the bias less what the input's zero contributes.
pub(crate) fn biased(
    step: &'static str,
    filters: &Filters<'_>,
    bias: &[i32],
    zero: i32,
    factors: &[f32],
) -> Result<Vec<i32>, PlanError> {
    const LIMIT: f64 = 2_147_000_000.0;
    let mut biased = vec![0; filters.outputs.next_multiple_of(LANES)];
    for (output, to) in biased.iter_mut().enumerate().take(filters.outputs) {
        let (sum, magnitude) = filters.sums(output);
        let bias = bias.get(output).copied().unwrap_or(0);
        // The bytes are at most 255, and so is the zero, with either sign.
        let largest = (bias.unsigned_abs() as f64) + 512.0 * magnitude as f64;
        let factor = f64::from(factors[output]);
        if !(factor.is_finite() && factor >= 0.0) || largest >= LIMIT || largest * factor >= LIMIT {
            let reason = format!("channel {output} can sum up to {largest}, times {factor}");
            return Err(PlanError::step(step, reason));
        }
        // Below the limit by far: the bound above covers it.
        *to = (i64::from(bias) - i64::from(zero) * sum) as i32;
    }
    Ok(biased)
}

/// Numbers that say how weights were packed.
pub(crate) const NOTED: usize = 2;

/// How weights were packed, which depends on them: in how many passes, and whether in the form that a set has for small
/// ones.
pub(crate) fn noted(passes: usize, set: &ByteSet) -> [i32; NOTED] {
    [passes as i32, i32::from(set.form == Form::NarrowBytes)]
}

/// Passes and set of weights that an earlier start packed.
pub(crate) fn recalled(
    [passes, is_narrow]: [i32; NOTED],
    set: &'static ByteSet,
) -> Result<(usize, &'static ByteSet), PlanError> {
    let refuse = || PlanError::step("kept weights", format!("they were packed by {passes}, {is_narrow}"));
    let set = match (is_narrow, set.narrow) {
        (0, _) => set,
        (1, Some(narrow)) => narrow,
        _ => return Err(refuse()),
    };
    let passes = usize::try_from(passes).ok().filter(|passes| (1..=MAX_PASSES).contains(passes)).ok_or_else(refuse)?;
    Ok((passes, set))
}

/// Input channels in words of so many: each begins at a multiple of that, and none reaches over the end of a block.
pub(crate) fn words(channels: Range<usize>, of_word: usize) -> impl Iterator<Item = usize> + Clone {
    (channels.start / of_word..channels.end.div_ceil(of_word)).map(move |word| word * of_word)
}

/// Bytes in memory that begins on a cache line, as kernels and plans want it.
#[derive(Debug)]
pub(crate) struct Bytes(Floats);

impl Bytes {
    pub(crate) fn zeroed(count: usize) -> Result<Self, PlanError> {
        Ok(Self(Floats::zeroed(Self::check(count)?)))
    }

    /// So many bytes as floats, if they are within the limit.
    pub(crate) fn check(count: usize) -> Result<usize, PlanError> {
        let floats = count.div_ceil(size_of::<f32>());
        if floats > MAX_FLOATS {
            return Err(PlanError::Memory { floats, limit: MAX_FLOATS });
        }
        Ok(floats)
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        self.0.as_mut_bytes()
    }

    /// Where they are kept with other packed weights.
    pub(crate) fn into_floats(self) -> Floats {
        self.0
    }
}
