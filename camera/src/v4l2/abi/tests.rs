//! The C compiler compares this module's sizes, offsets and numbers with the kernel's header.

use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

use super::*;

/// A C program that only compiles where the header agrees with the numbers given here.
fn comparison() -> String {
    let mut program = String::from("#include <stddef.h>\n#include <linux/videodev2.h>\n");
    let mut same = |theirs: String, ours: u64| {
        writeln!(program, "_Static_assert((unsigned long)({theirs}) == {ours}ul, \"here it is {ours}\");").unwrap();
    };
    for (theirs, ours) in sizes() {
        same(format!("sizeof(struct {theirs})"), ours as u64);
    }
    for (theirs, field, ours) in offsets_of_buffers().into_iter().chain(offsets_of_offers()) {
        same(format!("offsetof(struct {theirs}, {field})"), ours as u64);
    }
    for (theirs, ours) in requests() {
        // Some C libraries give requests as signed numbers.
        same(format!("(unsigned){theirs}"), u64::from(ours));
    }
    for (theirs, ours) in flags() {
        same(format!("(unsigned){theirs}"), u64::from(ours));
    }
    program
}

fn sizes() -> [(&'static str, usize); 13] {
    [
        ("v4l2_queryctrl", size_of::<QueryControl>()),
        ("v4l2_control", size_of::<ControlValue>()),
        ("v4l2_selection", size_of::<Selection>()),
        ("v4l2_capability", size_of::<Capability>()),
        ("v4l2_fmtdesc", size_of::<FormatDescription>()),
        ("v4l2_pix_format", size_of::<PixFormat>()),
        ("v4l2_format", size_of::<Format>()),
        ("v4l2_requestbuffers", size_of::<RequestBuffers>()),
        ("v4l2_timecode", size_of::<TimeCode>()),
        ("v4l2_buffer", size_of::<Buffer>()),
        ("v4l2_streamparm", size_of::<StreamParameters>()),
        ("v4l2_frmsizeenum", size_of::<FrameSize>()),
        ("v4l2_frmivalenum", size_of::<FrameInterval>()),
    ]
}

fn offsets_of_buffers() -> [(&'static str, &'static str, usize); 16] {
    [
        ("v4l2_requestbuffers", "count", offset_of!(RequestBuffers, count)),
        ("v4l2_requestbuffers", "type", offset_of!(RequestBuffers, kind)),
        ("v4l2_requestbuffers", "memory", offset_of!(RequestBuffers, memory)),
        ("v4l2_buffer", "index", offset_of!(Buffer, index)),
        ("v4l2_buffer", "type", offset_of!(Buffer, kind)),
        ("v4l2_buffer", "bytesused", offset_of!(Buffer, bytesused)),
        ("v4l2_buffer", "flags", offset_of!(Buffer, flags)),
        ("v4l2_buffer", "timestamp.tv_sec", offset_of!(Buffer, timestamp.seconds)),
        ("v4l2_buffer", "timestamp.tv_usec", offset_of!(Buffer, timestamp.microseconds)),
        ("v4l2_buffer", "timecode", offset_of!(Buffer, timecode)),
        ("v4l2_buffer", "sequence", offset_of!(Buffer, sequence)),
        ("v4l2_buffer", "memory", offset_of!(Buffer, memory)),
        ("v4l2_buffer", "m.offset", offset_of!(Buffer, m)),
        ("v4l2_buffer", "length", offset_of!(Buffer, length)),
        ("v4l2_streamparm", "parm.capture.capability", offset_of!(StreamParameters, capability)),
        ("v4l2_streamparm", "parm.capture.timeperframe", offset_of!(StreamParameters, time_per_frame)),
    ]
}

fn offsets_of_offers() -> [(&'static str, &'static str, usize); 27] {
    [
        ("v4l2_queryctrl", "name", offset_of!(QueryControl, name)),
        ("v4l2_queryctrl", "minimum", offset_of!(QueryControl, minimum)),
        ("v4l2_queryctrl", "flags", offset_of!(QueryControl, flags)),
        ("v4l2_control", "value", offset_of!(ControlValue, value)),
        ("v4l2_selection", "target", offset_of!(Selection, target)),
        ("v4l2_selection", "r.width", offset_of!(Selection, rectangle.width)),
        ("v4l2_capability", "driver", offset_of!(Capability, driver)),
        ("v4l2_capability", "card", offset_of!(Capability, card)),
        ("v4l2_capability", "bus_info", offset_of!(Capability, bus_info)),
        ("v4l2_capability", "capabilities", offset_of!(Capability, capabilities)),
        ("v4l2_capability", "device_caps", offset_of!(Capability, device_caps)),
        ("v4l2_fmtdesc", "type", offset_of!(FormatDescription, kind)),
        ("v4l2_fmtdesc", "description", offset_of!(FormatDescription, description)),
        ("v4l2_fmtdesc", "pixelformat", offset_of!(FormatDescription, pixelformat)),
        ("v4l2_format", "fmt.pix.width", offset_of!(Format, pix.width)),
        ("v4l2_format", "fmt.pix.height", offset_of!(Format, pix.height)),
        ("v4l2_format", "fmt.pix.pixelformat", offset_of!(Format, pix.pixelformat)),
        ("v4l2_format", "fmt.pix.field", offset_of!(Format, pix.field)),
        ("v4l2_format", "fmt.pix.bytesperline", offset_of!(Format, pix.bytesperline)),
        ("v4l2_format", "fmt.pix.sizeimage", offset_of!(Format, pix.sizeimage)),
        ("v4l2_frmsizeenum", "pixel_format", offset_of!(FrameSize, pixel_format)),
        ("v4l2_frmsizeenum", "type", offset_of!(FrameSize, kind)),
        ("v4l2_frmsizeenum", "stepwise", offset_of!(FrameSize, range)),
        ("v4l2_frmivalenum", "width", offset_of!(FrameInterval, width)),
        ("v4l2_frmivalenum", "height", offset_of!(FrameInterval, height)),
        ("v4l2_frmivalenum", "type", offset_of!(FrameInterval, kind)),
        ("v4l2_frmivalenum", "stepwise", offset_of!(FrameInterval, range)),
    ]
}

fn requests() -> [(&'static str, Opcode); 15] {
    [
        ("VIDIOC_S_CTRL", S_CTRL),
        ("VIDIOC_QUERYCTRL", QUERYCTRL),
        ("VIDIOC_S_SELECTION", S_SELECTION),
        ("VIDIOC_QUERYCAP", QUERYCAP),
        ("VIDIOC_ENUM_FMT", ENUM_FMT),
        ("VIDIOC_S_FMT", S_FMT),
        ("VIDIOC_REQBUFS", REQBUFS),
        ("VIDIOC_QUERYBUF", QUERYBUF),
        ("VIDIOC_QBUF", QBUF),
        ("VIDIOC_DQBUF", DQBUF),
        ("VIDIOC_STREAMON", STREAMON),
        ("VIDIOC_STREAMOFF", STREAMOFF),
        ("VIDIOC_S_PARM", S_PARM),
        ("VIDIOC_ENUM_FRAMESIZES", ENUM_FRAMESIZES),
        ("VIDIOC_ENUM_FRAMEINTERVALS", ENUM_FRAMEINTERVALS),
    ]
}

fn flags() -> [(&'static str, u32); 31] {
    [
        ("V4L2_CTRL_FLAG_DISABLED", CTRL_FLAG_DISABLED),
        ("V4L2_CTRL_FLAG_READ_ONLY", CTRL_FLAG_READ_ONLY),
        ("V4L2_CTRL_FLAG_NEXT_CTRL", CTRL_FLAG_NEXT_CTRL),
        ("V4L2_CTRL_TYPE_INTEGER", CTRL_TYPE_INTEGER),
        ("V4L2_CTRL_TYPE_BOOLEAN", CTRL_TYPE_BOOLEAN),
        ("V4L2_CTRL_TYPE_MENU", CTRL_TYPE_MENU),
        ("V4L2_CTRL_TYPE_INTEGER_MENU", CTRL_TYPE_INTEGER_MENU),
        ("V4L2_SEL_TGT_CROP", SEL_TGT_CROP),
        ("V4L2_CID_BRIGHTNESS", FAKE_BRIGHTNESS),
        ("V4L2_CAP_VIDEO_CAPTURE", CAP_VIDEO_CAPTURE),
        ("V4L2_CAP_VIDEO_OUTPUT", CAP_VIDEO_OUTPUT),
        ("V4L2_CAP_VIDEO_OUTPUT_MPLANE", CAP_VIDEO_OUTPUT_MPLANE),
        ("V4L2_CAP_VIDEO_CAPTURE_MPLANE", CAP_VIDEO_CAPTURE_MPLANE),
        ("V4L2_CAP_VIDEO_M2M_MPLANE", CAP_VIDEO_M2M_MPLANE),
        ("V4L2_CAP_VIDEO_M2M", CAP_VIDEO_M2M),
        ("V4L2_CAP_META_CAPTURE", CAP_META_CAPTURE),
        ("V4L2_CAP_STREAMING", CAP_STREAMING),
        ("V4L2_CAP_DEVICE_CAPS", CAP_DEVICE_CAPS),
        ("V4L2_BUF_TYPE_VIDEO_CAPTURE", BUF_TYPE_VIDEO_CAPTURE),
        ("V4L2_MEMORY_MMAP", MEMORY_MMAP),
        ("V4L2_FIELD_NONE", FIELD_NONE),
        ("V4L2_CAP_TIMEPERFRAME", CAP_TIMEPERFRAME),
        ("V4L2_FRMSIZE_TYPE_DISCRETE", FRAME_SIZE_DISCRETE),
        ("V4L2_FRMIVAL_TYPE_DISCRETE", FRAME_INTERVAL_DISCRETE),
        ("V4L2_BUF_FLAG_ERROR", BUF_FLAG_ERROR),
        ("V4L2_BUF_FLAG_TIMESTAMP_MASK", BUF_FLAG_TIMESTAMP_MASK),
        ("V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC", BUF_FLAG_TIMESTAMP_MONOTONIC),
        ("V4L2_BUF_FLAG_TIMESTAMP_COPY", BUF_FLAG_TIMESTAMP_COPY),
        ("V4L2_BUF_FLAG_TSTAMP_SRC_MASK", BUF_FLAG_TSTAMP_SRC_MASK),
        ("V4L2_BUF_FLAG_TSTAMP_SRC_EOF", BUF_FLAG_TSTAMP_SRC_EOF),
        ("V4L2_BUF_FLAG_TSTAMP_SRC_SOE", BUF_FLAG_TSTAMP_SRC_SOE),
    ]
}

#[test]
fn every_size_offset_and_number_is_the_kernel_headers() {
    let compiler = std::env::var("MARGAY_TEST_CC").unwrap_or_else(|_| "cc".to_owned());
    let has_header = Path::new("/usr/include/linux/videodev2.h").exists();
    if !has_header || Command::new(&compiler).arg("--version").output().is_err() {
        assert!(std::env::var_os("MARGAY_TEST_REQUIRE").is_none(), "the kernel's headers are required here");
        println!("skipped: kernel headers: apt install gcc linux-libc-dev");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("comparison.c");
    std::fs::write(&program, comparison()).unwrap();
    let mut command = Command::new(compiler);
    command.args(["-fsyntax-only", "-D_FILE_OFFSET_BITS=64", "-D_TIME_BITS=64"]).arg(&program);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
