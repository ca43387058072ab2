//! Frames out of a stream of bytes: JPEG pictures by their markers, raw images by their length.

use std::io::{self, BufRead};

use super::jpeg::{DamagedJpeg, Found, MjpegScanner};
use super::limits::MOST_ITEM_BYTES;
use crate::format::PixelFormat;

/// So many bytes in which no picture is found are no stream of pictures.
const MOST_GARBAGE: u64 = 4 << 20;

/// An image without a header: every frame of the stream has this shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawShape {
    pub(super) format: PixelFormat,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Bytes from a row to the next.
    pub(super) stride: u32,
    /// Bytes of a frame; above 0.
    pub(super) bytes: usize,
}

impl RawShape {
    /// The shape of images without padding; `None` for what is no raw image, or too large for an item.
    pub(super) fn tight(format: PixelFormat, width: u32, height: u32) -> Option<Self> {
        let stride = u32::try_from(format.smallest_stride(width)).ok()?;
        let bytes = format.packed_len(width, height, stride).filter(|bytes| *bytes <= MOST_ITEM_BYTES)?;
        Some(Self { format, width, height, stride, bytes: usize::try_from(bytes).ok()? })
    }
}

/// How frames are told apart.
#[derive(Debug)]
pub(super) enum Framing {
    /// From start-of-image to end-of-image.
    Jpeg(MjpegScanner),
    /// By length.
    Raw(RawShape),
}

/// What reading a stream came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framed {
    /// A frame; its bytes are in [`FrameReader::bytes`]. Width and height of a JPEG are its header's.
    Frame { format: PixelFormat, width: u32, height: u32, stride: u32 },
    /// A picture that is none.
    Damaged(DamagedJpeg),
    /// Bytes without a picture, more than between two pictures.
    Garbage { bytes: u64 },
    /// The frame is not whole yet, and there are no more bytes now.
    Starved,
    /// The stream is over, after so many bytes of a frame.
    End { inside: usize },
}

/// Takes frames out of a stream that is given in pieces.
#[derive(Debug)]
pub(super) struct FrameReader {
    framing: Framing,
    bytes: Vec<u8>,
    /// The bytes are a frame that was handed out.
    whole: bool,
}

impl FrameReader {
    /// Frames that are JPEG pictures.
    pub(super) fn of_jpeg() -> Self {
        let limit = usize::try_from(MOST_ITEM_BYTES).unwrap_or(usize::MAX);
        Self { framing: Framing::Jpeg(MjpegScanner::new(limit)), bytes: Vec::new(), whole: false }
    }

    /// Frames that are raw images of one shape.
    pub(super) fn of_raw(shape: RawShape) -> Self {
        Self { framing: Framing::Raw(shape), bytes: Vec::new(), whole: false }
    }

    /// The frame that was read last.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Reads on. What `from` holds is used up before [`Framed::Starved`] is said.
    ///
    /// # Errors
    /// What reading answered, but for [`io::ErrorKind::WouldBlock`].
    pub(super) fn read(&mut self, from: &mut impl BufRead) -> io::Result<Framed> {
        if std::mem::take(&mut self.whole) {
            self.bytes.clear();
        }
        let framed = match &mut self.framing {
            Framing::Jpeg(scanner) => scan(scanner, from, &mut self.bytes),
            Framing::Raw(shape) => fill(*shape, from, &mut self.bytes),
        };
        match framed {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(self.starved()),
            Ok(framed @ Framed::Frame { .. }) => {
                self.whole = true;
                Ok(framed)
            }
            other => other,
        }
    }

    fn starved(&self) -> Framed {
        match &self.framing {
            Framing::Jpeg(scanner) if scanner.passed_over() > MOST_GARBAGE => {
                Framed::Garbage { bytes: scanner.passed_over() }
            }
            _ => Framed::Starved,
        }
    }
}

fn scan(scanner: &mut MjpegScanner, from: &mut impl BufRead, into: &mut Vec<u8>) -> io::Result<Framed> {
    Ok(match scanner.next(from, into)? {
        Found::Picture { width, height, .. } => Framed::Frame { format: PixelFormat::Jpeg, width, height, stride: 0 },
        Found::Damaged { fault: DamagedJpeg::CutShort { .. }, .. } => Framed::End { inside: into.len() },
        Found::Damaged { .. } if scanner.passed_over() > MOST_GARBAGE => {
            Framed::Garbage { bytes: scanner.passed_over() }
        }
        Found::Damaged { fault, .. } => Framed::Damaged(fault),
        Found::End => Framed::End { inside: 0 },
    })
}

fn fill(shape: RawShape, from: &mut impl BufRead, into: &mut Vec<u8>) -> io::Result<Framed> {
    let RawShape { format, width, height, stride, bytes } = shape;
    while into.len() < bytes {
        let held = from.fill_buf()?;
        if held.is_empty() {
            return Ok(Framed::End { inside: into.len() });
        }
        let taken = held.len().min(bytes - into.len());
        into.extend_from_slice(&held[..taken]);
        from.consume(taken);
    }
    Ok(Framed::Frame { format, width, height, stride })
}

/// Reads `stream` in pieces whose lengths its first byte gives, as [`crate::fuzz::fuzz_child_output`] says.
pub(crate) fn fuzz(bytes: &[u8]) {
    let Some((&first, stream)) = bytes.split_first() else { return };
    let shape = RawShape::tight(PixelFormat::Gray8, 5, 3).filter(|_| first & 1 == 1);
    let mut reader = shape.map_or_else(FrameReader::of_jpeg, FrameReader::of_raw);
    let (mut frames, mut taken) = (0_usize, 0_usize);
    for piece in stream.chunks(usize::from(first >> 1).max(1)) {
        let mut piece = Piece(piece);
        loop {
            match reader.read(&mut piece).expect("memory can be read") {
                Framed::Frame { .. } => {
                    let frame = reader.bytes();
                    if let Some(shape) = shape {
                        assert_eq!(frame.len(), shape.bytes, "raw frames have their length");
                        assert_eq!(frame[..], stream[taken..][..shape.bytes], "and follow on each other");
                    } else {
                        assert!(frame.starts_with(&[0xff, 0xd8]) && frame.ends_with(&[0xff, 0xd9]), "it is whole");
                    }
                    (frames, taken) = (frames + 1, taken + frame.len());
                }
                Framed::Damaged(_) => {}
                Framed::Starved | Framed::Garbage { .. } => break,
                Framed::End { .. } => unreachable!("the stream has not ended"),
            }
        }
        assert!(piece.0.is_empty(), "nothing is left in the pipe");
    }
    assert!(taken <= stream.len() && frames <= stream.len(), "nothing is made up");
}

/// A piece of a stream after which there is nothing yet.
struct Piece<'a>(&'a [u8]);

impl io::Read for Piece<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl BufRead for Piece<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.0.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(self.0) }
    }

    fn consume(&mut self, bytes: usize) {
        self.0 = &self.0[bytes..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::picture::files::jpeg;

    /// What comes of a stream in pieces: the lengths of frames.
    fn frames(mut reader: FrameReader, stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for piece in stream.chunks(piece) {
            let mut piece = Piece(piece);
            while let Framed::Frame { .. } = reader.read(&mut piece).unwrap() {
                frames.push(reader.bytes().clone());
            }
        }
        frames
    }

    #[test]
    fn pictures_are_whole_however_the_pipe_cuts_them() {
        let pictures = [jpeg(16, 8), jpeg(24, 8), jpeg(8, 8)];
        for piece in [1, 3, 100, 100_000] {
            assert_eq!(frames(FrameReader::of_jpeg(), &pictures.concat(), piece), pictures, "{piece}");
        }
    }

    #[test]
    fn raw_images_are_cut_by_their_length() {
        let shape = RawShape::tight(PixelFormat::Yuv420, 4, 2).unwrap();
        let stream: Vec<u8> = (0..30).collect();
        let found = frames(FrameReader::of_raw(shape), &stream, 7);
        assert_eq!(found, [stream[..12].to_vec(), stream[12..24].to_vec()]);
    }

    #[test]
    fn a_frame_cut_by_the_end_is_told_by_how_far_it_came() {
        let shape = RawShape::tight(PixelFormat::Gray8, 4, 2).unwrap();
        let mut reader = FrameReader::of_raw(shape);
        assert_eq!(reader.read(&mut &[0_u8; 5][..]).unwrap(), Framed::End { inside: 5 });
        let whole = jpeg(16, 8);
        assert_eq!(FrameReader::of_jpeg().read(&mut &whole[..50]).unwrap(), Framed::End { inside: 50 });
    }

    #[test]
    fn bytes_without_a_picture_are_refused_once_they_are_too_many() {
        let mut reader = FrameReader::of_jpeg();
        let garbage = vec![b'x'; 1 << 20];
        let mut told = Framed::Starved;
        for _ in 0..4 {
            told = reader.read(&mut Piece(&garbage)).unwrap();
            assert_eq!(told, Framed::Starved);
        }
        told = reader.read(&mut Piece(&garbage[..1])).unwrap_or(told);
        assert_eq!(told, Framed::Garbage { bytes: MOST_GARBAGE + 1 });
    }

    #[test]
    fn a_picture_after_noise_ends_the_counting() {
        let mut reader = FrameReader::of_jpeg();
        for _ in 0..5 {
            let noise = vec![b'x'; 3 << 20];
            assert_eq!(reader.read(&mut Piece(&noise)).unwrap(), Framed::Starved);
            let told = reader.read(&mut Piece(&jpeg(16, 8))).unwrap();
            assert!(matches!(told, Framed::Frame { width: 16, .. }), "{told:?}");
        }
    }

    #[test]
    fn what_is_no_raw_image_has_no_shape() {
        assert_eq!(RawShape::tight(PixelFormat::Jpeg, 4, 4), None);
        assert_eq!(RawShape::tight(PixelFormat::Rgb24, 0, 4), None);
        assert_eq!(RawShape::tight(PixelFormat::Rgb24, 16_384, 16_384), None);
    }

    proptest! {
        #[test]
        fn any_output_of_a_child_is_read_within_bounds(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xff), Just(0xd8), Just(0xd9)], 0..300),
        ) {
            fuzz(&bytes);
        }
    }
}
