//! Programs as they are in the field, played by a shell: they deliver, and misbehave.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::clock::{BootClock, SteppedClock};
use crate::picture::files::jpeg;
use crate::source::{SkipReason, SourceConfig, open_with};
use crate::v4l2::FormatWish;
use crate::{PixelFormat, TimestampSource};

const SECOND: Duration = Duration::from_secs(1);

/// A program called `rpicam-vid` that runs `script`, in which `$D` is a folder with pictures and `show_picture` shows one.
fn fake(script: &str) -> (TempDir, RpicamSource) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("picture.jpg"), jpeg(16, 8)).unwrap();
    let program = folder.path().join("rpicam-vid");
    let text =
        format!("#!/bin/sh\nD={}\nshow_picture() {{ cat $D/picture.jpg; }}\n{script}\n", folder.path().display());
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = RpicamSource {
        program: Some(program),
        camera: 0,
        format: FormatWish::Mjpeg,
        width: 16,
        height: 8,
        frames_per_second: 1000.0,
        arguments: Vec::new(),
    };
    (folder, config)
}

fn open(config: &RpicamSource) -> Result<Box<dyn FrameSource>, SourceError> {
    open_with(&SourceConfig::Rpicam(config.clone()), Arc::new(BootClock))
}

/// Takes items until the source fails; what came, and the failure.
fn play(source: &mut dyn FrameSource) -> (Vec<Next>, SourceError) {
    let (mut all, mut bytes) = (Vec::new(), Vec::new());
    loop {
        match source.next(SECOND, &mut bytes) {
            Ok(Next::Idle) => {}
            Ok(next) => {
                if let Next::Frame(capture) = &next {
                    capture.check(bytes.len()).unwrap();
                }
                all.push(next);
            }
            Err(error) => return (all, error),
        }
    }
}

fn failure(script: &str) -> String {
    let (_folder, config) = fake(script);
    let error = open(&config).expect_err("it delivers nothing");
    assert!(error.is_retryable(), "{error}");
    error.to_string()
}

#[test]
fn pictures_of_a_child_are_frames_until_it_ends() {
    let (_folder, config) = fake("show_picture; show_picture; show_picture; echo done >&2; exit 3");
    let mut source = open(&config).unwrap();
    let (all, error) = play(source.as_mut());
    let items: Vec<u64> = all
        .iter()
        .map(|next| match next {
            Next::Frame(capture) => {
                assert_eq!((capture.format, capture.width), (PixelFormat::Jpeg, 16));
                assert_eq!(capture.timestamp_source, TimestampSource::Arrival);
                capture.item
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(items.first() == Some(&0) && items.is_sorted(), "{items:?}");
    let error = error.to_string();
    assert!(error.starts_with("rpicam-vid ended (exit code 3)") && error.ends_with("it said: done"), "{error}");
}

#[test]
fn raw_images_of_a_child_are_cut_by_their_size() {
    let (_folder, config) = fake("head -c 12288 /dev/zero; head -c 6144 /dev/zero; sleep 100");
    let config = RpicamSource { format: FormatWish::Yuv420, width: 64, height: 64, ..config };
    let mut source = open(&config).unwrap();
    let mut bytes = Vec::new();
    let Next::Frame(first) = source.next(SECOND, &mut bytes).unwrap() else { panic!("a frame") };
    assert_eq!((first.format, first.width, first.height, first.stride), (PixelFormat::Yuv420, 64, 64, 64));
    assert_eq!(bytes.len(), 6144);
}

#[test]
fn the_words_of_a_child_that_ends_are_translated() {
    for (words, expected) in [
        ("ERROR: *** no cameras available ***", "no camera is there"),
        ("ERROR: *** failed to acquire camera /base/soc/i2c0mux/i2c@1/ov5647@36 ***", "another program has the camera"),
        ("Failed to open V4L2 device '/dev/media0': Permission denied", "the camera may not be opened"),
        ("rpicam-vid: error while loading shared libraries: libcamera.so.0.3", "not installed"),
    ] {
        let told = failure(&format!("echo \"{words}\" >&2; exit 255"));
        assert!(told.contains(expected) && told.contains("exit code 255"), "{told}");
    }
}

#[test]
fn options_that_are_not_understood_are_not_tried_again() {
    let (_folder, config) = fake("echo \"ERROR: *** unrecognised option '--codek' ***\" >&2; exit 255");
    assert!(!open(&config).unwrap_err().is_retryable());
}

#[test]
fn garbage_is_refused_with_how_it_begins() {
    let told = failure("echo Hello from a program; yes garbage");
    assert!(told.contains("begin with \"Hello from a program\\n"), "{told}");
}

#[test]
fn damaged_pictures_are_passed_over_and_counted() {
    let (_folder, config) = fake("show_picture; head -c 30 $D/picture.jpg; show_picture; show_picture; exit 0");
    let mut source = open(&config).unwrap();
    let (all, _) = play(source.as_mut());
    let skipped =
        all.iter().filter(|next| matches!(next, Next::Skipped { why: SkipReason::Broken { .. }, .. })).count();
    assert!(skipped == 1, "{all:?}");
}

#[test]
fn a_child_that_stalls_is_ended_and_told() {
    let (_folder, config) = fake("echo $$ > $D/pid; trap '' INT; show_picture; while :; do sleep 1000; done");
    let clock = Arc::new(SteppedClock::default());
    let mut source = open_with(&SourceConfig::Rpicam(config), clock.clone()).unwrap();
    let mut bytes = Vec::new();
    assert!(matches!(source.next(Duration::ZERO, &mut bytes), Ok(Next::Frame(_))));
    assert!(matches!(source.next(Duration::ZERO, &mut bytes), Ok(Next::Idle)));
    clock.advance(5 * SECOND);
    let error = source.next(Duration::ZERO, &mut bytes).unwrap_err().to_string();
    assert!(error.contains("brought no frame for 5.0 s and was ended"), "{error}");
    let pid = fs::read_to_string(_folder.path().join("pid")).unwrap();
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "it is gone: {state}");
}

#[test]
fn a_frame_beyond_all_bounds_takes_no_memory_beyond_them_and_is_a_stall() {
    let (_folder, config) = fake("show_picture; printf '\\377\\330\\377\\332\\0\\2'; yes | tr -d '\\n'");
    let clock = Arc::new(SteppedClock::default());
    let mut source = open_with(&SourceConfig::Rpicam(config), clock.clone()).unwrap();
    let mut bytes = Vec::new();
    assert!(matches!(source.next(Duration::ZERO, &mut bytes), Ok(Next::Frame(_))));
    for _ in 0..400 {
        assert!(matches!(source.next(Duration::ZERO, &mut bytes), Ok(Next::Idle)));
        clock.advance(Duration::from_millis(10));
    }
    clock.advance(SECOND);
    assert!(source.next(Duration::ZERO, &mut bytes).is_err());
}

#[test]
fn a_program_that_is_not_installed_is_told_with_how_to_install_it() {
    let (_folder, config) = fake("");
    let error = open(&RpicamSource { program: Some("/no/such/rpicam-vid".into()), ..config }).unwrap_err();
    assert!(error.to_string().contains("cannot run /no/such/rpicam-vid"), "{error}");
    let missing = find(None, &["no-such-program"], "no-such-program", rpicam::HOW).unwrap_err();
    assert!(missing.to_string().contains("apt install rpicam-apps"), "{missing}");
}
