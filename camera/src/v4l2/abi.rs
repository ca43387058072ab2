//! The kernel's interface as `linux/videodev2.h` lays it out: what of it a camera needs, and no more.
//!
//! The structures are the kernel's own forms. On 32-bit processors that means 64-bit times in [`Buffer`], which the
//! kernel takes there since 5.6. A test compares every size, offset and request number with the C header.

use rustix::ioctl::{Opcode, opcode};

/// `V4L2_CAP_…`: what a device node is for.
pub(super) const CAP_VIDEO_CAPTURE: u32 = 0x0000_0001;
pub(super) const CAP_VIDEO_OUTPUT: u32 = 0x0000_0002;
pub(super) const CAP_VIDEO_OUTPUT_MPLANE: u32 = 0x0000_2000;
pub(super) const CAP_VIDEO_CAPTURE_MPLANE: u32 = 0x0000_1000;
pub(super) const CAP_VIDEO_M2M_MPLANE: u32 = 0x0000_4000;
pub(super) const CAP_VIDEO_M2M: u32 = 0x0000_8000;
pub(super) const CAP_META_CAPTURE: u32 = 0x0080_0000;
pub(super) const CAP_STREAMING: u32 = 0x0400_0000;
pub(super) const CAP_DEVICE_CAPS: u32 = 0x8000_0000;

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`.
pub(super) const BUF_TYPE_VIDEO_CAPTURE: u32 = 1;
/// `V4L2_MEMORY_MMAP`.
pub(super) const MEMORY_MMAP: u32 = 1;
/// `V4L2_FIELD_NONE`: whole frames, not interlaced.
pub(super) const FIELD_NONE: u32 = 1;
/// `V4L2_CAP_TIMEPERFRAME`: the frame interval can be set.
pub(super) const CAP_TIMEPERFRAME: u32 = 0x1000;

/// `V4L2_FRMSIZE_TYPE_DISCRETE`; other types are ranges.
pub(super) const FRAME_SIZE_DISCRETE: u32 = 1;
/// `V4L2_FRMIVAL_TYPE_DISCRETE`; other types are ranges.
pub(super) const FRAME_INTERVAL_DISCRETE: u32 = 1;

/// `V4L2_CTRL_FLAG_…`: what a control says of itself, and how the next one is asked for.
pub(super) const CTRL_FLAG_DISABLED: u32 = 0x0001;
pub(super) const CTRL_FLAG_READ_ONLY: u32 = 0x0004;
pub(super) const CTRL_FLAG_NEXT_CTRL: u32 = 0x8000_0000;
/// `V4L2_CTRL_TYPE_…`: those whose value is a number of 32 bits.
pub(super) const CTRL_TYPE_INTEGER: u32 = 1;
pub(super) const CTRL_TYPE_BOOLEAN: u32 = 2;
pub(super) const CTRL_TYPE_MENU: u32 = 3;
pub(super) const CTRL_TYPE_INTEGER_MENU: u32 = 9;
/// `V4L2_SEL_TGT_CROP`.
pub(super) const SEL_TGT_CROP: u32 = 0;
/// `V4L2_CID_BRIGHTNESS`, which the scripted device has.
#[cfg(test)]
pub(super) const FAKE_BRIGHTNESS: u32 = 0x0098_0900;

/// `V4L2_BUF_FLAG_…`: what a buffer that came back says of itself.
pub(super) const BUF_FLAG_ERROR: u32 = 0x0000_0040;
pub(super) const BUF_FLAG_TIMESTAMP_MASK: u32 = 0x0000_e000;
pub(super) const BUF_FLAG_TIMESTAMP_MONOTONIC: u32 = 0x0000_2000;
#[cfg(test)]
pub(super) const BUF_FLAG_TIMESTAMP_COPY: u32 = 0x0000_4000;
pub(super) const BUF_FLAG_TSTAMP_SRC_MASK: u32 = 0x0007_0000;
pub(super) const BUF_FLAG_TSTAMP_SRC_EOF: u32 = 0x0000_0000;
pub(super) const BUF_FLAG_TSTAMP_SRC_SOE: u32 = 0x0001_0000;

/// `VIDIOC_…`: the requests.
pub(super) const QUERYCAP: Opcode = opcode::read::<Capability>(b'V', 0);
pub(super) const ENUM_FMT: Opcode = opcode::read_write::<FormatDescription>(b'V', 2);
pub(super) const S_FMT: Opcode = opcode::read_write::<Format>(b'V', 5);
pub(super) const REQBUFS: Opcode = opcode::read_write::<RequestBuffers>(b'V', 8);
pub(super) const QUERYBUF: Opcode = opcode::read_write::<Buffer>(b'V', 9);
pub(super) const QBUF: Opcode = opcode::read_write::<Buffer>(b'V', 15);
pub(super) const DQBUF: Opcode = opcode::read_write::<Buffer>(b'V', 17);
pub(super) const STREAMON: Opcode = opcode::write::<i32>(b'V', 18);
pub(super) const STREAMOFF: Opcode = opcode::write::<i32>(b'V', 19);
pub(super) const S_PARM: Opcode = opcode::read_write::<StreamParameters>(b'V', 22);
pub(super) const S_CTRL: Opcode = opcode::read_write::<ControlValue>(b'V', 28);
pub(super) const QUERYCTRL: Opcode = opcode::read_write::<QueryControl>(b'V', 36);
pub(super) const S_SELECTION: Opcode = opcode::read_write::<Selection>(b'V', 95);
pub(super) const ENUM_FRAMESIZES: Opcode = opcode::read_write::<FrameSize>(b'V', 74);
pub(super) const ENUM_FRAMEINTERVALS: Opcode = opcode::read_write::<FrameInterval>(b'V', 75);

/// `struct v4l2_capability`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Capability {
    pub(super) driver: [u8; 16],
    pub(super) card: [u8; 32],
    pub(super) bus_info: [u8; 32],
    pub(super) version: u32,
    pub(super) capabilities: u32,
    pub(super) device_caps: u32,
    pub(super) reserved: [u32; 3],
}

/// `struct v4l2_fmtdesc`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FormatDescription {
    pub(super) index: u32,
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) description: [u8; 32],
    pub(super) pixelformat: u32,
    pub(super) mbus_code: u32,
    pub(super) reserved: [u32; 3],
}

/// `struct v4l2_pix_format`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PixFormat {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixelformat: u32,
    pub(super) field: u32,
    pub(super) bytesperline: u32,
    pub(super) sizeimage: u32,
    pub(super) colorspace: u32,
    pub(super) private: u32,
    pub(super) flags: u32,
    pub(super) encoding: u32,
    pub(super) quantization: u32,
    pub(super) xfer_func: u32,
}

/// `struct v4l2_format` of a capture device. The kernel's union holds pointers, and is aligned as they are.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    pub(super) kind: u32,
    pub(super) aligned: [usize; 0],
    pub(super) pix: PixFormat,
    pub(super) rest: [u32; 38],
}

/// `struct v4l2_requestbuffers`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RequestBuffers {
    pub(super) count: u32,
    pub(super) kind: u32,
    pub(super) memory: u32,
    pub(super) capabilities: u32,
    pub(super) flags: u8,
    pub(super) reserved: [u8; 3],
}

/// The kernel's own `struct timeval`: 64 bits each on every processor.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TimeValue {
    pub(super) seconds: i64,
    pub(super) microseconds: i64,
}

/// `struct v4l2_timecode`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TimeCode {
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) fields: [u8; 8],
}

/// `struct v4l2_buffer`. Of the union `m`, which is as wide as a pointer, the first 32 bits are the offset to map.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Buffer {
    pub(super) index: u32,
    pub(super) kind: u32,
    pub(super) bytesused: u32,
    pub(super) flags: u32,
    pub(super) field: u32,
    pub(super) timestamp: TimeValue,
    pub(super) timecode: TimeCode,
    pub(super) sequence: u32,
    pub(super) memory: u32,
    pub(super) aligned: [usize; 0],
    pub(super) m: [u32; size_of::<usize>() / 4],
    pub(super) length: u32,
    pub(super) reserved2: u32,
    pub(super) request_fd: u32,
}

/// `struct v4l2_fract`: of a second.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fraction {
    pub(super) numerator: u32,
    pub(super) denominator: u32,
}

/// `struct v4l2_streamparm` of a capture device.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamParameters {
    pub(super) kind: u32,
    pub(super) capability: u32,
    pub(super) capture_mode: u32,
    pub(super) time_per_frame: Fraction,
    pub(super) rest: [u32; 46],
}

/// `struct v4l2_frmsizeenum`. A discrete size has only the first two of `range`: width and height. Otherwise they are
/// least, most and step of the width, then of the height.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FrameSize {
    pub(super) index: u32,
    pub(super) pixel_format: u32,
    pub(super) kind: u32,
    pub(super) range: [u32; 6],
    pub(super) reserved: [u32; 2],
}

/// `struct v4l2_frmivalenum`. A discrete interval has only the first of `range`; otherwise they are the shortest, the
/// longest and the step.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FrameInterval {
    pub(super) index: u32,
    pub(super) pixel_format: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) kind: u32,
    pub(super) range: [Fraction; 3],
    pub(super) reserved: [u32; 2],
}

/// `struct v4l2_queryctrl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct QueryControl {
    pub(super) id: u32,
    pub(super) kind: u32,
    pub(super) name: [u8; 32],
    pub(super) minimum: i32,
    pub(super) maximum: i32,
    pub(super) step: i32,
    pub(super) default_value: i32,
    pub(super) flags: u32,
    pub(super) reserved: [u32; 2],
}

/// `struct v4l2_control`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ControlValue {
    pub(super) id: u32,
    pub(super) value: i32,
}

/// `struct v4l2_rect`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rectangle {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// `struct v4l2_selection`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Selection {
    pub(super) kind: u32,
    pub(super) target: u32,
    pub(super) flags: u32,
    pub(super) rectangle: Rectangle,
    pub(super) reserved: [u32; 9],
}

impl Format {
    /// A capture format of which the pixels are `pix`.
    pub(super) const fn of(pix: PixFormat) -> Self {
        Self { kind: BUF_TYPE_VIDEO_CAPTURE, aligned: [], pix, rest: [0; 38] }
    }
}

impl StreamParameters {
    /// One frame each `time_per_frame`.
    pub(super) const fn of(time_per_frame: Fraction) -> Self {
        Self { kind: BUF_TYPE_VIDEO_CAPTURE, capability: 0, capture_mode: 0, time_per_frame, rest: [0; 46] }
    }
}

impl Buffer {
    /// The buffer of this number, to be asked after or handed over.
    pub(super) fn of(index: u32) -> Self {
        Self { index, kind: BUF_TYPE_VIDEO_CAPTURE, memory: MEMORY_MMAP, ..Self::default() }
    }
}

// What the C header gives where a pointer has 64 bits, and on 32-bit ARM with 64-bit times.
const POINTER: usize = size_of::<usize>();
const _: () = assert!(size_of::<Format>() == 200 + POINTER);
const _: () = assert!(size_of::<StreamParameters>() == 204);
#[cfg(any(target_pointer_width = "64", target_arch = "arm"))]
const _: () = assert!(size_of::<Buffer>() == if POINTER == 8 { 88 } else { 80 });

#[cfg(test)]
mod tests;
