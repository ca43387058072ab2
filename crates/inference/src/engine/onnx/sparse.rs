//! Where the weights of an ONNX file lie in it: what remains without them is small, and they are read one by one.
//!
//! The file is a message of protocol buffers; only lengths are followed here, from the model (field 7) to the graph
//! (field 5) to each initial value (field 9, `raw_data`). Everything else is copied as it is, for the parser.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

/// Raw data below this stays where it is, in bytes: biases, shapes.
const SMALL: u64 = 4 << 10;

/// All that is not raw data, in bytes; a file with more is read as a whole.
const MOST_REST: usize = 32 << 20;

const GRAPH: u64 = 7;
const INITIALIZER: u64 = 5;
const RAW_DATA: u64 = 9;
/// The wire type of what has a length.
const LENGTH: u64 = 2;

/// Raw data that was left in the file.
#[derive(Debug)]
pub(crate) struct Weights {
    file: File,
    /// For each initial value in order: where its raw data begins, and how long it is.
    places: Vec<Option<(u64, u64)>>,
}

impl Weights {
    /// Whether the raw data of an initial value, by its number, was left in the file.
    pub(crate) fn has(&self, number: usize) -> bool {
        self.places.get(number).is_some_and(Option::is_some)
    }

    /// How long the raw data of an initial value is that was left in the file, in bytes.
    pub(crate) fn length(&self, number: usize) -> Option<u64> {
        self.places.get(number).copied().flatten().map(|(_, length)| length)
    }

    /// The raw data of an initial value that was left in the file.
    pub(crate) fn read(&self, number: usize) -> io::Result<Vec<u8>> {
        let (place, length) = self.places.get(number).copied().flatten().ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, place)?;
        Ok(bytes)
    }
}

/// A file of `length` bytes without its weights, and where they are; `None` where its structure is another, which the
/// parser says better.
pub(crate) fn read(file: File, length: u64) -> Option<(Vec<u8>, Weights)> {
    let mut walk = Walk { reader: BufReader::new(&file), at: 0, places: Vec::new(), copied: 0 };
    let rest = walk.message(length, &[GRAPH, INITIALIZER, RAW_DATA])?;
    let places = walk.places;
    Some((rest, Weights { file, places }))
}

struct Walk<'a> {
    reader: BufReader<&'a File>,
    at: u64,
    places: Vec<Option<(u64, u64)>>,
    copied: usize,
}

impl Walk<'_> {
    /// Copies a message that ends at `end`, without the raw data at the end of `path`: the fields from message to message.
    fn message(&mut self, end: u64, path: &[u64]) -> Option<Vec<u8>> {
        let (mut copy, mut has_data) = (Vec::new(), false);
        while self.at < end {
            let key = self.varint()?;
            let (field, kind) = (key >> 3, key & 7);
            if kind != LENGTH {
                put(&mut copy, key);
                self.plain(kind, &mut copy)?;
                continue;
            }
            let length = self.varint()?;
            let stop = self.at.checked_add(length).filter(|&stop| stop <= end)?;
            match path {
                [RAW_DATA] if field == RAW_DATA => {
                    // Of two the parser takes the last: leave that to it.
                    if std::mem::replace(&mut has_data, true) {
                        return None;
                    }
                    if length > SMALL {
                        *self.places.last_mut()? = Some((self.at, length));
                        self.reader.seek_relative(i64::try_from(length).ok()?).ok()?;
                        self.at = stop;
                        continue;
                    }
                }
                [next, rest @ ..] if *next == field && !rest.is_empty() => {
                    if rest == [RAW_DATA] {
                        self.places.push(None);
                    }
                    let inner = self.message(stop, rest)?;
                    put(&mut copy, key);
                    put(&mut copy, inner.len() as u64);
                    copy.extend(inner);
                    continue;
                }
                _ => {}
            }
            put(&mut copy, key);
            put(&mut copy, length);
            self.take(length, &mut copy)?;
        }
        (self.at == end).then_some(copy)
    }

    /// A field without a length.
    fn plain(&mut self, kind: u64, copy: &mut Vec<u8>) -> Option<()> {
        match kind {
            0 => {
                put(copy, self.varint()?);
                Some(())
            }
            1 => self.take(8, copy),
            5 => self.take(4, copy),
            _ => None,
        }
    }

    fn take(&mut self, length: u64, copy: &mut Vec<u8>) -> Option<()> {
        let count = usize::try_from(length).ok()?;
        self.copied = self.copied.checked_add(count).filter(|&copied| copied <= MOST_REST)?;
        let start = copy.len();
        copy.resize(start + count, 0);
        self.reader.read_exact(&mut copy[start..]).ok()?;
        self.at += length;
        Some(())
    }

    /// A number of seven bits a byte, the lowest first.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.reader.read_exact(&mut byte).ok()?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

fn put(copy: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        copy.push(value as u8 | 0x80);
        value >>= 7;
    }
    copy.push(value as u8);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
        let mut field = Vec::new();
        put(&mut field, number << 3 | LENGTH);
        put(&mut field, bytes.len() as u64);
        field.extend_from_slice(bytes);
        field
    }

    fn read_bytes(bytes: &[u8]) -> Option<(Vec<u8>, Weights)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        read(file, bytes.len() as u64)
    }

    /// A model with two initial values, of which one is large, and other fields between.
    fn model() -> Vec<u8> {
        let data: Vec<u8> = (0..5000).map(|place| place as u8).collect();
        let small = [field(8, b"small"), field(RAW_DATA, &[1; 12])].concat();
        let large = [vec![2 << 3, 1], field(8, b"large"), field(RAW_DATA, &data), vec![14 << 3, 0]].concat();
        let graph =
            [field(1, b"a node"), field(INITIALIZER, &small), field(INITIALIZER, &large), field(11, b"in")].concat();
        [vec![1 << 3, 8], field(GRAPH, &graph), field(8, b"a set of operators")].concat()
    }

    #[test]
    fn large_weights_stay_in_the_file_and_everything_else_is_as_it_was() {
        let (rest, weights) = read_bytes(&model()).unwrap();
        assert!(rest.len() < 200 && !weights.has(0) && weights.has(1) && !weights.has(2));
        let data = weights.read(1).unwrap();
        assert!(data.len() == 5000 && data.iter().enumerate().all(|(place, &byte)| byte == place as u8));
        let small = [field(8, b"small"), field(RAW_DATA, &[1; 12])].concat();
        let stub = [vec![2 << 3, 1], field(8, b"large"), vec![14 << 3, 0]].concat();
        let graph =
            [field(1, b"a node"), field(INITIALIZER, &small), field(INITIALIZER, &stub), field(11, b"in")].concat();
        assert_eq!(rest, [vec![1 << 3, 8], field(GRAPH, &graph), field(8, b"a set of operators")].concat());
    }

    #[test]
    fn damaged_files_are_left_to_the_parser_or_keep_to_their_length() {
        let model = model();
        let is_read = |bytes: &[u8]| {
            let Some((_, weights)) = read_bytes(bytes) else { return false };
            let inside = |&(from, length): &(u64, u64)| from + length <= bytes.len() as u64;
            assert!(weights.places.iter().flatten().all(inside), "{weights:?}");
            true
        };
        assert!(is_read(&model));
        for place in (0..60).chain(model.len() - 60..model.len()) {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = model.clone();
                damaged[place] = byte;
                is_read(&damaged);
            }
            // In the middle of the graph, whose length then reaches beyond the end.
            assert!(!(5..5000).contains(&place) || !is_read(&model[..place]), "cut at {place}");
        }
    }
}
