//! A look at a frame now and then, where its pixels are: the luma of a grid of them, in a few numbers.

use std::time::Duration;

use margay_camera::{FrameMeta, PixelFormat, TimestampSource};
use margay_inference::FrameView;
use margay_inference::decode::Decoder;

use super::health::Look;

/// Rows and columns of the grid.
const GRID: u32 = 32;

/// Between two looks. A JPEG has to be decoded for one: at this rate that is nothing beside the frames themselves.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is dark and what is bright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shades {
    /// A pixel whose luma is below it is dark.
    pub dark_below: u8,
    /// A pixel whose luma is above it is bright.
    pub bright_above: u8,
}

/// Looks at frames, at most one in a second.
#[derive(Debug)]
pub struct Glance {
    shades: Shades,
    decoder: Decoder,
    due: Duration,
}

impl Glance {
    /// Nothing was looked at yet.
    pub fn new(shades: Shades) -> Self {
        Self { shades, decoder: Decoder::new(), due: Duration::ZERO }
    }

    /// Looks at the frame, if it is time to; `None` also for one that cannot be decoded, which is told elsewhere.
    pub fn look(&mut self, meta: &FrameMeta, bytes: &[u8], now: Duration) -> Option<Look> {
        if now < self.due {
            return None;
        }
        self.due = now.saturating_add(INTERVAL);
        let view = FrameView::new(meta, bytes);
        let lumas = if meta.format == PixelFormat::Jpeg {
            let rgb = self.decoder.decode(&view).ok()?;
            let size = rgb.size();
            sample(&FrameView::rgb24(size.width, size.height, rgb.pixels()))?
        } else {
            sample(&view)?
        };
        Some(judge(&lumas, self.shades, meta.timestamp_source != TimestampSource::Replay))
    }
}

/// The luma of a grid of a raw image's pixels, full range; `None` where the bytes do not hold it.
fn sample(frame: &FrameView<'_>) -> Option<Vec<u8>> {
    let &FrameView { format, width, height, stride, bytes, .. } = frame;
    let needed = format.packed_len(width, height, stride)?;
    if needed > bytes.len() as u64 {
        return None;
    }
    let (columns, rows) = (GRID.min(width), GRID.min(height));
    let mut lumas = Vec::with_capacity((columns * rows) as usize);
    for row in 0..rows {
        // The middle of each cell of the grid.
        let y = (2 * u64::from(row) + 1) * u64::from(height) / (2 * u64::from(rows));
        for column in 0..columns {
            let x = (2 * u64::from(column) + 1) * u64::from(width) / (2 * u64::from(columns));
            let at = |offset: u64| bytes.get(usize::try_from(y * u64::from(stride) + offset).ok()?).copied();
            lumas.push(match format {
                PixelFormat::Rgb24 => of_rgb([at(3 * x)?, at(3 * x + 1)?, at(3 * x + 2)?]),
                PixelFormat::Bgr24 => of_rgb([at(3 * x + 2)?, at(3 * x + 1)?, at(3 * x)?]),
                PixelFormat::Yuyv => of_video(at(2 * x)?),
                PixelFormat::Uyvy => of_video(at(2 * x + 1)?),
                PixelFormat::Nv12 | PixelFormat::Nv21 | PixelFormat::Yuv420 => of_video(at(x)?),
                PixelFormat::Gray8 => at(x)?,
                PixelFormat::Jpeg => return None,
            });
        }
    }
    Some(lumas)
}

/// ITU-R BT.601's luma.
fn of_rgb([red, green, blue]: [u8; 3]) -> u8 {
    ((77 * u32::from(red) + 150 * u32::from(green) + 29 * u32::from(blue)) >> 8) as u8
}

/// Limited range, which video has, to full range.
fn of_video(luma: u8) -> u8 {
    (u32::from(luma.saturating_sub(16)) * 255 / 219).min(255) as u8
}

fn judge(lumas: &[u8], shades: Shades, live: bool) -> Look {
    let count = lumas.len().max(1);
    let share = |found: usize| (100 * found / count) as u8;
    let dark = lumas.iter().filter(|luma| **luma < shades.dark_below).count();
    let bright = lumas.iter().filter(|luma| **luma > shades.bright_above).count();
    let sum: usize = lumas.iter().map(|luma| usize::from(*luma)).sum();
    // FNV-1a, 64 bits: it is held against accidents, not against somebody's design.
    let fingerprint = lumas
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, luma| (hash ^ u64::from(*luma)).wrapping_mul(0x0100_0000_01b3));
    Look { mean: (sum / count) as u8, dark: share(dark), bright: share(bright), fingerprint, live }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHADES: Shades = Shades { dark_below: 20, bright_above: 245 };

    fn meta(format: PixelFormat, width: u32, height: u32, stride: u32, bytes: usize) -> FrameMeta {
        FrameMeta {
            sequence: 0,
            captured_ns: 0,
            timestamp_source: TimestampSource::Arrival,
            format,
            width,
            height,
            stride,
            bytes_used: u32::try_from(bytes).unwrap(),
            region: None,
            item: 0,
        }
    }

    fn look(format: PixelFormat, stride: u32, bytes: &[u8]) -> Look {
        Glance::new(SHADES).look(&meta(format, 64, 64, stride, bytes.len()), bytes, Duration::ZERO).expect("a look")
    }

    #[test]
    fn black_and_white_are_seen_in_every_format() {
        use PixelFormat::{Bgr24, Gray8, Nv12, Nv21, Rgb24, Uyvy, Yuv420, Yuyv};
        for (format, stride, bytes) in [(Rgb24, 192, 12288), (Bgr24, 192, 12288), (Gray8, 64, 4096)] {
            let (black, white) = (look(format, stride, &vec![0; bytes]), look(format, stride, &vec![255; bytes]));
            assert_eq!((black.mean, black.dark, black.bright), (0, 100, 0), "{format:?}");
            assert_eq!((white.mean, white.dark, white.bright), (255, 0, 100), "{format:?}");
            assert_ne!(black.fingerprint, white.fingerprint);
        }
        for (format, stride, at, of, bytes) in [
            (Yuyv, 128, 0, 2, 8192),
            (Uyvy, 128, 1, 2, 8192),
            (Nv12, 64, 0, 1, 6144),
            (Nv21, 64, 0, 1, 6144),
            (Yuv420, 64, 0, 1, 6144),
        ] {
            let with = |luma| {
                let mut frame = vec![128; bytes];
                frame[..4096 * of].iter_mut().skip(at).step_by(of).for_each(|byte| *byte = luma);
                look(format, stride, &frame)
            };
            assert_eq!((with(16).dark, with(235).bright), (100, 100), "{format:?}: video's black and white");
            assert_eq!((with(126).dark, with(126).bright), (0, 0), "{format:?}");
        }
    }

    #[test]
    fn a_jpeg_is_looked_at_as_its_pixels_are() {
        let mut file = Vec::new();
        let pixels = [0; 64 * 64 * 3];
        jpeg_encoder::Encoder::new(&mut file, 90).encode(&pixels, 64, 64, jpeg_encoder::ColorType::Rgb).unwrap();
        assert_eq!(look(PixelFormat::Jpeg, 0, &file).dark, 100);
        let damaged = Glance::new(SHADES).look(&meta(PixelFormat::Jpeg, 0, 0, 0, 40), &file[..40], Duration::ZERO);
        assert_eq!(damaged, None);
    }

    #[test]
    fn half_a_dark_picture_is_half_dark() {
        let mut frame = vec![0; 64 * 32];
        frame.extend(vec![200; 64 * 32]);
        let look = look(PixelFormat::Gray8, 64, &frame);
        assert_eq!((look.dark, look.bright, look.mean), (50, 0, 100));
    }

    #[test]
    fn a_frame_that_lies_about_its_size_is_not_looked_at() {
        let frame = [0; 100];
        let short = Glance::new(SHADES).look(&meta(PixelFormat::Gray8, 64, 64, 64, 100), &frame, Duration::ZERO);
        assert_eq!(short, None);
    }

    #[test]
    fn looks_are_a_second_apart() {
        let mut glance = Glance::new(SHADES);
        let frame = [9; 4096];
        let meta = meta(PixelFormat::Gray8, 64, 64, 64, 4096);
        let looked =
            [0, 400, 999, 1000, 1001].map(|ms| glance.look(&meta, &frame, Duration::from_millis(ms)).is_some());
        assert_eq!(looked, [true, false, false, true, false]);
    }
}
