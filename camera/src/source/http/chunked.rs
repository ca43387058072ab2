//! The body of an answer: until the connection ends, of a given length, or in chunks (RFC 9112, section 7.1).

use std::io::{self, BufRead, Read};
use std::time::Duration;

use crate::source::incoming::{Input, read_held};

/// No chunk is longer, in bytes: longer than any picture.
const MOST_CHUNK: u64 = 1 << 30;

/// No line that gives a chunk's length is longer, extensions included.
const MOST_LINE: usize = 256;

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// With the connection.
    UntilTheEnd,
    /// After so many bytes.
    Bytes(u64),
    /// With an empty chunk.
    Chunked,
}

/// Where in its framing a body is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// In content without an end.
    Endless,
    /// In content of which so many bytes are left; `chunk`: after it another length is due.
    Content { left: u64, chunk: bool },
    /// In the line that gives a chunk's length.
    Size { line: Vec<u8> },
    /// In the line end after a chunk.
    AfterChunk,
    /// There is no more.
    Over,
}

/// The content of a body.
#[derive(Debug)]
pub(super) struct Body<I> {
    from: I,
    place: Place,
}

impl<I> Body<I> {
    /// The body that `from` holds next.
    pub(super) fn new(from: I, length: Length) -> Self {
        let place = match length {
            Length::UntilTheEnd => Place::Endless,
            Length::Bytes(0) => Place::Over,
            Length::Bytes(left) => Place::Content { left, chunk: false },
            Length::Chunked => Place::Size { line: Vec::new() },
        };
        Self { from, place }
    }
}

impl<I: BufRead> Body<I> {
    /// Goes on to content, as far as there are bytes for it.
    fn find_content(&mut self) -> io::Result<()> {
        loop {
            let held = match self.place {
                Place::Endless | Place::Content { .. } | Place::Over => return Ok(()),
                Place::Size { .. } | Place::AfterChunk => self.from.fill_buf()?,
            };
            let Some(&byte) = held.first() else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            self.from.consume(1);
            match &mut self.place {
                Place::AfterChunk if byte == b'\n' => self.place = Place::Size { line: Vec::new() },
                Place::AfterChunk if byte == b'\r' => {}
                Place::AfterChunk => return Err(malformed("a chunk is longer than it says")),
                Place::Size { line } if byte == b'\n' => self.place = after(line)?,
                Place::Size { line } if line.len() < MOST_LINE => line.push(byte),
                _ => return Err(malformed("the line of a chunk's length has no end")),
            }
        }
    }
}

/// What follows on the line of a chunk's length.
fn after(line: &[u8]) -> io::Result<Place> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let size = std::str::from_utf8(digits).ok().filter(|_| plain).and_then(|text| u64::from_str_radix(text, 16).ok());
    match size {
        Some(0) => Ok(Place::Over),
        Some(left) if left <= MOST_CHUNK => Ok(Place::Content { left, chunk: true }),
        _ => Err(malformed("a chunk's length is no hexadecimal number of at most 2^30")),
    }
}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<I: BufRead> Read for Body<I> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_held(self, into)
    }
}

impl<I: BufRead> BufRead for Body<I> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.find_content()?;
        match self.place {
            Place::Endless => self.from.fill_buf(),
            Place::Content { left, .. } => {
                let held = self.from.fill_buf()?;
                if held.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let most = usize::try_from(left).unwrap_or(usize::MAX);
                Ok(&held[..held.len().min(most)])
            }
            _ => Ok(&[]),
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.from.consume(bytes);
        if let Place::Content { left, chunk } = &mut self.place {
            *left = left.saturating_sub(bytes as u64);
            if *left == 0 {
                self.place = if *chunk { Place::AfterChunk } else { Place::Over };
            }
        }
    }
}

impl<I: Input> Input for Body<I> {
    fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        if self.place == Place::Over {
            return Ok(true);
        }
        self.from.wait(timeout)
    }

    fn beginning(&self) -> String {
        self.from.beginning()
    }
}

/// Reads `bytes` as a chunked body to its end.
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut content = Vec::new();
    let mut body = Body::new(bytes, Length::Chunked);
    // What is wrong is an error; what came before it was content.
    let _ = body.read_to_end(&mut content);
    assert!(content.len() <= bytes.len(), "nothing is made up");
    if let Place::Size { line } = &body.place {
        assert!(line.len() <= MOST_LINE, "the bound holds");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(body: &[u8], length: Length) -> Result<String, String> {
        let mut text = String::new();
        let read = Body::new(body, length).read_to_string(&mut text);
        read.map(|_| text).map_err(|error| error.to_string())
    }

    #[test]
    fn chunks_are_put_together() {
        let body = b"4\r\nWiki\r\n5;name=value\r\npedia\r\nA\r\n0123456789\r\n0\r\n\r\nmore";
        assert_eq!(content(body, Length::Chunked).unwrap(), "Wikipedia0123456789");
        assert_eq!(content(b"3\nabc\n0\n", Length::Chunked).unwrap(), "abc");
    }

    #[test]
    fn a_given_length_is_kept() {
        assert_eq!(content(b"abcdef", Length::Bytes(4)).unwrap(), "abcd");
        assert_eq!(content(b"abc", Length::UntilTheEnd).unwrap(), "abc");
        assert!(content(b"abc", Length::Bytes(4)).is_err(), "it was cut");
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for body in ["\r\n", "xyz\r\n", "-1\r\n", "+1\r\na", "ffffffffffffffff\r\n", "80000000\r\n", "1\r\nab\r\n"] {
            assert!(content(body.as_bytes(), Length::Chunked).is_err(), "{body:?}");
        }
        assert!(content(&[b'1'; 300], Length::Chunked).unwrap_err().contains("has no end"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_bounds(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'1'), Just(b'\r'), Just(b'\n')], 0..200)) {
            fuzz(&bytes);
        }

        #[test]
        fn content_comes_out_as_it_was_cut_into_chunks(parts in prop::collection::vec("[a-z\r\n]{1,20}", 0..6)) {
            let mut body = Vec::new();
            for part in &parts {
                body.extend(format!("{:x}\r\n{part}\r\n", part.len()).bytes());
            }
            body.extend(b"0\r\n\r\n");
            prop_assert_eq!(content(&body, Length::Chunked).unwrap(), parts.concat());
        }
    }
}
