//! The path of a file inside a package.

use std::fmt;
use std::str::FromStr;

/// Longest path, in bytes: the limit of a name in most file systems.
pub const MAX_PATH_BYTES: usize = 255;

/// A relative, `/`-separated path that stays inside the package: no empty part, no `.`, no `..`, no backslash, no
/// control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackagePath(String);

/// Why a text is no path inside a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Empty, or longer than `MAX_PATH_BYTES`.
    #[error("has 1 to {MAX_PATH_BYTES} bytes, this one has {actual}")]
    Length {
        /// Bytes of the text.
        actual: usize,
    },
    /// It would be looked for outside the package, or names a directory.
    #[error("is relative and inside the package, without empty parts, . or ..")]
    Outside,
    /// A character that some system could read as something else.
    #[error("is written without backslashes and control characters, and {found:?} is one")]
    Character {
        /// The first of them.
        found: char,
    },
}

impl PackagePath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that the file is in, without a closing `/`; empty for the package's top directory.
    pub(super) fn directory(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(directory, _)| directory)
    }

    /// The file's own name.
    pub(super) fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }
}

impl FromStr for PackagePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.is_empty() || text.len() > MAX_PATH_BYTES {
            return Err(PathError::Length { actual: text.len() });
        }
        if let Some(found) = text.chars().find(|&c| c == '\\' || c.is_control()) {
            return Err(PathError::Character { found });
        }
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(PathError::Outside);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PackagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_inside_the_package() {
        for text in ["model.onnx", "golden/cat 1.jpg", "a/b/c", "…", "..a", "a..b/c"] {
            assert_eq!(text.parse::<PackagePath>().unwrap().as_str(), text);
        }
        for text in ["/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", "."] {
            assert_eq!(text.parse::<PackagePath>(), Err(PathError::Outside), "{text}");
        }
        for text in ["a\\b", "a\nb", "a\0b"] {
            assert!(matches!(text.parse::<PackagePath>(), Err(PathError::Character { .. })), "{text:?}");
        }
        assert!(matches!("".parse::<PackagePath>(), Err(PathError::Length { actual: 0 })));
        assert!(matches!("x".repeat(256).parse::<PackagePath>(), Err(PathError::Length { actual: 256 })));
    }

    #[test]
    fn directory_and_name_make_up_the_path() {
        let path: PackagePath = "a/b/c.onnx".parse().unwrap();
        assert_eq!((path.directory(), path.file_name()), ("a/b", "c.onnx"));
        let path: PackagePath = "c.onnx".parse().unwrap();
        assert_eq!((path.directory(), path.file_name()), ("", "c.onnx"));
    }
}
