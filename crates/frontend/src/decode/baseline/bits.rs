//! The data of a scan without their stuffing, and the bits in them.

use super::Fault;

/// Zeros behind each stretch of data, so that bits can be taken eight bytes at a time.
const PADDING: usize = 16;
/// Bytes looked at together.
const CHUNK: usize = 16;

/// The data of a scan, without stuffed bytes and markers.
#[derive(Debug, Default)]
pub(super) struct Data {
    bytes: Vec<u8>,
    /// Start and end of each stretch between restart markers.
    stretches: Vec<(usize, usize)>,
}

impl Data {
    /// Takes the data that `file` begins with, up to the end-of-image marker.
    pub(super) fn read(&mut self, file: &[u8], restarts: bool) -> Result<(), Fault> {
        self.bytes.clear();
        self.bytes.reserve(file.len() + PADDING);
        self.stretches.clear();
        let (mut at, mut start) = (0, 0);
        loop {
            at = self.copy(file, at);
            // `at` is that of a byte ff, or the end.
            match *file.get(at + 1).ok_or(Fault::Truncated)? {
                0x00 => {
                    self.bytes.push(0xff);
                    at += 2;
                }
                0xff => at += 1,
                0xd9 => {
                    self.end_stretch(start);
                    return Ok(());
                }
                marker @ 0xd0..=0xd7 => {
                    if !restarts || usize::from(marker - 0xd0) != self.stretches.len() % 8 {
                        return Err(Fault::Restarts);
                    }
                    start = self.end_stretch(start);
                    at += 2;
                }
                marker => return Err(Fault::Marker(marker)),
            }
        }
    }

    /// Copies from `at` to the next byte ff or the end; gives the place of that.
    fn copy(&mut self, file: &[u8], mut at: usize) -> usize {
        while let Some(chunk) = file.get(at..at + CHUNK) {
            if chunk.iter().fold(false, |found, &byte| found | (byte == 0xff)) {
                break;
            }
            self.bytes.extend_from_slice(chunk);
            at += CHUNK;
        }
        let rest = file.get(at..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == 0xff).unwrap_or(rest.len());
        self.bytes.extend_from_slice(&rest[..length]);
        at + length
    }

    fn end_stretch(&mut self, start: usize) -> usize {
        self.stretches.push((start, self.bytes.len()));
        self.bytes.resize(self.bytes.len() + PADDING, 0);
        self.bytes.len()
    }

    /// How many stretches there are.
    pub(super) fn stretches(&self) -> usize {
        self.stretches.len()
    }

    /// The bits of one stretch.
    pub(super) fn bits(&self, stretch: usize) -> Bits<'_> {
        let (start, end) = self.stretches[stretch];
        Bits { bytes: &self.bytes[start..end + PADDING], at: 0, buffer: 0, filled: 0 }
    }
}

/// Bits from the first to the last; zeros follow.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    /// With the padding.
    bytes: &'a [u8],
    at: usize,
    /// The next bits, the first one on top; those below `filled` may or may not be there.
    buffer: u64,
    filled: u32,
}

impl Bits<'_> {
    /// Makes at least 56 bits available.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if let Some(&next) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            self.buffer |= u64::from_be_bytes(next) >> self.filled;
        }
        self.at += ((63 - self.filled) >> 3) as usize;
        self.filled |= 56;
    }

    /// The next `count` bits, 1 to 32.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> usize {
        (self.buffer >> (64 - count)) as usize
    }

    /// Goes on by `count` of the available bits.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.filled -= count;
    }

    /// Whether more bits were taken than there are.
    pub(super) fn overrun(&self) -> bool {
        self.taken() > (self.bytes.len() - PADDING) * 8
    }

    fn taken(&self) -> usize {
        (self.at * 8).saturating_sub(self.filled as usize)
    }

    /// Checks that what was not taken is the rest of a byte, or padding.
    pub(super) fn end(&self) -> Result<(), Fault> {
        if self.overrun() {
            return Err(Fault::DataEnd);
        }
        let rest = &self.bytes[self.taken().div_ceil(8)..self.bytes.len() - PADDING];
        if rest.iter().all(|&byte| byte == 0 || byte == 0xff) { Ok(()) } else { Err(Fault::LeftOver) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &[u8], restarts: bool) -> Result<Data, Fault> {
        let mut data = Data::default();
        data.read(file, restarts).map(|()| data)
    }

    #[test]
    fn stuffing_and_markers_are_taken_out() {
        let data = read(&[1, 0xff, 0, 2, 0xff, 0xd0, 3, 0xff, 0xff, 0xd9, 7], true).unwrap();
        let stretch = |index: usize| &data.bytes[data.stretches[index].0..data.stretches[index].1];
        assert_eq!((data.stretches(), stretch(0), stretch(1)), (2, [1, 0xff, 2].as_slice(), [3].as_slice()));
    }

    #[test]
    fn data_without_an_end_or_with_foreign_markers_are_refused() {
        assert_eq!(read(&[1; 40], false).unwrap_err(), Fault::Truncated);
        assert_eq!(read(&[1, 0xff], false).unwrap_err(), Fault::Truncated);
        assert_eq!(read(&[1, 0xff, 0xf0, 2, 0xff, 0xd9], false).unwrap_err(), Fault::Marker(0xf0));
        assert_eq!(read(&[1, 0xff, 0xd0, 2, 0xff, 0xd9], false).unwrap_err(), Fault::Restarts);
        assert_eq!(read(&[1, 0xff, 0xd1, 2, 0xff, 0xd9], true).unwrap_err(), Fault::Restarts);
    }

    #[test]
    fn bits_come_in_order_and_zeros_follow() {
        let file = [(0..30).collect::<Vec<u8>>(), vec![0xff, 0xd9]].concat();
        let data = read(&file, false).unwrap();
        let mut bits = data.bits(0);
        for byte in (0..30).chain([0; 40]) {
            for half in [byte >> 4, byte & 15] {
                bits.refill();
                assert_eq!(bits.peek(4), half);
                bits.skip(4);
            }
        }
        assert!(bits.overrun());
        assert_eq!(bits.end(), Err(Fault::DataEnd));
        assert_eq!(data.bits(0).end(), Err(Fault::LeftOver));
    }
}
