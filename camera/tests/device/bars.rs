//! Vivid's bars of colour, read from the pixels of each format without a decoder of ours.

use margay_camera::{Capture, PixelFormat};

/// Which of red, green and blue are on in each bar: white, yellow, cyan, green, magenta, red, blue, black.
const BARS: [[bool; 3]; 8] = [
    [true, true, true],
    [true, true, false],
    [false, true, true],
    [false, true, false],
    [true, false, true],
    [true, false, false],
    [false, false, true],
    [false, false, false],
];

/// Asserts that the picture is vivid's, in its middle row: text is written above.
pub fn check(capture: &Capture, bytes: &[u8]) {
    let y = capture.height * 3 / 4;
    let columns: Vec<u32> = (0..8).map(|bar| capture.width * (2 * bar + 1) / 16).collect();
    if capture.format == PixelFormat::Gray8 {
        let lumas: Vec<u8> = columns.iter().map(|&x| bytes[(y * capture.stride + x) as usize]).collect();
        assert!(lumas.is_sorted_by(|a, b| a > b), "each bar is darker than the one before: {lumas:?}");
        return;
    }
    for (bar, &x) in columns.iter().enumerate() {
        let rgb = pixel(capture, bytes, x, y);
        assert_eq!(rgb.map(|channel| channel > 100), BARS[bar], "bar {bar} is {rgb:?} in {:?}", capture.format);
    }
}

fn pixel(capture: &Capture, bytes: &[u8], x: u32, y: u32) -> [i32; 3] {
    let stride = capture.stride;
    let at = |offset: u32| i32::from(bytes[offset as usize]);
    let row = y * stride;
    let pair = row + x / 2 * 4;
    match capture.format {
        PixelFormat::Rgb24 => [0, 1, 2].map(|channel| at(row + 3 * x + channel)),
        PixelFormat::Yuyv => rgb(at(pair + x % 2 * 2), at(pair + 1), at(pair + 3)),
        PixelFormat::Uyvy => rgb(at(pair + 1 + x % 2 * 2), at(pair), at(pair + 2)),
        PixelFormat::Nv12 => {
            let chroma = capture.height * stride + y / 2 * stride + x / 2 * 2;
            rgb(at(row + x), at(chroma), at(chroma + 1))
        }
        PixelFormat::Nv21 => {
            let chroma = capture.height * stride + y / 2 * stride + x / 2 * 2;
            rgb(at(row + x), at(chroma + 1), at(chroma))
        }
        PixelFormat::Yuv420 => {
            let cb = capture.height * stride + y / 2 * (stride / 2) + x / 2;
            rgb(at(row + x), at(cb), at(cb + capture.height / 2 * (stride / 2)))
        }
        PixelFormat::Bgr24 => [2, 1, 0].map(|channel| at(row + 3 * x + channel)),
        PixelFormat::Gray8 | PixelFormat::Jpeg => panic!("no colours in {:?}", capture.format),
    }
}

/// ITU-R BT.601, limited range.
fn rgb(y: i32, cb: i32, cr: i32) -> [i32; 3] {
    let (y, cb, cr) = (298 * (y - 16), cb - 128, cr - 128);
    [y + 409 * cr, y - 100 * cb - 208 * cr, y + 516 * cb].map(|channel| channel >> 8)
}
