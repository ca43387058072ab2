//! Finding whole JPEG pictures in a stream of bytes, without decoding them.
//!
//! A picture is followed from marker to marker, segment lengths included (ITU-T T.81, annex B), so that a thumbnail
//! inside an APP segment, which is a picture of its own with its own markers, ends nothing. The stream is not trusted:
//! a picture takes no more memory than its limit, whatever lies between pictures is passed over, and a damaged picture
//! is told and followed by the next one that begins (by the one after that where the damage hid its start: a segment
//! cut short reaches into what follows).

mod walk;

use std::io::{self, BufRead};

use thiserror::Error;

use self::walk::{MARKER, SOI, Step, Walk};

/// Finds the pictures of a stream one after the other.
#[derive(Debug)]
pub struct MjpegScanner {
    limit: usize,
    position: u64,
    /// The start of a picture was met in the middle of another, and has been taken out of the stream.
    started: bool,
    /// The last byte passed over was 0xFF.
    after_ff: bool,
    /// The picture that was under way when the stream could not be read further.
    under_way: Option<Place>,
    passed_over: u64,
}

/// How far a picture was followed.
#[derive(Debug)]
struct Place {
    walk: Walk,
    bytes: u64,
}

/// What was found in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A picture from its first marker to its last; its bytes are in the buffer.
    Picture {
        /// Where it begins in the stream, in bytes.
        at: u64,
        /// Width in pixels as its header gives it.
        width: u32,
        /// Height in pixels as its header gives it; 0 where only the end of the picture tells (DNL).
        height: u32,
    },
    /// The start of a picture that does not go on as a picture does.
    Damaged {
        /// Where it begins in the stream, in bytes.
        at: u64,
        /// What is wrong with it.
        fault: DamagedJpeg,
    },
    /// The end of the stream.
    End,
}

/// What is wrong with a JPEG picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DamagedJpeg {
    /// The stream ends before the picture does.
    #[error("it ends after {bytes} bytes, before its end-of-image marker")]
    CutShort {
        /// Bytes of it that there are.
        bytes: u64,
    },
    /// Another picture begins inside it.
    #[error("another picture begins after {bytes} bytes of it")]
    Interrupted {
        /// Bytes of it that there are.
        bytes: u64,
    },
    /// There is no marker where one must be, or one that cannot be there.
    #[error("there is no marker after {bytes} bytes of it, where one belongs")]
    NoMarker {
        /// Bytes up to there.
        bytes: u64,
    },
    /// A segment is shorter than its own length field.
    #[error("a segment gives its length as {length}, the least is 2")]
    SegmentLength {
        /// The length given.
        length: u16,
    },
    /// It ends without any image data.
    #[error("it holds no image data")]
    NoImageData,
    /// It is larger than a picture may be.
    #[error("it has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
}

impl MjpegScanner {
    /// A scanner at the start of a stream, for pictures of at most `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, position: 0, started: false, after_ff: false, under_way: None, passed_over: 0 }
    }

    /// Finds the next picture of `from`, which must be the same stream each time, and puts its bytes into `into`.
    ///
    /// After an error, such as [`io::ErrorKind::WouldBlock`] of a pipe that holds no more now, the next call goes on where
    /// this one stopped, if it is given the same buffer.
    ///
    /// # Errors
    /// What reading the stream answered.
    pub fn next(&mut self, from: &mut impl BufRead, into: &mut Vec<u8>) -> io::Result<Found> {
        let place = match self.under_way.take() {
            Some(place) => place,
            None => {
                into.clear();
                if !std::mem::take(&mut self.started) && !self.find_start(from)? {
                    return Ok(Found::End);
                }
                into.extend([MARKER, SOI]);
                Place { walk: Walk::new(), bytes: 2 }
            }
        };
        let at = self.position - place.bytes;
        let mut picture = Picture { place, limit: self.limit, into };
        loop {
            let chunk = match fill(from) {
                Ok(chunk) => chunk,
                Err(error) => {
                    self.under_way = Some(picture.place);
                    return Err(error);
                }
            };
            if chunk.is_empty() {
                let fault = DamagedJpeg::CutShort { bytes: picture.place.bytes };
                return Ok(Found::Damaged { at, fault });
            }
            let (used, step) = picture.take(chunk);
            from.consume(used);
            self.position += used as u64;
            match step {
                Step::More => {}
                Step::Whole => {
                    self.passed_over = 0;
                    return Ok(picture.found(at));
                }
                Step::Broken(fault) => {
                    self.passed_over = self.passed_over.saturating_add(picture.place.bytes);
                    self.started = matches!(fault, DamagedJpeg::Interrupted { .. });
                    return Ok(Found::Damaged { at, fault });
                }
            }
        }
    }

    /// How many bytes since the last whole picture belong to none: what lies between pictures, and broken ones.
    #[must_use]
    pub const fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Passes over everything up to and including the next start-of-image marker; `false` at the end of the stream.
    fn find_start(&mut self, from: &mut impl BufRead) -> io::Result<bool> {
        loop {
            let chunk = fill(from)?;
            if chunk.is_empty() {
                return Ok(false);
            }
            let start = chunk.iter().position(|&byte| {
                let found = self.after_ff && byte == SOI;
                self.after_ff = byte == MARKER;
                found
            });
            let used = start.map_or(chunk.len(), |start| start + 1);
            from.consume(used);
            self.position += used as u64;
            self.passed_over = self.passed_over.saturating_add(used as u64);
            if start.is_some() {
                return Ok(true);
            }
        }
    }
}

/// The next bytes of the stream, none at its end; a read that a signal interrupted is done again.
fn fill(from: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match from.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // Given again from the buffer: the borrow above must end with its loop.
    from.fill_buf()
}

/// A picture as far as it was read.
struct Picture<'a> {
    place: Place,
    limit: usize,
    into: &'a mut Vec<u8>,
}

impl Picture<'_> {
    /// Follows the picture through `chunk`, and tells how many bytes of it were used.
    fn take(&mut self, chunk: &[u8]) -> (usize, Step) {
        let mut used = 0;
        while used < chunk.len() {
            let rest = &chunk[used..];
            let plain = self.place.walk.plain(rest);
            let (taken, step) =
                if plain > 0 { (plain, Step::More) } else { (1, self.place.walk.step(rest[0], self.place.bytes)) };
            used += taken;
            self.place.bytes += taken as u64;
            self.keep(&rest[..taken]);
            if !matches!(step, Step::More) {
                return (used, step);
            }
        }
        (used, Step::More)
    }

    /// Keeps bytes as long as the picture is within its limit; beyond it the picture is only followed to its end.
    fn keep(&mut self, bytes: &[u8]) {
        if self.place.bytes <= self.limit as u64 {
            self.into.extend_from_slice(bytes);
        }
    }

    fn found(&self, at: u64) -> Found {
        if self.place.bytes > self.limit as u64 {
            return Found::Damaged { at, fault: DamagedJpeg::TooLarge { bytes: self.place.bytes, limit: self.limit } };
        }
        let (width, height) = self.place.walk.size();
        Found::Picture { at, width, height }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::walk::{EOI, SOS};
    use super::*;

    const LIMIT: usize = 4096;

    /// What a scanner makes of `stream` when the stream comes in pieces of `piece` bytes.
    fn scan(stream: &[u8], piece: usize) -> Vec<(Found, Vec<u8>)> {
        let mut from = BufReader::with_capacity(piece, stream);
        let mut scanner = MjpegScanner::new(LIMIT);
        let mut all = Vec::new();
        loop {
            let mut into = Vec::new();
            match scanner.next(&mut from, &mut into).unwrap() {
                Found::End => return all,
                found => all.push((found, into)),
            }
        }
    }

    fn faults(stream: &[u8]) -> Vec<DamagedJpeg> {
        let fault = |(found, _)| match found {
            Found::Damaged { fault, .. } => Some(fault),
            _ => None,
        };
        scan(stream, 7).into_iter().filter_map(fault).collect()
    }

    /// A segment with its marker and length.
    fn segment(code: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
        [&[MARKER, code], &length[..], content].concat()
    }

    /// A picture of 640 by 480 with image data `data`, which is stuffed, and whatever `segments` come first.
    fn picture(segments: &[u8], data: &[u8]) -> Vec<u8> {
        let frame_header = segment(0xc0, &[8, 0x01, 0xe0, 0x02, 0x80, 1, 1, 0x11, 0]);
        let scan_header = segment(SOS, &[1, 1, 0, 0, 63, 0]);
        let stuffed: Vec<u8> =
            data.iter().flat_map(|&byte| if byte == MARKER { vec![MARKER, 0] } else { vec![byte] }).collect();
        [&[MARKER, SOI], segments, &frame_header, &scan_header, &stuffed, &[MARKER, EOI]].concat()
    }

    #[test]
    fn a_thumbnail_inside_a_segment_ends_nothing() {
        let thumbnail = picture(&[], b"small");
        let whole = picture(&segment(0xe1, &thumbnail), b"large");
        let found = Found::Picture { at: 0, width: 640, height: 480 };
        for piece in 1..whole.len() {
            assert_eq!(scan(&whole, piece), [(found, whole.clone())]);
        }
    }

    #[test]
    fn restarts_fill_bytes_and_several_scans_belong_to_the_picture() {
        let scan_header = segment(SOS, &[1, 1, 0, 0, 63, 0]);
        let more = [
            &[MARKER, 0xd0, 1, 2, MARKER, 0xd7, 3, MARKER, MARKER][..],
            &segment(0xc4, &[0; 20])[1..],
            &scan_header,
            &[5, 6, MARKER, MARKER, MARKER, EOI],
        ];
        let mut progressive = picture(&[], b"first scan");
        progressive.truncate(progressive.len() - 2);
        progressive.extend(more.concat());
        assert_eq!(scan(&progressive, 3), [(Found::Picture { at: 0, width: 640, height: 480 }, progressive.clone())]);
    }

    #[test]
    fn a_cut_tail_is_told() {
        let stream = [picture(&[], b"whole"), picture(&[], b"cut")].concat();
        for cut in 1..picture(&[], b"cut").len() - 1 {
            let stream = &stream[..stream.len() - cut];
            let bytes = (stream.len() - picture(&[], b"whole").len()) as u64;
            assert_eq!(faults(stream), [DamagedJpeg::CutShort { bytes }]);
        }
    }

    #[test]
    fn a_picture_that_stops_in_the_middle_does_not_take_the_next_one_with_it() {
        let whole = picture(&[], b"whole");
        let stream = [&picture(&[], b"cut")[..27], &whole].concat();
        let found = scan(&stream, 64);
        assert_eq!(found[0].0, Found::Damaged { at: 0, fault: DamagedJpeg::Interrupted { bytes: 27 } });
        assert_eq!(found[1], (Found::Picture { at: 27, width: 640, height: 480 }, whole));
    }

    #[test]
    fn a_picture_above_the_limit_is_followed_to_its_end_and_takes_no_memory() {
        let thumbnail = picture(&[], b"small");
        let large = picture(&[segment(0xe0, &[0; LIMIT]), segment(0xe1, &thumbnail)].concat(), b"large");
        let stream = [large.clone(), picture(&[], b"next")].concat();
        let found = scan(&stream, 100);
        let fault = DamagedJpeg::TooLarge { bytes: large.len() as u64, limit: LIMIT };
        assert_eq!(found[0].0, Found::Damaged { at: 0, fault });
        assert!(found[0].1.len() <= LIMIT);
        assert_eq!(found[1].1, picture(&[], b"next"));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn what_cannot_be_a_picture_is_told_by_its_kind() {
        assert_eq!(faults(&[MARKER, SOI, 0, 0]), [DamagedJpeg::NoMarker { bytes: 2 }]);
        assert_eq!(faults(&[MARKER, SOI, MARKER, 0]), [DamagedJpeg::NoMarker { bytes: 3 }]);
        assert_eq!(faults(&[MARKER, SOI, MARKER, 0xe0, 0, 1]), [DamagedJpeg::SegmentLength { length: 1 }]);
        assert_eq!(faults(&[MARKER, SOI, MARKER, EOI]), [DamagedJpeg::NoImageData]);
        assert_eq!(faults(b"no picture at all"), []);
    }

    #[test]
    fn a_stream_that_fails_is_no_end() {
        let failing = std::io::Read::chain(&b"\xff\xd8\xff"[..], FailingStream);
        let mut from = BufReader::with_capacity(2, failing);
        let failure = MjpegScanner::new(LIMIT).next(&mut from, &mut Vec::new()).unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::StorageFull);
    }

    struct FailingStream;

    impl io::Read for FailingStream {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    /// Bytes in which no picture begins, and which end none that follows.
    fn garbage() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0_u8..0xff, 0..40)
    }

    /// A segment with any content, thumbnails included.
    fn any_segment() -> impl Strategy<Value = Vec<u8>> {
        let content = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            prop::collection::vec(prop_oneof![Just(MARKER), Just(SOI), Just(EOI), Just(SOS)], 0..60),
        ];
        let code = prop_oneof![0xe0_u8..=0xef, Just(0xdb), Just(0xc4), Just(0xfe)];
        (code, content).prop_map(|(code, content)| segment(code, &content))
    }

    fn any_picture() -> impl Strategy<Value = Vec<u8>> {
        let segments = prop::collection::vec(any_segment(), 0..4);
        let data = prop::collection::vec(prop_oneof![any::<u8>(), Just(MARKER)], 0..100);
        (segments, data).prop_map(|(segments, data)| picture(&segments.concat(), &data))
    }

    proptest! {
        #[test]
        fn every_picture_of_a_stream_is_found_whole_and_in_its_place(
            parts in prop::collection::vec((garbage(), any_picture()), 0..6),
            tail in garbage(),
            piece in 1_usize..200,
        ) {
            let (mut stream, mut expected) = (Vec::new(), Vec::new());
            for (garbage, picture) in parts {
                stream.extend(garbage);
                let at = stream.len() as u64;
                stream.extend(&picture);
                expected.push((Found::Picture { at, width: 640, height: 480 }, picture));
            }
            stream.extend(tail);
            prop_assert_eq!(scan(&stream, piece), expected);
        }

        #[test]
        fn any_bytes_are_scanned_to_their_end_within_bounds(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), Just(MARKER), Just(SOI), Just(EOI), Just(SOS), Just(0)], 0..300),
        ) {
            crate::fuzz::fuzz_mjpeg_scanner(&bytes);
        }
    }
}
