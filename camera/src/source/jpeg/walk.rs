//! One JPEG picture, followed byte by byte from marker to marker (ITU-T T.81, annex B).

use super::DamagedJpeg;

/// What every marker begins with.
pub(super) const MARKER: u8 = 0xff;
/// Start of image.
pub(super) const SOI: u8 = 0xd8;
/// End of image.
pub(super) const EOI: u8 = 0xd9;
/// Start of scan: image data follows the segment.
pub(super) const SOS: u8 = 0xda;
/// A marker that stands alone, and means nothing any more.
const TEM: u8 = 0x01;

/// Where in a picture the next byte lies.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// At the first byte of a marker.
    Marker,
    /// At the second byte of a marker.
    Code,
    /// At the first byte of a segment's length.
    Length { code: u8 },
    /// At its second byte.
    LengthLow { code: u8, high: u8 },
    /// In a segment, with so many bytes passed and left.
    Segment { code: u8, passed: u16, left: u16 },
    /// In image data.
    Data,
    /// In image data, after 0xFF.
    DataMarker,
}

/// What a byte did to a picture.
#[derive(Debug)]
pub(super) enum Step {
    /// The picture goes on.
    More,
    /// It was the last byte.
    Whole,
    /// This is no picture, or not any more.
    Broken(DamagedJpeg),
}

/// Follows a picture from marker to marker, from after its start-of-image marker on.
#[derive(Debug)]
pub(super) struct Walk {
    place: Place,
    has_data: bool,
    /// Height and width as the frame header gives them.
    size: [u8; 4],
}

impl Walk {
    /// At the byte after the start-of-image marker.
    pub(super) const fn new() -> Self {
        Self { place: Place::Marker, has_data: false, size: [0; 4] }
    }

    /// How many of the next bytes mean nothing here: image data without markers, segments that are not looked at.
    pub(super) fn plain(&mut self, bytes: &[u8]) -> usize {
        match &mut self.place {
            Place::Data => bytes.iter().position(|&byte| byte == MARKER).unwrap_or(bytes.len()),
            Place::Segment { code, passed, left } if !is_frame_header(*code) => {
                // The last byte of a segment is a step: the place changes there.
                let plain = bytes.len().min(usize::from(left.saturating_sub(1)));
                let counted = plain as u16;
                *passed += counted;
                *left -= counted;
                plain
            }
            _ => 0,
        }
    }

    /// Takes one byte, which has `before` bytes of the picture before it.
    pub(super) fn step(&mut self, byte: u8, before: u64) -> Step {
        match self.place {
            Place::Marker if byte == MARKER => self.go(Place::Code),
            Place::Marker => Step::Broken(DamagedJpeg::NoMarker { bytes: before }),
            Place::Code => self.marker(byte, before),
            Place::Length { code } => self.go(Place::LengthLow { code, high: byte }),
            Place::LengthLow { code, high } => match u16::from_be_bytes([high, byte]) {
                length @ 0..2 => Step::Broken(DamagedJpeg::SegmentLength { length }),
                2 => self.end_segment(code),
                length => self.go(Place::Segment { code, passed: 0, left: length - 2 }),
            },
            Place::Segment { code, passed, left } => self.segment(code, passed, left, byte),
            Place::Data if byte == MARKER => self.go(Place::DataMarker),
            Place::Data => Step::More,
            // A stuffed zero, or a restart marker: the data goes on.
            Place::DataMarker if byte == 0 || is_restart(byte) => self.go(Place::Data),
            Place::DataMarker => self.marker(byte, before),
        }
    }

    /// Width and height as the frame header gives them, in pixels.
    pub(super) fn size(&self) -> (u32, u32) {
        let [height_high, height_low, width_high, width_low] = self.size;
        let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
        (side(width_high, width_low), side(height_high, height_low))
    }

    fn marker(&mut self, code: u8, before: u64) -> Step {
        match code {
            // Any number of 0xFF may precede a marker's code.
            MARKER => Step::More,
            SOI => Step::Broken(DamagedJpeg::Interrupted { bytes: before.saturating_sub(1) }),
            EOI if self.has_data => Step::Whole,
            EOI => Step::Broken(DamagedJpeg::NoImageData),
            TEM => self.go(Place::Marker),
            0 => Step::Broken(DamagedJpeg::NoMarker { bytes: before }),
            code if is_restart(code) => self.go(Place::Marker),
            code => self.go(Place::Length { code }),
        }
    }

    fn segment(&mut self, code: u8, passed: u16, left: u16, byte: u8) -> Step {
        // A frame header: precision, height, width (T.81, B.2.2).
        if is_frame_header(code) && (1..=4).contains(&passed) {
            self.size[usize::from(passed) - 1] = byte;
        }
        if left > 1 {
            return self.go(Place::Segment { code, passed: passed + 1, left: left - 1 });
        }
        self.end_segment(code)
    }

    fn end_segment(&mut self, code: u8) -> Step {
        let is_scan = code == SOS;
        self.has_data |= is_scan;
        self.go(if is_scan { Place::Data } else { Place::Marker })
    }

    fn go(&mut self, place: Place) -> Step {
        self.place = place;
        Step::More
    }
}

fn is_restart(code: u8) -> bool {
    (0xd0..=0xd7).contains(&code)
}

/// Start of frame, of whatever process; C4, C8 and CC lie between them and are something else.
fn is_frame_header(code: u8) -> bool {
    (0xc0..=0xcf).contains(&code) && !matches!(code, 0xc4 | 0xc8 | 0xcc)
}
