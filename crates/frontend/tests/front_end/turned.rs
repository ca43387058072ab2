//! Pictures that do not stand upright: by EXIF, by how a camera is mounted, and both.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use margay_frontend::decode::View;
use margay_frontend::{Decoder, FrameView, InputSpec, Orientation, Preparer, Region, ResizeRule, Rotation, TensorData};

use crate::pictures::{Rgb, distance, floats, tensor};

/// An Exif segment that holds one orientation.
fn exif(value: u8) -> Vec<u8> {
    [b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[value, 0, 0, 0, 0, 0, 0]].concat()
}

fn jpeg(picture: &Rgb, orientation: Option<u8>) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 95);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    if let Some(value) = orientation {
        encoder.add_app_segment(1, &exif(value)).unwrap();
    }
    encoder.encode(&picture.bytes, picture.width as u16, picture.height as u16, ColorType::Rgb).unwrap();
    file
}

/// The picture as it stands upright, pixel by pixel.
fn upright(picture: &Rgb, orientation: Orientation, transposed: bool) -> Rgb {
    let stored = (picture.width, picture.height);
    let (width, height) = if transposed { (stored.1, stored.0) } else { stored };
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let bytes = places.flat_map(|place| {
        let (x, y) = orientation.stored(place, stored);
        picture.pixel(x, y)
    });
    Rgb { width, height, bytes: bytes.collect() }
}

#[test]
fn a_jpeg_stands_as_its_exif_orientation_says() {
    let picture = Rgb::drawn(120, 80);
    for resize in [ResizeRule::ShortSide { short_side: 40 }, ResizeRule::Squash] {
        let spec = InputSpec { width: 40, height: 24, resize, ..InputSpec::imagenet(40) };
        for value in 1..=8 {
            let orientation = Orientation::from_exif(u16::from(value)).unwrap();
            let expected = floats(tensor(&spec, &upright(&picture, orientation, value > 4).frame()));
            let found = floats(tensor(&spec, &FrameView::jpeg(&jpeg(&picture, Some(value)))));
            let (mean, largest) = distance(&found, &expected);
            assert!(mean < 0.03 && largest < 0.3, "{value}, {resize:?}: mean {mean}, largest {largest}");
        }
    }
    let spec = InputSpec::imagenet(32);
    let plain = tensor(&spec, &FrameView::jpeg(&jpeg(&picture, None)));
    assert_eq!(tensor(&spec, &FrameView::jpeg(&jpeg(&picture, Some(9)))), plain, "a number that means nothing");
}

#[test]
fn a_cameras_region_is_cut_out_and_then_turned() {
    let picture = Rgb::drawn(120, 80);
    let region = Region { x: 10, y: 20, width: 60, height: 44 };
    let mut part = Rgb { width: 60, height: 44, bytes: Vec::new() };
    for y in 20..64 {
        (10..70).for_each(|x| part.bytes.extend(picture.pixel(x, y)));
    }
    let spec = InputSpec { resize: ResizeRule::ShortSide { short_side: 37 }, ..InputSpec::u8_nhwc(32) };
    for (rotation, mirrored) in [(Rotation::Quarter, false), (Rotation::Half, true), (Rotation::ThreeQuarters, true)] {
        let mut decoder = Decoder::new().with_view(View { region: Some(region), rotation, mirrored });
        let mut preparer = Preparer::new(&spec);
        let need = preparer.need();
        let frame = picture.frame();
        let found = preparer.prepare(decoder.open(&frame, &need).unwrap()).unwrap().data().clone();
        let turned = upright(&part, Orientation::turned(rotation, mirrored), rotation != Rotation::Half);
        let (TensorData::U8(found), TensorData::U8(expected)) = (found, tensor(&spec, &turned.frame())) else {
            panic!("both are bytes")
        };
        // The turned weights are rounded from the other end.
        assert!(found.iter().zip(&expected).all(|(a, b)| a.abs_diff(*b) <= 1), "{rotation:?} {mirrored}");
    }
}
