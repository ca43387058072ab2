//! Frames of a stream that somebody else sends: thinned out, watched for silence, garbage refused.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::framing::{FrameReader, Framed};
use super::incoming::Input;
use super::jpeg::DamagedJpeg;
use super::limits::MOST_FRAMES_PER_SECOND;
use super::thinning::Thinning;
use super::{Next, SkipReason, SourceError};
use crate::clock::{Clock, nanoseconds};
use crate::frame::{Capture, TimestampSource};

/// A stream that brings no whole frame for so long, or for so many of its intervals if that is longer, has stalled.
const STALL: (Duration, u32) = (Duration::from_secs(5), 4);

/// No stream is waited for longer, however slow it was asked to be.
const LONGEST_STALL: Duration = Duration::from_secs(60);

/// What a turn came to.
#[derive(Debug)]
pub(super) enum Turn {
    /// A frame; its bytes are in [`Live::bytes`].
    Frame(Capture),
    /// A picture that is none, and the number it would have had.
    Damaged(u64, DamagedJpeg),
    /// The time is over.
    Nothing,
    /// The stream has ended, after so many bytes of a frame.
    Ended { inside: usize },
    /// So many bytes came without a picture among them.
    Garbage { bytes: u64 },
    /// No frame came for so long.
    Stalled(Duration),
}

/// A stream of frames.
#[derive(Debug)]
pub(super) struct Live<I> {
    input: I,
    frames: FrameReader,
    thinning: Thinning,
    clock: Arc<dyn Clock>,
    last_frame: Duration,
    patience: Duration,
    item: u64,
}

impl<I: Input> Live<I> {
    /// The frames of `input`, at most `rate` a second, the first of which may take as long as `first`.
    pub(super) fn new(input: I, frames: FrameReader, rate: f64, first: Duration, clock: Arc<dyn Clock>) -> Self {
        let last_frame = clock.boottime();
        let thinning = Thinning::new(rate, 0.0);
        Self { input, frames, thinning, clock, last_frame, patience: first, item: 0 }
    }

    /// The bytes of the frame that came last.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        self.frames.bytes()
    }

    /// What came first over the stream, escaped.
    pub(super) fn beginning(&self) -> String {
        self.input.beginning()
    }

    /// From now on a silence of the usual length is a stall, for a stream of `rate` frames a second.
    pub(super) fn expect(&mut self, rate: f64) {
        let interval = Duration::try_from_secs_f64(rate.recip()).unwrap_or(LONGEST_STALL);
        self.patience = STALL.0.max(interval.saturating_mul(STALL.1)).min(LONGEST_STALL);
    }

    /// Waits for what comes next, at most until `deadline`; `aside` is called before each wait.
    ///
    /// # Errors
    /// What reading answered.
    pub(super) fn turn(&mut self, deadline: Duration, aside: &mut dyn FnMut()) -> io::Result<Turn> {
        loop {
            match self.frames.read(&mut self.input)? {
                Framed::Frame { format, width, height, stride } => {
                    let now = self.clock.boottime();
                    self.last_frame = now;
                    let item = self.count();
                    if self.thinning.admits(now) {
                        return Ok(Turn::Frame(Capture {
                            captured_ns: nanoseconds(now),
                            timestamp_source: TimestampSource::Arrival,
                            format,
                            width,
                            height,
                            stride,
                            region: None,
                            item,
                        }));
                    }
                }
                Framed::Damaged(fault) => return Ok(Turn::Damaged(self.count(), fault)),
                Framed::Garbage { bytes } => return Ok(Turn::Garbage { bytes }),
                Framed::End { inside } => return Ok(Turn::Ended { inside }),
                Framed::Starved => {}
            }
            let now = self.clock.boottime();
            let silence = now.saturating_sub(self.last_frame);
            if silence >= self.patience {
                return Ok(Turn::Stalled(silence));
            }
            if now >= deadline {
                return Ok(Turn::Nothing);
            }
            aside();
            self.input.wait(deadline.saturating_sub(now).min(self.patience.saturating_sub(silence)))?;
        }
    }

    /// What a source gives for `turn`: a frame with its bytes in `into`, or why there is none. Damaged pictures came from
    /// `from`.
    pub(super) fn give(&mut self, turn: Turn, into: &mut Vec<u8>, from: impl Display) -> Next {
        match turn {
            Turn::Frame(capture) => {
                std::mem::swap(self.bytes(), into);
                Next::Frame(capture)
            }
            Turn::Damaged(item, fault) => {
                Next::Skipped { item, why: SkipReason::Broken { from: from.to_string(), fault } }
            }
            _ => Next::Idle,
        }
    }

    fn count(&mut self) -> u64 {
        let item = self.item;
        self.item += 1;
        item
    }
}

/// A rate that a source can keep.
pub(super) fn check_rate(given: f64) -> Result<(), SourceError> {
    if given > 0.0 && given <= MOST_FRAMES_PER_SECOND {
        return Ok(());
    }
    Err(SourceError::Rate { given, most: MOST_FRAMES_PER_SECOND })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::super::incoming::Incoming;
    use super::*;
    use crate::clock::SteppedClock;
    use crate::picture::files::jpeg;

    const SECOND: Duration = Duration::from_secs(1);

    fn live(rate: f64, clock: &Arc<SteppedClock>) -> (Live<Incoming>, File) {
        let (from, to) = rustix::pipe::pipe().unwrap();
        let input = Incoming::new(from).unwrap();
        let mut live = Live::new(input, FrameReader::of_jpeg(), rate, 10 * SECOND, clock.clone());
        live.expect(rate);
        (live, File::from(to))
    }

    fn turn(live: &mut Live<Incoming>) -> Turn {
        live.turn(Duration::ZERO, &mut || {}).unwrap()
    }

    #[test]
    fn a_stream_that_falls_silent_has_stalled_after_its_patience_and_not_before() {
        let clock = Arc::new(SteppedClock::default());
        let (mut live, mut to) = live(10.0, &clock);
        to.write_all(&jpeg(16, 8)).unwrap();
        live.input.wait(SECOND).unwrap();
        assert!(matches!(turn(&mut live), Turn::Frame(_)));
        clock.advance(4 * SECOND);
        assert!(matches!(turn(&mut live), Turn::Nothing));
        to.write_all(&[0xff, 0xd8, 0xff]).unwrap();
        live.input.wait(SECOND).unwrap();
        clock.advance(SECOND);
        assert!(matches!(turn(&mut live), Turn::Stalled(_)), "bytes are no frames");
    }

    #[test]
    fn a_slow_stream_is_given_the_time_of_four_frames() {
        let clock = Arc::new(SteppedClock::default());
        let (mut live, _to) = live(0.5, &clock);
        clock.advance(7 * SECOND);
        assert!(matches!(turn(&mut live), Turn::Nothing));
        clock.advance(SECOND);
        assert!(matches!(turn(&mut live), Turn::Stalled(_)));
    }

    #[test]
    fn frames_beyond_the_rate_are_left_out_and_keep_their_numbers() {
        let clock = Arc::new(SteppedClock::default());
        let (mut live, mut to) = live(1.0, &clock);
        let mut items = Vec::new();
        for _ in 0..9 {
            to.write_all(&jpeg(16, 8)).unwrap();
            live.input.wait(SECOND).unwrap();
            if let Turn::Frame(capture) = turn(&mut live) {
                items.push(capture.item);
            }
            clock.advance(SECOND / 4);
        }
        assert_eq!(items, [0, 3, 7], "a quarter of an interval early is early enough");
    }

    #[test]
    fn the_end_says_how_much_of_a_frame_there_was() {
        let clock = Arc::new(SteppedClock::default());
        let (mut live, mut to) = live(1.0, &clock);
        to.write_all(&jpeg(16, 8)[..20]).unwrap();
        live.input.wait(SECOND).unwrap();
        assert!(matches!(turn(&mut live), Turn::Nothing));
        drop(to);
        live.input.wait(SECOND).unwrap();
        assert!(matches!(turn(&mut live), Turn::Ended { inside: 20 }));
    }
}
