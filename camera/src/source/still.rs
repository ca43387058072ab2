//! One image file: opened without blocking, read within limits, passed through as it is (JPEG) or decoded (PNG, BMP).

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::error::SkipReason;
use super::jpeg::{DamagedJpeg, Found, MjpegScanner};
use super::limits::{MOST_ITEM_BYTES, MOST_SIDE};
use crate::format::PixelFormat;
use crate::picture::{self, Picture, PictureFormat, PictureLimits};

/// What an image file turned out to be; its bytes are in the caller's buffer.
#[derive(Debug)]
pub(super) struct Still {
    pub(super) format: PixelFormat,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) stride: u32,
}

/// A regular file, and what was known of it when it was opened.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) metadata: Metadata,
}

/// Opens a regular file. Neither a pipe nor a device can hold the caller up: they are opened without waiting, and
/// refused.
pub(super) fn open(path: &Path) -> Result<Opened, SkipReason> {
    let unreadable = |source| SkipReason::Unreadable { path: path.into(), source };
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = File::options();
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = options.open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(SkipReason::NotAFile { path: path.into() });
    }
    Ok(Opened { file, metadata })
}

/// Reads the image at `path` into `into`; `scratch` takes the file's bytes where they have to be decoded.
pub(super) fn read(path: &Path, scratch: &mut Vec<u8>, into: &mut Vec<u8>) -> Result<Still, SkipReason> {
    into.clear();
    read_whole(path, scratch)?;
    match PictureFormat::of(scratch) {
        Some(PictureFormat::Jpeg) => pass_through(path, scratch, into),
        Some(format) => decode(path, scratch, format, into),
        None => Err(SkipReason::NotAnImage { path: path.into() }),
    }
}

/// Reads a file that is not too large and does not change meanwhile.
fn read_whole(path: &Path, into: &mut Vec<u8>) -> Result<(), SkipReason> {
    let unreadable = |source| SkipReason::Unreadable { path: path.into(), source };
    let too_large = |bytes| SkipReason::TooLarge { path: path.into(), bytes, most: MOST_ITEM_BYTES };
    into.clear();
    let Opened { file, metadata } = open(path)?;
    if metadata.len() > MOST_ITEM_BYTES {
        return Err(too_large(metadata.len()));
    }
    // One byte more than allowed, to notice a file that has grown.
    let read = (&file).take(MOST_ITEM_BYTES + 1).read_to_end(into).map_err(unreadable)? as u64;
    if read > MOST_ITEM_BYTES {
        return Err(too_large(read));
    }
    let after = file.metadata().map_err(unreadable)?;
    if read != metadata.len() || version(&after) != version(&metadata) {
        return Err(SkipReason::Changed { path: path.into() });
    }
    Ok(())
}

/// What differs once somebody has written to a file.
fn version(metadata: &Metadata) -> (u64, Option<std::time::SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

/// Hands on a JPEG as it is. It is only followed to its end, so that a file that is still being copied is not taken
/// for a picture; whether it can be decoded is for the process that decodes it.
fn pass_through(path: &Path, file: &mut Vec<u8>, into: &mut Vec<u8>) -> Result<Still, SkipReason> {
    let found = MjpegScanner::new(file.len()).next(&mut file.as_slice(), into);
    let (width, height) = match found {
        Ok(Found::Picture { width, height, .. }) => (width, height),
        Ok(Found::Damaged { at, fault: fault @ DamagedJpeg::CutShort { .. } }) => {
            return Err(SkipReason::Damaged { path: path.into(), at, fault });
        }
        _ => (0, 0),
    };
    std::mem::swap(file, into);
    Ok(Still { format: PixelFormat::Jpeg, width, height, stride: 0 })
}

fn decode(path: &Path, file: &[u8], format: PictureFormat, into: &mut Vec<u8>) -> Result<Still, SkipReason> {
    const LIMITS: PictureLimits = PictureLimits { side: MOST_SIDE, pixels: MOST_ITEM_BYTES / 3 };
    let Picture { width, height, rgb } = picture::decode(format, file, LIMITS)
        .map_err(|source| SkipReason::Undecodable { path: path.into(), source })?;
    *into = rgb;
    Ok(Still { format: PixelFormat::Rgb24, width, height, stride: width * 3 })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::{fs, io};

    use rustix::fs::{CWD, Mode, mkfifoat};
    use tempfile::TempDir;

    use super::*;
    use crate::picture::files::{bmp, jpeg, png};

    /// A folder with one file of that name and content.
    fn file(name: &str, content: &[u8]) -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        (folder, path)
    }

    fn read_file(name: &str, content: &[u8]) -> Result<(Still, Vec<u8>), SkipReason> {
        let (_folder, path) = file(name, content);
        let mut into = b"what was here before".to_vec();
        let still = read(&path, &mut Vec::new(), &mut into)?;
        Ok((still, into))
    }

    #[test]
    fn a_jpeg_passes_through_as_it_is_with_its_size_from_its_header() {
        let jpeg = jpeg(60, 40);
        let (still, bytes) = read_file("a.jpg", &jpeg).unwrap();
        assert_eq!((still.format, still.width, still.height, still.stride), (PixelFormat::Jpeg, 60, 40, 0));
        assert_eq!(bytes, jpeg);
        let with_trailer = [&jpeg[..], b"more"].concat();
        assert_eq!(read_file("a.jpg", &with_trailer).unwrap().1, with_trailer);
    }

    #[test]
    fn a_jpeg_that_is_still_being_copied_is_skipped() {
        let jpeg = jpeg(60, 40);
        let outcome = read_file("a.jpg", &jpeg[..jpeg.len() - 1]);
        let cut = matches!(outcome, Err(SkipReason::Damaged { fault: DamagedJpeg::CutShort { .. }, at: 0, .. }));
        assert!(cut, "{outcome:?}");
    }

    #[test]
    fn png_and_bmp_are_decoded_whatever_their_names_say() {
        for file in [png(5, 3), bmp(5, 3)] {
            let (still, bytes) = read_file("a.jpg", &file).unwrap();
            assert_eq!((still.format, still.width, still.height, still.stride), (PixelFormat::Rgb24, 5, 3, 15));
            assert_eq!(bytes.len(), 45);
            assert_eq!(bytes[15 + 6..][..3], [2, 1, 200]);
        }
    }

    #[test]
    fn what_is_no_image_is_skipped() {
        for content in [&b""[..], b"GIF89a", b"no image", &png(5, 3)[..7]] {
            let outcome = read_file("a.png", content);
            assert!(matches!(outcome, Err(SkipReason::NotAnImage { .. })), "{outcome:?}");
        }
        let png = png(50, 30);
        let outcome = read_file("a.png", &png[..png.len() / 2]);
        assert!(matches!(outcome, Err(SkipReason::Undecodable { .. })), "{outcome:?}");
    }

    #[test]
    fn an_image_that_would_be_too_large_is_refused_before_it_is_decoded() {
        for (width, height) in [(16_385, 1), (16_384, 16_384), (u32::MAX, u32::MAX), (0, 5)] {
            let mut bmp = bmp(1, 1);
            bmp[18..22].copy_from_slice(&width.to_le_bytes());
            bmp[22..26].copy_from_slice(&height.to_le_bytes());
            let outcome = read_file("a.bmp", &bmp);
            assert!(matches!(outcome, Err(SkipReason::Undecodable { .. })), "{width}x{height}: {outcome:?}");
        }
    }

    #[test]
    fn a_file_above_the_limit_is_not_read() {
        let (_folder, path) = file("a.jpg", b"");
        fs::File::options().write(true).open(&path).unwrap().set_len(MOST_ITEM_BYTES + 1).unwrap();
        let mut scratch = Vec::new();
        let outcome = read(&path, &mut scratch, &mut Vec::new());
        assert!(matches!(outcome, Err(SkipReason::TooLarge { bytes, .. }) if bytes == MOST_ITEM_BYTES + 1));
        assert_eq!(scratch.capacity(), 0);
    }

    #[test]
    fn a_file_that_is_longer_or_shorter_than_it_said_is_skipped() {
        // Files of procfs say that they are empty.
        let outcome = read(Path::new("/proc/self/status"), &mut Vec::new(), &mut Vec::new());
        assert!(matches!(outcome, Err(SkipReason::Changed { .. })), "{outcome:?}");
    }

    #[test]
    fn neither_a_pipe_nor_a_folder_nor_nothing_holds_a_source_up() {
        let folder = TempDir::new().unwrap();
        let pipe = folder.path().join("pipe.jpg");
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        let read = |path: &Path| read(path, &mut Vec::new(), &mut Vec::new());
        assert!(matches!(read(&pipe), Err(SkipReason::NotAFile { .. })));
        assert!(matches!(read(folder.path()), Err(SkipReason::NotAFile { .. })));
        let gone = read(&folder.path().join("gone.jpg"));
        assert!(matches!(gone, Err(SkipReason::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound));
    }
}
