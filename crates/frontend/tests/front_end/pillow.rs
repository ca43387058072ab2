//! Against Pillow: a plain second implementation of its resampling here, and Pillow itself where Python has it.

use std::process::Command;

use margay_frontend::{InputSpec, Jpeg, PixelFormat, ResizeRule};

use crate::pictures::{Rgb, decoded, distance, floats, photographs, raw_formats, tensor};

/// Bits of Pillow's weights (`libImaging/Resample.c`, `PRECISION_BITS`).
const BITS: i32 = 22;

/// Pillow's `resize(…, BILINEAR)`: across, rounded to bytes, then down.
fn resized(image: &Rgb, width: usize, height: usize) -> Rgb {
    let rows = weights(image.height, height);
    let columns = weights(image.width, width);
    let mut across = Rgb { width, height: image.height, bytes: Vec::new() };
    for y in 0..image.height {
        for (start, weights) in &columns {
            for channel in 0..3 {
                let pixels = (0..weights.len()).map(|k| image.pixel(start + k, y)[channel]);
                across.bytes.push(weighted(pixels, weights));
            }
        }
    }
    let mut down = Rgb { width, height, bytes: Vec::new() };
    for (start, weights) in &rows {
        for x in 0..width {
            for channel in 0..3 {
                let pixels = (0..weights.len()).map(|k| across.pixel(x, start + k)[channel]);
                down.bytes.push(weighted(pixels, weights));
            }
        }
    }
    down
}

fn weighted(pixels: impl Iterator<Item = u8>, weights: &[i32]) -> u8 {
    let sum: i32 = pixels.zip(weights).map(|(pixel, weight)| i32::from(pixel) * weight).sum();
    ((sum + (1 << (BITS - 1))) >> BITS).clamp(0, 255) as u8
}

/// `precompute_coeffs` and `normalize_coeffs_8bpc` for the triangle filter.
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<i32>)> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    (0..to)
        .map(|place| {
            let centre = (place as f64 + 0.5) * scale;
            let start = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let weight = |at: usize| (1.0 - ((at as f64 - centre + 0.5) / support).abs()).max(0.0);
            let total: f64 = (start..end).map(weight).sum();
            let whole = |at: usize| (weight(at) / total * f64::from(1 << BITS) + 0.5) as i32;
            (start, (start..end).map(whole).collect())
        })
        .collect()
}

/// torchvision's preparation for ImageNet: short side to 256, the middle 224.
fn expected(image: &Rgb) -> Vec<f32> {
    let spec = InputSpec::imagenet(224);
    let ResizeRule::ShortSide { short_side } = spec.resize else { panic!("the preset crops the middle") };
    let (short, side) = (image.width.min(image.height), short_side as usize);
    let small = resized(image, image.width * side / short, image.height * side / short);
    cropped(&small, &spec)
}

fn cropped(small: &Rgb, spec: &InputSpec) -> Vec<f32> {
    // Python's round takes halves to the even number.
    let offset = |length: usize| ((length - 224) as f64 / 2.0).round_ties_even() as usize;
    let (left, top) = (offset(small.width), offset(small.height));
    let places = (0..3).flat_map(|channel| (0..224).flat_map(move |y| (0..224).map(move |x| (channel, x, y))));
    places
        .map(|(channel, x, y)| {
            let byte = f32::from(small.pixel(left + x, top + y)[channel]);
            (byte * spec.scale - spec.mean[channel]) / spec.std[channel]
        })
        .collect()
}

fn imagenet(jpeg: Jpeg) -> InputSpec {
    InputSpec { jpeg, ..InputSpec::imagenet(224) }
}

#[test]
fn the_photographs_become_the_tensors_that_pillows_resampling_makes() {
    for (name, _, still) in photographs() {
        let expected = expected(&decoded(&still.frame()));
        let (mean, largest) = distance(&floats(tensor(&imagenet(Jpeg::Full), &still.frame())), &expected);
        println!("{name}: mean {mean:.4}, largest {largest:.4}");
        assert!(mean < 0.02 && largest < 0.15, "{name}: mean {mean}, largest {largest}");
        let (mean, _) = distance(&floats(tensor(&imagenet(Jpeg::Reduced), &still.frame())), &expected);
        assert!(mean < 0.03, "{name}, reduced: mean {mean}");
    }
}

#[test]
fn every_cameras_format_becomes_the_tensor_that_conversion_before_resampling_makes() {
    let drawn = ("a drawn picture".to_owned(), Rgb::drawn(643, 481), raw_formats().collect::<Vec<_>>());
    let photographs = photographs().into_iter().enumerate().map(|(number, (name, _, still))| {
        let formats = raw_formats().cycle().skip(number * 2).take(2).collect();
        (name, decoded(&still.frame()), formats)
    });
    for (name, picture, formats) in photographs.chain([drawn]) {
        for format in formats {
            let (bytes, stride) = picture.in_format(format, 6);
            let frame = margay_frontend::FrameView { format, stride, bytes: &bytes, ..picture.frame() };
            let reference = expected(&decoded(&frame));
            let (mean, largest) = distance(&floats(tensor(&imagenet(Jpeg::Full), &frame)), &reference);
            assert!(mean < 0.02 && largest < 0.15, "{name} as {format:?}: mean {mean}, largest {largest}");
        }
    }
}

#[test]
fn at_any_size_reduced_jpegs_stay_near_whole_ones() {
    for (name, _, still) in photographs() {
        let frame = still.frame();
        if frame.format != PixelFormat::Jpeg {
            continue;
        }
        for side in [40, 64, 80, 96, 128, 160, 192] {
            let spec = |jpeg| InputSpec { jpeg, ..InputSpec::imagenet(side) };
            let whole = floats(tensor(&spec(Jpeg::Full), &frame));
            let (mean, _) = distance(&floats(tensor(&spec(Jpeg::Reduced), &frame)), &whole);
            assert!(mean < 0.03, "{name} at {side}: mean {mean}");
        }
    }
}

/// Prints the bytes of the middle 224 × 224 of each picture named.
const SCRIPT: &str = r#"
import sys
from PIL import Image
for path in sys.argv[1:]:
    image = Image.open(path).convert("RGB")
    short = min(image.size)
    image = image.resize((image.width * 256 // short, image.height * 256 // short), Image.BILINEAR)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    sys.stdout.buffer.write(image.crop((left, top, left + 224, top + 224)).tobytes())
"#;

#[test]
fn the_photographs_become_the_tensors_that_pillow_makes() {
    let python = std::env::var("MARGAY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let photographs = photographs();
    let paths = photographs.iter().map(|(_, path, _)| path);
    let output = Command::new(&python).args(["-c", SCRIPT]).args(paths).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        println!("skipped: python clients: pip install pillow; MARGAY_TEST_PYTHON names the interpreter");
        let required = std::env::var("MARGAY_TEST_REQUIRE").is_ok_and(|value| value == "1");
        assert!(!required, "Pillow is absent, and MARGAY_TEST_REQUIRE is 1");
        return;
    };
    let sizes = output.stdout.chunks_exact(224 * 224 * 3);
    assert_eq!(sizes.len(), photographs.len());
    for ((name, _, still), bytes) in photographs.iter().zip(sizes) {
        let image = Rgb { width: 224, height: 224, bytes: bytes.to_vec() };
        let expected = cropped(&image, &InputSpec::imagenet(224));
        for (jpeg, most) in [(Jpeg::Full, (0.02, 0.15)), (Jpeg::Reduced, (0.03, f32::MAX))] {
            let (mean, largest) = distance(&floats(tensor(&imagenet(jpeg), &still.frame())), &expected);
            println!("{name}, {jpeg:?}: mean {mean:.4}, largest {largest:.4}");
            assert!(mean < most.0 && largest < most.1, "{name}, {jpeg:?}: mean {mean}, largest {largest}");
        }
    }
}
