//! A camera that delivers what somebody writes: Motion-JPEG, and nothing at all.

use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use margay_camera::PixelFormat;
use margay_camera::clock::{BootClock, Clock};
use margay_camera::v4l2::{CameraError, FormatWish};
use rustix::ioctl::{Updater, ioctl, opcode};

use super::{end_of, is_kernels, node, open, take, wish};

const LOOPBACK: &str = "MARGAY_TEST_LOOPBACK";
/// Another one: this driver's state is not what it was once its writer has gone before its reader.
const STALLING: &str = "MARGAY_TEST_LOOPBACK_STALLING";
const STALLED_WITHIN: Duration = Duration::from_secs(20);

/// `struct v4l2_format`, in words: the type, on 64-bit processors a gap, then width, height, fourcc, field, stride, bytes.
type Format = [u32; (200 + size_of::<usize>()) / 4];

/// Somebody who writes JPEG pictures into a loopback device until told to stop, and keeps it open until dropped.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<File>>,
}

impl Writer {
    fn start(node: &Path) -> Self {
        let mut device = File::options().read(true).write(true).open(node).unwrap();
        set_format(&device);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let picture = picture();
        device.write_all(&picture).unwrap();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                device.write_all(&picture).unwrap();
                // Not at even times: after a pause the frames that are due would come all at once.
                BootClock.wait_until(BootClock.boottime() + Duration::from_millis(150));
            }
            device
        });
        Self { stop, thread: Some(thread) }
    }

    /// Writes no more, and keeps the device open.
    fn stall(&mut self) -> File {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stall();
        }
    }
}

#[allow(unsafe_code, reason = "the writer's side of a device has no safe interface, and the crate has only readers")]
fn set_format(device: impl AsFd) {
    const OUTPUT: u32 = 2;
    const S_FMT: rustix::ioctl::Opcode = opcode::read_write::<Format>(b'V', 5);
    let mut format: Format = [0; (200 + size_of::<usize>()) / 4];
    let pix = size_of::<usize>() / 4;
    format[0] = OUTPUT;
    format[pix..pix + 6].copy_from_slice(&[640, 360, u32::from_le_bytes(*b"MJPG"), 1, 0, 640 * 360 * 2]);
    // SAFETY: the array has the size of `struct v4l2_format`, of which the request's number is made, and any words are
    // valid in it.
    unsafe { ioctl(device, Updater::<S_FMT, Format>::new(&mut format)) }.unwrap();
}

fn picture() -> Vec<u8> {
    let pixels: Vec<u8> = (0..360).flat_map(|y| (0..640).flat_map(move |x| [x as u8, y as u8, 200])).collect();
    let mut file = Vec::new();
    jpeg_encoder::Encoder::new(&mut file, 90).encode(&pixels, 640, 360, jpeg_encoder::ColorType::Rgb).unwrap();
    file
}

#[test]
fn motion_jpeg_passes_through_as_it_was_written() {
    let Some(path) = node(LOOPBACK) else { return };
    let error = open(&path, &wish(FormatWish::Auto)).unwrap_err();
    assert!(error.to_string().contains("is no camera but"), "{error}");
    let _writer = Writer::start(&path);
    let (written, exact) = (picture(), Cell::new(0));
    let mut camera = open(&path, &wish(FormatWish::Auto)).unwrap();
    // The driver has two buffers: a reader that the emulated machine delays misses frames, and they are counted.
    let (captures, left_out) = take(&mut camera, &|capture, bytes| {
        assert_eq!((capture.format, capture.width, capture.height), (PixelFormat::Jpeg, 640, 360));
        assert!(bytes.starts_with(&written), "{} bytes of {}", bytes.len(), written.len());
        exact.set(exact.get() + usize::from(bytes.len() == written.len()));
    });
    println!("{left_out} frames were left out: {:?}", camera.lost());
    // The driver calls the buffers full that it had before a reader came.
    assert!(exact.get() + 8 > captures.len(), "{} of {} have the length written", exact.get(), captures.len());
    assert!(captures.iter().all(is_kernels));
}

#[test]
fn a_writer_that_stalls_is_an_error_and_not_a_hang() {
    let Some(path) = node(STALLING) else { return };
    let mut writer = Writer::start(&path);
    let mut camera = open(&path, &wish(FormatWish::Mjpeg)).unwrap();
    camera.next(Duration::from_secs(1)).unwrap();
    let _open = writer.stall();
    let error = end_of(&mut camera, STALLED_WITHIN);
    assert!(matches!(error, CameraError::Stalled { .. }), "{error}");
}
