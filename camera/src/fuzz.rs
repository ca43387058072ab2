//! Fuzz targets: one function for each parser of bytes from outside. Each takes any bytes, and panics where the parser
//! breaks a promise; a fuzzer, a kept corpus or a property test calls it.

use crate::source::{Found, MjpegScanner};

/// Scans `bytes` as a Motion-JPEG stream, under a small limit.
///
/// # Panics
/// Where a picture is not a piece of the stream at the place named, is above the limit, does not begin and end as a
/// picture does, or where places do not go forward.
pub fn fuzz_mjpeg_scanner(bytes: &[u8]) {
    const LIMIT: usize = 256;
    let mut scanner = MjpegScanner::new(LIMIT);
    let (mut rest, mut picture) = (bytes, Vec::new());
    let mut least = 0;
    loop {
        let found = scanner.next(&mut rest, &mut picture).expect("memory can be read");
        let at = match found {
            Found::Picture { at, .. } => {
                let start = usize::try_from(at).expect("a place in memory");
                assert!(bytes[start..].starts_with(&picture), "the picture lies where it was said to");
                assert!(picture.starts_with(&[0xff, 0xd8]) && picture.ends_with(&[0xff, 0xd9]), "it is whole");
                at
            }
            Found::Damaged { at, .. } => at,
            Found::End => break,
        };
        assert!(at >= least, "pictures do not overlap");
        assert!(picture.len() <= LIMIT, "the limit holds");
        least = at + 2;
    }
    assert!(rest.is_empty(), "the stream was read to its end");
}

/// Reads `bytes` as what a child process writes: the first byte says whether it is pictures or raw images, and in pieces
/// of which length it comes; the rest is the stream.
///
/// # Panics
/// Where a frame is not a piece of the stream, or anything is left unread.
pub fn fuzz_child_output(bytes: &[u8]) {
    crate::source::fuzz_framing(bytes);
}

/// Reads `bytes` as the beginning of a network camera's answer.
///
/// # Panics
/// Where a bound does not hold.
pub fn fuzz_http_head(bytes: &[u8]) {
    crate::source::fuzz_head(bytes);
}

/// Reads `bytes` as the chunked body of a network camera's answer.
///
/// # Panics
/// Where a bound does not hold.
pub fn fuzz_http_chunks(bytes: &[u8]) {
    crate::source::fuzz_chunked(bytes);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_kept_corpus_is_read_within_bounds() {
        let targets: [(&str, fn(&[u8])); 3] =
            [("child", fuzz_child_output), ("head", fuzz_http_head), ("chunks", fuzz_http_chunks)];
        for (folder, target) in targets {
            let folder = format!("{}/corpus/{folder}", env!("CARGO_MANIFEST_DIR"));
            let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(files.len() >= 5);
            for file in files {
                target(&fs::read(file).unwrap());
            }
        }
    }
}
