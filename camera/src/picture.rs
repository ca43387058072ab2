//! Picture files that hold pixels, PNG and BMP, decoded within limits; a JPEG is told apart and left alone.

use std::io::{self, Cursor};
use std::panic::{AssertUnwindSafe, catch_unwind};

use png::{ColorType, Transformations};
use zune_bmp::zune_core::bytestream::ZCursor;
use zune_bmp::zune_core::options::DecoderOptions;
use zune_bmp::{BmpDecoder, BmpDecoderErrors};

/// What the first bytes of a file say that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureFormat {
    /// ISO/IEC 10918-1: begins with a start-of-image marker.
    Jpeg,
    /// PNG, third edition, section 5.2.
    Png,
    /// A Windows bitmap: begins with `BM`.
    Bmp,
}

impl PictureFormat {
    /// The format of a file, whatever its name is; `None` for one that is not read here.
    #[must_use]
    pub fn of(file: &[u8]) -> Option<Self> {
        match file {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some(Self::Png),
            [b'B', b'M', ..] => Some(Self::Bmp),
            _ => None,
        }
    }
}

/// How large a picture may be; asked before memory is taken for its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureLimits {
    /// The most pixels on either side.
    pub side: u32,
    /// The most pixels in all.
    pub pixels: u64,
}

impl PictureLimits {
    fn admit(self, width: u32, height: u32) -> Result<(), PictureError> {
        let pixels = u64::from(width) * u64::from(height);
        if width == 0 || height == 0 {
            return Err(PictureError::Empty { width, height });
        }
        if width > self.side || height > self.side || pixels > self.pixels {
            return Err(PictureError::TooLarge { width, height, limits: self });
        }
        Ok(())
    }
}

/// A PNG file of packed RGB rows from the top, 8 bits a channel.
///
/// # Errors
/// What `into` answers; `InvalidInput` where the pixels are not `width × height × 3` bytes.
pub fn write_png(width: u32, height: u32, rgb: &[u8], into: impl io::Write) -> io::Result<()> {
    let mut encoder = png::Encoder::new(into, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(rgb)?;
        writer.finish()
    });
    written.map_err(|error| match error {
        png::EncodingError::IoError(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidInput, other),
    })
}

/// A decoded picture: packed RGB rows from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels, at least 1.
    pub width: u32,
    /// Pixels, at least 1.
    pub height: u32,
    /// `width × height × 3` bytes.
    pub rgb: Vec<u8>,
}

/// A picture that is not decoded.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The picture has no pixels.
    #[error("a picture of {width}x{height} has no pixels")]
    Empty {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The picture is beyond the limits.
    #[error(
        "a picture of {width}x{height} is beyond the limits of {} pixels a side and {} in all: make it smaller",
        .limits.side, .limits.pixels
    )]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// What is allowed.
        limits: PictureLimits,
    },
    /// The PNG is damaged or ends early.
    #[error("the PNG file is damaged")]
    Png(#[from] png::DecodingError),
    /// The BMP is damaged, ends early, or is of a kind that is not read.
    #[error("the BMP file is damaged: {reason}")]
    Bmp {
        /// The decoder's reason.
        reason: String,
    },
    /// A JPEG: it is decoded where frames are, not here.
    #[error("a JPEG is not decoded here")]
    Jpeg,
    /// The decoder gave up without a word.
    #[error("the decoder failed on the file")]
    DecoderFailed,
}

/// Decodes a PNG or BMP file; transparency is ignored, 16 bits a channel become 8, grey becomes RGB.
///
/// # Errors
/// [`PictureError`] when the file is damaged, beyond the limits, or of a format that is not decoded here.
pub fn decode(format: PictureFormat, file: &[u8], limits: PictureLimits) -> Result<Picture, PictureError> {
    let decoded = catch_unwind(AssertUnwindSafe(|| match format {
        PictureFormat::Jpeg => Err(PictureError::Jpeg),
        PictureFormat::Png => decode_png(file, limits),
        PictureFormat::Bmp => decode_bmp(file, limits),
    }));
    // A panic of the decoder must not cost the camera: nothing of what it worked on is used afterwards.
    decoded.unwrap_or(Err(PictureError::DecoderFailed))
}

fn decode_png(file: &[u8], limits: PictureLimits) -> Result<Picture, PictureError> {
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info()?;
    let (width, height) = (header.width, header.height);
    limits.admit(width, height)?;
    let mut reader = decoder.read_info()?;
    let bytes = reader.output_buffer_size().ok_or(PictureError::TooLarge { width, height, limits })?;
    let mut pixels = vec![0; bytes];
    let frame = reader.next_frame(&mut pixels)?;
    pixels.truncate(frame.buffer_size());
    let rgb = match frame.color_type {
        ColorType::Grayscale => repeat_grey(&pixels, 1),
        ColorType::GrayscaleAlpha => repeat_grey(&pixels, 2),
        ColorType::Rgba => drop_alpha(&pixels),
        ColorType::Rgb | ColorType::Indexed => pixels,
    };
    Ok(Picture { width, height, rgb })
}

fn decode_bmp(file: &[u8], limits: PictureLimits) -> Result<Picture, PictureError> {
    let damaged = |reason: BmpDecoderErrors| PictureError::Bmp { reason: format!("{reason:?}").trim().to_owned() };
    let most = limits.side as usize;
    let options = DecoderOptions::new_safe().set_max_width(most).set_max_height(most).set_strict_mode(true);
    let mut decoder = BmpDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(damaged)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let side = |side| u32::try_from(side).unwrap_or(u32::MAX);
    let (width, height) = (side(width), side(height));
    limits.admit(width, height)?;
    let channels = decoder.colorspace().map_or(0, |space| space.num_components());
    let pixels = decoder.decode().map_err(damaged)?;
    let rgb = match channels {
        1 => repeat_grey(&pixels, 1),
        3 => pixels,
        4 => drop_alpha(&pixels),
        other => return Err(PictureError::Bmp { reason: format!("{other} channels are not read") }),
    };
    Ok(Picture { width, height, rgb })
}

/// Grey pixels of `stride` bytes as RGB.
fn repeat_grey(pixels: &[u8], stride: usize) -> Vec<u8> {
    pixels.iter().step_by(stride).flat_map(|&grey| [grey; 3]).collect()
}

fn drop_alpha(rgba: &[u8]) -> Vec<u8> {
    rgba.as_chunks::<4>().0.iter().flat_map(|&[red, green, blue, _]| [red, green, blue]).collect()
}

/// Files for tests, here and in the sources.
#[cfg(test)]
pub(crate) mod files {
    /// A JPEG whose pixels are `(x, y, 200)`.
    pub(crate) fn jpeg(width: u16, height: u16) -> Vec<u8> {
        let mut file = Vec::new();
        jpeg_encoder::Encoder::new(&mut file, 90)
            .encode(&pixels(width.into(), height.into()), width, height, jpeg_encoder::ColorType::Rgb)
            .unwrap();
        file
    }

    /// A PNG with the same pixels.
    pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
        png_of(width, height, png::ColorType::Rgb, &pixels(width, height))
    }

    /// A PNG of 8 bits a channel.
    pub(crate) fn png_of(width: u32, height: u32, color: png::ColorType, pixels: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(pixels).unwrap();
        file
    }

    /// A BMP of 24 bits a pixel, rows from the bottom, with the same pixels.
    pub(crate) fn bmp(width: u32, height: u32) -> Vec<u8> {
        let padding = (4 - width as usize * 3 % 4) % 4;
        let mut data = Vec::new();
        for row in pixels(width, height).chunks(width as usize * 3).rev() {
            data.extend(row.chunks(3).flat_map(|rgb| [rgb[2], rgb[1], rgb[0]]));
            data.extend(vec![0; padding]);
        }
        let mut file = b"BM".to_vec();
        file.extend((54 + data.len() as u32).to_le_bytes());
        file.extend([0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0]);
        file.extend(width.to_le_bytes());
        file.extend(height.to_le_bytes());
        file.extend([1, 0, 24, 0]);
        file.extend([0; 24]);
        file.extend(data);
        file
    }

    fn pixels(width: u32, height: u32) -> Vec<u8> {
        (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 200])).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: PictureLimits = PictureLimits { side: 1000, pixels: 100_000 };

    #[test]
    fn png_and_bmp_give_the_same_pixels_from_the_top() {
        for (format, file) in [(PictureFormat::Png, files::png(5, 3)), (PictureFormat::Bmp, files::bmp(5, 3))] {
            assert_eq!(PictureFormat::of(&file), Some(format));
            let Picture { width, height, rgb } = decode(format, &file, LIMITS).unwrap();
            assert_eq!((width, height, rgb.len()), (5, 3, 45));
            assert_eq!(rgb[15 + 6..][..3], [2, 1, 200], "{format:?}");
        }
    }

    #[test]
    fn a_written_png_reads_back_as_it_was() {
        let rgb: Vec<u8> = (0..45).collect();
        let mut file = Vec::new();
        write_png(5, 3, &rgb, &mut file).unwrap();
        assert_eq!(decode(PictureFormat::Png, &file, LIMITS).unwrap(), Picture { width: 5, height: 3, rgb });
        assert!(write_png(5, 3, &[0; 44], Vec::new()).is_err());
    }

    #[test]
    fn grey_and_transparent_pictures_become_rgb() {
        let of =
            |color, pixels: &[u8]| decode(PictureFormat::Png, &files::png_of(2, 1, color, pixels), LIMITS).unwrap().rgb;
        assert_eq!(of(ColorType::Grayscale, &[7, 9]), [7, 7, 7, 9, 9, 9]);
        assert_eq!(of(ColorType::GrayscaleAlpha, &[7, 0, 9, 255]), [7, 7, 7, 9, 9, 9]);
        assert_eq!(of(ColorType::Rgba, &[1, 2, 3, 0, 4, 5, 6, 9]), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_file_cut_anywhere_in_its_pixels_is_refused() {
        for (format, file) in [(PictureFormat::Png, files::png(30, 20)), (PictureFormat::Bmp, files::bmp(30, 20))] {
            for length in [10, 60, file.len() / 2, file.len() * 3 / 4] {
                let outcome = decode(format, &file[..length], LIMITS);
                assert!(outcome.is_err(), "{format:?} cut at {length} of {}", file.len());
            }
        }
    }

    #[test]
    fn what_claims_to_be_huge_or_empty_is_refused_before_memory_is_taken() {
        for (width, height) in [(1001_u32, 1_u32), (999, 999), (u32::MAX, u32::MAX), (0, 5)] {
            let mut png = files::png(1, 1);
            png[16..20].copy_from_slice(&width.to_be_bytes());
            png[20..24].copy_from_slice(&height.to_be_bytes());
            decode(PictureFormat::Png, &png, LIMITS).unwrap_err();
            let mut bmp = files::bmp(1, 1);
            bmp[18..22].copy_from_slice(&width.to_le_bytes());
            bmp[22..26].copy_from_slice(&height.to_le_bytes());
            decode(PictureFormat::Bmp, &bmp, LIMITS).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn damaged_files_never_fail_but_with_a_reason(
            is_png in any::<bool>(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)
        ) {
            let (format, mut file) =
                if is_png { (PictureFormat::Png, files::png(9, 7)) } else { (PictureFormat::Bmp, files::bmp(9, 7)) };
            for (place, byte) in damage {
                let place = place.index(file.len());
                file[place] = byte;
            }
            if let Ok(picture) = decode(format, &file, LIMITS) {
                prop_assert_eq!(picture.rgb.len() as u64, u64::from(picture.width) * u64::from(picture.height) * 3);
            }
        }
    }
}
