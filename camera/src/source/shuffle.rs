//! An order that looks like chance and is the same each time for the same number.

/// A permutation of `0..count` for `seed`, another one for each `round` (Fisher and Yates' shuffle, by the numbers of
/// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
pub(super) fn permutation(count: usize, seed: u64, round: u64) -> Vec<usize> {
    let mut state = seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        // The remainder favours small numbers by less than one in 2^44 for the most items there are.
        let other = next(&mut state) % (last as u64 + 1);
        order.swap(last, usize::try_from(other).unwrap_or(last));
    }
    order
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_comes_once_in_an_order_that_the_seed_gives() {
        let order = permutation(100, 7, 0);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(order, permutation(100, 7, 0));
        assert_ne!(order, sorted);
        assert_ne!(order, permutation(100, 8, 0));
        assert_ne!(order, permutation(100, 7, 1));
        assert_eq!(permutation(0, 1, 1), [0; 0]);
    }

    #[test]
    fn the_numbers_are_the_published_ones() {
        let mut state = 1_234_567;
        assert_eq!([next(&mut state), next(&mut state)], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn every_place_is_reached_about_as_often() {
        let mut first = [0; 5];
        for seed in 0..5000 {
            first[permutation(5, seed, 0)[0]] += 1;
        }
        assert!(first.iter().all(|count| (850..1150).contains(count)), "{first:?}");
    }
}
