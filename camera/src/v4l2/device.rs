//! What is asked of a camera's device node, one method a request: the kernel in production, a script in unit tests.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rustix::io::Errno;

use super::abi;

/// What waiting for a frame ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// A frame can be fetched.
    Ready,
    /// The time is over.
    TimedOut,
    /// The device says that something is wrong; fetching says what.
    Failed,
}

/// A buffer's memory, written by the device while it has the buffer.
pub(super) trait Memory: Send + fmt::Debug {
    /// The words of the memory.
    fn words(&self) -> &[AtomicUsize];
}

/// The requests of V4L2's streaming capture (kernel document `userspace-api/media/v4l/mmap.html`).
pub(super) trait Device: Send + fmt::Debug {
    /// A buffer that both sides see.
    type Memory: Memory;

    /// `VIDIOC_QUERYCAP`.
    fn capability(&self) -> Result<abi::Capability, Errno>;
    /// `VIDIOC_ENUM_FMT`; `EINVAL` past the last.
    fn format(&self, index: u32) -> Result<abi::FormatDescription, Errno>;
    /// `VIDIOC_ENUM_FRAMESIZES`; `EINVAL` past the last.
    fn frame_size(&self, index: u32, pixel_format: u32) -> Result<abi::FrameSize, Errno>;
    /// `VIDIOC_ENUM_FRAMEINTERVALS`; `EINVAL` past the last.
    fn frame_interval(&self, asked: abi::FrameInterval) -> Result<abi::FrameInterval, Errno>;
    /// `VIDIOC_S_FMT`; returns what is in force, which may be something else.
    fn set_format(&self, format: abi::PixFormat) -> Result<abi::PixFormat, Errno>;
    /// `VIDIOC_S_PARM`; returns what is in force.
    fn set_parameters(&self, parameters: abi::StreamParameters) -> Result<abi::StreamParameters, Errno>;
    /// `VIDIOC_QUERYCTRL`: the control of this id, or with a flag the one after it; `EINVAL` where there is none.
    fn control(&self, id: u32) -> Result<abi::QueryControl, Errno>;
    /// `VIDIOC_S_CTRL`.
    fn set_control(&self, id: u32, value: i32) -> Result<(), Errno>;
    /// `VIDIOC_S_SELECTION` of the crop; returns what is in force.
    fn set_crop(&self, crop: abi::Rectangle) -> Result<abi::Rectangle, Errno>;
    /// `VIDIOC_REQBUFS`; returns how many there are.
    fn request_buffers(&self, count: u32) -> Result<u32, Errno>;
    /// `VIDIOC_QUERYBUF` and `mmap`.
    fn map(&self, index: u32) -> Result<Self::Memory, Errno>;
    /// `VIDIOC_QBUF`: the device may fill the buffer.
    fn enqueue(&self, index: u32) -> Result<(), Errno>;
    /// `VIDIOC_DQBUF`: a filled buffer; `EAGAIN` where there is none.
    fn dequeue(&self) -> Result<abi::Buffer, Errno>;
    /// `VIDIOC_STREAMON`.
    fn start(&self) -> Result<(), Errno>;
    /// `VIDIOC_STREAMOFF`.
    fn stop(&self) -> Result<(), Errno>;
    /// `poll`: until a frame can be fetched, at most `timeout`.
    fn wait(&self, timeout: Duration) -> Result<Readiness, Errno>;
}
