//! From the bytes of a picture to those of a quantised one, side by side.

use super::Scaling;
use crate::block::portable::nearest;

/// Channels of a picture that becomes words.
pub const CHANNELS: usize = 3;

/// How far a line may be moved, in steps of the bytes that come out, so that it meets them all: the floats that are rounded
/// may all lie in the middle between two of them, but for what rounding has left.
const MOVES: [f64; 3] = [0.0, 1.0 / 4096.0, -1.0 / 4096.0];

/// What the bytes of three channels become, side by side in a word: by straight lines where these make the very bytes of
/// the tables, which is tried for each of them, and else by the tables.
#[derive(Debug, Clone)]
pub struct Words {
    /// In their places in the word.
    tables: Box<[[u32; 256]; CHANNELS]>,
    lines: Option<[Line; CHANNELS]>,
    /// What is flipped in each word after lines have made it.
    flips: u32,
}

/// `nearest(byte · factor + addend) + zero`, held between two bytes.
#[derive(Debug, Clone, Copy)]
struct Line {
    factor: f32,
    addend: f32,
    /// Steps from zero.
    low: f32,
    high: f32,
    zero: i32,
}

impl Line {
    #[inline(always)]
    fn byte(self, byte: u8) -> u32 {
        let steps = f32::from(byte) * self.factor + self.addend;
        let steps = if steps > self.low { steps } else { self.low };
        let steps = if steps < self.high { steps } else { self.high };
        (nearest(steps) + self.zero) as u32
    }

    /// A line that makes each byte of the table of what `scaling` makes, counted in steps of `scale`.
    fn through(table: &[u8; 256], scaling: Scaling, (scale, zero): (f32, u8)) -> Option<Self> {
        let step = f64::from(scaling.deviation) * f64::from(scale);
        let factor = (f64::from(scaling.scale) / step) as f32;
        let addend = -f64::from(scaling.mean) / step;
        let (low, high) = (-f32::from(zero), f32::from(255 - zero));
        let line = |by: f64| Self { factor, addend: (addend + by) as f32, low, high, zero: i32::from(zero) };
        let is_met = |line: &Self| (0..=255).zip(table).all(|(byte, &to)| line.byte(byte) == u32::from(to));
        MOVES.into_iter().map(line).find(is_met)
    }
}

impl Words {
    /// For tables that were made of what `scalings` make, quantised by a scale and a zero; `flip` turns each byte into the
    /// one that is stored.
    #[must_use]
    pub fn new(
        tables: [&[u8; 256]; CHANNELS],
        scalings: [Scaling; CHANNELS],
        (scale, zero): (f32, u8),
        flip: u8,
    ) -> Self {
        let place = |channel: usize| 8 * channel as u32;
        let in_place = |channel: usize| tables[channel].map(|byte| u32::from(byte ^ flip) << place(channel));
        let lines = [0, 1, 2].map(|channel| Line::through(tables[channel], scalings[channel], (scale, zero)));
        let lines =
            if let [Some(first), Some(second), Some(third)] = lines { Some([first, second, third]) } else { None };
        Self {
            tables: Box::new([0, 1, 2].map(in_place)),
            lines,
            flips: (0..CHANNELS).map(|channel| u32::from(flip) << place(channel)).sum(),
        }
    }

    /// Whether the words are computed, and not looked up.
    #[must_use]
    pub fn are_computed(&self) -> bool {
        self.lines.is_some()
    }
}

#[inline(always)]
pub(super) fn words(rows: [&[u8]; CHANNELS], words: &Words, out: &mut [u32]) {
    let [first, second, third] = rows;
    let pixels = first.iter().zip(second).zip(third).zip(out);
    if let Some([red, green, blue]) = words.lines {
        for (((&a, &b), &c), out) in pixels {
            *out = (red.byte(a) | green.byte(b) << 8 | blue.byte(c) << 16) ^ words.flips;
        }
        return;
    }
    let [red, green, blue] = &*words.tables;
    for (((&a, &b), &c), out) in pixels {
        *out = red[usize::from(a)] | green[usize::from(b)] | blue[usize::from(c)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::kernel::bytes::rows::quantised;
    use crate::pixels::Pixels;

    fn made(scaling: Scaling, quantisation: (f32, u8), flip: u8) -> ([[u8; 256]; CHANNELS], Words) {
        let scalings = [0.0, 0.1, -0.2].map(|by| Scaling { mean: scaling.mean + by, ..scaling });
        let table = |scaling: Scaling| {
            std::array::from_fn(|byte| quantised(scaling.apply(byte as u8), quantisation.0, quantisation.1))
        };
        let tables = scalings.map(table);
        let [first, second, third] = &tables;
        let words = Words::new([first, second, third], scalings, quantisation, flip);
        (tables, words)
    }

    /// Every byte of every channel, computed and looked up, by every instruction set.
    #[test]
    fn words_are_the_tables_bytes_whether_computed_or_not() {
        let imagenet = Scaling { scale: 1.0 / 255.0, mean: 0.485, deviation: 0.229 };
        let half = Scaling { scale: 1.0 / 255.0, mean: 0.5, deviation: 0.5 };
        let raw = Scaling { scale: 1.0, mean: 0.0, deviation: 1.0 };
        let mut computed = 0;
        for (scaling, quantisation) in [
            (imagenet, (0.018_658_44, 114)),
            (imagenet, (0.05, 0)),
            (half, (1.0 / 127.5, 128)),
            (half, (0.003, 255)),
            (raw, (1.0, 0)),
            (raw, (2.0, 3)),
            (Scaling { scale: 1e30, ..imagenet }, (1e-30, 7)),
        ] {
            for flip in [0, 0x80] {
                let (tables, mut words) = made(scaling, quantisation, flip);
                computed += usize::from(words.are_computed());
                let row: Vec<u8> = (0..=255).chain(0..=18).collect();
                let expected: Vec<u32> = row
                    .iter()
                    .map(|&byte| {
                        let [a, b, c] = tables.each_ref().map(|table| table[usize::from(byte)] ^ flip);
                        u32::from_le_bytes([a, b, c, 0])
                    })
                    .collect();
                for isa in Isa::available() {
                    for _ in 0..2 {
                        let mut found = vec![u32::MAX; row.len()];
                        Pixels::new(isa).words([&row; CHANNELS], &words, &mut found);
                        assert_eq!(found, expected, "{scaling:?}, {quantisation:?}, {isa}, {:?}", words.lines);
                        words.lines = None;
                    }
                }
            }
        }
        assert!(computed >= 6, "{computed} of 14 are computed");
    }
}
