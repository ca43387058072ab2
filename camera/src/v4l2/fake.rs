//! A device that answers as a script says, for unit tests of what is above the system calls.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::io::Errno;

use super::abi;
use super::device::{Device, Memory, Readiness};
use super::offer::{FormatOffer, FourCc, Interval, Rates, SizeOffer};
use crate::clock::{Clock, SteppedClock};
use crate::shared::memory;

/// Bytes of each buffer.
const BUFFER_BYTES: usize = 1 << 20;

/// What a usual USB camera offers.
pub(super) fn webcam() -> Vec<FormatOffer> {
    let size = |width, height, rates: &[u32]| SizeOffer {
        least: (width, height),
        most: (width, height),
        step: (1, 1),
        rates: Rates::Each(rates.iter().map(|&denominator| Interval { numerator: 1, denominator }).collect()),
    };
    let offer = |fourcc: &[u8; 4], description: &str, sizes| {
        let fourcc = FourCc::from_number(u32::from_le_bytes(*fourcc));
        FormatOffer { fourcc, description: description.to_owned(), format: fourcc.format(), sizes }
    };
    vec![
        offer(b"YUYV", "YUYV 4:2:2", vec![size(640, 480, &[30, 15]), size(1280, 720, &[10])]),
        offer(b"MJPG", "Motion-JPEG", vec![size(640, 480, &[30]), size(1280, 720, &[30]), size(1920, 1080, &[30])]),
        offer(b"H264", "H.264", vec![size(1920, 1080, &[30])]),
    ]
}

/// What happens while somebody waits.
#[derive(Debug)]
pub(super) enum Step {
    /// These frames are there.
    Frames(Vec<abi::Buffer>, Vec<u8>),
    /// The time passes.
    Nothing,
    /// The device is unplugged.
    Unplugged,
    /// The device reports an error, and no more.
    Error,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) steps: VecDeque<Step>,
    pub(super) enqueued: VecDeque<u32>,
    pub(super) streaming: bool,
    /// Controls that were set.
    pub(super) set: Vec<(u32, i32)>,
    pending: VecDeque<(abi::Buffer, Vec<u8>)>,
    memory: Vec<Arc<Vec<AtomicUsize>>>,
    gone: bool,
}

#[derive(Debug)]
pub(super) struct Fake {
    pub(super) capability: abi::Capability,
    pub(super) offers: Vec<FormatOffer>,
    /// Its lists never end.
    pub(super) endless: bool,
    /// It does not know V4L2's requests.
    pub(super) deaf: bool,
    /// What it puts in force instead of the format asked for.
    pub(super) answer: Option<abi::PixFormat>,
    /// The crop that it puts in force; `None`: it has none.
    pub(super) crop: Option<abi::Rectangle>,
    /// What it says to being started.
    pub(super) start: Result<(), Errno>,
    pub(super) clock: Arc<SteppedClock>,
    pub(super) state: Arc<Mutex<State>>,
}

impl Fake {
    pub(super) fn new(offers: Vec<FormatOffer>) -> Self {
        let mut capability = abi::Capability { capabilities: u32::MAX, ..Default::default() };
        capability.card[..11].copy_from_slice(b"Fake Webcam");
        capability.device_caps = abi::CAP_VIDEO_CAPTURE | abi::CAP_STREAMING;
        Self {
            capability,
            offers,
            endless: false,
            deaf: false,
            answer: None,
            crop: None,
            start: Ok(()),
            clock: Arc::default(),
            state: Arc::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn item<'a, T>(&self, items: &'a [T], index: u32) -> Result<&'a T, Errno> {
        let index = if self.endless { index as usize % items.len() } else { index as usize };
        items.get(index).ok_or(Errno::INVAL)
    }
}

#[derive(Debug)]
pub(super) struct FakeMemory(Arc<Vec<AtomicUsize>>);

impl Memory for FakeMemory {
    fn words(&self) -> &[AtomicUsize] {
        &self.0
    }
}

impl Device for Fake {
    type Memory = FakeMemory;

    fn capability(&self) -> Result<abi::Capability, Errno> {
        if self.deaf { Err(Errno::NOTTY) } else { Ok(self.capability) }
    }

    fn format(&self, index: u32) -> Result<abi::FormatDescription, Errno> {
        let offer = self.item(&self.offers, index)?;
        let mut found = abi::FormatDescription { pixelformat: offer.fourcc.number(), ..Default::default() };
        found.description[..offer.description.len()].copy_from_slice(offer.description.as_bytes());
        Ok(found)
    }

    fn frame_size(&self, index: u32, pixel_format: u32) -> Result<abi::FrameSize, Errno> {
        let offer = self.offers.iter().find(|offer| offer.fourcc.number() == pixel_format).ok_or(Errno::INVAL)?;
        let size = self.item(&offer.sizes, index)?;
        let range = [size.most.0, size.most.1, 0, 0, 0, 0];
        Ok(abi::FrameSize { kind: abi::FRAME_SIZE_DISCRETE, range, ..Default::default() })
    }

    fn frame_interval(&self, asked: abi::FrameInterval) -> Result<abi::FrameInterval, Errno> {
        let offer = self.offers.iter().find(|offer| offer.fourcc.number() == asked.pixel_format).ok_or(Errno::INVAL)?;
        let size = offer.sizes.iter().find(|size| size.most == (asked.width, asked.height)).ok_or(Errno::INVAL)?;
        let Rates::Each(intervals) = &size.rates else { return Err(Errno::NOTTY) };
        let interval = intervals.get(asked.index as usize).ok_or(Errno::INVAL)?;
        let range = [interval.kernel(), abi::Fraction::default(), abi::Fraction::default()];
        Ok(abi::FrameInterval { kind: abi::FRAME_INTERVAL_DISCRETE, range, ..asked })
    }

    fn set_format(&self, format: abi::PixFormat) -> Result<abi::PixFormat, Errno> {
        let stride = FourCc::from_number(format.pixelformat).format().unwrap().smallest_stride(format.width) as u32;
        let sizeimage = if stride == 0 { BUFFER_BYTES as u32 } else { stride * format.height };
        Ok(self.answer.unwrap_or(abi::PixFormat { bytesperline: stride, sizeimage, ..format }))
    }

    fn set_parameters(&self, parameters: abi::StreamParameters) -> Result<abi::StreamParameters, Errno> {
        Ok(abi::StreamParameters { capability: abi::CAP_TIMEPERFRAME, ..parameters })
    }

    fn control(&self, id: u32) -> Result<abi::QueryControl, Errno> {
        let named = |id, name: &[u8], maximum, step, kind, flags| {
            let mut control = abi::QueryControl { id, kind, maximum, step, flags, ..Default::default() };
            control.name[..name.len()].copy_from_slice(name);
            control
        };
        let all = [
            named(0x0098_0001, b"User Controls", 0, 0, 6, 0),
            named(abi::FAKE_BRIGHTNESS, b"Brightness", 250, 10, abi::CTRL_TYPE_INTEGER, 0),
            named(0x009a_0901, b"Exposure, Auto", 3, 1, abi::CTRL_TYPE_MENU, 0),
            named(0x009a_0902, b"Serial", 9, 1, abi::CTRL_TYPE_INTEGER, abi::CTRL_FLAG_READ_ONLY),
        ];
        all.into_iter().find(|control| control.id > id & !abi::CTRL_FLAG_NEXT_CTRL).ok_or(Errno::INVAL)
    }

    fn set_control(&self, id: u32, value: i32) -> Result<(), Errno> {
        self.state().set.push((id, value));
        Ok(())
    }

    fn set_crop(&self, _: abi::Rectangle) -> Result<abi::Rectangle, Errno> {
        self.crop.ok_or(Errno::NOTTY)
    }

    fn request_buffers(&self, count: u32) -> Result<u32, Errno> {
        Ok(count)
    }

    fn map(&self, _: u32) -> Result<FakeMemory, Errno> {
        let memory = Arc::new(memory::holding(&vec![0; BUFFER_BYTES]));
        self.state().memory.push(memory.clone());
        Ok(FakeMemory(memory))
    }

    fn enqueue(&self, index: u32) -> Result<(), Errno> {
        let mut state = self.state();
        assert!(!state.enqueued.contains(&index), "buffer {index} is handed over twice");
        state.enqueued.push_back(index);
        if state.gone { Err(Errno::NODEV) } else { Ok(()) }
    }

    fn dequeue(&self) -> Result<abi::Buffer, Errno> {
        let mut state = self.state();
        if state.gone {
            return Err(Errno::NODEV);
        }
        let Some((buffer, bytes)) = state.pending.pop_front() else { return Err(Errno::AGAIN) };
        let index = state.enqueued.pop_front().expect("the stream leaves the device a buffer");
        let words = memory::holding(&bytes);
        for (word, filled) in state.memory[index as usize].iter().zip(words) {
            word.store(filled.into_inner(), Ordering::Relaxed);
        }
        Ok(abi::Buffer { index, ..buffer })
    }

    fn start(&self) -> Result<(), Errno> {
        self.state().streaming = true;
        self.start
    }

    fn stop(&self) -> Result<(), Errno> {
        self.state().streaming = false;
        Ok(())
    }

    fn wait(&self, timeout: Duration) -> Result<Readiness, Errno> {
        let mut state = self.state();
        if state.gone {
            return Ok(Readiness::Failed);
        }
        if !state.pending.is_empty() {
            return Ok(Readiness::Ready);
        }
        Ok(match state.steps.pop_front() {
            Some(Step::Frames(buffers, bytes)) => {
                state.pending.extend(buffers.into_iter().map(|buffer| (buffer, bytes.clone())));
                Readiness::Ready
            }
            Some(Step::Nothing) | None => {
                self.clock.wait_until(self.clock.boottime() + timeout);
                Readiness::TimedOut
            }
            Some(Step::Unplugged) => {
                state.gone = true;
                Readiness::Failed
            }
            Some(Step::Error) => Readiness::Failed,
        })
    }
}
