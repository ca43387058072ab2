//! A camera as a source.

use std::sync::Arc;
use std::time::Duration;

use super::config::V4l2Source;
use super::error::{SkipReason, SourceError};
use super::limits::{MOST_FRAMES_PER_SECOND, MOST_SIDE};
use super::thinning::Thinning;
use super::{FrameSource, Next};
use crate::clock::Clock;
use crate::frame::Capture;
use crate::shared::FrameBytes;
use crate::v4l2::{Camera, Interval, Lost, Wish};

/// How often lost frames are told: a bad cable must not fill the log.
const TELLING: Duration = Duration::from_secs(1);

/// The frames of a camera, at most as many a second as asked for. An item's number is the driver's.
#[derive(Debug)]
pub(super) struct V4l2 {
    camera: Camera,
    thinning: Thinning,
    telling: Telling,
    clock: Arc<dyn Clock>,
}

impl V4l2 {
    /// Opens the camera and waits for its first frame.
    pub(super) fn open(config: &V4l2Source, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let &V4l2Source { format, width, height, frames_per_second, .. } = config;
        if !(frames_per_second > 0.0 && frames_per_second <= MOST_FRAMES_PER_SECOND) {
            return Err(SourceError::Rate { given: frames_per_second, most: MOST_FRAMES_PER_SECOND });
        }
        let sides = 1..=MOST_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(SourceError::CameraSize { width, height, most: MOST_SIDE });
        }
        let wish = Wish { format, width, height, frames_per_second };
        let camera = Camera::open_with(&config.path, &wish, &config.adjustments, clock.clone())?;
        let interval = camera.negotiated().interval.map_or(0.0, Interval::rate);
        let thinning = Thinning::new(frames_per_second, interval);
        Ok(Self { camera, thinning, telling: Telling::default(), clock })
    }
}

impl FrameSource for V4l2 {
    fn next(&mut self, timeout: Duration, into: &mut Vec<u8>) -> Result<Next, SourceError> {
        self.deliver(timeout, &mut Vec::new(), &mut |_, bytes| bytes.copy_to(into))
    }

    fn deliver(
        &mut self,
        timeout: Duration,
        _: &mut Vec<u8>,
        take: &mut dyn FnMut(&Capture, FrameBytes<'_>),
    ) -> Result<Next, SourceError> {
        let deadline = self.clock.boottime().saturating_add(timeout);
        loop {
            let now = self.clock.boottime();
            if let Some(skipped) = self.telling.due(self.camera.lost(), now) {
                return Ok(skipped);
            }
            let left = deadline.saturating_sub(now);
            if let Some(shot) = self.camera.next(left)? {
                self.telling.item = shot.capture.item;
                if self.thinning.admits(Duration::from_nanos(shot.capture.captured_ns)) {
                    take(&shot.capture, FrameBytes::Shared(shot.bytes));
                    return Ok(Next::Frame(shot.capture));
                }
            }
            if left.is_zero() {
                return Ok(Next::Idle);
            }
        }
    }
}

/// What was lost, told now and then.
#[derive(Debug, Default)]
struct Telling {
    told: Lost,
    last: Option<Duration>,
    item: u64,
}

impl Telling {
    /// What was lost since it was last told, if that is long enough ago.
    fn due(&mut self, lost: Lost, now: Duration) -> Option<Next> {
        let waiting = self.last.is_some_and(|last| now.saturating_sub(last) < TELLING);
        if waiting || lost == self.told {
            return None;
        }
        let told = std::mem::replace(&mut self.told, lost);
        self.last = Some(now);
        let why = SkipReason::Lost {
            missed: lost.missed - told.missed,
            damaged: lost.damaged - told.damaged,
            passed_over: lost.passed_over - told.passed_over,
        };
        Some(Next::Skipped { item: self.item, why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SteppedClock;
    use crate::source::config::SourceConfig;
    use crate::source::{FrameSource, open_with};
    use crate::v4l2::{Adjustments, CameraError, FormatWish};

    fn config() -> V4l2Source {
        V4l2Source {
            path: "/dev/no-such-camera".into(),
            format: FormatWish::Auto,
            width: 640,
            height: 480,
            frames_per_second: 5.0,
            adjustments: Adjustments::default(),
        }
    }

    fn open(config: V4l2Source) -> Result<Box<dyn FrameSource>, SourceError> {
        open_with(&SourceConfig::V4l2(config), Arc::new(SteppedClock::default()))
    }

    #[test]
    fn a_camera_that_is_not_there_is_told_with_what_to_do_and_may_come_back() {
        let error = open(config()).unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("margay camera list"), "{error}");
        let error = open(V4l2Source { path: "/dev/null".into(), ..config() }).unwrap_err();
        assert!(matches!(error, SourceError::Camera(CameraError::NotVideo { .. })), "{error}");
        assert!(!error.is_retryable());
    }

    #[test]
    fn sizes_and_rates_out_of_range_are_refused_before_anything_is_opened() {
        for (width, height) in [(0, 480), (640, MOST_SIDE + 1)] {
            let error = open(V4l2Source { width, height, ..config() }).unwrap_err();
            assert!(matches!(error, SourceError::CameraSize { .. }), "{error}");
        }
        let error = open(V4l2Source { frames_per_second: f64::NAN, ..config() }).unwrap_err();
        assert!(matches!(error, SourceError::Rate { .. }), "{error}");
    }

    #[test]
    fn lost_frames_are_told_once_and_at_most_once_a_second() {
        let lost = |missed| Lost { missed, ..Lost::default() };
        let mut telling = Telling::default();
        let mut told = |lost, milliseconds| match telling.due(lost, Duration::from_millis(milliseconds)) {
            Some(Next::Skipped { why, .. }) => why.items(),
            _ => 0,
        };
        assert_eq!([told(lost(0), 0), told(lost(2), 10), told(lost(3), 20)], [0, 2, 0]);
        assert_eq!([told(lost(9), 999), told(lost(9), 1010), told(lost(9), 3000)], [0, 7, 0]);
    }
}
