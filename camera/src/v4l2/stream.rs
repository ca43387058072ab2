//! Streaming from one camera through mapped buffers: the newest frame wins, every wait is bounded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::choice::{Choice, choose};
use super::device::{Device, Memory, Readiness};
use super::error::CameraError;
use super::offer::{FormatOffer, Interval, summary};
use super::timestamp::{Now, captured};
use super::{FourCc, Wish, abi};
use crate::clock::Clock;
use crate::format::PixelFormat;
use crate::frame::TimestampSource;
use crate::shared::SharedBytes;
use crate::source::{MOST_ITEM_BYTES, MOST_SIDE};

/// Buffers that the driver is asked for: one that is read, one that is filled, two for a late reader.
const BUFFERS: u32 = 4;
/// With fewer, the driver would have none to fill while one is read.
const FEWEST_BUFFERS: u32 = 2;

/// A camera that delivers nothing for so long, or for so many frame intervals if that is longer, has stalled. USB
/// cameras take up to three seconds for their first frame.
const STALL: (Duration, u32) = (Duration::from_secs(5), 4);

/// What driver and camera agreed on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Negotiated {
    /// The format's name.
    pub fourcc: FourCc,
    /// How its bytes are read.
    pub format: PixelFormat,
    /// Width in pixels; a driver may change the one asked for.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes from a row to the next; 0 for JPEG.
    pub stride: u32,
    /// The time from a frame to the next; `None` where the driver cannot set it.
    pub interval: Option<Interval>,
}

/// What became of the frames that were not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// Numbers that the driver left out: frames lost before they could be fetched.
    pub missed: u64,
    /// Frames that the driver marked as damaged, or that do not hold what their format says.
    pub damaged: u64,
    /// Frames handed back unread because a newer one was there.
    pub passed_over: u64,
}

impl Lost {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.missed + self.damaged + self.passed_over
    }
}

/// A frame that was fetched; its bytes are in [`Stream::bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fetched {
    /// The driver's number, counted on over its 32 bits.
    pub(super) sequence: u64,
    pub(super) captured_ns: u64,
    pub(super) timestamp_source: TimestampSource,
}

/// A buffer that this side has.
#[derive(Debug, Clone, Copy)]
struct Held {
    index: u32,
    bytes: usize,
}

/// The number of the buffer that came back last.
#[derive(Debug, Clone, Copy)]
struct Counted {
    /// As the driver gave it.
    number: u32,
    /// Counted on.
    sequence: u64,
}

/// A camera that delivers frames. Dropping it stops the camera.
#[derive(Debug)]
pub(super) struct Stream<D: Device> {
    // Before the device: memory is unmapped while the node is open.
    buffers: Vec<D::Memory>,
    device: D,
    path: PathBuf,
    clock: Arc<dyn Clock>,
    negotiated: Negotiated,
    held: Option<Held>,
    last: Option<Counted>,
    last_frame: Duration,
    lost: Lost,
}

impl<D: Device> Stream<D> {
    /// Sets the camera to the best of its `offers`, and starts it.
    pub(super) fn start(
        device: D,
        path: &Path,
        offers: &[FormatOffer],
        wish: &Wish,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CameraError> {
        let choice = choose(offers, wish).ok_or_else(|| CameraError::NoSuchFormat {
            path: path.to_owned(),
            wanted: match wish.format.name() {
                "auto" => {
                    "a format that is read here (YUYV, UYVY, NV12, NV21, YU12, RGB3, BGR3, MJPG, GREY)".to_owned()
                }
                name => name.to_owned(),
            },
            offered: summary(offers),
        })?;
        let negotiated = negotiate(&device, path, &choice)?;
        let mut stream = Self {
            buffers: Vec::new(),
            device,
            path: path.to_owned(),
            last_frame: clock.boottime(),
            clock,
            negotiated,
            held: None,
            last: None,
            lost: Lost::default(),
        };
        stream.take_buffers()?;
        stream.device.start().map_err(|errno| match errno {
            Errno::NOSPC => {
                let Negotiated { fourcc, width, height, .. } = stream.negotiated;
                CameraError::Bandwidth { path: path.to_owned(), mode: format!("{fourcc} {width}x{height}") }
            }
            _ => stream.failed("starting", errno),
        })?;
        Ok(stream)
    }

    fn take_buffers(&mut self) -> Result<(), CameraError> {
        let count = self.device.request_buffers(BUFFERS).map_err(|errno| self.failed("getting buffers of", errno))?;
        if count < FEWEST_BUFFERS {
            return Err(self.failed("getting two buffers of", Errno::NOMEM));
        }
        for index in 0..count {
            let memory = self.device.map(index).map_err(|errno| self.failed("mapping a buffer of", errno))?;
            self.buffers.push(memory);
            self.device.enqueue(index).map_err(|errno| self.failed("handing a buffer to", errno))?;
        }
        Ok(())
    }

    /// What driver and camera agreed on.
    pub(super) fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// What was lost so far.
    pub(super) fn lost(&self) -> Lost {
        self.lost
    }

    /// The bytes of the frame that was fetched last; empty once another was asked for.
    pub(super) fn bytes(&self) -> SharedBytes<'_> {
        match self.held {
            Some(Held { index, bytes }) => SharedBytes::new(self.buffers[index as usize].words(), bytes),
            None => SharedBytes::new(&[], 0),
        }
    }

    /// Waits for the first frame, as long as one may take, and leaves it to be fetched.
    pub(super) fn wait_for_first(&mut self) -> Result<(), CameraError> {
        let deadline = self.clock.boottime() + self.patience();
        loop {
            let left = deadline.saturating_sub(self.clock.boottime());
            match self.wait(left)? {
                Readiness::Ready | Readiness::Failed => return Ok(()),
                Readiness::TimedOut if left.is_zero() => return Err(self.stalled()),
                Readiness::TimedOut => {}
            }
        }
    }

    /// Waits for a frame, at most `timeout`, and takes the newest there is; older ones go back unread.
    pub(super) fn fetch(&mut self, timeout: Duration) -> Result<Option<Fetched>, CameraError> {
        if let Some(held) = self.held.take() {
            self.give_back(held.index)?;
        }
        let failed = match self.wait(timeout)? {
            Readiness::TimedOut if self.silence() >= self.patience() => return Err(self.stalled()),
            Readiness::TimedOut => return Ok(None),
            Readiness::Ready => false,
            Readiness::Failed => true,
        };
        let mut newest = None;
        // A driver that fills as fast as it is emptied does not keep us here.
        for _ in 0..2 * self.buffers.len() {
            let buffer = match self.device.dequeue() {
                Ok(buffer) => buffer,
                // Without an answer to what is wrong, asking again would spin.
                Err(Errno::AGAIN) if failed && newest.is_none() => {
                    return Err(self.failed("streaming from", Errno::IO));
                }
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(self.failed("fetching a frame from", errno)),
            };
            newest = self.take(&buffer)?.or(newest);
        }
        Ok(newest)
    }

    /// Takes a buffer that came back: keeps it if it holds a frame, and hands back the one kept before.
    fn take(&mut self, buffer: &abi::Buffer) -> Result<Option<Fetched>, CameraError> {
        if buffer.index as usize >= self.buffers.len() {
            return Err(self.failed("fetching a frame (of an unknown buffer) from", Errno::PROTO));
        }
        let sequence = self.count(buffer.sequence);
        self.last_frame = self.clock.boottime();
        if !self.is_whole(buffer) {
            self.lost.damaged += 1;
            self.give_back(buffer.index)?;
            return Ok(None);
        }
        let held = Held { index: buffer.index, bytes: buffer.bytesused as usize };
        if let Some(older) = self.held.replace(held) {
            self.lost.passed_over += 1;
            self.give_back(older.index)?;
        }
        let (captured_ns, timestamp_source) = captured(buffer.flags, buffer.timestamp, Now::read());
        Ok(Some(Fetched { sequence, captured_ns, timestamp_source }))
    }

    /// Whether the buffer holds a frame of the format agreed on.
    fn is_whole(&self, buffer: &abi::Buffer) -> bool {
        let Negotiated { format, width, height, stride, .. } = self.negotiated;
        let memory = self.buffers[buffer.index as usize].words();
        let bytes = buffer.bytesused as usize;
        let fits = bytes > 0 && bytes <= size_of_val(memory) && u64::from(buffer.bytesused) <= MOST_ITEM_BYTES;
        if buffer.flags & abi::BUF_FLAG_ERROR != 0 || !fits {
            return false;
        }
        match format {
            // A USB camera's first pictures often begin in their middle.
            PixelFormat::Jpeg => SharedBytes::new(memory, bytes).first() == [0xff, 0xd8, 0xff],
            _ => format.packed_len(width, height, stride).is_some_and(|needed| needed <= u64::from(buffer.bytesused)),
        }
    }

    /// Counts the driver's 32-bit number on, and what it left out. A driver that does not count, or starts again, has
    /// left nothing out.
    fn count(&mut self, number: u32) -> u64 {
        let sequence = match self.last {
            None => u64::from(number),
            Some(last) => {
                let step = u64::from(number.wrapping_sub(last.number));
                let step = if step > u64::from(u32::MAX / 2) { 1 } else { step };
                self.lost.missed += step.saturating_sub(1);
                last.sequence + step
            }
        };
        self.last = Some(Counted { number, sequence });
        sequence
    }

    fn give_back(&self, index: u32) -> Result<(), CameraError> {
        self.device.enqueue(index).map_err(|errno| self.failed("handing a buffer back to", errno))
    }

    fn wait(&self, timeout: Duration) -> Result<Readiness, CameraError> {
        self.device.wait(timeout).map_err(|errno| self.failed("waiting for", errno))
    }

    fn silence(&self) -> Duration {
        self.clock.boottime().saturating_sub(self.last_frame)
    }

    fn patience(&self) -> Duration {
        let (least, frames) = STALL;
        let rate = self.negotiated.interval.map_or(0.0, Interval::rate);
        let interval = if rate > 0.0 { Duration::try_from_secs_f64(rate.recip()).unwrap_or_default() } else { least };
        least.max(interval.saturating_mul(frames).min(Duration::from_secs(60)))
    }

    fn stalled(&self) -> CameraError {
        CameraError::Stalled { path: self.path.clone(), seconds: self.silence().as_secs_f64() }
    }

    fn failed(&self, doing: &'static str, errno: Errno) -> CameraError {
        CameraError::failed(&self.path, doing, errno)
    }
}

impl<D: Device> Drop for Stream<D> {
    fn drop(&mut self) {
        // Closing the node does the same; a device that is gone refuses.
        let _ = self.device.stop();
    }
}

/// Sets format and rate, and checks what came of it.
fn negotiate(device: &impl Device, path: &Path, choice: &Choice) -> Result<Negotiated, CameraError> {
    let asked = abi::PixFormat {
        width: choice.width,
        height: choice.height,
        pixelformat: choice.fourcc.number(),
        field: abi::FIELD_NONE,
        ..Default::default()
    };
    let got = device.set_format(asked).map_err(|errno| CameraError::failed(path, "setting the format of", errno))?;
    let fourcc = FourCc::from_number(got.pixelformat);
    if fourcc != choice.fourcc {
        return Err(CameraError::Substituted { path: path.to_owned(), asked: choice.fourcc, got: fourcc });
    }
    let stride = stride(choice.format, &got).ok_or_else(|| CameraError::Shape {
        path: path.to_owned(),
        fourcc,
        width: got.width,
        height: got.height,
        stride: got.bytesperline,
        bytes: got.sizeimage,
    })?;
    let interval = set_interval(device, path, choice.interval)?;
    Ok(Negotiated { fourcc, format: choice.format, width: got.width, height: got.height, stride, interval })
}

/// The stride of a format that can be: rows that hold their pixels, an image that holds its rows, within limits. Some
/// drivers leave the stride at 0 and mean rows without padding.
fn stride(format: PixelFormat, got: &abi::PixFormat) -> Option<u32> {
    let sides = 1..=MOST_SIDE;
    if !sides.contains(&got.width) || !sides.contains(&got.height) || u64::from(got.sizeimage) > MOST_ITEM_BYTES {
        return None;
    }
    if format == PixelFormat::Jpeg {
        return Some(0);
    }
    let tight = u32::try_from(format.smallest_stride(got.width)).ok()?;
    let stride = if got.bytesperline == 0 { tight } else { got.bytesperline };
    let needed = format.packed_len(got.width, got.height, stride)?;
    (needed <= u64::from(got.sizeimage)).then_some(stride)
}

/// Always set, because drivers start at rates of their own. One that knows no rates keeps its own.
fn set_interval(device: &impl Device, path: &Path, asked: Interval) -> Result<Option<Interval>, CameraError> {
    match device.set_parameters(abi::StreamParameters::of(asked.kernel())) {
        Ok(got) if got.capability & abi::CAP_TIMEPERFRAME != 0 => Ok(Interval::from_kernel(got.time_per_frame)),
        Ok(_) | Err(Errno::NOTTY | Errno::INVAL) => Ok(None),
        Err(errno) => Err(CameraError::failed(path, "setting the rate of", errno)),
    }
}

#[cfg(test)]
mod tests;
