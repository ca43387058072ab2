//! From samples to bytes of red, green and blue.

use super::FRACTION;

/// Bits of a matrix' factors.
const FACTOR_BITS: u32 = 12;
/// Cb and Cr come sixteenfold.
const CHROMA_BITS: u32 = 4;
const NEUTRAL: i32 = 128 << CHROMA_BITS;
const SHIFT: u32 = CHROMA_BITS + FACTOR_BITS;
const ROUND: i32 = 1 << (SHIFT - 1);

/// How Y, Cb and Cr become red, green and blue: factors in 1/4096.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// The byte of Y that is black.
    pub black: i32,
    /// What Y adds to each colour.
    pub luma: i32,
    /// What Cr adds to red.
    pub red: i32,
    /// What Cb and Cr take from green.
    pub green: [i32; 2],
    /// What Cb adds to blue.
    pub blue: i32,
}

/// BT.601 with Y from 16 to 235, Cb and Cr from 16 to 240: what V4L2 means by default
/// (`userspace-api/media/v4l/colorspaces-details.html`).
pub const LIMITED_RANGE: Matrix = Matrix { black: 16, luma: 4769, red: 6537, green: [1605, 3330], blue: 8263 };

/// BT.601 with all of 0 to 255: JFIF (ITU-T T.871, section 7).
pub const FULL_RANGE: Matrix = Matrix { black: 0, luma: 4096, red: 5743, green: [1410, 2925], blue: 7258 };

#[inline(always)]
pub(super) fn round(row: &[i16], out: &mut [u8]) {
    for (out, &sample) in out.iter_mut().zip(row) {
        *out = ((sample + (1 << (FRACTION - 1))) >> FRACTION).clamp(0, 255) as u8;
    }
}

#[inline(always)]
pub(super) fn rgb((y, cb, cr): (&[u8], &[i16], &[i16]), matrix: &Matrix, [red, green, blue]: [&mut [u8]; 3]) {
    let length = red.len();
    let (y, cb, cr, green, blue) =
        (&y[..length], &cb[..length], &cr[..length], &mut green[..length], &mut blue[..length]);
    for x in 0..length {
        let (cb, cr) = (i32::from(cb[x]) - NEUTRAL, i32::from(cr[x]) - NEUTRAL);
        let luma = (i32::from(y[x]) - matrix.black) * (matrix.luma << CHROMA_BITS) + ROUND;
        red[x] = byte(luma + matrix.red * cr);
        green[x] = byte(luma - matrix.green[0] * cb - matrix.green[1] * cr);
        blue[x] = byte(luma + matrix.blue * cb);
    }
}

#[inline(always)]
fn byte(sum: i32) -> u8 {
    (sum >> SHIFT).clamp(0, 255) as u8
}
