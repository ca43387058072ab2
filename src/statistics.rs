//! What a series of times says, and what it does not: percentiles, whether successive windows agree, and how two series
//! compare, with the interval in which their ratio lies.
//!
//! Times of successive frames are not independent: another program, or a processor that clocks down, slows several in a
//! row. So the bootstrap draws blocks of neighbours (Künsch 1989), not single frames, and its intervals are as wide as
//! such runs ask for.

use serde::{Deserialize, Serialize};

/// Resamplings of a bootstrap. The ends of a 95 % interval are its 25th and 975th values.
const RESAMPLINGS: usize = 1000;

/// Neighbouring times that are drawn together, at most; a short series has shorter blocks.
const MOST_BLOCK: usize = 25;

/// Where the random numbers of a bootstrap begin: the same series always give the same interval.
const SEED: u64 = 0x5eed_0f3a_9c1d_2b47;

/// The percentiles of a series, by nearest rank: each is a time that was measured. In the unit of the series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// The least.
    pub min: u64,
    /// Half took no longer.
    pub p50: u64,
    /// Nine in ten took no longer.
    pub p90: u64,
    /// 19 in twenty took no longer.
    pub p95: u64,
    /// 99 in a hundred took no longer.
    pub p99: u64,
    /// 999 in a thousand took no longer; with fewer than a thousand times it is the greatest.
    pub p99_9: u64,
    /// The greatest.
    pub max: u64,
}

impl Distribution {
    /// That of `times`; zeros where there are none.
    #[must_use]
    pub fn of(times: &[u32]) -> Self {
        let mut times = times.to_vec();
        times.sort_unstable();
        let at = |thousandths| u64::from(nearest_rank(&times, thousandths));
        Self { min: at(0), p50: at(500), p90: at(900), p95: at(950), p99: at(990), p99_9: at(999), max: at(1000) }
    }
}

/// The value of `sorted` below which so many thousandths lie, by nearest rank; 0 where there is none.
fn nearest_rank(sorted: &[u32], thousandths: usize) -> u32 {
    let rank = (sorted.len() * thousandths).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The median of `times`, by nearest rank; 0 where there is none.
#[must_use]
pub fn median(times: &[u32]) -> u32 {
    let mut times = times.to_vec();
    times.sort_unstable();
    nearest_rank(&times, 500)
}

/// Whether the last `count` of `medians` lie no further apart than `bound`, as a part of their middle.
#[must_use]
pub fn agree(medians: &[u32], count: usize, bound: f64) -> bool {
    let Some(start) = medians.len().checked_sub(count.max(1)) else { return false };
    let mut last = medians[start..].to_vec();
    last.sort_unstable();
    let (least, greatest) = (last[0], last[last.len() - 1]);
    f64::from(greatest - least) <= bound * f64::from(nearest_rank(&last, 500))
}

/// How two series compare: the ratio of their medians, and the 95 % interval in which it lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Median of the first by median of the second.
    pub ratio: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

impl Ratio {
    /// Compares `new` with `old`; `None` where either has no times, or only zeros.
    #[must_use]
    pub fn of_medians(new: &[u32], old: &[u32]) -> Option<Self> {
        let (now, before) = (median(new), median(old));
        if now == 0 || before == 0 {
            return None;
        }
        let mut random = Random(SEED);
        let mut ratios: Vec<f64> = Vec::with_capacity(RESAMPLINGS);
        let mut room = Vec::with_capacity(new.len().max(old.len()));
        for _ in 0..RESAMPLINGS {
            let drawn = resampled_median(new, &mut random, &mut room);
            let held_against = resampled_median(old, &mut random, &mut room);
            if held_against > 0 {
                ratios.push(f64::from(drawn) / f64::from(held_against));
            }
        }
        ratios.sort_unstable_by(f64::total_cmp);
        let ratio = f64::from(now) / f64::from(before);
        let at = |thousandths: usize| {
            let rank = (ratios.len() * thousandths).div_ceil(1000).max(1);
            ratios.get(rank - 1).copied().unwrap_or(ratio)
        };
        Some(Self { ratio, low: at(25).min(ratio), high: at(975).max(ratio) })
    }

    /// What the interval allows to say of the first, in words.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (self.low, self.high) {
            (_, high) if high < 1.0 => "faster",
            (low, _) if low > 1.0 => "slower",
            _ => "no difference that can be told from noise",
        }
    }
}

/// The median of a series made of blocks of neighbours of `times`, drawn with replacement, as long as it. A block may
/// run over the end and go on at the beginning, so that every time is as likely to be drawn.
fn resampled_median(times: &[u32], random: &mut Random, room: &mut Vec<u32>) -> u32 {
    let block = ((times.len() as f64).sqrt() as usize).clamp(1, MOST_BLOCK);
    room.clear();
    while room.len() < times.len() {
        let start = random.below(times.len());
        let wanted = block.min(times.len() - room.len());
        room.extend((start..start + wanted).map(|at| times[at % times.len()]));
    }
    let rank = room.len().div_ceil(2).max(1) - 1;
    if room.is_empty() { 0 } else { *room.select_nth_unstable(rank).1 }
}

/// SplitMix64 (Steele et al. 2014): enough for drawing blocks, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * limit as u128) >> 64) as usize
    }
}

/// Every `step`-th of `times`, so that at most `count` are left, in order.
#[must_use]
pub fn thinned(times: &[u32], count: usize) -> Vec<u32> {
    let step = times.len().div_ceil(count.max(1)).max(1);
    times.iter().step_by(step).copied().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<u32> = (1..=2000).rev().collect();
        let expected = Distribution { min: 1, p50: 1000, p90: 1800, p95: 1900, p99: 1980, p99_9: 1998, max: 2000 };
        assert_eq!(Distribution::of(&times), expected);
        let one = Distribution { min: 7, p50: 7, p90: 7, p95: 7, p99: 7, p99_9: 7, max: 7 };
        assert_eq!(Distribution::of(&[7]), one);
        assert_eq!(Distribution::of(&[]), Distribution::default());
    }

    #[test]
    fn windows_agree_within_the_bound_and_not_before_there_are_enough() {
        assert!(!agree(&[100, 100], 3, 0.05));
        assert!(agree(&[200, 100, 104, 101], 3, 0.05));
        assert!(!agree(&[100, 106, 101], 3, 0.05));
        assert!(agree(&[0, 0, 0], 3, 0.05) && !agree(&[], 0, 0.05));
    }

    #[test]
    fn a_clear_difference_is_told_and_noise_is_not() {
        let noise = |seed: u32, offset: u32| -> Vec<u32> {
            (0..400_u32).map(|at| offset + (at.wrapping_mul(2_654_435_761) ^ seed) % 97).collect()
        };
        let (old, same, slower) = (noise(1, 1000), noise(2, 1000), noise(3, 1200));
        assert_eq!(Ratio::of_medians(&slower, &old).unwrap().verdict(), "slower");
        assert_eq!(Ratio::of_medians(&old, &slower).unwrap().verdict(), "faster");
        assert!(Ratio::of_medians(&same, &old).unwrap().verdict().starts_with("no difference"));
        assert_eq!(Ratio::of_medians(&[], &old), None);
        assert_eq!(Ratio::of_medians(&old, &[0, 0]), None);
    }

    #[test]
    fn a_slow_stretch_widens_the_interval() {
        let even: Vec<u32> = (0..400).map(|at| 1000 + at % 50).collect();
        // The same number of slow frames, once in a row and once strewn.
        let strewn: Vec<u32> = (0..400).map(|at| if at % 5 < 2 { 1500 } else { 1000 + at % 50 }).collect();
        let stretch: Vec<u32> = (0..400).map(|at| if at < 160 { 1500 } else { 1000 + at % 50 }).collect();
        let width = |series: &[u32]| Ratio::of_medians(series, &even).map(|ratio| ratio.high - ratio.low).unwrap();
        assert!(width(&stretch) > width(&strewn), "{} {}", width(&stretch), width(&strewn));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn percentiles_rise_and_are_among_the_times(times in prop::collection::vec(any::<u32>(), 1..300)) {
            let Distribution { min, p50, p90, p95, p99, p99_9, max } = Distribution::of(&times);
            let found = [min, p50, p90, p95, p99, p99_9, max];
            prop_assert!(found.is_sorted());
            prop_assert!(found.iter().all(|time| times.iter().any(|known| u64::from(*known) == *time)));
            let no_longer = times.iter().filter(|time| u64::from(**time) <= p90).count();
            prop_assert!(no_longer * 10 >= times.len() * 9);
        }

        #[test]
        fn order_changes_no_percentile(mut times in prop::collection::vec(any::<u32>(), 0..100)) {
            let before = Distribution::of(&times);
            times.reverse();
            prop_assert_eq!(before, Distribution::of(&times));
        }

        #[test]
        fn the_interval_holds_the_ratio_and_turns_round_with_it(
            new in prop::collection::vec(1_u32..10_000, 1..120), old in prop::collection::vec(1_u32..10_000, 1..120),
        ) {
            let there = Ratio::of_medians(&new, &old).unwrap();
            let back = Ratio::of_medians(&old, &new).unwrap();
            prop_assert!(there.low <= there.ratio && there.ratio <= there.high && there.low > 0.0);
            prop_assert!((there.ratio * back.ratio - 1.0).abs() < 1e-9);
            prop_assert_eq!(there, Ratio::of_medians(&new, &old).unwrap());
        }

        #[test]
        fn a_unit_changes_no_ratio(times in prop::collection::vec(1_u32..10_000, 1..120), factor in 2_u32..100) {
            let scaled: Vec<u32> = times.iter().map(|time| time * factor).collect();
            let ratio = Ratio::of_medians(&scaled, &scaled).unwrap();
            let same = Ratio::of_medians(&times, &times).unwrap();
            prop_assert!((ratio.low - same.low).abs() < 1e-9 && (ratio.high - same.high).abs() < 1e-9);
            prop_assert!(same.verdict().starts_with("no difference"));
        }

        #[test]
        fn thinning_keeps_the_order_and_the_limit(times in prop::collection::vec(any::<u32>(), 0..500), count in 1_usize..50) {
            let kept = thinned(&times, count);
            prop_assert!(kept.len() <= count && kept.is_empty() == times.is_empty());
            let mut rest = times.iter();
            prop_assert!(kept.iter().all(|time| rest.any(|known| known == time)));
        }
    }
}
