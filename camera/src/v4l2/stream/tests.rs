//! A stream against a device that does what devices do.

use proptest::prelude::*;

use super::super::fake::{Fake, State, Step, webcam};
use super::*;
use crate::v4l2::FormatWish;

const SECOND: Duration = Duration::from_secs(1);
const SMALL: Wish = Wish { format: FormatWish::Auto, width: 640, height: 480, frames_per_second: 30.0 };
const YUYV_BYTES: u32 = 640 * 480 * 2;

/// A buffer as the driver hands it out, of a whole YUYV frame.
fn buffer(sequence: u32) -> abi::Buffer {
    abi::Buffer { sequence, bytesused: YUYV_BYTES, ..Default::default() }
}

fn frames(buffers: &[abi::Buffer]) -> Step {
    Step::Frames(buffers.to_vec(), vec![7; 1000])
}

fn start(camera: Fake, wish: &Wish) -> Result<Stream<Fake>, CameraError> {
    let clock = camera.clock.clone();
    let offers = camera.offers.clone();
    Stream::start(camera, Path::new("/dev/video0"), &offers, wish, clock)
}

fn streaming(steps: Vec<Step>) -> Stream<Fake> {
    let camera = Fake::new(webcam());
    camera.state.lock().unwrap().steps = steps.into();
    start(camera, &SMALL).unwrap()
}

fn state(stream: &Stream<Fake>) -> std::sync::MutexGuard<'_, State> {
    stream.device.state.lock().unwrap()
}

/// The sequence of the next frame.
fn sequence(stream: &mut Stream<Fake>) -> Option<u64> {
    stream.fetch(SECOND).unwrap().map(|fetched| fetched.sequence)
}

#[test]
fn the_newest_frame_is_taken_and_the_older_ones_go_back() {
    let mut stream = streaming(vec![frames(&[buffer(0), buffer(1), buffer(2)]), frames(&[buffer(3)])]);
    assert_eq!(sequence(&mut stream), Some(2));
    assert_eq!(state(&stream).enqueued.len(), BUFFERS as usize - 1, "one buffer is being read");
    assert_eq!(stream.bytes().len(), YUYV_BYTES as usize);
    assert_eq!(stream.bytes().first(), [7, 7, 7]);
    assert_eq!(sequence(&mut stream), Some(3));
    assert_eq!(stream.lost(), Lost { missed: 0, damaged: 0, passed_over: 2 });
}

#[test]
fn a_buffer_goes_back_before_the_next_frame_is_waited_for() {
    let mut stream = streaming(vec![frames(&[buffer(0)]), Step::Nothing]);
    assert_eq!(sequence(&mut stream), Some(0));
    assert_eq!(sequence(&mut stream), None);
    assert!(stream.bytes().is_empty());
    assert_eq!(state(&stream).enqueued.len(), BUFFERS as usize);
}

#[test]
fn numbers_that_the_driver_left_out_are_counted_also_over_its_32_bits() {
    let last = u32::MAX;
    let mut stream = streaming([last - 1, last, 2, 3].into_iter().map(|number| frames(&[buffer(number)])).collect());
    let numbers = [(); 4].map(|()| sequence(&mut stream).unwrap());
    let start = u64::from(last) - 1;
    assert_eq!(numbers, [start, start + 1, start + 4, start + 5]);
    assert_eq!(stream.lost().missed, 2);
}

#[test]
fn a_driver_that_does_not_count_or_starts_again_has_lost_nothing() {
    let mut stream = streaming([5, 5, 0, 1, 2].into_iter().map(|number| frames(&[buffer(number)])).collect());
    let numbers = [(); 5].map(|()| sequence(&mut stream).unwrap());
    assert_eq!(numbers, [5, 5, 6, 7, 8]);
    assert_eq!(stream.lost(), Lost::default());
}

#[test]
fn damaged_frames_are_counted_and_handed_back() {
    let broken = [
        abi::Buffer { flags: abi::BUF_FLAG_ERROR, ..buffer(0) },
        abi::Buffer { bytesused: 0, ..buffer(1) },
        abi::Buffer { bytesused: YUYV_BYTES - 1, ..buffer(2) },
        abi::Buffer { bytesused: u32::MAX, ..buffer(3) },
    ];
    let mut stream = streaming(vec![frames(&broken[..2]), frames(&broken[2..]), frames(&[buffer(4)])]);
    assert_eq!((sequence(&mut stream), sequence(&mut stream), sequence(&mut stream)), (None, None, Some(4)));
    assert_eq!(stream.lost(), Lost { missed: 0, damaged: 4, passed_over: 0 });
}

#[test]
fn a_jpeg_is_as_long_as_the_driver_says_and_has_to_begin_as_one() {
    let camera = Fake::new(webcam());
    let whole = abi::Buffer { bytesused: 10, ..buffer(1) };
    camera.state.lock().unwrap().steps = [
        Step::Frames(vec![abi::Buffer { sequence: 0, ..whole }], vec![0; 10]),
        Step::Frames(vec![whole], b"\xff\xd8\xff\xe0 1234\xff\xd9".to_vec()),
    ]
    .into();
    let mut stream = start(camera, &Wish { format: FormatWish::Mjpeg, ..SMALL }).unwrap();
    assert_eq!(stream.negotiated().stride, 0);
    assert_eq!((sequence(&mut stream), sequence(&mut stream)), (None, Some(1)));
    assert_eq!((stream.bytes().len(), stream.lost().damaged), (10, 1));
}

#[test]
fn a_camera_that_stalls_is_an_error_after_a_bounded_time() {
    let mut stream = streaming(vec![frames(&[buffer(0)])]);
    assert_eq!(sequence(&mut stream), Some(0));
    let mut waited = 0;
    let error = loop {
        match stream.fetch(SECOND) {
            Ok(None) => waited += 1,
            Ok(Some(fetched)) => panic!("{fetched:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CameraError::Stalled { .. }) && error.is_retryable(), "{error}");
    assert_eq!(waited, STALL.0.as_secs() - 1);
}

#[test]
fn a_camera_that_never_delivers_is_an_error_at_its_opening() {
    let mut stream = streaming(Vec::new());
    let error = stream.wait_for_first().unwrap_err();
    assert!(matches!(error, CameraError::Stalled { .. }), "{error}");
    let mut stream = streaming(vec![Step::Nothing, frames(&[buffer(0)])]);
    stream.wait_for_first().unwrap();
    assert_eq!(sequence(&mut stream), Some(0), "the first frame is left to be fetched");
}

#[test]
fn an_unplugged_camera_is_an_error_each_time_and_never_a_wait() {
    let mut stream = streaming(vec![frames(&[buffer(0)]), Step::Unplugged]);
    assert_eq!(sequence(&mut stream), Some(0));
    for _ in 0..3 {
        let error = stream.fetch(SECOND).unwrap_err();
        assert!(matches!(error, CameraError::Unplugged { .. }) && error.is_retryable(), "{error}");
    }
}

#[test]
fn an_error_without_a_reason_ends_the_stream_instead_of_spinning() {
    let mut stream = streaming(vec![Step::Error]);
    let error = stream.fetch(SECOND).unwrap_err();
    assert!(matches!(error, CameraError::System { .. }), "{error}");
}

#[test]
fn a_format_that_the_driver_substitutes_is_refused() {
    let answer = abi::PixFormat { pixelformat: u32::from_le_bytes(*b"H264"), ..Default::default() };
    let error = start(Fake { answer: Some(answer), ..Fake::new(webcam()) }, &SMALL).unwrap_err();
    assert!(error.to_string().contains("was asked for YUYV and set itself to H264"), "{error}");
}

#[test]
fn a_size_that_the_driver_changes_is_taken_and_a_padded_row_kept() {
    let yuyv = u32::from_le_bytes(*b"YUYV");
    let answer = abi::PixFormat {
        width: 320,
        height: 240,
        pixelformat: yuyv,
        bytesperline: 704,
        sizeimage: 704 * 240,
        ..Default::default()
    };
    let stream = start(Fake { answer: Some(answer), ..Fake::new(webcam()) }, &SMALL).unwrap();
    let &Negotiated { width, height, stride, .. } = stream.negotiated();
    assert_eq!((width, height, stride), (320, 240, 704));
}

#[test]
fn strides_and_sizes_that_cannot_be_are_refused() {
    let image = abi::PixFormat { width: 640, height: 480, sizeimage: 640 * 480 * 2, ..Default::default() };
    let of = |changed: abi::PixFormat| stride(PixelFormat::Yuyv, &changed);
    assert_eq!(of(image), Some(1280), "0 means rows without padding");
    assert_eq!(of(abi::PixFormat { bytesperline: 1280, ..image }), Some(1280));
    assert_eq!(of(abi::PixFormat { bytesperline: 1279, ..image }), None);
    assert_eq!(of(abi::PixFormat { bytesperline: 1284, ..image }), None, "the image is too small for its rows");
    assert_eq!(of(abi::PixFormat { width: 0, ..image }), None);
    assert_eq!(of(abi::PixFormat { height: MOST_SIDE + 1, sizeimage: u32::MAX, ..image }), None);
    assert_eq!(stride(PixelFormat::Jpeg, &abi::PixFormat { sizeimage: 1000, ..image }), Some(0));
    assert_eq!(stride(PixelFormat::Jpeg, &abi::PixFormat { sizeimage: u32::MAX, ..image }), None);
    let nv12 = abi::PixFormat { bytesperline: 640, sizeimage: 640 * 720, ..image };
    assert_eq!(stride(PixelFormat::Nv12, &nv12), Some(640));
}

#[test]
fn formats_that_the_camera_lacks_are_named_with_those_it_has() {
    let error = start(Fake::new(webcam()), &Wish { format: FormatWish::Nv12, ..SMALL }).unwrap_err().to_string();
    assert!(error.contains("does not deliver nv12; it has YUYV 640x480"), "{error}");
    let bayer: Vec<_> = webcam().into_iter().skip(2).collect();
    let error = start(Fake::new(bayer), &SMALL).unwrap_err().to_string();
    assert!(error.contains("a format that is read here") && error.ends_with("it has H264"), "{error}");
}

#[test]
fn a_bus_without_room_says_what_to_do() {
    let error = start(Fake { start: Err(Errno::NOSPC), ..Fake::new(webcam()) }, &SMALL).unwrap_err().to_string();
    assert!(error.contains("no bandwidth left for YUYV 640x480: name MJPEG"), "{error}");
    let error = start(Fake { start: Err(Errno::BUSY), ..Fake::new(webcam()) }, &SMALL).unwrap_err();
    assert!(matches!(error, CameraError::Busy { .. }), "{error}");
}

#[test]
fn a_dropped_stream_stops_its_camera() {
    let stream = streaming(Vec::new());
    let camera = stream.device.state.clone();
    assert!(camera.lock().unwrap().streaming);
    drop(stream);
    assert!(!camera.lock().unwrap().streaming);
}

proptest! {
    #[test]
    fn whatever_a_driver_says_buffers_are_kept_and_frames_are_whole(
        script in prop::collection::vec((any::<u32>(), prop_oneof![Just(YUYV_BYTES), any::<u32>()], any::<u32>(), any::<bool>()), 0..40),
    ) {
        let steps = script.iter().map(|&(sequence, bytesused, flags, pause)| {
            let buffer = abi::Buffer { bytesused, flags, ..buffer(sequence) };
            if pause { Step::Nothing } else { frames(&[buffer, buffer]) }
        });
        let mut stream = streaming(steps.collect());
        let mut last = None;
        while let Ok(fetched) = stream.fetch(SECOND) {
            if let Some(fetched) = fetched {
                prop_assert!(stream.bytes().len() >= YUYV_BYTES as usize);
                prop_assert!(Some(fetched.sequence) >= last);
                last = Some(fetched.sequence);
            }
            let held = usize::from(stream.held.is_some());
            prop_assert_eq!(state(&stream).enqueued.len() + held, BUFFERS as usize);
        }
    }
}
