//! A frame's description as words in a slot, and back; what comes back is checked, because another process wrote it.

use super::header::{halves, whole};
use super::layout::LINE;
use crate::format::PixelFormat;
use crate::frame::{Capture, Region, TimestampSource};

/// How many words a description takes.
pub(super) const WORDS: usize = 15;

const _: () = assert!(4 + 4 * WORDS <= LINE, "a description fits before the bytes of its slot");

/// A description as it lies in a slot.
pub(super) type Words = [u32; WORDS];

/// Writes down what a frame of `bytes_used` bytes is.
pub(super) fn encode(capture: &Capture, bytes_used: u32) -> Words {
    let [captured_low, captured_high] = halves(capture.captured_ns);
    let [item_low, item_high] = halves(capture.item);
    let region = capture.region.unwrap_or(Region { x: 0, y: 0, width: 0, height: 0 });
    [
        bytes_used,
        captured_low,
        captured_high,
        capture.timestamp_source.code(),
        capture.format.code(),
        capture.width,
        capture.height,
        capture.stride,
        u32::from(capture.region.is_some()),
        region.x,
        region.y,
        region.width,
        region.height,
        item_low,
        item_high,
    ]
}

/// How many bytes the frame has, as its writer says.
pub(super) const fn bytes_used(words: &Words) -> u32 {
    words[0]
}

/// Reads a description. `None` where a code stands for nothing.
pub(super) fn decode(words: &Words) -> Option<Capture> {
    let &[
        _bytes_used,
        captured_low,
        captured_high,
        timestamp_source,
        format,
        width,
        height,
        stride,
        has_region,
        region_x,
        region_y,
        region_width,
        region_height,
        item_low,
        item_high,
    ] = words;
    let region = Region { x: region_x, y: region_y, width: region_width, height: region_height };
    Some(Capture {
        captured_ns: whole([captured_low, captured_high]),
        timestamp_source: TimestampSource::from_code(timestamp_source)?,
        format: PixelFormat::from_code(format)?,
        width,
        height,
        stride,
        region: (has_region != 0).then_some(region),
        item: whole([item_low, item_high]),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_words_are_refused_or_mean_one_description(words: Words, codes in (0_u32..7, 0_u32..7)) {
            let mut words = words;
            (words[3], words[4]) = codes;
            words[8] %= 2;
            let known = TimestampSource::from_code(codes.0).is_some() && PixelFormat::from_code(codes.1).is_some();
            prop_assert_eq!(decode(&words).is_some(), known);
            if let Some(capture) = decode(&words) {
                if capture.region.is_none() {
                    words[9..13].fill(0);
                }
                prop_assert_eq!(encode(&capture, bytes_used(&words)), words);
            }
        }
    }
}
