//! Raw camera formats to RGB: BT.601, limited range, which is V4L2's default encoding for standard-definition YCbCr
//! (kernel document `userspace-api/media/v4l/colorspaces-details.html`).
//!
//! The callers have checked that the bytes hold the image that the frame describes.

use crate::frame::FrameView;

/// 4:2:2 as Y0 Cb Y1 Cr.
pub(super) fn yuyv_to_rgb(frame: &FrameView<'_>, rgb: &mut [u8]) {
    packed_to_rgb(frame, rgb, |quad| ([quad[0], quad[2]], quad[1], quad[3]));
}

/// 4:2:2 as Cb Y0 Cr Y1.
pub(super) fn uyvy_to_rgb(frame: &FrameView<'_>, rgb: &mut [u8]) {
    packed_to_rgb(frame, rgb, |quad| ([quad[1], quad[3]], quad[0], quad[2]));
}

/// 4:2:0 as a plane of Y and one of interleaved Cb and Cr.
pub(super) fn nv12_to_rgb(frame: &FrameView<'_>, rgb: &mut [u8]) {
    let (width, height, stride) = (frame.width as usize, frame.height as usize, frame.stride as usize);
    let (luma, chroma) = frame.bytes.split_at(stride * height);
    for (y, out) in rgb.chunks_exact_mut(width * 3).enumerate() {
        let luma = &luma[y * stride..][..width];
        let chroma = &chroma[y / 2 * stride..][..width.next_multiple_of(2)];
        for ((lumas, chromas), pixels) in luma.chunks(2).zip(chroma.chunks_exact(2)).zip(out.chunks_mut(6)) {
            write_pixels(lumas, Chroma::new(chromas[0], chromas[1]), pixels);
        }
    }
}

fn packed_to_rgb(frame: &FrameView<'_>, rgb: &mut [u8], order: impl Fn(&[u8]) -> ([u8; 2], u8, u8)) {
    let rows = frame.bytes.chunks(frame.stride as usize);
    for (row, out) in rows.zip(rgb.chunks_exact_mut(frame.width as usize * 3)) {
        for (quad, pixels) in row.chunks_exact(4).zip(out.chunks_mut(6)) {
            let (lumas, cb, cr) = order(quad);
            write_pixels(&lumas, Chroma::new(cb, cr), pixels);
        }
    }
}

/// Writes the one or two pixels that share a pair of colour differences.
fn write_pixels(lumas: &[u8], chroma: Chroma, pixels: &mut [u8]) {
    for (&luma, pixel) in lumas.iter().zip(pixels.chunks_exact_mut(3)) {
        pixel.copy_from_slice(&chroma.rgb(luma));
    }
}

/// What a pair of colour differences adds to red, green and blue, in 1/256.
#[derive(Clone, Copy)]
struct Chroma {
    red: i32,
    green: i32,
    blue: i32,
}

impl Chroma {
    fn new(cb: u8, cr: u8) -> Self {
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        Self { red: 409 * cr, green: -100 * cb - 208 * cr, blue: 516 * cb }
    }

    fn rgb(self, luma: u8) -> [u8; 3] {
        let luma = 298 * (i32::from(luma) - 16) + 128;
        [self.red, self.green, self.blue].map(|part| ((luma + part) >> 8).clamp(0, 255) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Decoder;
    use super::*;
    use crate::frame::PixelFormat;

    /// Limited-range BT.601 of black, white and the three primaries, with the RGB they stand for.
    const COLOURS: [([u8; 3], [u8; 3]); 5] = [
        ([16, 128, 128], [0, 0, 0]),
        ([235, 128, 128], [255, 255, 255]),
        ([81, 90, 240], [255, 0, 0]),
        ([145, 54, 34], [0, 255, 0]),
        ([41, 240, 110], [0, 0, 255]),
    ];

    fn decode(format: PixelFormat, (width, height, stride): (u32, u32, u32), bytes: &[u8]) -> Vec<u8> {
        let frame = FrameView { format, width, height, stride, region: None, bytes };
        Decoder::new().decode(&frame).unwrap().pixels().to_vec()
    }

    fn assert_close(found: &[u8], expected: [u8; 3]) {
        assert_eq!(found.len() % 3, 0);
        for pixel in found.chunks_exact(3) {
            let near = pixel.iter().zip(expected).all(|(&a, b)| a.abs_diff(b) <= 2);
            assert!(near, "{pixel:?} instead of {expected:?}");
        }
    }

    #[test]
    fn known_colours_come_out_of_every_format() {
        for ([y, cb, cr], rgb) in COLOURS {
            assert_close(&decode(PixelFormat::Yuyv, (2, 1, 4), &[y, cb, y, cr]), rgb);
            assert_close(&decode(PixelFormat::Uyvy, (2, 1, 4), &[cb, y, cr, y]), rgb);
            assert_close(&decode(PixelFormat::Nv12, (2, 2, 2), &[y, y, y, y, cb, cr]), rgb);
        }
    }

    #[test]
    fn odd_sizes_and_padded_rows_are_read_as_they_lie() {
        let yuyv = [16, 128, 235, 128, 16, 128, 99, 128, 7, 7, 7, 7];
        assert_eq!(decode(PixelFormat::Yuyv, (3, 1, 12), &yuyv), [0, 0, 0, 255, 255, 255, 0, 0, 0]);
        let nv12 = [16, 235, 16, 7, 235, 16, 235, 7, 16, 16, 16, 7, 128, 128, 128, 128, 128, 128, 128, 128];
        let rgb = decode(PixelFormat::Nv12, (3, 3, 4), &nv12);
        assert_eq!(rgb.len(), 27);
        assert_eq!(rgb[3..6], [255; 3]);
        assert_eq!(rgb[18..27], [0; 9]);
    }
}
