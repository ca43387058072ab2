//! The orientation that a camera noted in a JPEG (Exif 2.32): the only tag that is read.

use crate::orientation::Orientation;

/// Entries of a directory that are looked at; cameras write a dozen.
const MOST_ENTRIES: usize = 256;
const ORIENTATION: u16 = 0x0112;
const SHORT: u16 = 3;

/// The orientation in an APP1 segment's content; `None` where it holds none that means anything.
pub(super) fn orientation(segment: &[u8]) -> Option<Orientation> {
    let tiff = segment.strip_prefix(b"Exif\0\0")?;
    let little = match tiff.get(..4)? {
        b"II\x2a\0" => true,
        b"MM\0\x2a" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = usize::try_from(long(4)?).ok()?;
    let entries = usize::from(short(directory)?).min(MOST_ENTRIES);
    for entry in 0..entries {
        let at = directory.checked_add(2 + entry * 12)?;
        if short(at)? == ORIENTATION && short(at + 2)? == SHORT && long(at + 4)? == 1 {
            return Orientation::from_exif(short(at + 8)?);
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An APP1 segment's content with an orientation.
    pub(crate) fn segment(value: u16, little: bool) -> Vec<u8> {
        let mut bytes = b"Exif\0\0".to_vec();
        let short = |number: u16| if little { number.to_le_bytes() } else { number.to_be_bytes() };
        let long = |number: u32| if little { number.to_le_bytes() } else { number.to_be_bytes() };
        bytes.extend(if little { b"II" } else { b"MM" });
        bytes.extend(short(42));
        bytes.extend(long(8));
        bytes.extend(short(2));
        for (tag, value) in [(0x010f, 7), (ORIENTATION, value)] {
            bytes.extend([short(tag), short(SHORT)].concat());
            bytes.extend(long(1));
            bytes.extend([short(value), [0; 2]].concat());
        }
        bytes
    }

    #[test]
    fn the_orientation_is_found_in_either_byte_order() {
        for (value, little) in [(1, true), (3, false), (6, true), (8, false)] {
            assert_eq!(orientation(&segment(value, little)), Orientation::from_exif(value));
        }
        assert_eq!(orientation(&segment(9, true)), None);
        assert_eq!(orientation(b"http://ns.adobe.com/xap/1.0/\0"), None);
    }

    #[test]
    fn a_segment_cut_anywhere_holds_no_orientation() {
        let whole = segment(6, true);
        for length in 0..whole.len() - 2 {
            assert_eq!(orientation(&whole[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_segments_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), little in any::<bool>()) {
            let head: &[u8] = if little { b"Exif\0\0II\x2a\0" } else { b"Exif\0\0MM\0\x2a" };
            let _ = orientation(&[head, &bytes].concat());
        }
    }
}
