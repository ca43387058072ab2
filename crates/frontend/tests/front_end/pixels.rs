//! Pixels for engines that normalise by themselves: those of the tensor's floats, whatever the picture.

use margay_frontend::decode::View;
use margay_frontend::input::Anchor;
use margay_frontend::{
    ColorOrder, Decoder, FrameView, InputSpec, InputTensor, Layout, Preparer, ResizeRule, Rotation, TensorData,
};

use crate::pictures::{Rgb, floats, raw_formats};

/// The floats that pixels stand for.
fn normalised(spec: &InputSpec, pixels: &[u8]) -> Vec<f32> {
    let (scalings, plane) = (spec.scalings(), pixels.len() / 3);
    let channel = |place: usize| match spec.layout {
        Layout::Nchw => place / plane,
        Layout::Nhwc => place % 3,
    };
    pixels.iter().enumerate().map(|(place, &pixel)| scalings[channel(place)].apply(pixel)).collect()
}

fn check(spec: &InputSpec, frames: &[FrameView<'_>], view: View) {
    let (mut of_floats, mut of_pixels) = (Preparer::new(spec), Preparer::of_pixels(spec));
    let mut decoder = Decoder::new().with_view(view);
    for frame in frames {
        let need = of_floats.need();
        let picture = decoder.open(frame, &need).unwrap();
        let expected = of_floats.prepare(picture).unwrap();
        let found = of_pixels.prepare(picture).unwrap();
        assert_eq!(found.shape(), expected.shape());
        let TensorData::Pixels(pixels) = found.data() else { panic!("{spec:?} makes no pixels") };
        let bits = |floats: Vec<f32>| floats.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(normalised(spec, pixels)), bits(floats(expected.data().clone())), "{spec:?}, {frame:?}");
    }
}

#[test]
fn every_float_of_a_tensor_is_that_of_its_pixel_to_the_bit() {
    let pictures = [(97, 61), (33, 80), (5, 3)].map(|(width, height)| Rgb::drawn(width, height));
    let raw: Vec<_> = pictures
        .iter()
        .flat_map(|picture| raw_formats().map(move |format| (picture, format, picture.in_format(format, 2))))
        .collect();
    let raw = raw.iter().map(|(picture, format, (bytes, stride))| FrameView {
        format: *format,
        stride: *stride,
        bytes,
        ..picture.frame()
    });
    let jpeg = FrameView::jpeg(include_bytes!("corpus/baseline-420.jpg"));
    let frames: Vec<_> = raw.chain([jpeg]).collect();
    let letterbox = |anchor| ResizeRule::Letterbox { pad: 114, anchor };
    for resize in [
        ResizeRule::ShortSide { short_side: 64 },
        ResizeRule::Squash,
        letterbox(Anchor::TopLeft),
        letterbox(Anchor::Center),
    ] {
        for (layout, color) in
            [(Layout::Nchw, ColorOrder::Rgb), (Layout::Nchw, ColorOrder::Bgr), (Layout::Nhwc, ColorOrder::Bgr)]
        {
            let spec = InputSpec { layout, color, resize, width: 41, height: 29, ..InputSpec::imagenet(41) };
            for (rotation, mirrored) in [(Rotation::None, false), (Rotation::Quarter, true)] {
                check(&spec, &frames, View { region: None, rotation, mirrored });
            }
        }
    }
}

#[test]
fn pixels_of_a_specification_of_bytes_are_its_bytes_and_no_pixels_of_floats() {
    let (bytes, floats) = (InputSpec::u8_nhwc(8), InputSpec::imagenet(8));
    let picture = Rgb::drawn(8, 8);
    let (mut decoder, mut preparer) = (Decoder::new(), Preparer::of_pixels(&bytes));
    let need = preparer.need();
    let frame = picture.frame();
    let found = preparer.prepare(decoder.open(&frame, &need).unwrap()).unwrap();
    assert!(matches!(found.data(), TensorData::U8(_)), "{found:?}");
    let pixels = vec![0; 3 * 8 * 8];
    assert!(InputTensor::from_pixels(&floats, pixels.clone()).is_some());
    assert!(InputTensor::from_pixels(&bytes, pixels.clone()).is_none());
    assert!(InputTensor::from_pixels(&floats, pixels[1..].to_vec()).is_none());
}
