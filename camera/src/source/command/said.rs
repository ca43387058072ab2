//! The last that a child has printed.

use std::collections::VecDeque;

/// So many bytes are kept: the lines before a child's end say why it ended.
pub(super) const KEPT: usize = 4096;

/// Bytes of a line that are shown.
const LINE: usize = 400;

/// Lines that are shown of what cannot be explained.
const LINES: usize = 3;

/// The end of a child's messages.
#[derive(Debug, Default)]
pub(super) struct Said {
    kept: VecDeque<u8>,
}

impl Said {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let surplus = (self.kept.len() + bytes.len()).saturating_sub(KEPT);
        self.kept.drain(..surplus);
        self.kept.extend(bytes);
    }

    /// What is kept, as text without control characters; the lines as they were.
    pub(super) fn text(&self) -> String {
        let (first, second) = self.kept.as_slices();
        let bytes = [first, second].concat();
        let text: String = String::from_utf8_lossy(&bytes)
            .chars()
            .filter(|character| *character == '\n' || !character.is_control())
            .collect();
        // Shorter than what is kept, whatever stands for bytes that are no text.
        let text = text.trim();
        let mut start = text.len().saturating_sub(KEPT);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text[start..].trim().to_owned()
    }
}

/// The last lines of `said`, for a message.
pub(super) fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    if last.is_empty() {
        return "nothing".to_owned();
    }
    let cut = |line: &&str| line.char_indices().nth(LINE).map_or(*line, |(end, _)| &line[..end]).to_owned();
    last.iter().map(cut).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_the_beginning_given_up() {
        let mut said = Said::default();
        for number in 0..10_000 {
            said.add(format!("line {number}\n").as_bytes());
        }
        let text = said.text();
        assert!(text.len() <= KEPT && text.ends_with("line 9999"), "{}", text.len());
        said.add(&[b'x'; 3 * KEPT]);
        assert_eq!(said.text(), "x".repeat(KEPT));
    }

    #[test]
    fn what_a_terminal_would_obey_is_left_out() {
        let mut said = Said::default();
        said.add(b"\x1b[1;31mERROR\x1b[0m \xff end\r\n");
        assert_eq!(said.text(), "[1;31mERROR[0m \u{fffd} end");
    }

    #[test]
    fn the_last_lines_speak_for_all() {
        assert_eq!(last_lines("a\n\nb\nc\nd\n"), "b | c | d");
        assert_eq!(last_lines("\n"), "nothing");
        assert_eq!(last_lines(&"é".repeat(1000)).chars().count(), LINE);
    }
}
