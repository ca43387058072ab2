//! A drawn picture as a source: colours that move, the frame's counter in digits and as a bar code.
//!
//! It needs no file and no camera, and proves by itself which frame somebody has seen.

pub mod barcode;
mod canvas;
mod digits;

use std::sync::Arc;
use std::time::Duration;

use self::canvas::{Canvas, Color, Rectangle};
use super::config::TestPatternSource;
use super::error::SourceError;
use super::limits::MOST_SIDE;
use super::pacer::Pacer;
use super::{FrameSource, Next};
use crate::clock::{Clock, nanoseconds};
use crate::format::PixelFormat;
use crate::frame::{Capture, TimestampSource};

/// White, yellow, cyan, green, magenta, red, blue, grey.
const BARS: [Color; 8] = [
    [235, 235, 235],
    [235, 235, 16],
    [16, 235, 235],
    [16, 235, 16],
    [235, 16, 235],
    [235, 16, 16],
    [16, 16, 235],
    [128, 128, 128],
];

/// Draws a picture for each frame. An item's number is the counter drawn, from 0.
#[derive(Debug)]
pub(super) struct TestPattern {
    width: u32,
    height: u32,
    frames: Option<u64>,
    pacer: Pacer,
    counter: u64,
}

impl TestPattern {
    pub(super) fn open(config: &TestPatternSource, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let pacer = Pacer::new(config.frames_per_second, clock)?;
        let &TestPatternSource { width, height, frames, .. } = config;
        let (least_width, least_height) = (barcode::LEAST_WIDTH, barcode::LEAST_HEIGHT);
        let fits = width >= least_width && height >= least_height && width <= MOST_SIDE && height <= MOST_SIDE;
        let bytes = u64::from(width) * u64::from(height) * 3;
        if !fits || bytes > super::MOST_ITEM_BYTES {
            return Err(SourceError::PatternSize { width, height, least_width, least_height, most: MOST_SIDE });
        }
        Ok(Self { width, height, frames, pacer, counter: 0 })
    }
}

impl FrameSource for TestPattern {
    fn next(&mut self, timeout: Duration, into: &mut Vec<u8>) -> Result<Next, SourceError> {
        if self.frames.is_some_and(|frames| self.counter >= frames) {
            return Ok(Next::End);
        }
        let Some(now) = self.pacer.wait(timeout) else { return Ok(Next::Idle) };
        let item = self.counter;
        self.counter += 1;
        let mut canvas = Canvas::new(self.width, self.height, into);
        draw(&mut canvas, item);
        Ok(Next::Frame(Capture {
            captured_ns: nanoseconds(now),
            timestamp_source: TimestampSource::Replay,
            format: PixelFormat::Rgb24,
            width: self.width,
            height: self.height,
            stride: self.width * 3,
            region: None,
            item,
        }))
    }
}

fn draw(canvas: &mut Canvas<'_>, counter: u64) {
    draw_bars(canvas, counter);
    digits::draw(canvas, counter);
    barcode::draw(canvas, counter);
}

/// Eight bars of colour that move to the left by one bar every eight frames.
fn draw_bars(canvas: &mut Canvas<'_>, counter: u64) {
    let moved = (counter / 8 % 8) as usize;
    let (width, height) = (canvas.width(), canvas.height());
    for bar in 0..8 {
        let (x, end) = (width * bar / 8, width * (bar + 1) / 8);
        let color = BARS[(bar as usize + moved) % BARS.len()];
        canvas.fill(Rectangle { x, y: 0, width: end - x, height }, color);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SteppedClock;

    fn pattern(width: u32, height: u32, frames: Option<u64>) -> Result<TestPattern, SourceError> {
        let config = TestPatternSource { width, height, frames_per_second: 10.0, frames };
        TestPattern::open(&config, Arc::new(SteppedClock::default()))
    }

    #[test]
    fn each_frame_carries_its_counter_in_a_form_that_programs_can_read() {
        let mut bytes = Vec::new();
        for (width, height) in [(barcode::LEAST_WIDTH, barcode::LEAST_HEIGHT), (641, 479), (1920, 1080)] {
            let mut pattern = pattern(width, height, Some(20)).unwrap();
            for counter in 0..20 {
                let next = pattern.next(Duration::from_secs(1), &mut bytes).unwrap();
                let Next::Frame(capture) = next else { panic!("{next:?}") };
                assert_eq!(capture.item, counter);
                capture.check(bytes.len()).unwrap();
                assert_eq!(barcode::read(&bytes, width, height, capture.stride), Some(counter));
            }
            assert!(matches!(pattern.next(Duration::ZERO, &mut bytes), Ok(Next::End)));
        }
    }

    #[test]
    fn two_counters_never_look_the_same() {
        let mut pattern = pattern(160, 120, None).unwrap();
        let (mut one, mut other) = (Vec::new(), Vec::new());
        pattern.next(Duration::from_secs(1), &mut one).unwrap();
        pattern.next(Duration::from_secs(1), &mut other).unwrap();
        assert_ne!(one, other);
    }

    #[test]
    fn sizes_that_cannot_be_drawn_are_refused() {
        for (width, height) in [(0, 480), (119, 480), (640, 63), (16_385, 480), (16_384, 16_384)] {
            assert!(matches!(pattern(width, height, None), Err(SourceError::PatternSize { .. })), "{width}x{height}");
        }
    }
}
