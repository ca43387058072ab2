//! Fuzz targets: one function for each way in for bytes from outside. Each takes any bytes, and panics where a promise is
//! broken; a fuzzer, the kept corpus (`tests/front_end/corpus`) or a property test calls it.

use crate::decode::{Decoder, View};
use crate::frame::{FrameView, PixelFormat, Region};
use crate::input::{Element, InputSpec, Jpeg, ResizeRule};
use crate::orientation::Rotation;
use crate::prepare::Preparer;
use crate::tensor::TensorData;

/// Sides of the tensor: small, so that JPEGs are decoded at every size.
const SIDE: u32 = 5;

/// Decodes `bytes` as a JPEG, at reduced size and in full, in parts and turned. Two decoders must agree on the picture's
/// size, and a picture that was refused must leave nothing behind for the next one.
///
/// # Panics
/// Where a decoder does, or a promise is broken.
pub fn fuzz_jpeg(bytes: &[u8]) {
    let frame = FrameView::jpeg(bytes);
    let mut whole = Decoder::new();
    let size = whole.decode(&frame).ok().map(|view| view.size());
    let view = View { region: None, rotation: Rotation::Quarter, mirrored: true };
    let mut turned = Decoder::new().with_view(view);
    for jpeg in [Jpeg::Reduced, Jpeg::Full] {
        let mut preparer = Preparer::new(&InputSpec { jpeg, ..InputSpec::imagenet(SIDE) });
        let need = preparer.need();
        let mut decoder = Decoder::new();
        if let Ok(picture) = decoder.open(&frame, &need) {
            if let Some(size) = size {
                assert_eq!(picture.size(), size, "the decoders agree on the size");
            }
            check(&mut preparer, picture);
        }
        if let Ok(picture) = turned.open(&frame, &need) {
            check(&mut preparer, picture);
        }
        let region = Some(Region { x: 1, y: 2, width: 3, height: 4 });
        if let Ok(picture) = decoder.open(&FrameView { region, ..frame }, &need) {
            check(&mut preparer, picture);
        }
    }
}

/// Reads a description of a raw frame from the first eight bytes and takes the rest as its pixels: format, resize rule,
/// width, height, padding of rows, and a region.
///
/// # Panics
/// Where the front-end does, or makes numbers that are none.
pub fn fuzz_raw(bytes: &[u8]) {
    let Some((&[format, rule, width, height, padding, x, y, side], pixels)) = bytes.split_first_chunk() else { return };
    let format = PixelFormat::ALL[usize::from(format) % PixelFormat::ALL.len()];
    let (width, height) = (u32::from(width), u32::from(height));
    let stride = u32::try_from(format.smallest_stride(width)).unwrap_or(u32::MAX).saturating_add(u32::from(padding));
    let region = (side > 0).then_some(Region { x: u32::from(x), y: u32::from(y), width: u32::from(side), height: 1 });
    let resize = match rule % 3 {
        0 => ResizeRule::ShortSide { short_side: SIDE + 2 },
        1 => ResizeRule::Squash,
        _ => ResizeRule::Letterbox { pad: rule, anchor: crate::input::Anchor::Center },
    };
    let base = if rule & 64 == 0 { InputSpec::imagenet(SIDE) } else { InputSpec::u8_nhwc(SIDE) };
    let mut preparer = Preparer::new(&InputSpec { resize, ..base });
    let need = preparer.need();
    let mut decoder = Decoder::new();
    if let Ok(picture) = decoder.open(&FrameView { format, width, height, stride, region, bytes: pixels }, &need) {
        check(&mut preparer, picture);
    }
}

fn check(preparer: &mut Preparer, picture: crate::Picture<'_>) {
    let tensor = preparer.prepare(picture).expect("a picture that was opened is whole");
    match tensor.data() {
        TensorData::F32(elements) => assert!(elements.iter().all(|element| element.is_finite()), "floats are numbers"),
        TensorData::U8(elements) | TensorData::Pixels(elements) => {
            assert_eq!(elements.len() as u32, 3 * SIDE * SIDE, "{:?}", Element::U8);
        }
    }
}
