//! Memory: floats on cache lines, and which tensor lies where while it lives.

use crate::error::PlanError;
use crate::layout::LANES;
use crate::program::MAX_ARENA_FLOATS;

/// Sixteen floats on a cache line of their own.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

/// Floats that begin on a cache line, zero at first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Floats(Vec<Line>);

impl Floats {
    /// At least `count` floats: whole cache lines.
    pub(crate) fn zeroed(count: usize) -> Self {
        Self(vec![Line([0.0; LANES]); count.div_ceil(LANES)])
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len() * LANES
    }

    /// Its place in memory, for a checked run: the address of the first float, and how many there are.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.as_ptr().addr(), self.len())
    }

    pub(crate) fn fill(&mut self, value: f32) {
        self.0.fill(Line([value; LANES]));
    }

    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.0.as_ptr().cast()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.0.as_mut_ptr().cast()
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: a line is sixteen floats and nothing else, and lines lie one after the other.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        // SAFETY: floats are bytes without gaps.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast(), size_of::<f32>() * self.len()) }
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8] {
        let length = size_of::<f32>() * self.len();
        // SAFETY: as above, any bytes are floats, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), length) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        let length = self.len();
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), length) }
    }
}

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
