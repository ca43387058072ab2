//! Cameras of a real kernel: `vivid`, which draws test pictures, and `v4l2loopback`, which delivers what somebody writes.
//!
//! `tests/vm/camera.sh` runs these in a virtual machine, where the two can be loaded and pulled out. They need root, and
//! run one at a time (`--test-threads=1`): `MARGAY_TEST_VIVID` names vivid's node, `MARGAY_TEST_LOOPBACK` and
//! `MARGAY_TEST_LOOPBACK_STALLING` two of the other.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test that fails says so by panicking")]

#[path = "device/bars.rs"]
mod bars;
#[path = "device/loopback.rs"]
mod loopback;
#[path = "device/vivid.rs"]
mod vivid;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use margay_camera::clock::{BootClock, Clock};
use margay_camera::v4l2::{Camera, CameraError, FormatWish, Interval, Wish};
use margay_camera::{Capture, TimestampSource};

const PATIENCE: Duration = Duration::from_millis(500);
const FRAMES: u64 = 60;

/// The rates that are tried one after the other, until the emulated machine keeps up. Vivid has them all.
const RATES: [f64; 3] = [10.0, 5.0, 2.0];

/// The node that `variable` names; `None` where there is none to test with.
fn node(variable: &str) -> Option<PathBuf> {
    let node = std::env::var_os(variable).map(PathBuf::from);
    if node.is_none() {
        println!("skipped: camera: tests/vm/camera.sh");
    }
    node
}

fn wish(format: FormatWish) -> Wish {
    Wish { format, width: 640, height: 360, frames_per_second: RATES[0] }
}

fn open(path: &std::path::Path, wish: &Wish) -> Result<Camera, CameraError> {
    Camera::open(path, wish, Arc::new(BootClock))
}

/// Takes [`FRAMES`] frames without a gap, and looks at each. Where driver or reader were too slow and had to leave frames
/// out, that is counted to the frame, and tried again at a lower rate.
fn take_all(path: &std::path::Path, format: FormatWish, look: &impl Fn(&Capture, &[u8])) -> Vec<Capture> {
    for frames_per_second in RATES {
        let mut camera = open(path, &Wish { frames_per_second, ..wish(format) }).unwrap();
        if let Some(rate) = camera.negotiated().interval.map(Interval::rate) {
            assert!((rate - frames_per_second).abs() < 0.1 || rate > 20.0, "{rate} fps is in force");
        }
        let (captures, left_out) = take(&mut camera, look);
        if left_out == 0 {
            assert!(captures.is_sorted_by(|a, b| a.item < b.item), "no number comes twice");
            return captures;
        }
        println!("{left_out} frames were left out at {frames_per_second} a second: {:?}", camera.lost());
    }
    panic!("never {FRAMES} frames without a gap");
}

/// Takes [`FRAMES`] frames, and says how many were left out between them.
fn take(camera: &mut Camera, look: &impl Fn(&Capture, &[u8])) -> (Vec<Capture>, u64) {
    let (mut captures, mut bytes, mut before) = (Vec::<Capture>::new(), Vec::new(), None);
    let end = BootClock.boottime() + Duration::from_secs(60);
    while (captures.len() as u64) < FRAMES {
        assert!(BootClock.boottime() < end, "{} frames in a minute", captures.len());
        let Some(shot) = camera.next(PATIENCE).unwrap() else { continue };
        shot.bytes.copy_to(&mut bytes);
        shot.capture.check(bytes.len()).unwrap();
        look(&shot.capture, &bytes);
        captures.push(shot.capture);
        before.get_or_insert(camera.lost());
    }
    let (before, after) = (before.unwrap(), camera.lost());
    assert_eq!(after.damaged, 0);
    let left_out = after.total() - before.total();
    let (first, last) = (captures[0], captures[captures.len() - 1]);
    // A driver that is late may give a number twice: fewer numbers than frames, and never more.
    assert!(last.item - first.item < FRAMES + left_out, "{left_out} of {first:?} to {last:?}");
    assert!(captures.is_sorted_by(|a, b| a.item <= b.item && a.captured_ns < b.captured_ns));
    assert!(Duration::from_nanos(last.captured_ns) <= BootClock.boottime());
    (captures, left_out)
}

/// The kernel's own time, whatever moment it means.
fn is_kernels(capture: &Capture) -> bool {
    !matches!(capture.timestamp_source, TimestampSource::Arrival | TimestampSource::Replay)
}

/// The error that a stream ends with, after at most `most`.
fn end_of(camera: &mut Camera, most: Duration) -> CameraError {
    let end = BootClock.boottime() + most;
    loop {
        match camera.next(PATIENCE) {
            Err(error) => return error,
            Ok(_) => assert!(BootClock.boottime() < end, "the stream goes on"),
        }
    }
}
