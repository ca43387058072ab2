//! JPEG files and the pictures of Motion-JPEG streams, through zune-jpeg in its strict mode.
//!
//! What the decoder does not find, nobody does: data that is missing between two intact stretches, with the marker at
//! the end in place, comes out as a flat area. Drivers mark such frames as faulty, and the camera drops them.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{DecodeError, check_size, rgb_bytes};
use crate::geometry::Size;

/// Largest number of scans of a progressive JPEG. Encoders write about ten; each costs a pass over the whole image.
const MAX_SCANS: usize = 64;

const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// Decodes `bytes` into `rgb`, which takes the image's length and keeps its capacity.
pub(super) fn decode(bytes: &[u8], rgb: &mut Vec<u8>) -> Result<Size, DecodeError> {
    let refused = |error: zune_jpeg::errors::DecodeErrors| DecodeError::Jpeg {
        bytes: bytes.len(),
        reason: format!("{error:?}").trim_matches(['"', '\n']).replace('\n', " "),
    };
    let options = DecoderOptions::new_fast()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(refused)?;
    if matches!(decoder.input_colorspace(), Some(ColorSpace::CMYK | ColorSpace::YCCK)) {
        let reason = "its colours are CMYK, which no camera delivers: convert it to RGB".to_owned();
        return Err(DecodeError::Jpeg { bytes: bytes.len(), reason });
    }
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let size = check_size(width as u32, height as u32)?;
    if !has_end(bytes) {
        return Err(DecodeError::Truncated { bytes: bytes.len() });
    }
    rgb.resize(rgb_bytes(size), 0);
    decoder.decode_into(rgb).map_err(refused)?;
    Ok(size)
}

/// Whether an end-of-image marker follows the start of the first scan (ITU-T T.81, annex B). Within a scan a byte ff
/// is always followed by 00, so a marker found there is one; cameras may pad behind it.
fn has_end(bytes: &[u8]) -> bool {
    let Some(scan) = first_scan(bytes) else { return false };
    bytes[scan..].windows(2).rev().any(|pair| pair == [0xff, END_OF_IMAGE])
}

/// Offset of the first start-of-scan marker, found by walking the segments before it.
fn first_scan(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let &[0xff, marker] = bytes.get(at..at + 2)? else {
            at += 1;
            continue;
        };
        at += match marker {
            START_OF_SCAN => return Some(at),
            0xff => 1,
            0x00 | 0x01 | START_OF_IMAGE | 0xd0..=0xd7 => 2,
            _ => 2 + usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?])),
        };
    }
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder};
    use proptest::prelude::*;

    use super::*;

    fn encoded(width: u16, height: u16) -> Vec<u8> {
        let pixels: Vec<u8> = (0..u32::from(width) * u32::from(height) * 3).map(|n| (n * 37 % 251) as u8).collect();
        let mut jpeg = Vec::new();
        Encoder::new(&mut jpeg, 90).encode(&pixels, width, height, ColorType::Rgb).unwrap();
        jpeg
    }

    /// The same file with another size in its frame header (SOF0: length 2, precision 1, height 2, width 2).
    fn with_size(mut jpeg: Vec<u8>, width: u16, height: u16) -> Vec<u8> {
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        jpeg[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
        jpeg[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
        jpeg
    }

    #[test]
    fn a_whole_jpeg_is_decoded_and_padding_behind_it_is_allowed() {
        let mut jpeg = encoded(40, 30);
        let mut rgb = Vec::new();
        assert_eq!(decode(&jpeg, &mut rgb).unwrap(), Size { width: 40, height: 30 });
        assert_eq!(rgb.len(), 40 * 30 * 3);
        jpeg.extend([0; 100]);
        decode(&jpeg, &mut rgb).unwrap();
    }

    #[test]
    fn a_jpeg_cut_anywhere_is_refused() {
        let jpeg = encoded(40, 30);
        for length in 0..jpeg.len() {
            let error = decode(&jpeg[..length], &mut Vec::new()).unwrap_err();
            assert!(matches!(error, DecodeError::Truncated { .. } | DecodeError::Jpeg { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn a_jpeg_with_a_foreign_marker_in_its_data_is_refused() {
        let mut jpeg = encoded(200, 200);
        let scan = first_scan(&jpeg).unwrap();
        jpeg.splice(scan + 400..scan + 402, [0xff, 0xf0]);
        let error = decode(&jpeg, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, DecodeError::Jpeg { .. }), "{error}");
    }

    #[test]
    fn a_small_file_that_claims_a_huge_image_takes_no_memory() {
        for (width, height) in [(60_000, 60_000), (17_000, 8), (6_000, 6_000)] {
            let mut rgb = Vec::new();
            let error = decode(&with_size(encoded(16, 16), width, height), &mut rgb).unwrap_err();
            assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
            assert_eq!(rgb.capacity(), 0);
        }
    }

    #[test]
    fn an_image_without_area_is_refused() {
        let error = decode(&with_size(encoded(16, 16), 0, 16), &mut Vec::new()).unwrap_err();
        assert!(matches!(error, DecodeError::Jpeg { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn damaged_jpegs_never_panic(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)
        ) {
            let mut jpeg = encoded(33, 17);
            for (place, byte) in damage {
                let place = place.index(jpeg.len());
                jpeg[place] = byte;
            }
            let _ = decode(&jpeg, &mut Vec::new());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(decode(&bytes, &mut Vec::new()).is_err());
        }
    }
}
