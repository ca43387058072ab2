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
    let (luma, chroma, stride) = planes(frame);
    planar_to_rgb(frame, luma, rgb, |row, x| {
        let pair = &chroma[row * stride + 2 * x..][..2];
        Chroma::new(pair[0], pair[1])
    });
}

/// 4:2:0 as a plane of Y and one of interleaved Cr and Cb.
pub(super) fn nv21_to_rgb(frame: &FrameView<'_>, rgb: &mut [u8]) {
    let (luma, chroma, stride) = planes(frame);
    planar_to_rgb(frame, luma, rgb, |row, x| {
        let pair = &chroma[row * stride + 2 * x..][..2];
        Chroma::new(pair[1], pair[0])
    });
}

/// 4:2:0 as planes of Y, Cb and Cr.
pub(super) fn yuv420_to_rgb(frame: &FrameView<'_>, rgb: &mut [u8]) {
    let (luma, chroma, stride) = planes(frame);
    let (cb, cr) = chroma.split_at(stride / 2 * frame.height.div_ceil(2) as usize);
    planar_to_rgb(frame, luma, rgb, |row, x| Chroma::new(cb[row * stride / 2 + x], cr[row * stride / 2 + x]));
}

/// The plane of luma, what follows it, and the stride of the former.
fn planes<'a>(frame: &FrameView<'a>) -> (&'a [u8], &'a [u8], usize) {
    let stride = frame.stride as usize;
    let (luma, chroma) = frame.bytes.split_at(stride * frame.height as usize);
    (luma, chroma, stride)
}

/// `chroma` gives the colour differences of a row of them, at a place in it.
fn planar_to_rgb(frame: &FrameView<'_>, luma: &[u8], rgb: &mut [u8], chroma: impl Fn(usize, usize) -> Chroma) {
    let (width, stride) = (frame.width as usize, frame.stride as usize);
    for (y, out) in rgb.chunks_exact_mut(width * 3).enumerate() {
        let luma = &luma[y * stride..][..width];
        for (x, (lumas, pixels)) in luma.chunks(2).zip(out.chunks_mut(6)).enumerate() {
            write_pixels(lumas, chroma(y / 2, x), pixels);
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
            assert_close(&decode(PixelFormat::Nv21, (2, 2, 2), &[y, y, y, y, cr, cb]), rgb);
            assert_close(&decode(PixelFormat::Yuv420, (2, 2, 2), &[y, y, y, y, cb, cr]), rgb);
            assert_eq!(decode(PixelFormat::Bgr24, (1, 1, 3), &[rgb[2], rgb[1], rgb[0]]), rgb);
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
        // Rows of chroma are half as long as the stride, here with a byte of padding each.
        let yuv420 = [16, 235, 16, 7, 235, 16, 235, 7, 16, 16, 16, 7, 128, 128, 128, 128, 128, 128, 128, 128];
        assert_eq!(decode(PixelFormat::Yuv420, (3, 3, 4), &yuv420), rgb);
    }
}
