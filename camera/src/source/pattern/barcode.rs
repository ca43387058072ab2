//! The counter as black and white cells, for programs.
//!
//! Two rows of 40 cells at the bottom of the picture hold 80 bits, the highest first, white for one: the counter (64)
//! and its checksum (16, CRC-16/IBM-3740), which is not 0 for a counter of 0, so that neither a black picture nor a
//! white one is read as a number. Cells are large enough to survive JPEG compression.

use super::canvas::{Canvas, Rectangle};

/// The narrowest picture that a bar code is drawn in, in pixels: cells of three.
pub const LEAST_WIDTH: u32 = 3 * COLUMNS;
/// The lowest picture that a bar code is drawn in, in pixels.
pub const LEAST_HEIGHT: u32 = 64;

const COLUMNS: u32 = 40;
const ROWS: u32 = 2;
const BITS: u32 = COLUMNS * ROWS;

/// Draws the bar code of `counter`.
pub(super) fn draw(canvas: &mut Canvas<'_>, counter: u64) {
    let (width, height) = (canvas.width(), canvas.height());
    let strip = ROWS * row_height(height);
    canvas.fill(Rectangle { x: 0, y: height - strip, width, height: strip }, [0; 3]);
    let code = code(counter);
    for bit in (0..BITS).filter(|bit| code >> (BITS - 1 - bit) & 1 == 1) {
        canvas.fill(cell(width, height, bit), [255; 3]);
    }
}

/// Reads the counter of an RGB picture whose rows start `stride` bytes apart.
///
/// `None` for a picture that carries none, is too small for one, has fewer bytes than it should, or is a mixture of
/// two.
#[must_use]
pub fn read(rgb: &[u8], width: u32, height: u32, stride: u32) -> Option<u64> {
    let needed = crate::PixelFormat::Rgb24.packed_len(width, height, stride)?;
    if width < LEAST_WIDTH || height < LEAST_HEIGHT || (rgb.len() as u64) < needed {
        return None;
    }
    let code = (0..BITS).fold(0, |code: u128, bit| {
        let white = is_white(rgb, stride, cell(width, height, bit));
        code << 1 | u128::from(white)
    });
    let counter = (code >> 16) as u64;
    (self::code(counter) == code).then_some(counter)
}

/// Whether the inner part of a cell, away from what its neighbours blur into, is light on average.
fn is_white(rgb: &[u8], stride: u32, cell: Rectangle) -> bool {
    let (inset_x, inset_y) = (cell.width / 4, cell.height / 4);
    let (mut sum, mut samples) = (0, 0);
    for y in cell.y + inset_y..cell.y + cell.height - inset_y {
        let row = y as usize * stride as usize;
        let start = row + (cell.x + inset_x) as usize * 3;
        let end = row + (cell.x + cell.width - inset_x) as usize * 3;
        sum += rgb[start..end].iter().map(|&value| u64::from(value)).sum::<u64>();
        samples += (end - start) as u64;
    }
    sum > 127 * samples
}

fn row_height(height: u32) -> u32 {
    height / 16
}

fn cell(width: u32, height: u32, bit: u32) -> Rectangle {
    let (cell_width, cell_height) = (width / COLUMNS, row_height(height));
    let (column, row) = (bit % COLUMNS, bit / COLUMNS);
    let y = height - (ROWS - row) * cell_height;
    Rectangle { x: column * cell_width, y, width: cell_width, height: cell_height }
}

fn code(counter: u64) -> u128 {
    u128::from(counter) << 16 | u128::from(checksum(counter))
}

/// CRC-16/IBM-3740: polynomial 0x1021, begun with 0xFFFF.
fn checksum(counter: u64) -> u16 {
    counter.to_be_bytes().into_iter().fold(0xffff, |checksum, byte| {
        (0..8).fold(checksum ^ u16::from(byte) << 8, |checksum: u16, _| {
            let carried = checksum & 0x8000 != 0;
            checksum << 1 ^ if carried { 0x1021 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drawn(width: u32, height: u32, counter: u64) -> Vec<u8> {
        let mut buffer = Vec::new();
        draw(&mut Canvas::new(width, height, &mut buffer), counter);
        buffer
    }

    #[test]
    fn a_picture_without_a_bar_code_is_not_read() {
        for value in [0, 127, 255] {
            assert_eq!(read(&vec![value; 640 * 480 * 3], 640, 480, 1920), None);
        }
        let picture = drawn(640, 480, 7);
        assert_eq!(read(&picture, 640, 480, 1919), None, "rows overlap");
        assert_eq!(read(&picture[1..], 640, 480, 1920), None, "a byte is missing");
        assert_eq!(read(&picture, 100, 60, 300), None, "too small");
    }

    #[test]
    fn a_mixture_of_two_pictures_is_not_read() {
        let (mut picture, other) = (drawn(640, 480, 1_000), drawn(640, 480, 1_001 << 40));
        let middle_of_code = picture.len() - 640 * 3 * 30;
        picture[middle_of_code..].copy_from_slice(&other[middle_of_code..]);
        assert_eq!(read(&picture, 640, 480, 1920), None);
    }

    proptest! {
        #[test]
        fn what_was_drawn_is_read(counter: u64, width in LEAST_WIDTH..400, height in LEAST_HEIGHT..200) {
            prop_assert_eq!(read(&drawn(width, height, counter), width, height, width * 3), Some(counter));
        }

        #[test]
        fn noise_does_not_hide_it(counter: u64, noise in prop::collection::vec(-100_i16..100, 120 * 64 * 3)) {
            let mut picture = drawn(120, 64, counter);
            for (value, noise) in picture.iter_mut().zip(noise) {
                *value = (i16::from(*value) + noise).clamp(0, 255) as u8;
            }
            prop_assert_eq!(read(&picture, 120, 64, 360), Some(counter));
        }
    }
}
