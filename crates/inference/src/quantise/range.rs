//! What was seen of a tensor, and the range of numbers that its bytes are to stand for.
//!
//! A histogram has a fixed number of bins, so that memory does not grow with the pictures; its bounds are known, because
//! the extremes were looked for first.

use margay_kernels::Quantised;

/// Bins of a histogram.
const BINS: usize = 2048;

/// Steps between the least and the greatest byte.
const STEPS: usize = 255;

/// Bins by which the windows of the other methods grow from one candidate to the next.
const STRIDE: usize = 16;

/// The least range that bytes can stand for; a tensor with less is taken for zeros. Products of such a scale and the
/// smallest of weights are still numbers with all their digits.
const LEAST_RANGE: f32 = 1e-12;

/// Numbers from `low` to `high`, among them zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Range {
    /// The range that holds two.
    pub(super) fn and(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// From the least number to the greatest.
    pub(super) fn width(self) -> f32 {
        self.high - self.low
    }

    /// How bytes stand for the range: zero is a byte, and nothing in the range is further from a byte than half a step,
    /// but for the rounding of zero. A range that is too narrow stands for zero alone.
    pub(super) fn quantised(self) -> Quantised {
        let scale = self.high / STEPS as f32 - self.low / STEPS as f32;
        if self.width() < LEAST_RANGE {
            return Quantised { scale: 1.0, zero: 0 };
        }
        let zero = (-self.low / scale).round_ties_even().clamp(0.0, STEPS as f32);
        Quantised { scale, zero: zero as u8 }
    }
}

/// The extremes of a tensor, and how often it held which numbers.
#[derive(Debug, Clone)]
pub(super) struct Statistics {
    least: f32,
    greatest: f32,
    counts: Vec<u64>,
}

impl Statistics {
    /// Nothing seen.
    pub(super) fn new() -> Self {
        Self { least: 0.0, greatest: 0.0, counts: Vec::new() }
    }

    /// Looks for extremes. Gives the first value that is no number.
    pub(super) fn widen(&mut self, values: &[f32]) -> Result<(), f32> {
        let (mut least, mut greatest, mut nothing) = (self.least, self.greatest, 0.0);
        for &value in values {
            least = least.min(value);
            greatest = greatest.max(value);
            // Zero of numbers; of anything else no number.
            nothing += value * 0.0;
        }
        if nothing != 0.0 {
            return Err(values.iter().copied().find(|value| !value.is_finite()).unwrap_or(f32::NAN));
        }
        (self.least, self.greatest) = (least, greatest);
        Ok(())
    }

    /// From the least number to the greatest, and zero.
    pub(super) fn extremes(&self) -> Range {
        Range { low: self.least, high: self.greatest }
    }

    /// Counts numbers between the extremes that are known by now. Zeros are left out: they are a byte by any method, and a
    /// layer behind a Relu gives so many that the entropy method would see nothing else.
    pub(super) fn count(&mut self, values: &[f32]) {
        let width = self.extremes().width();
        if width < LEAST_RANGE || !width.is_finite() {
            return;
        }
        self.counts.resize(BINS, 0);
        let (factor, low) = (BINS as f32 / width, self.least);
        for &value in values.iter().filter(|&&value| value != 0.0) {
            let bin = ((value - low) * factor) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    /// The range whose bytes tell most of what was counted: of windows around zero, with one bound for both signs, the one
    /// whose distribution loses least (Kullback and Leibler's divergence) when it is brought to as many steps as there are
    /// bytes. What lies outside counts as its edge, as in TensorRT and ONNX Runtime.
    pub(super) fn by_entropy(&self) -> Range {
        let extremes = self.extremes();
        if self.counts.is_empty() {
            return extremes;
        }
        let bin_width = extremes.width() / BINS as f32;
        let zero = ((-self.least / bin_width) as usize).min(BINS - 1);
        let mut best = (f64::INFINITY, extremes);
        for kept in (STRIDE..=zero.max(BINS - zero)).rev().step_by(STRIDE) {
            let (first, last) = (zero.saturating_sub(kept), (zero + kept).min(BINS));
            if last - first < STEPS {
                break;
            }
            let lost = divergence(&self.counts, first, last);
            if lost < best.0 {
                let edge = |bin: usize| self.least + bin as f32 * bin_width;
                let low = if first == 0 { self.least } else { edge(first) };
                let high = if last == BINS { self.greatest } else { edge(last) };
                best = (lost, Range { low, high });
            }
        }
        best.1
    }

    /// The range with the least squared error: what lies outside is off by its distance, what lies inside by a part of a step.
    /// Its two sides are cut off as each asks for.
    pub(super) fn by_squares(&self) -> Range {
        let extremes = self.extremes();
        if self.counts.is_empty() {
            return extremes;
        }
        let bin_width = f64::from(extremes.width()) / BINS as f64;
        let middle = |bin: usize| f64::from(self.least) + (bin as f64 + 0.5) * bin_width;
        // Sums of ones, numbers and squares over the bins before each.
        let mut sums = vec![[0.0; 3]];
        for (bin, &count) in self.counts.iter().enumerate() {
            let (count, number, before) = (count as f64, middle(bin), sums[bin]);
            sums.push([before[0] + count, before[1] + count * number, before[2] + count * number * number]);
        }
        let squares = |from: usize, to: usize, edge: f64| {
            let [ones, numbers, squares] = [0, 1, 2].map(|power| sums[to][power] - sums[from][power]);
            squares - 2.0 * edge * numbers + edge * edge * ones
        };
        let zero = (((-f64::from(self.least)) / bin_width) as usize).min(BINS - 1);
        let mut best = (f64::INFINITY, extremes);
        for first in (0..=zero).step_by(STRIDE) {
            for last in (zero + 1..=BINS).rev().step_by(STRIDE) {
                let low = (f64::from(self.least) + first as f64 * bin_width).min(0.0);
                let high = f64::from(self.least) + last as f64 * bin_width;
                let step = (high - low) / STEPS as f64;
                let inside = sums[last][0] - sums[first][0];
                let error = squares(0, first, low) + squares(last, BINS, high) + inside * step * step / 12.0;
                if error < best.0 {
                    let low = if first == 0 { self.least } else { low as f32 };
                    let high = if last == BINS { self.greatest } else { high as f32 };
                    best = (error, Range { low, high });
                }
            }
        }
        best.1
    }
}

/// How much is lost of the distribution of the bins `first` to `last`, with what lies outside at its edges, when its bins are
/// brought to [`STEPS`].
fn divergence(counts: &[u64], first: usize, last: usize) -> f64 {
    let inside = &counts[first..last];
    let (below, above) = (counts[..first].iter().sum::<u64>(), counts[last..].iter().sum::<u64>());
    let at_edges = |bin: usize| {
        let mut count = inside[bin];
        if bin == 0 {
            count += below;
        }
        if bin + 1 == inside.len() {
            count += above;
        }
        count as f64
    };
    let total: f64 = counts.iter().sum::<u64>() as f64;
    let counted: f64 = inside.iter().sum::<u64>() as f64;
    if counted == 0.0 {
        return f64::INFINITY;
    }
    let mut lost = 0.0;
    for step in 0..STEPS {
        let (from, to) = (step * inside.len() / STEPS, (step + 1) * inside.len() / STEPS);
        // A step's count is spread over the bins of it in which something was seen.
        let sum: u64 = inside[from..to].iter().sum();
        let seen = (from..to).filter(|&bin| at_edges(bin) > 0.0).count();
        for bin in (from..to).filter(|&bin| at_edges(bin) > 0.0) {
            let p = at_edges(bin) / total;
            let q = (sum as f64 / seen as f64 / counted).max(1e-9);
            lost += p * (p / q).ln();
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use margay_kernels::byte_of;

    use super::*;

    fn seen(values: &[f32]) -> Statistics {
        let mut statistics = Statistics::new();
        statistics.widen(values).unwrap();
        statistics.count(values);
        statistics
    }

    /// Numbers that are spread like those of a layer: many near zero, few far off.
    fn bell(count: usize) -> Vec<f32> {
        let mut state = 7_u32;
        let mut uniform = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
    }

    #[test]
    fn zero_is_a_byte_and_the_ends_are_near_theirs() {
        for (low, high) in [(0.0, 6.0), (-1.3, 2.7), (-4.0, 0.0), (-1e-3, 1e4), (-0.1, 0.1)] {
            let quantised = Range { low, high }.quantised();
            assert_eq!(byte_of(0.0, quantised), quantised.zero);
            for (number, byte) in [(low, 0_u8), (high, 255)] {
                let found = byte_of(number, quantised);
                assert!(found.abs_diff(byte) <= 1, "{low} to {high}: {number} is {found}");
            }
        }
    }

    #[test]
    fn a_dead_tensor_and_an_endless_one_have_scales_all_the_same() {
        let dead = Range { low: 0.0, high: 0.0 }.quantised();
        assert_eq!((dead.scale, dead.zero), (1.0, 0));
        let endless = Range { low: f32::MIN, high: f32::MAX }.quantised();
        assert!(endless.scale.is_finite() && endless.scale > 0.0);
    }

    #[test]
    fn what_is_no_number_is_found() {
        let mut statistics = Statistics::new();
        assert!(statistics.widen(&[1.0, f32::NAN]).unwrap_err().is_nan());
        assert_eq!(statistics.widen(&[1.0, f32::INFINITY, 2.0]), Err(f32::INFINITY));
        assert_eq!(statistics.extremes(), Range { low: 0.0, high: 0.0 });
    }

    #[test]
    fn the_entropy_method_gives_up_outliers_and_nothing_else() {
        let mut values = bell(200_000);
        let plain = seen(&values).by_entropy();
        assert!(plain.high > 2.5 && plain.low < -2.5, "{plain:?}");
        values.extend([600.0, 550.0]);
        let cut = seen(&values).by_entropy();
        assert!(cut.high < 300.0 && cut.high > 2.0 && cut.low == plain.low, "{cut:?} {plain:?}");
        // Numbers that fill their range evenly keep all of it.
        let even: Vec<f32> = (0..100_000).map(|place| place as f32 / 1000.0).collect();
        let all = seen(&even).by_entropy();
        assert!(all.high > 97.0 && all.low == 0.0, "{all:?}");
    }

    #[test]
    fn the_least_squares_lie_between_outliers_and_steps() {
        let mut values = bell(200_000);
        values.extend([12.0, 11.0]);
        let statistics = seen(&values);
        let error = |range: Range| {
            let by = range.quantised();
            let number = |value: f32| f32::from(i16::from(byte_of(value, by)) - i16::from(by.zero)) * by.scale;
            values.iter().map(|&value| f64::from(value - number(value)).powi(2)).sum::<f64>()
        };
        let (least, all, entropy) =
            (error(statistics.by_squares()), error(statistics.extremes()), error(statistics.by_entropy()));
        assert!(least < 0.9 * all && least <= 1.05 * entropy, "{least} {all} {entropy}");
        let cut = statistics.by_squares();
        assert!(cut.low < -3.0 && cut.high > 9.0 && cut.high < 10.5, "{cut:?}");
    }

    #[test]
    fn zeros_do_not_hide_what_is_beside_them() {
        let mut values = bell(20_000);
        let before = seen(&values).by_entropy();
        values.extend(std::iter::repeat_n(0.0, 200_000));
        assert_eq!(seen(&values).by_entropy(), before);
    }

    #[test]
    fn one_sided_ranges_stay_one_sided() {
        let values: Vec<f32> = bell(50_000).into_iter().map(|value| value.max(0.0)).collect();
        assert_eq!(seen(&values).by_entropy().quantised().zero, 0);
    }
}
