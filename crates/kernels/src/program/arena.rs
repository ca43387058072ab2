//! Which tensor lies where in the program's memory while it lives.

use crate::error::PlanError;
use crate::layout::LANES;
use crate::program::MAX_ARENA_FLOATS;

/// What a tensor needs: floats, and the stages from its first to its last use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    pub(crate) floats: usize,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Life {
    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Gives each tensor its first float, so that no two that live at once overlap: the largest first, each as low as it
/// fits. Returns the places and the floats of all.
pub(crate) fn place(lives: &[Life]) -> Result<(Vec<usize>, usize), PlanError> {
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|&tensor| std::cmp::Reverse(lives[tensor].floats));
    let mut places = vec![0; lives.len()];
    let mut total = 0;
    for (rank, &tensor) in order.iter().enumerate() {
        let life = &lives[tensor];
        let mut taken: Vec<(usize, usize)> = order[..rank]
            .iter()
            .filter(|&&other| lives[other].overlaps(life))
            .map(|&other| (places[other], places[other] + lives[other].floats.next_multiple_of(LANES)))
            .collect();
        taken.sort_unstable();
        let mut place = 0;
        for (from, to) in taken {
            if place + life.floats <= from {
                break;
            }
            place = place.max(to);
        }
        places[tensor] = place;
        total = total.max(place + life.floats.next_multiple_of(LANES));
    }
    if total > MAX_ARENA_FLOATS {
        return Err(PlanError::Memory { floats: total, limit: MAX_ARENA_FLOATS });
    }
    Ok((places, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_that_live_at_once_lie_apart_and_others_share() {
        let mut state = 1_u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for _ in 0..200 {
            let lives: Vec<Life> = (0..20)
                .map(|_| {
                    let first = random(15) as usize;
                    Life { floats: 1 + random(500) as usize, first, last: first + random(4) as usize }
                })
                .collect();
            let (places, total) = place(&lives).unwrap();
            for (a, life) in lives.iter().enumerate() {
                assert!(places[a] % LANES == 0 && places[a] + life.floats <= total);
                for b in 0..a {
                    let apart = places[a] + life.floats <= places[b] || places[b] + lives[b].floats <= places[a];
                    assert!(
                        apart || !life.overlaps(&lives[b]),
                        "{life:?} at {}, {:?} at {}",
                        places[a],
                        lives[b],
                        places[b]
                    );
                }
            }
        }
        let chain: Vec<Life> = (0..10).map(|step| Life { floats: 64, first: step, last: step + 1 }).collect();
        assert_eq!(place(&chain).unwrap().1, 128);
    }

    #[test]
    fn more_memory_than_the_limit_is_refused() {
        let life = Life { floats: MAX_ARENA_FLOATS, first: 0, last: 1 };
        assert!(matches!(place(&[life, life]), Err(PlanError::Memory { .. })));
    }
}
