//! The kernel's side of [`Device`]: system calls on an open device node, and the buffers mapped from it.
//!
//! With `ring/mapping.rs` the only unsafe code of the crate. It is sound although drivers and, with loopback devices,
//! other processes write the buffers: nothing here makes a `&[u8]` of them, only references to atomics, read by relaxed
//! loads of a machine word.
#![allow(unsafe_code, reason = "device control and mapped buffers have no safe interface")]

use std::fmt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, major, open, stat};
use rustix::io::{Errno, retry_on_intr};
use rustix::ioctl::{Opcode, Setter, Updater, ioctl};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::abi;
use super::device::{Device, Memory, Readiness};
use crate::clock::timespec;
use crate::shared::WORD;

/// The device number of all of V4L2's nodes (kernel document `admin-guide/devices.txt`).
const VIDEO_MAJOR: u32 = 81;

/// No buffer is mapped that is larger: the most bytes of an item, and what drivers add.
const MOST_BUFFER_BYTES: u32 = 128 << 20;

/// An open device node.
#[derive(Debug)]
pub(super) struct Node(OwnedFd);

impl Node {
    /// Opens a V4L2 node. Anything else is left alone, because opening some devices does something: `ENODEV` for what
    /// is no device, `ENOTTY` for a device of another kind.
    pub(super) fn open(path: &Path) -> Result<Self, Errno> {
        let found = stat(path)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::CharacterDevice {
            return Err(Errno::NOTTY);
        }
        if major(found.st_rdev) != VIDEO_MAJOR {
            return Err(Errno::NOTTY);
        }
        open(path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).map(Self)
    }

    /// A request by which both sides write `value`.
    fn update<const REQUEST: Opcode, T>(&self, value: &mut T) -> Result<(), Errno> {
        retry_on_intr(|| {
            // SAFETY: every request constant of `abi` is made from the type that its callers here pass, whose layout
            // is the kernel's, and of which any bytes are a valid value; the kernel keeps no pointer to it.
            unsafe { ioctl(&self.0, Updater::<REQUEST, T>::new(value)) }
        })
    }

    /// A request that takes the kind of stream.
    fn switch<const REQUEST: Opcode>(&self) -> Result<(), Errno> {
        let kind = abi::BUF_TYPE_VIDEO_CAPTURE.cast_signed();
        retry_on_intr(|| {
            // SAFETY: the kernel reads an int by these requests, and writes nothing.
            unsafe { ioctl(&self.0, Setter::<REQUEST, i32>::new(kind)) }
        })
    }
}

impl Device for Node {
    type Memory = Mapped;

    fn capability(&self) -> Result<abi::Capability, Errno> {
        let mut capability = abi::Capability::default();
        self.update::<{ abi::QUERYCAP }, _>(&mut capability).map(|()| capability)
    }

    fn format(&self, index: u32) -> Result<abi::FormatDescription, Errno> {
        let kind = abi::BUF_TYPE_VIDEO_CAPTURE;
        let mut format = abi::FormatDescription { index, kind, ..Default::default() };
        self.update::<{ abi::ENUM_FMT }, _>(&mut format).map(|()| format)
    }

    fn frame_size(&self, index: u32, pixel_format: u32) -> Result<abi::FrameSize, Errno> {
        let mut size = abi::FrameSize { index, pixel_format, ..Default::default() };
        self.update::<{ abi::ENUM_FRAMESIZES }, _>(&mut size).map(|()| size)
    }

    fn frame_interval(&self, asked: abi::FrameInterval) -> Result<abi::FrameInterval, Errno> {
        let mut interval = asked;
        self.update::<{ abi::ENUM_FRAMEINTERVALS }, _>(&mut interval).map(|()| interval)
    }

    fn set_format(&self, format: abi::PixFormat) -> Result<abi::PixFormat, Errno> {
        let mut format = abi::Format::of(format);
        self.update::<{ abi::S_FMT }, _>(&mut format).map(|()| format.pix)
    }

    fn set_parameters(&self, parameters: abi::StreamParameters) -> Result<abi::StreamParameters, Errno> {
        let mut parameters = parameters;
        self.update::<{ abi::S_PARM }, _>(&mut parameters).map(|()| parameters)
    }

    fn control(&self, id: u32) -> Result<abi::QueryControl, Errno> {
        let mut control = abi::QueryControl { id, ..Default::default() };
        self.update::<{ abi::QUERYCTRL }, _>(&mut control).map(|()| control)
    }

    fn set_control(&self, id: u32, value: i32) -> Result<(), Errno> {
        self.update::<{ abi::S_CTRL }, _>(&mut abi::ControlValue { id, value })
    }

    fn set_crop(&self, crop: abi::Rectangle) -> Result<abi::Rectangle, Errno> {
        let (kind, target) = (abi::BUF_TYPE_VIDEO_CAPTURE, abi::SEL_TGT_CROP);
        let mut selection = abi::Selection { kind, target, rectangle: crop, ..Default::default() };
        self.update::<{ abi::S_SELECTION }, _>(&mut selection).map(|()| selection.rectangle)
    }

    fn request_buffers(&self, count: u32) -> Result<u32, Errno> {
        let (kind, memory) = (abi::BUF_TYPE_VIDEO_CAPTURE, abi::MEMORY_MMAP);
        let mut request = abi::RequestBuffers { count, kind, memory, ..Default::default() };
        self.update::<{ abi::REQBUFS }, _>(&mut request).map(|()| request.count)
    }

    fn map(&self, index: u32) -> Result<Mapped, Errno> {
        let mut buffer = abi::Buffer::of(index);
        self.update::<{ abi::QUERYBUF }, _>(&mut buffer)?;
        Mapped::new(&self.0, buffer.length, buffer.m[0])
    }

    fn enqueue(&self, index: u32) -> Result<(), Errno> {
        self.update::<{ abi::QBUF }, _>(&mut abi::Buffer::of(index))
    }

    fn dequeue(&self) -> Result<abi::Buffer, Errno> {
        let mut buffer = abi::Buffer::of(0);
        self.update::<{ abi::DQBUF }, _>(&mut buffer).map(|()| buffer)
    }

    fn start(&self) -> Result<(), Errno> {
        self.switch::<{ abi::STREAMON }>()
    }

    fn stop(&self) -> Result<(), Errno> {
        self.switch::<{ abi::STREAMOFF }>()
    }

    fn wait(&self, timeout: Duration) -> Result<Readiness, Errno> {
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut polled, Some(&timespec(timeout))) {
            // An interruption shortens one wait; whoever waits asks again.
            Ok(0) | Err(Errno::INTR) => return Ok(Readiness::TimedOut),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        let failed = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        Ok(if polled[0].revents().intersects(failed) { Readiness::Failed } else { Readiness::Ready })
    }
}

/// A buffer of the device, mapped read-only.
pub(super) struct Mapped {
    start: NonNull<AtomicUsize>,
    bytes: usize,
}

// SAFETY: the memory belongs to the mapping until it is dropped, not to a thread, and is only touched atomically.
unsafe impl Send for Mapped {}

impl Mapped {
    fn new(node: impl AsFd, length: u32, offset: u32) -> Result<Self, Errno> {
        if length == 0 || length > MOST_BUFFER_BYTES {
            return Err(Errno::NOMEM);
        }
        let bytes = usize::try_from(length).map_err(|_| Errno::NOMEM)?;
        // SAFETY: the address is left to the kernel, so that no existing memory is replaced.
        let start =
            unsafe { mmap(ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::SHARED, node, u64::from(offset)) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { start, bytes })
    }
}

impl Memory for Mapped {
    fn words(&self) -> &[AtomicUsize] {
        // SAFETY: the words lie inside the mapping, which lives as long as `self` and reaches to the end of a page, so
        // that the last word is whole; a page's start is aligned. The memory of a device that is gone stays mapped
        // until it is unmapped. Any bytes are a valid atomic, and only loads are made, here and by whoever gets them.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes.div_ceil(WORD)) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped; references into it cannot outlive `self`.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "a whole mapping can be unmapped");
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mapped").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_v4l2_node_is_left_alone() {
        assert_eq!(Node::open(Path::new("/dev/null")).unwrap_err(), Errno::NOTTY);
        assert_eq!(Node::open(Path::new("/")).unwrap_err(), Errno::NOTTY);
        assert_eq!(Node::open(Path::new("/dev/no-such-camera")).unwrap_err(), Errno::NOENT);
    }
}
