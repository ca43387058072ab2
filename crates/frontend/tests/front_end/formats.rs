//! Raw formats: every instruction set gives the same, and what lies about itself is refused.

use margay_frontend::decode::{DecodeError, MAX_FRAME_SIDE};
use margay_frontend::input::Anchor;
use margay_frontend::{
    ColorOrder, Decoder, FrameView, InputSpec, Layout, Misfit, PixelFormat, Preparer, Region, ResizeRule, TensorData,
};
use margay_kernels::Isa;
use margay_kernels::pixels::Pixels;
use proptest::prelude::*;

use crate::pictures::{Rgb, raw_formats};

fn prepared(spec: &InputSpec, frame: &FrameView<'_>, isa: Isa) -> TensorData {
    let mut preparer = Preparer::with_pixels(spec, Pixels::new(isa));
    let mut decoder = Decoder::new();
    let picture = decoder.open(frame, &preparer.need()).unwrap();
    preparer.prepare(picture).unwrap().data().clone()
}

#[test]
fn every_instruction_set_makes_the_same_tensor() {
    let letterbox = ResizeRule::Letterbox { pad: 114, anchor: Anchor::TopLeft };
    for (width, height) in [(97, 61), (640, 480), (33, 400), (5, 3)] {
        let picture = Rgb::drawn(width, height);
        for format in raw_formats() {
            let (bytes, stride) = picture.in_format(format, 0);
            let frame = FrameView { format, stride, bytes: &bytes, ..picture.frame() };
            for resize in [ResizeRule::ShortSide { short_side: 64 }, ResizeRule::Squash, letterbox] {
                for (base, layout, color) in [
                    (InputSpec::u8_nhwc(57), Layout::Nhwc, ColorOrder::Rgb),
                    (InputSpec::u8_nhwc(57), Layout::Nchw, ColorOrder::Bgr),
                    (InputSpec::imagenet(57), Layout::Nchw, ColorOrder::Rgb),
                    (InputSpec::imagenet(57), Layout::Nhwc, ColorOrder::Bgr),
                ] {
                    let spec = InputSpec { layout, color, resize, ..base };
                    let portable = prepared(&spec, &frame, Isa::Portable);
                    for isa in Isa::available() {
                        // Bytes are the same; so are floats, of which 1e-6 is promised.
                        assert_eq!(prepared(&spec, &frame, isa), portable, "{format:?} {width}x{height} {isa}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_preparer_goes_from_one_kind_of_frame_to_another_and_back() {
    let (small, large) = (Rgb::drawn(70, 50), Rgb::drawn(200, 90));
    let resize = ResizeRule::Letterbox { pad: 7, anchor: Anchor::Center };
    let spec = InputSpec { resize, ..InputSpec::imagenet(32) };
    let (yuyv, stride) = large.in_format(PixelFormat::Yuyv, 0);
    let frames = [
        small.frame(),
        FrameView { format: PixelFormat::Yuyv, stride, bytes: &yuyv, ..large.frame() },
        large.frame(),
        small.frame(),
    ];
    let (mut preparer, mut decoder) = (Preparer::new(&spec), Decoder::new());
    for frame in frames {
        let need = preparer.need();
        let again = preparer.prepare(decoder.open(&frame, &need).unwrap()).unwrap().data().clone();
        assert_eq!(again, prepared(&spec, &frame, Isa::best()));
    }
}

#[test]
fn only_the_region_is_looked_at() {
    let region = Region { x: 16, y: 8, width: 40, height: 30 };
    let mut picture = Rgb::drawn(97, 61);
    let spec = InputSpec::imagenet(24);
    for format in raw_formats() {
        let tensor = |picture: &Rgb| {
            let (bytes, stride) = picture.in_format(format, 0);
            prepared(
                &spec,
                &FrameView { format, stride, region: Some(region), bytes: &bytes, ..picture.frame() },
                Isa::best(),
            )
        };
        let before = tensor(&picture);
        for y in 0..picture.height {
            for x in 0..picture.width {
                let inside = (16..56).contains(&x) && (8..38).contains(&y);
                let at = (y * picture.width + x) * 3;
                if !inside {
                    picture.bytes[at..at + 3].iter_mut().for_each(|byte| *byte = !*byte);
                }
            }
        }
        assert_eq!(tensor(&picture), before, "{format:?}");
    }
}

#[test]
fn a_frame_that_lies_about_its_size_is_refused_with_what_it_claims() {
    let preparer = Preparer::new(&InputSpec::imagenet(32));
    let mut decoder = Decoder::new();
    let mut refused = |format, (width, height, stride): (u32, u32, u32), bytes: &[u8]| {
        let frame = FrameView { format, width, height, stride, region: None, bytes };
        decoder.open(&frame, &preparer.need()).map(|_| ()).unwrap_err()
    };
    for format in raw_formats() {
        let wide = format.smallest_stride(64) as u32;
        let short = refused(format, (64, 48, wide), &[0; 100]);
        assert!(matches!(short, DecodeError::Misfit(Misfit::Short { bytes: 100, .. })), "{format:?}: {short}");
        let narrow = refused(format, (64, 48, wide - 1), &[0; 64 * 48 * 3]);
        assert!(matches!(narrow, DecodeError::Misfit(Misfit::Shape { .. })), "{format:?}: {narrow}");
        let empty = refused(format, (0, 0, 0), &[]);
        assert!(matches!(empty, DecodeError::Misfit(Misfit::Shape { .. })), "{format:?}: {empty}");
        let side = MAX_FRAME_SIDE;
        let huge = refused(format, (side, side, side * 4), &[0; 16]);
        assert!(matches!(huge, DecodeError::TooLarge { .. }), "{format:?}: {huge}");
    }
    let outside =
        FrameView { region: Some(Region { x: 9, y: 0, width: 8, height: 8 }), ..FrameView::rgb24(16, 8, &[0; 384]) };
    let error = Decoder::new().open(&outside, &preparer.need()).map(|_| ()).unwrap_err();
    assert!(matches!(error, DecodeError::Region { width: 16, height: 8, .. }), "{error}");
}

proptest! {
    #[test]
    fn any_raw_frame_is_prepared_or_refused(bytes in prop::collection::vec(any::<u8>(), 8..2000)) {
        margay_frontend::fuzz::fuzz_raw(&bytes);
    }
}
