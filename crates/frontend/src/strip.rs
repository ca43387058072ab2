//! The part of a Y, Cb and Cr picture that is being resampled, as red, green and blue.
//!
//! Rows are converted once, as they come to be needed, and stay as long as they are: a few dozen, which the cache holds.
//! A row is its red, its green and its blue, one after the other.

use std::ops::Range;

use margay_kernels::pixels::{Matrix, Pixels};

use crate::picture::{Channel, Filling, MOST, Picture, Samples, Shape, Sheet};

/// Rows kept beyond those that one row of the target is made of, so that they are not moved for each.
const SPARE: usize = 32;

/// Converted rows.
#[derive(Debug, Default)]
pub(crate) struct Strip {
    /// Pixels of a row, and the first one's number in the whole image.
    columns: Range<usize>,
    rgb: Vec<u8>,
    /// The rows that are there.
    rows: Range<usize>,
    luma: Vec<u8>,
    /// Sums of four of a colour's samples, one more at either end.
    thin: Vec<i16>,
    chroma: [Vec<i16>; 2],
}

/// A channel and its sheet's place among the picture's.
type Placed<'s> = (usize, &'s Sheet, &'s Channel);

impl Strip {
    /// Makes room for pixels `columns` of pictures of a shape, of which at most `most` rows are needed at a time.
    pub(crate) fn renew(&mut self, shape: &Shape, columns: Range<usize>, most: usize) {
        let in_pairs = channels(shape)
            .is_some_and(|channels| channels.iter().any(|(_, _, channel)| channel.samples.filling != Filling::Own));
        // Both pixels of a pair are converted together.
        let start = if in_pairs { columns.start & !1 } else { columns.start };
        self.columns = start..columns.end;
        let length = self.length();
        self.rgb.resize((most + SPARE) * 3 * length, 0);
        self.luma.resize(length, 0);
        self.thin.resize(length + 2, 0);
        self.chroma.iter_mut().for_each(|row| row.resize(length + 1, 0));
    }

    /// Number of the first pixel in a row.
    pub(crate) fn first(&self) -> usize {
        self.columns.start
    }

    /// Pixels of a row.
    pub(crate) fn length(&self) -> usize {
        self.columns.len()
    }

    /// Forgets the rows of the last picture.
    pub(crate) fn restart(&mut self) {
        self.rows = 0..0;
    }

    /// The converted rows, from the first of `rows` on. Ranges must not go back, and be no longer than was said.
    pub(crate) fn rows(&mut self, pixels: Pixels, picture: &Picture<'_>, matrix: &Matrix, rows: Range<usize>) -> &[u8] {
        let bytes = 3 * self.length();
        if rows.start >= self.rows.end {
            self.rows = rows.start..rows.start;
        } else if (rows.end - self.rows.start) * bytes > self.rgb.len() {
            let kept = (rows.start - self.rows.start) * bytes..self.rows.len() * bytes;
            self.rgb.copy_within(kept, 0);
            self.rows.start = rows.start;
        }
        while self.rows.end < rows.end {
            self.convert(pixels, picture, matrix, self.rows.end);
            self.rows.end += 1;
        }
        &self.rgb[(rows.start - self.rows.start) * bytes..]
    }

    /// Converts row `y` of the first channel's samples behind those that are there.
    fn convert(&mut self, pixels: Pixels, picture: &Picture<'_>, matrix: &Matrix, y: usize) {
        let length = self.length();
        let Some([luma, colours @ ..]) = channels(&picture.shape) else { return };
        let at = (y - luma.1.rows.first) * luma.1.stride
            + luma.2.offset
            + (self.columns.start - luma.2.samples.first) * luma.2.step;
        let row = &picture.bytes[luma.0][at..];
        let row = if luma.2.step == 1 {
            &row[..length]
        } else {
            pixels.pick(&row[..(length - 1) * luma.2.step + 1], luma.2.step, &mut self.luma);
            &self.luma
        };
        for (colour, out) in colours.iter().zip(&mut self.chroma) {
            let columns = colour.2.samples;
            let wanted = match columns.filling {
                Filling::Own => self.columns.clone(),
                Filling::Repeated | Filling::Blended => self.columns.start / 2..self.columns.end.div_ceil(2),
            };
            sum_rows(pixels, picture, *colour, (y, wanted.clone()), &mut self.thin);
            let thin = &self.thin[..wanted.len() + 2];
            match columns.filling {
                Filling::Own => pixels.fill_own(thin, &mut out[..length]),
                Filling::Repeated => pixels.fill_repeated(thin, &mut out[..length.next_multiple_of(2)]),
                Filling::Blended => pixels.fill_blended(thin, &mut out[..length.next_multiple_of(2)]),
            }
        }
        let [cb, cr] = self.chroma.each_ref().map(|row| &row[..length]);
        let to = &mut self.rgb[self.rows.len() * 3 * length..][..3 * length];
        let (red, rest) = to.split_at_mut(length);
        let (green, blue) = rest.split_at_mut(length);
        pixels.rgb((row, cb, cr), matrix, [red, green, blue]);
    }
}

/// The three channels of a shape; `None` where there are fewer.
fn channels(shape: &Shape) -> Option<[Placed<'_>; MOST]> {
    let sheets = shape.sheets.iter().enumerate().filter_map(|(index, sheet)| Some((index, sheet.as_ref()?)));
    let mut all =
        sheets.flat_map(|(index, sheet)| sheet.channels.iter().flatten().map(move |channel| (index, sheet, channel)));
    Some([all.next()?, all.next()?, all.next()?])
}

/// Sums of four samples of a colour for row `y` of the first channel: three of the next row and one of the next but one where
/// rows are blended, else four of the same. Column `wanted.start` comes second, between its neighbours.
fn sum_rows(
    pixels: Pixels,
    picture: &Picture<'_>,
    (index, sheet, channel): Placed<'_>,
    (y, wanted): (usize, Range<usize>),
    out: &mut [i16],
) {
    let Samples { first, length, filling, .. } = sheet.rows;
    let last = first + length - 1;
    let (near, far) = match filling {
        Filling::Own => (y, y),
        Filling::Repeated => (y / 2, y / 2),
        Filling::Blended if y % 2 == 0 => (y / 2, (y / 2).saturating_sub(1).max(first)),
        Filling::Blended => (y / 2, (y / 2 + 1).min(last)),
    };
    let columns = channel.samples;
    let end = columns.first + columns.length;
    // The neighbours, where there are any; an edge is its own neighbour.
    let (from, to) = (wanted.start.saturating_sub(1).max(columns.first), (wanted.end + 1).min(end));
    let row = |y: usize| {
        let at = (y.min(last) - first) * sheet.stride + channel.offset + (from - columns.first) * channel.step;
        &picture.bytes[index][at..][..(to - from - 1) * channel.step + 1]
    };
    let at = from + 1 - wanted.start;
    pixels.sum_of_four(row(near), row(far), channel.step, &mut out[at..at + to - from]);
    if at == 1 {
        out[0] = out[1];
    }
    // At most one column of a pair is missing at the end, and its neighbour.
    for place in at + to - from..wanted.len() + 2 {
        out[place] = out[place - 1];
    }
}
