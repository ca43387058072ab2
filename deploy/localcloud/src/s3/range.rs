//! The `Range` header of a request for one object. S3 serves one range; a list of them, or a header it cannot read, it
//! answers with the whole object.

use std::ops::Range;

/// Bytes from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl ByteRange {
    pub(super) fn len(self) -> u64 {
        self.end - self.start
    }

    /// The value of `Content-Range`, for an object of `whole` bytes.
    pub(super) fn content_range(self, whole: u64) -> String {
        format!("bytes {}-{}/{whole}", self.start, self.end.saturating_sub(1))
    }

    /// The same range as indices. The object is in memory, so its length fits.
    pub(super) fn indices(self) -> Range<usize> {
        let index = |offset: u64| usize::try_from(offset).expect("an offset within an object in memory fits");
        index(self.start)..index(self.end)
    }
}

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Requested {
    /// The whole object.
    Whole,
    /// A range, cut to the object's size.
    Part(ByteRange),
    /// A range that begins past the end.
    Unsatisfiable,
}

impl Requested {
    /// Reads a `Range` value for an object of `size` bytes.
    pub(super) fn parse(value: &[u8], size: u64) -> Self {
        let range = std::str::from_utf8(value).ok().and_then(|text| text.trim().strip_prefix("bytes="));
        let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
            return Self::Whole;
        };
        match (number(first), number(last)) {
            (Some(start), None) if last.is_empty() => Self::part(start, size, size),
            (Some(start), Some(last)) if start <= last => Self::part(start, last.saturating_add(1), size),
            (None, Some(count)) if first.is_empty() => Self::part(size.saturating_sub(count), size, size),
            _ => Self::Whole,
        }
    }

    fn part(start: u64, end: u64, size: u64) -> Self {
        let end = end.min(size);
        if start >= end { Self::Unsatisfiable } else { Self::Part(ByteRange { start, end }) }
    }
}

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_range_never_leaves_the_object(value in "bytes=[0-9]{0,20}-[0-9]{0,20}|.{0,20}", size in 0..1000_u64) {
            if let Requested::Part(range) = Requested::parse(value.as_bytes(), size) {
                prop_assert!(range.start < range.end && range.end <= size, "{value} of {size} became {range:?}");
            }
        }
    }

    #[test]
    fn ranges_are_read_as_s3_reads_them() {
        let part = |start, end| Requested::Part(ByteRange { start, end });
        for (value, expected) in [
            ("bytes=0-9", part(0, 10)),
            ("bytes=90-", part(90, 100)),
            ("bytes=-10", part(90, 100)),
            ("bytes=-1000", part(0, 100)),
            ("bytes=50-1000", part(50, 100)),
            ("bytes=100-", Requested::Unsatisfiable),
            ("bytes=-0", Requested::Unsatisfiable),
            ("bytes=9-0", Requested::Whole),
            ("bytes=0-1,3-4", Requested::Whole),
            ("bytes=+1-4", Requested::Whole),
            ("bytes=-", Requested::Whole),
            ("lines=1-2", Requested::Whole),
        ] {
            assert_eq!(Requested::parse(value.as_bytes(), 100), expected, "{value}");
        }
    }

    #[test]
    fn nothing_of_an_empty_object_can_be_a_range() {
        assert_eq!(Requested::parse(b"bytes=0-", 0), Requested::Unsatisfiable);
    }
}
