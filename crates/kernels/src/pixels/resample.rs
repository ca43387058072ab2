//! The horizontal pass: a row of samples becomes one of another length.

use super::WEIGHT_BITS;

/// Weights are kept in groups of this many, the last one filled up with zeros.
pub const TAPS: usize = 8;

/// Which samples make which, with their weights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taps {
    starts: Vec<u32>,
    weights: Vec<i16>,
    groups: usize,
    counts: Vec<u32>,
    /// No start is above it.
    furthest: u32,
}

impl Taps {
    /// Forgets everything and takes `groups` groups of [`TAPS`] weights a sample from now on.
    pub fn clear(&mut self, groups: usize) {
        self.groups = groups.max(1);
        self.furthest = 0;
        self.starts.clear();
        self.counts.clear();
        self.weights.clear();
    }

    /// Adds the next sample, made of those that begin at `start`.
    ///
    /// # Panics
    /// Where there are more weights than the groups hold.
    pub fn push(&mut self, start: u32, weights: &[i16]) {
        assert!(weights.len() <= self.groups * TAPS, "the groups hold every weight");
        self.furthest = self.furthest.max(start);
        self.starts.push(start);
        self.counts.push(weights.len() as u32);
        self.weights.extend_from_slice(weights);
        self.weights.resize(self.starts.len() * self.groups * TAPS, 0);
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The first sample that makes sample `index`, and the weights from there on.
    #[must_use]
    pub fn get(&self, index: usize) -> (usize, &[i16]) {
        let at = index * self.groups * TAPS;
        (self.starts[index] as usize, &self.weights[at..at + self.counts[index] as usize])
    }

    /// The most weights that a sample has.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.counts.iter().max().map_or(0, |&count| count as usize)
    }

    /// The first sample that any weight stands for, and the one behind the last.
    #[must_use]
    pub fn span(&self) -> (usize, usize) {
        let ends = self.starts.iter().zip(&self.counts).map(|(&start, &count)| (start + count) as usize);
        (self.starts.iter().copied().min().unwrap_or(0) as usize, ends.max().unwrap_or(0))
    }

    /// Numbers the samples from `first` on, which is no higher than the lowest start.
    ///
    /// # Panics
    /// Where it is.
    pub fn move_back(&mut self, first: usize) {
        let first = u32::try_from(first).expect("starts are numbers of 32 bits");
        for start in &mut self.starts {
            *start = start.checked_sub(first).expect("no start is lower");
        }
        self.furthest = self.starts.iter().copied().max().unwrap_or(0);
    }

    /// How many samples a row must have at least, so that the padded weights of every sample stay inside.
    #[must_use]
    pub fn reach(&self) -> usize {
        self.furthest as usize + self.groups * TAPS
    }
}

#[inline(always)]
pub(super) fn spread(row: &[i16], step: usize, out: &mut [i16]) {
    match step {
        1 => spread_by::<1>(row, out),
        2 => spread_by::<2>(row, out),
        3 => spread_by::<3>(row, out),
        4 => spread_by::<4>(row, out),
        _ => row.iter().step_by(step.max(1)).zip(out).for_each(|(&sample, out)| *out = sample),
    }
}

#[inline(always)]
fn spread_by<const STEP: usize>(row: &[i16], out: &mut [i16]) {
    let (whole, rest) = row.as_chunks::<STEP>();
    let mut written = 0;
    for (out, group) in out.iter_mut().zip(whole) {
        *out = group[0];
        written += 1;
    }
    if let (Some(out), Some(&last)) = (out.get_mut(written), rest.first()) {
        *out = last;
    }
}

#[inline(always)]
pub(super) fn resample(row: &[i16], taps: &Taps, out: &mut [i16]) {
    match taps.groups {
        1 => resample_by::<8>(row, taps, out),
        2 => resample_by::<16>(row, taps, out),
        groups => {
            let weights = taps.weights.chunks_exact(groups * TAPS);
            for ((out, weights), &start) in out.iter_mut().zip(weights).zip(&taps.starts) {
                let row = &row[start as usize..][..weights.len()];
                let sum: i32 = row.iter().zip(weights).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
                *out = rounded(sum);
            }
        }
    }
}

#[inline(always)]
fn resample_by<const N: usize>(row: &[i16], taps: &Taps, out: &mut [i16]) {
    assert!(taps.starts.len() >= out.len(), "every sample has its taps");
    for ((out, weights), &start) in out.iter_mut().zip(taps.weights.as_chunks::<N>().0).zip(&taps.starts) {
        let row = &row[start as usize..][..N];
        let mut sum = 0;
        for k in 0..N {
            sum += i32::from(row[k]) * i32::from(weights[k]);
        }
        *out = rounded(sum);
    }
}

/// Two samples a register, eight at a time, each of eight weights.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub(super) fn resample_avx2(row: &[i16], taps: &Taps, out: &mut [i16]) {
    use std::arch::x86_64::*;

    if taps.groups != 1 {
        return resample(row, taps, out);
    }
    assert!(taps.starts.len() >= out.len() && row.len() >= taps.reach(), "every weight has its sample");
    let whole = out.len() / 8 * 8;
    let half = _mm256_set1_epi32(1 << (WEIGHT_BITS - 1));
    let products = |index: usize| {
        // SAFETY: `index + 4` is below the number of starts; behind each start eight samples stand in the row, which is
        // as long as the taps reach; and there are eight weights for each start.
        unsafe {
            let (low, high) = (*taps.starts.get_unchecked(index), *taps.starts.get_unchecked(index + 4));
            let low = _mm_loadu_si128(row.as_ptr().add(low as usize).cast());
            let high = _mm_loadu_si128(row.as_ptr().add(high as usize).cast());
            let weights = taps.weights.as_ptr();
            let low_weights = _mm_loadu_si128(weights.add(index * TAPS).cast());
            let high_weights = _mm_loadu_si128(weights.add((index + 4) * TAPS).cast());
            _mm256_madd_epi16(_mm256_set_m128i(high, low), _mm256_set_m128i(high_weights, low_weights))
        }
    };
    for first in (0..whole).step_by(8) {
        let left = _mm256_hadd_epi32(products(first), products(first + 1));
        let right = _mm256_hadd_epi32(products(first + 2), products(first + 3));
        let sums = _mm256_srai_epi32::<{ WEIGHT_BITS as i32 }>(_mm256_add_epi32(_mm256_hadd_epi32(left, right), half));
        let samples = _mm_packs_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        // SAFETY: eight samples from `first` on are part of the slice.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().add(first).cast(), samples) };
    }
    for ((out, weights), &start) in out.iter_mut().zip(taps.weights.as_chunks::<TAPS>().0).zip(&taps.starts).skip(whole)
    {
        let row = &row[start as usize..][..TAPS];
        *out = rounded(row.iter().zip(weights).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum());
    }
}

#[inline(always)]
fn rounded(sum: i32) -> i16 {
    ((sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS) as i16
}
