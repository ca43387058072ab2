//! The counter in digits that a person can read.

use super::canvas::{Canvas, Rectangle};

/// Digits of five by seven dots, a byte for each row, the leftmost dot in bit 4.
const GLYPHS: [[u8; 7]; 10] = [
    [0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e],
    [0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e],
    [0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f],
    [0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e],
    [0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02],
    [0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e],
    [0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e],
    [0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08],
    [0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e],
    [0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c],
];
/// Dots from one digit to the next, and from the top of the field to its bottom.
const ADVANCE: u32 = 6;
const FIELD_HEIGHT: u32 = 9;
/// Digits are drawn as if there were at least so many, so that they keep their size while the counter grows.
const LEAST_DIGITS: u32 = 6;

/// Draws the counter in white on a black field, in the upper left corner.
pub(super) fn draw(canvas: &mut Canvas<'_>, counter: u64) {
    let digits = counter.to_string();
    let count = digits.len() as u32;
    let dot = (canvas.width() / (ADVANCE * count.max(LEAST_DIGITS))).min(canvas.height() / (4 * FIELD_HEIGHT)).max(1);
    let field = Rectangle { x: 0, y: 0, width: (ADVANCE * count + 1) * dot, height: FIELD_HEIGHT * dot };
    canvas.fill(field, [0; 3]);
    for (place, digit) in (0..).zip(digits.bytes()) {
        let glyph = &GLYPHS[usize::from(digit - b'0')];
        draw_glyph(canvas, glyph, (ADVANCE * place + 1) * dot, dot);
    }
}

fn draw_glyph(canvas: &mut Canvas<'_>, glyph: &[u8; 7], x: u32, dot: u32) {
    for (row, dots) in (0..).zip(glyph) {
        for column in (0..5).filter(|column| dots >> (4 - column) & 1 == 1) {
            let area = Rectangle { x: x + column * dot, y: (row + 1) * dot, width: dot, height: dot };
            canvas.fill(area, [255; 3]);
        }
    }
}
