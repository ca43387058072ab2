//! How threads divide the pieces of work of a step. Each begins with an even part, from its front; whoever is done takes from
//! the ends of the others' parts, so that a thread whose core is slow, or busy with another's work, holds nobody up.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is left is divided by it, and as much is taken at once: many pieces at first, so that what lies together stays together,
/// and few at the end, so that threads end together.
const PARTS: usize = 4;

/// Pieces of work for each of several threads where a step can choose: a slow core is left with few.
pub(crate) const PIECES: usize = 6;

/// Bits of a piece's number, and a word's fields from its lowest bit: first piece that is left, end of those, turn.
const BITS: u32 = 20;
/// Pieces that a word can tell apart. Of more, some are one.
const MOST: usize = (1 << BITS) - 1;
/// Turns that a word can tell apart: more than a program has stages, at each of which a thread that has a part writes its word.
const TURNS: u32 = 1 << (u64::BITS - 2 * BITS);

/// What is left of one thread's part, in lines of its own: two, since processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Left(AtomicU64);

/// What is left of every thread's part of the steps at hand.
#[derive(Default)]
pub(crate) struct Shares {
    /// For each step of a stage, the threads' words.
    words: Vec<Left>,
    threads: usize,
}

impl Shares {
    /// For stages of so many steps at most.
    pub(crate) fn new(steps: usize, threads: usize) -> Self {
        let words = if threads > 1 { steps * threads } else { 0 };
        Self { words: (0..words).map(|_| Left::default()).collect(), threads: threads.max(1) }
    }

    /// One thread's chunks of a step's work. `turn` is another for every stage of every run, and at least 1.
    pub(crate) fn chunks(&self, (step, turn): (usize, u32), thread: usize, items: usize) -> Chunks<'_> {
        let words = self.words.get(step * self.threads..).unwrap_or_default();
        let words = words.get(..self.threads).unwrap_or_default();
        // With one thread there is nothing to divide.
        let grain = if words.is_empty() { items.max(1) } else { items.div_ceil(MOST).max(1) };
        Chunks { words, turn: turn % TURNS, thread, items, grain, victim: thread, is_done: items == 0 }
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// Chunks of a step's pieces of work, each of which one thread gets.
#[derive(Debug)]
pub(crate) struct Chunks<'a> {
    words: &'a [Left],
    turn: u32,
    thread: usize,
    items: usize,
    /// Pieces that are one.
    grain: usize,
    /// From whom is taken.
    victim: usize,
    is_done: bool,
}

impl Chunks<'_> {
    /// Takes from a thread's part: from the front of one's own, from the end of another's.
    fn claim(&self, from: usize) -> Option<Range<usize>> {
        let (word, grains) = (&self.words[from].0, self.items.div_ceil(self.grain));
        let whole = [from, from + 1].map(|thread| grains * thread / self.words.len());
        let mut found = word.load(Ordering::Relaxed);
        loop {
            let [first, end] = if found >> (2 * BITS) == u64::from(self.turn) {
                [found, found >> BITS].map(|field| (field & MOST as u64) as usize)
            } else {
                whole
            };
            let count = (end - first).div_ceil(PARTS);
            if count == 0 {
                return None;
            }
            let (taken, [first, end]) = if from == self.thread {
                (first..first + count, [first + count, end])
            } else {
                (end - count..end, [first, end - count])
            };
            let left = u64::from(self.turn) << (2 * BITS) | (end as u64) << BITS | first as u64;
            // What the pieces read was settled at the barrier before, and what they write at the one behind.
            match word.compare_exchange_weak(found, left, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(taken),
                Err(other) => found = other,
            }
        }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        if self.is_done {
            return None;
        }
        if self.words.is_empty() {
            self.is_done = true;
            return Some(0..self.items);
        }
        loop {
            if let Some(grains) = self.claim(self.victim) {
                return Some(grains.start * self.grain..(grains.end * self.grain).min(self.items));
            }
            self.victim = (self.victim + 1) % self.words.len();
            if self.victim == self.thread {
                self.is_done = true;
                return None;
            }
        }
    }
}

impl std::fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::hint::spin_loop;
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::threads::Threads;

    #[test]
    fn every_piece_is_done_once_by_any_number_of_threads() {
        for threads in 1..=4 {
            let (mut team, shares) = (Threads::new(threads), Shares::new(2, threads));
            for (turn, items) in
                [0, 1, 2, 3, 7, 64, 1000].into_iter().cycle().take(if cfg!(miri) { 14 } else { 700 }).enumerate()
            {
                let done: [Vec<AtomicUsize>; 2] =
                    [items, items / 2].map(|count| (0..count).map(|_| AtomicUsize::new(0)).collect());
                team.run(&|number, _| {
                    for (step, done) in done.iter().enumerate() {
                        for item in shares.chunks((step, turn as u32 + 1), number, done.len()).flatten() {
                            done[item].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
                assert!(done.iter().flatten().all(|count| count.load(Ordering::Relaxed) == 1), "{threads}: {done:?}");
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "three million pieces")]
    fn more_pieces_than_a_word_tells_apart_are_all_done() {
        let (shares, items) = (Shares::new(1, 2), 3 * MOST + 1);
        let mut done = vec![0_u8; items];
        // The second thread comes first, and finds the other's part untouched.
        for thread in [1, 0] {
            shares.chunks((0, 1), thread, items).flatten().for_each(|item| done[item] += 1);
        }
        assert!(done.iter().all(|&count| count == 1));
    }

    #[test]
    fn a_thread_that_is_held_up_holds_nobody_up() {
        let (mut team, shares, done) = (Threads::new(2), Shares::new(1, 2), AtomicUsize::new(0));
        let (items, others) = (1000, AtomicUsize::new(usize::MAX));
        team.run(&|number, _| {
            let mut chunks = shares.chunks((0, 1), number, items);
            if number == 1 {
                // It goes on only when all pieces but its first few were done by the other.
                let held = chunks.next().map_or(0, |chunk| chunk.len());
                assert!(held < items / 4, "{held}");
                others.store(items - held, Ordering::Relaxed);
                while done.load(Ordering::Relaxed) < items - held {
                    spin_loop();
                }
                assert_eq!(chunks.next(), None);
            } else {
                while others.load(Ordering::Relaxed) == usize::MAX {
                    spin_loop();
                }
                chunks.flatten().for_each(|_| {
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(done.into_inner(), others.into_inner());
    }

    #[test]
    fn what_one_turn_left_is_nothing_to_the_next() {
        let shares = Shares::new(1, 2);
        for turn in [1, 2, TURNS - 1, TURNS, TURNS + 1] {
            let mut found: Vec<usize> = shares.chunks((0, turn), 0, 9).flatten().collect();
            found.sort_unstable();
            assert_eq!(found, (0..9).collect::<Vec<_>>(), "{turn}");
        }
    }
}
