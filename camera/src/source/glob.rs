//! Patterns of file names, as shells have them: `*`, `?` and `[a-z]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most bytes of a pattern.
const MOST: usize = 255;

/// A pattern that whole file names are held against: `*` stands for any bytes, `?` for any one, `[a-z]` and `[!a-z]` for
/// one of those, or of all others. Upper and lower case are different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern {
    text: String,
    pieces: Vec<Piece>,
}

/// What a part of a pattern stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Any,
    One,
    Byte(u8),
    Class { not: bool, ranges: Vec<(u8, u8)> },
}

/// A pattern that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{rule}")]
pub struct PatternError {
    rule: &'static str,
}

impl NamePattern {
    /// Whether the whole of `name` is one of those that the pattern stands for. Takes time in proportion to the product of
    /// both lengths at most.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let (mut piece, mut byte) = (0, 0);
        // Where to go on if it turns out that the last star has to stand for one byte more.
        let mut star = None;
        while byte < name.len() {
            match self.pieces.get(piece) {
                Some(Piece::Any) => {
                    star = Some((piece, byte));
                    piece += 1;
                }
                Some(wanted) if wanted.admits(name[byte]) => (piece, byte) = (piece + 1, byte + 1),
                _ => {
                    let Some((at, covered)) = star else { return false };
                    star = Some((at, covered + 1));
                    (piece, byte) = (at + 1, covered + 1);
                }
            }
        }
        self.pieces[piece..].iter().all(|piece| *piece == Piece::Any)
    }
}

impl Piece {
    fn admits(&self, byte: u8) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Byte(wanted) => *wanted == byte,
            Self::Class { not, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte)) != *not,
        }
    }
}

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let refuse = |rule| Err(PatternError { rule });
        if text.is_empty() || text.len() > MOST {
            return refuse("has not 1 to 255 bytes");
        }
        if text.contains('/') || text.chars().any(char::is_control) {
            return refuse("has a slash or a control character: it is held against names, not paths");
        }
        let (mut pieces, mut rest) = (Vec::new(), text.as_bytes());
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            pieces.push(match first {
                b'*' => Piece::Any,
                b'?' => Piece::One,
                b'[' => {
                    let (class, after) =
                        class(rest).ok_or(PatternError { rule: "has a [ without its ], or nothing between them" })?;
                    rest = after;
                    class
                }
                byte => Piece::Byte(byte),
            });
        }
        Ok(Self { text: text.to_owned(), pieces })
    }
}

/// A class from after its bracket on, and what follows on it.
fn class(text: &[u8]) -> Option<(Piece, &[u8])> {
    let (not, text) = match text {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    // A closing bracket that comes first is one of the class (POSIX, 9.3.5).
    let end = 1 + text.get(1..)?.iter().position(|byte| *byte == b']')?;
    let (mut inside, mut ranges) = (&text[..end], Vec::new());
    while let Some((&low, rest)) = inside.split_first() {
        inside = rest;
        match inside {
            [b'-', high, rest @ ..] => {
                ranges.push((low, *high));
                inside = rest;
            }
            _ => ranges.push((low, low)),
        }
    }
    Some((Piece::Class { not, ranges }, &text[end + 1..]))
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for NamePattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_stand_for_what_shells_take_them_for() {
        for (pattern, name, expected) in [
            ("*.jpg", "a.jpg", true),
            ("*.jpg", ".jpg", true),
            ("*.jpg", "a.jpeg", false),
            ("gate-?.png", "gate-1.png", true),
            ("gate-?.png", "gate-10.png", false),
            ("[a-c][0-9]*", "b7x", true),
            ("[a-c][0-9]*", "d7x", false),
            ("[!a-c]*", "d", true),
            ("[!a-c]*", "a", false),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("a", "ab", false),
            ("**", "", true),
        ] {
            let parsed: NamePattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(name.as_bytes()), expected, "{pattern} {name}");
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn what_is_no_pattern_of_names_is_refused() {
        for pattern in ["", "a/b", "[", "[]", "[a", "a\n", &"a".repeat(256)] {
            assert!(pattern.parse::<NamePattern>().is_err(), "{pattern:?}");
        }
    }

    #[test]
    fn stars_without_number_take_no_time_without_bound() {
        let pattern: NamePattern = "*a".repeat(100).parse().unwrap();
        assert!(!pattern.matches(&[b'a'; 99]));
        assert!(!pattern.matches("ab".repeat(2000).as_bytes()));
    }

    proptest! {
        #[test]
        fn a_name_is_its_own_pattern_and_the_pattern_of_its_stars(name in "[a-z.]{1,12}", cut in any::<prop::sample::Index>()) {
            prop_assert!(name.parse::<NamePattern>().unwrap().matches(name.as_bytes()));
            let cut = cut.index(name.len());
            let starred: NamePattern = format!("{}*{}", &name[..cut], &name[cut..]).parse().unwrap();
            prop_assert!(starred.matches(name.as_bytes()));
        }
    }
}
