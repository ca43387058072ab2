//! JPEGs: the decoder of our own against zune-jpeg, and everything that is wrong with a file.

use std::fs;
use std::path::Path;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use margay_frontend::decode::DecodeError;
use margay_frontend::fuzz::fuzz_jpeg;
use margay_frontend::{Decoder, FrameView, InputSpec, Jpeg, Preparer, ResizeRule};
use proptest::prelude::*;

use crate::pictures::{Rgb, decoded, distance, floats, tensor};

/// A file, with what `set` changes of its encoder.
fn encoded(picture: &Rgb, set: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 90);
    set(&mut encoder);
    encoder.encode(&picture.bytes, picture.width as u16, picture.height as u16, ColorType::Rgb).unwrap();
    file
}

fn open(file: &[u8]) -> Result<(), DecodeError> {
    let preparer = Preparer::new(&InputSpec::imagenet(16));
    Decoder::new().open(&FrameView::jpeg(file), &preparer.need()).map(|_| ())
}

#[test]
fn whole_jpegs_become_what_zune_jpeg_makes_of_them() {
    const FACTORS: [SamplingFactor; 4] =
        [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_1_2, SamplingFactor::F_2_2];
    for (width, height) in [(64, 64), (123, 77), (17, 130), (9, 5)] {
        let picture = Rgb::drawn(width, height);
        for factor in FACTORS {
            let kinds = [(0, false, false), (3, false, false), (0, true, false), (0, false, true)];
            for (restarts, optimised, progressive) in kinds {
                let file = encoded(&picture, |encoder| {
                    encoder.set_sampling_factor(factor);
                    encoder.set_restart_interval(restarts);
                    encoder.set_optimized_huffman_tables(optimised);
                    encoder.set_progressive(progressive);
                });
                let spec = InputSpec { jpeg: Jpeg::Full, resize: ResizeRule::Squash, ..InputSpec::imagenet(31) };
                let case = format!("{width}x{height} {factor:?}, restarts {restarts}, {optimised}, {progressive}");
                let expected = floats(tensor(&spec, &decoded(&FrameView::jpeg(&file)).frame()));
                let (mean, largest) = distance(&floats(tensor(&spec, &FrameView::jpeg(&file))), &expected);
                assert!(mean < 0.03 && largest < 0.4, "{case}: mean {mean}, largest {largest}");
            }
        }
    }
}

#[test]
fn a_grey_jpeg_is_grey() {
    let mut file = Vec::new();
    let grey: Vec<u8> = (0..60 * 40).map(|n| (n % 60 * 4) as u8).collect();
    Encoder::new(&mut file, 95).encode(&grey, 60, 40, ColorType::Luma).unwrap();
    let spec = InputSpec { mean: [0.0; 3], std: [1.0; 3], ..InputSpec::imagenet(24) };
    let planes = floats(tensor(&spec, &FrameView::jpeg(&file)));
    assert_eq!(planes[..24 * 24], planes[24 * 24..2 * 24 * 24]);
    assert_eq!(planes[..24 * 24], planes[2 * 24 * 24..]);
    let expected = floats(tensor(&spec, &decoded(&FrameView::jpeg(&file)).frame()));
    assert!(distance(&planes, &expected).1 < 0.02);
}

#[test]
fn a_picture_of_one_colour_keeps_it_at_every_reduction() {
    let picture = Rgb { width: 320, height: 320, bytes: [200, 100, 50].repeat(320 * 320) };
    let spec = |side| InputSpec { scale: 1.0, mean: [0.0; 3], std: [1.0; 3], ..InputSpec::imagenet(side) };
    for factor in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2] {
        let file = encoded(&picture, |encoder| encoder.set_sampling_factor(factor));
        for side in [300, 100, 50, 20, 8] {
            let planes = floats(tensor(&spec(side), &FrameView::jpeg(&file)));
            for (plane, colour) in planes.chunks_exact((side * side) as usize).zip([200.0, 100.0, 50.0]) {
                assert!(
                    plane.iter().all(|byte| (byte - colour).abs() <= 3.0),
                    "{factor:?} at {side}: {:?}",
                    &plane[..4]
                );
            }
        }
    }
}

/// The same file without the segments that `marker` begins.
fn without_segments(file: &[u8], marker: u8) -> Vec<u8> {
    let (mut kept, mut at) = (file[..2].to_vec(), 2);
    while file[at + 1] != 0xda {
        let end = at + 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        if file[at + 1] != marker {
            kept.extend(&file[at..end]);
        }
        at = end;
    }
    kept.extend(&file[at..]);
    kept
}

#[test]
fn a_motion_jpeg_picture_without_tables_has_those_of_the_standard() {
    let file = encoded(&Rgb::drawn(80, 64), |_| ());
    let bare = without_segments(&file, 0xc4);
    assert!(bare.len() + 400 < file.len(), "the tables are gone");
    let spec = InputSpec::imagenet(32);
    assert_eq!(tensor(&spec, &FrameView::jpeg(&bare)), tensor(&spec, &FrameView::jpeg(&file)));
}

#[test]
fn a_jpeg_cut_anywhere_is_refused() {
    let file = encoded(&Rgb::drawn(40, 30), |encoder| encoder.set_restart_interval(2));
    for length in 0..file.len() {
        let error = open(&file[..length]).unwrap_err();
        assert!(matches!(error, DecodeError::Truncated { .. } | DecodeError::Jpeg { .. }), "{length}: {error}");
    }
    open(&[file, vec![0; 100]].concat()).expect("cameras may pad behind the end");
}

#[test]
fn a_jpeg_that_lost_data_in_the_middle_is_refused_where_that_can_be_seen() {
    let file = encoded(&Rgb::drawn(200, 160), |encoder| encoder.set_sampling_factor(SamplingFactor::F_2_2));
    let scan = file.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap() + 14;
    let mut refused = 0;
    let cuts = (scan..file.len() - 300).step_by(97);
    let count = cuts.len();
    for at in cuts {
        let mut damaged = file.clone();
        damaged.drain(at..at + 256);
        refused += usize::from(open(&damaged).is_err());
    }
    assert_eq!(refused, count, "a quarter of a kilobyte is missed at the end, if not before");
}

#[test]
fn restart_markers_that_are_missing_or_out_of_order_are_refused() {
    let file = encoded(&Rgb::drawn(64, 64), |encoder| encoder.set_restart_interval(4));
    let marker = file.windows(2).rposition(|pair| pair[0] == 0xff && (0xd0..=0xd7).contains(&pair[1])).unwrap();
    let mut turned = file.clone();
    turned[marker + 1] ^= 3;
    let mut missing = file;
    missing.drain(marker..marker + 2);
    for damaged in [turned, missing] {
        let error = open(&damaged).unwrap_err();
        assert!(error.to_string().contains("cannot be decoded"), "{error}");
    }
}

/// The same file with another height and width in its frame header (SOF0: length 2, precision 1, height 2, width 2).
fn with_size(mut file: Vec<u8>, width: u16, height: u16) -> Vec<u8> {
    let frame = file.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    file[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    file[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    file
}

#[test]
fn sizes_that_lie_are_refused() {
    let file = encoded(&Rgb::drawn(16, 16), |_| ());
    for (width, height) in [(60_000, 60_000), (16_384, 16_384), (17_000, 8)] {
        let error = open(&with_size(file.clone(), width, height)).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
    }
    for (width, height) in [(0, 16), (16, 0), (0, 0), (64, 64), (8, 8)] {
        let error = open(&with_size(file.clone(), width, height)).unwrap_err();
        assert!(matches!(error, DecodeError::Jpeg { .. }), "{width}x{height}: {error}");
    }
}

#[test]
fn four_colours_and_deep_samples_are_refused_with_what_to_do() {
    let mut file = Vec::new();
    Encoder::new(&mut file, 90).encode(&[100; 16 * 16 * 4], 16, 16, ColorType::Cmyk).unwrap();
    let error = open(&file).unwrap_err().to_string();
    assert!(error.contains("CMYK") && error.contains("RGB"), "{error}");
    let mut deep = encoded(&Rgb::drawn(16, 16), |_| ());
    let frame = deep.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    for bits in [12, 16] {
        deep[frame + 4] = bits;
        let error = open(&deep).unwrap_err();
        assert!(matches!(error, DecodeError::Jpeg { .. }), "{error}");
    }
}

#[test]
fn kept_files_are_read_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/front_end/corpus");
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 8, "{} files in {}", files.len(), folder.display());
    for file in files {
        fuzz_jpeg(&fs::read(&file).unwrap());
    }
}

proptest! {
    #[test]
    fn damaged_jpegs_never_panic(
        kind in 0_usize..4, damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)
    ) {
        let mut file = encoded(&Rgb::drawn(43, 29), |encoder| {
            encoder.set_sampling_factor([SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2][kind % 3]);
            encoder.set_restart_interval(if kind == 3 { 2 } else { 0 });
        });
        for (place, byte) in damage {
            let place = place.index(file.len());
            file[place] = byte;
        }
        fuzz_jpeg(&file);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz_jpeg(&bytes);
        fuzz_jpeg(&[&[0xff, 0xd8], bytes.as_slice()].concat());
    }
}
