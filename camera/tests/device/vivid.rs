//! A camera that draws its pictures.

use std::fs;
use std::path::Path;
use std::time::Duration;

use margay_camera::source::{self, Next, SourceConfig, V4l2Source};
use margay_camera::v4l2::{Adjustments, Camera, CameraError, FormatWish};
use margay_camera::{Capture, PixelFormat};

use super::{bars, end_of, is_kernels, node, open, take_all, wish};

const VIVID: &str = "MARGAY_TEST_VIVID";
const DRIVER: &str = "/sys/bus/platform/drivers/vivid";
const UNPLUGGED_WITHIN: Duration = Duration::from_secs(10);

fn sixty_frames_of(format: FormatWish, expected: PixelFormat) {
    let Some(path) = node(VIVID) else { return };
    let captures = take_all(&path, format, &bars::check);
    let right = |capture: &Capture| capture.format == expected && (capture.width, capture.height) == (640, 360);
    assert!(captures.iter().all(|capture| right(capture) && is_kernels(capture)));
}

#[test]
fn yuyv_has_the_right_colours_for_sixty_frames() {
    sixty_frames_of(FormatWish::Yuyv, PixelFormat::Yuyv);
}

#[test]
fn uyvy_has_the_right_colours_for_sixty_frames() {
    sixty_frames_of(FormatWish::Uyvy, PixelFormat::Uyvy);
}

#[test]
fn nv12_has_the_right_colours_for_sixty_frames() {
    sixty_frames_of(FormatWish::Nv12, PixelFormat::Nv12);
}

#[test]
fn rgb_has_the_right_colours_for_sixty_frames() {
    sixty_frames_of(FormatWish::Rgb24, PixelFormat::Rgb24);
}

#[test]
fn nv21_yu12_and_bgr_have_the_right_colours_for_sixty_frames() {
    sixty_frames_of(FormatWish::Nv21, PixelFormat::Nv21);
    sixty_frames_of(FormatWish::Yuv420, PixelFormat::Yuv420);
    sixty_frames_of(FormatWish::Bgr24, PixelFormat::Bgr24);
}

#[test]
fn grey_has_the_right_shades_for_sixty_frames() {
    sixty_frames_of(FormatWish::Grey, PixelFormat::Gray8);
}

#[test]
fn the_best_format_is_picked_and_one_it_lacks_is_refused() {
    let Some(path) = node(VIVID) else { return };
    let camera = open(&path, &wish(FormatWish::Auto)).unwrap();
    assert_eq!(camera.negotiated().format, PixelFormat::Yuyv);
    drop(camera);
    let error = open(&path, &wish(FormatWish::Mjpeg)).unwrap_err();
    assert!(error.to_string().contains("does not deliver mjpeg; it has"), "{error}");
}

#[test]
fn brightness_is_set_and_what_it_cannot_be_is_refused() {
    let Some(path) = node(VIVID) else { return };
    let controls = Camera::controls(&path).unwrap();
    let brightness = controls.iter().find(|control| control.name == "brightness").expect("vivid has one");
    let opened = |adjustments: &Adjustments| {
        Camera::open_with(
            &path,
            &wish(FormatWish::Yuyv),
            adjustments,
            std::sync::Arc::new(margay_camera::clock::BootClock),
        )
    };
    let set = |value| Adjustments { controls: [("brightness".to_owned(), value)].into(), crop: None };
    opened(&set(brightness.most)).unwrap();
    let error = opened(&set(brightness.most + 1)).unwrap_err();
    assert!(error.to_string().contains("brightness cannot be"), "{error}");
    opened(&set(brightness.default)).unwrap();
}

#[test]
fn a_camera_in_use_is_told_as_busy_and_can_still_be_looked_at() {
    let Some(path) = node(VIVID) else { return };
    let _streaming = open(&path, &wish(FormatWish::Yuyv)).unwrap();
    let error = open(&path, &wish(FormatWish::Nv12)).unwrap_err();
    assert!(matches!(error, CameraError::Busy { .. }), "{error}");
    let (identity, offers) = Camera::look(&path).unwrap();
    assert_eq!(identity.driver, "vivid");
    assert!(offers.iter().any(|offer| offer.format == Some(PixelFormat::Nv12) && !offer.sizes.is_empty()));
}

#[test]
fn a_source_delivers_as_many_frames_as_asked_for() {
    let Some(path) = node(VIVID) else { return };
    let config = V4l2Source {
        path,
        format: FormatWish::Auto,
        width: 640,
        height: 360,
        frames_per_second: 5.0,
        adjustments: Adjustments::default(),
    };
    let mut source = source::open(&SourceConfig::V4l2(config)).unwrap();
    let (mut bytes, mut times) = (Vec::new(), Vec::new());
    while times.len() < 11 {
        if let Next::Frame(capture) = source.next(Duration::from_secs(1), &mut bytes).unwrap() {
            bars::check(&capture, &bytes);
            times.push(capture.captured_ns);
        }
    }
    let rate = 10e9 / (times[10] - times[0]) as f64;
    // A machine that is too slow leaves frames out; none gets more than it asked for.
    assert!((1.0..5.5).contains(&rate), "{rate} frames a second, by the driver's clock");
}

#[test]
fn pulled_out_while_streaming_is_an_error_and_plugged_in_again_it_streams() {
    let Some(path) = node(VIVID) else { return };
    let mut camera = open(&path, &wish(FormatWish::Yuyv)).unwrap();
    camera.next(Duration::from_secs(1)).unwrap();
    plug("unbind");
    let error = end_of(&mut camera, UNPLUGGED_WITHIN);
    assert!(matches!(error, CameraError::Unplugged { .. }), "{error}");
    assert!(matches!(end_of(&mut camera, UNPLUGGED_WITHIN), CameraError::Unplugged { .. }), "and stays one");
    drop(camera);
    let error = open(&path, &wish(FormatWish::Yuyv)).unwrap_err();
    assert!(matches!(error, CameraError::Missing { .. }), "{error}");
    plug("bind");
    take_all(&path, FormatWish::Yuyv, &bars::check);
}

fn plug(how: &str) {
    fs::write(Path::new(DRIVER).join(how), "vivid.0").unwrap();
}
