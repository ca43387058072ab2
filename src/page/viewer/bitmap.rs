//! Raw pixels as a file that every browser reads: a BMP of 24 bits, which needs no encoder.

use bytes::Bytes;
use margay_inference::decode::RgbView;

/// A bitmap is no wider and no higher than this, in pixels: more is left out by whole steps.
const MAX_SIDE: u32 = 960;

/// File header (14 bytes) and BITMAPINFOHEADER (40).
const HEADER: u32 = 54;

/// `picture` as a BMP file, reduced by a whole step if it is larger than a page shows.
pub(super) fn bitmap(picture: &RgbView<'_>) -> Bytes {
    let size = picture.size();
    let step = size.width.max(size.height).div_ceil(MAX_SIDE).max(1);
    let (width, height) = (size.width.div_ceil(step), size.height.div_ceil(step));
    let padding = (4 - width * 3 % 4) % 4;
    let pixels = (width * 3 + padding) * height;
    let mut file = Vec::with_capacity((HEADER + pixels) as usize);
    file.extend_from_slice(b"BM");
    for word in [HEADER + pixels, 0, HEADER, 40, width, height] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    // One plane, 24 bits a pixel; then: not compressed, and no more to say.
    file.extend_from_slice(&[1, 0, 24, 0]);
    for word in [0, pixels, 0, 0, 0, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    let row_bytes = size.width as usize * 3;
    let rows = picture.pixels().chunks_exact(row_bytes).step_by(step as usize).collect::<Vec<_>>();
    for row in rows.into_iter().rev() {
        for pixel in row.chunks_exact(3).step_by(step as usize) {
            file.extend_from_slice(&[pixel[2], pixel[1], pixel[0]]);
        }
        file.resize(file.len() + padding as usize, 0);
    }
    file.into()
}

#[cfg(test)]
mod tests {
    use margay_inference::decode::Decoder;
    use margay_inference::{FrameView, Still};

    use super::*;

    /// The file as another crate reads it: width, height, pixels.
    fn read_back(file: &Bytes) -> (u32, u32, Vec<u8>) {
        let still = Still::from_bytes(file.to_vec()).unwrap();
        let frame = still.frame();
        let mut decoder = Decoder::new();
        let view = decoder.decode(&frame).unwrap();
        (view.size().width, view.size().height, view.pixels().to_vec())
    }

    #[test]
    fn a_small_picture_is_kept_pixel_by_pixel() {
        // Five pixels a row: rows are padded.
        let pixels: Vec<u8> = (0..5 * 3 * 3).collect();
        let mut decoder = Decoder::new();
        let view = decoder.decode(&FrameView::rgb24(5, 3, &pixels)).unwrap();
        assert_eq!(read_back(&bitmap(&view)), (5, 3, pixels.clone()));
    }

    #[test]
    fn a_large_picture_is_reduced_by_a_whole_step() {
        let pixels = vec![9; 1921 * 5 * 3];
        let mut decoder = Decoder::new();
        let view = decoder.decode(&FrameView::rgb24(1921, 5, &pixels)).unwrap();
        let (width, height, reduced) = read_back(&bitmap(&view));
        assert_eq!((width, height), (641, 2));
        assert!(reduced.iter().all(|value| *value == 9));
    }
}
