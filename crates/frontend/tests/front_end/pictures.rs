//! Pictures for the tests: drawn ones, the photographs beside the repository, and what cameras would make of them.

use std::path::{Path, PathBuf};

use margay_frontend::{Decoder, FrameView, InputSpec, PixelFormat, Preparer, Still, TensorData};

/// Packed RGB rows.
#[derive(Clone)]
pub struct Rgb {
    pub width: usize,
    pub height: usize,
    pub bytes: Vec<u8>,
}

impl Rgb {
    /// Coloured waves with hard edges here and there: what resamplers and decoders do differently shows.
    pub fn drawn(width: usize, height: usize) -> Self {
        let byte = |x: usize, y: usize, channel: usize| {
            let wave = ((x * (3 + channel) + y * (5 - channel)) as f32 / 23.0).sin() * 90.0 + 128.0;
            if (x / 16 + y / 16) % 5 == channel { (wave + 70.0) as u8 } else { wave as u8 }
        };
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |channel| (x, y, channel))));
        Self { width, height, bytes: pixels.map(|(x, y, channel)| byte(x, y, channel)).collect() }
    }

    pub fn frame(&self) -> FrameView<'_> {
        FrameView::rgb24(self.width as u32, self.height as u32, &self.bytes)
    }

    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * 3;
        [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2]]
    }

    /// The picture as a raw format has it, with `padding` bytes more a row; and the bytes from one row to the next.
    pub fn in_format(&self, format: PixelFormat, padding: usize) -> (Vec<u8>, u32) {
        let stride = (format.smallest_stride(self.width as u32) as usize + padding).next_multiple_of(2);
        let length = format.packed_len(self.width as u32, self.height as u32, stride as u32).unwrap();
        let mut bytes = vec![0xa5; length as usize];
        let luma = stride * self.height;
        for y in 0..self.height {
            for x in 0..self.width {
                let [luma_byte, cb, cr] = self.colours(x, y, format);
                let rgb = self.pixel(x, y);
                let pair = y * stride + x / 2 * 4;
                let turn = luma + y / 2 * stride + x / 2 * 2;
                let half = luma + y / 2 * (stride / 2) + x / 2;
                let second = self.height.div_ceil(2) * (stride / 2);
                match format {
                    PixelFormat::Rgb24 => bytes[y * stride + x * 3..][..3].copy_from_slice(&rgb),
                    PixelFormat::Bgr24 => bytes[y * stride + x * 3..][..3].copy_from_slice(&[rgb[2], rgb[1], rgb[0]]),
                    PixelFormat::Gray8 => bytes[y * stride + x] = luma_byte,
                    PixelFormat::Yuyv => {
                        bytes[pair + x % 2 * 2] = luma_byte;
                        (bytes[pair + 1], bytes[pair + 3]) = (cb, cr);
                    }
                    PixelFormat::Uyvy => {
                        bytes[pair + 1 + x % 2 * 2] = luma_byte;
                        (bytes[pair], bytes[pair + 2]) = (cb, cr);
                    }
                    PixelFormat::Nv12 | PixelFormat::Nv21 => {
                        bytes[y * stride + x] = luma_byte;
                        let (first, last) = if format == PixelFormat::Nv12 { (cb, cr) } else { (cr, cb) };
                        (bytes[turn], bytes[turn + 1]) = (first, last);
                    }
                    PixelFormat::Yuv420 => {
                        bytes[y * stride + x] = luma_byte;
                        (bytes[half], bytes[half + second]) = (cb, cr);
                    }
                    PixelFormat::Jpeg => unreachable!("a JPEG is encoded"),
                }
            }
        }
        (bytes, stride as u32)
    }

    /// Y of a pixel, and Cb and Cr of the pixels that share them, by BT.601 in limited range.
    fn colours(&self, x: usize, y: usize, format: PixelFormat) -> [u8; 3] {
        let rows = if matches!(format, PixelFormat::Yuyv | PixelFormat::Uyvy) { 1 } else { 2 };
        let (left, top) = (x / 2 * 2, y / rows * rows);
        let shared = (top..(top + rows).min(self.height))
            .flat_map(|y| (left..(left + 2).min(self.width)).map(move |x| self.pixel(x, y)));
        let (mut sum, mut count) = ([0.0; 3], 0.0);
        for pixel in shared {
            (0..3).for_each(|channel| sum[channel] += f64::from(pixel[channel]));
            count += 1.0;
        }
        let [r, g, b] = self.pixel(x, y).map(f64::from);
        let luma = 16.0 + (65.481 * r + 128.553 * g + 24.966 * b) / 255.0;
        let [r, g, b] = sum.map(|sum| sum / count);
        let cb = 128.0 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255.0;
        let cr = 128.0 + (112.0 * r - 93.786 * g - 18.214 * b) / 255.0;
        [luma, cb, cr].map(|value| value.round() as u8)
    }
}

/// Every format but JPEG.
pub fn raw_formats() -> impl Iterator<Item = PixelFormat> + Clone {
    PixelFormat::ALL.into_iter().filter(|&format| format != PixelFormat::Jpeg)
}

/// What a frame is as RGB, decoded pixel by pixel.
pub fn decoded(frame: &FrameView<'_>) -> Rgb {
    let mut decoder = Decoder::new();
    let view = decoder.decode(frame).unwrap();
    let size = view.size();
    Rgb { width: size.width as usize, height: size.height as usize, bytes: view.pixels().to_vec() }
}

/// The tensor of a frame.
pub fn tensor(spec: &InputSpec, frame: &FrameView<'_>) -> TensorData {
    let mut preparer = Preparer::new(spec);
    let mut decoder = Decoder::new();
    let picture = decoder.open(frame, &preparer.need()).unwrap();
    preparer.prepare(picture).unwrap().data().clone()
}

/// The floats of a tensor.
pub fn floats(data: TensorData) -> Vec<f32> {
    match data {
        TensorData::F32(elements) => elements,
        other => panic!("the test asks for floats, and not {other:?}"),
    }
}

/// Mean and largest distance.
pub fn distance(found: &[f32], expected: &[f32]) -> (f32, f32) {
    assert_eq!(found.len(), expected.len());
    let each = || found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    (each().sum::<f32>() / found.len() as f32, each().fold(0.0, f32::max))
}

/// The photographs in `../shared/models/photos` of the repository; none, and a line that says so, where it is absent.
pub fn photographs() -> Vec<(String, PathBuf, Still)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models/photos");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("skipped: shared models: put them at ../shared/models, beside the repository");
        let required = std::env::var("MARGAY_TEST_REQUIRE").is_ok_and(|value| value == "1");
        assert!(!required, "../shared/models is absent, and MARGAY_TEST_REQUIRE is 1");
        return Vec::new();
    };
    let mut found: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, path.clone(), Still::from_bytes(std::fs::read(path).unwrap()).unwrap())
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found.len(), 11, "the eleven photographs");
    found
}
