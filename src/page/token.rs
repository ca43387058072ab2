//! The token that opens the page: 256 bits, made at the first start and kept in the state directory for its owner only,
//! so that a bookmark outlives a restart. Whoever can read the file may look.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// The file's name in the state directory.
const FILE: &str = "page-token";

/// Hexadecimal digits of a token.
const DIGITS: usize = 64;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The kernel gave no random bytes.
    #[error("drawing random bytes for the page's token")]
    NoRandomness(#[source] getrandom::Error),
    /// The token could not be kept.
    #[error("writing the page's token to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The token could not be read.
    #[error("reading the page's token from {}: it is for the core's own user", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The token kept in `state`, or a new one where there is none that can be used.
///
/// # Errors
/// [`TokenError::NoRandomness`] and [`TokenError::Write`].
pub fn keep(state: &Path) -> Result<Secret, TokenError> {
    if let Ok(token) = read(state) {
        return Ok(token);
    }
    let token = draw()?;
    let path = state.join(FILE);
    write(&path, &token).map_err(|source| TokenError::Write { path, source })?;
    Ok(token)
}

/// The token kept in `state`.
///
/// # Errors
/// [`TokenError::Read`].
pub fn read(state: &Path) -> Result<Secret, TokenError> {
    let path = state.join(FILE);
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(DIGITS as u64 + 2).read_to_string(&mut text));
    let token = text.trim_end();
    match read {
        Ok(_) if token.len() == DIGITS && token.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(Secret::new(token)),
        Ok(_) => Err(TokenError::Read { path, source: io::ErrorKind::InvalidData.into() }),
        Err(source) => Err(TokenError::Read { path, source }),
    }
}

/// SHA-256 of a token, in hexadecimal digits. The viewer gets it instead of the token.
pub fn digest(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

/// Whether `presented` is the token behind `digest`. Two digests are compared, without a way out before their end: what
/// the time tells about the digest of a guess tells nothing about the token.
pub fn opens(presented: &str, digest: &str) -> bool {
    let found = self::digest(presented);
    found.len() == digest.len() && found.bytes().zip(digest.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

fn draw() -> Result<Secret, TokenError> {
    let mut random = [0; DIGITS / 2];
    getrandom::fill(&mut random).map_err(TokenError::NoRandomness)?;
    Ok(Secret::new(hex(&random)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn write(path: &Path, token: &Secret) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("new");
    // One left by a core that died here might have other permissions.
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{}", token.expose())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_of_256_bits_is_kept_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let token = keep(&state).unwrap();
        assert_eq!(token.expose().len(), 64);
        assert_eq!(fs::metadata(state.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(keep(&state).unwrap(), token, "it outlives a restart");
        assert_ne!(keep(&folder.path().join("other")).unwrap(), token);
    }

    #[test]
    fn a_damaged_token_is_replaced_and_never_accepted() {
        let folder = tempfile::tempdir().unwrap();
        for content in ["", "short", &"g".repeat(64), &"a".repeat(65)] {
            fs::write(folder.path().join(FILE), content).unwrap();
            assert!(read(folder.path()).is_err(), "{content}");
            assert_eq!(keep(folder.path()).unwrap().expose().len(), 64);
        }
    }

    #[test]
    fn only_the_token_itself_opens() {
        let digest = digest("right");
        assert!(opens("right", &digest));
        for wrong in ["", "righ", "wrong", &digest] {
            assert!(!opens(wrong, &digest), "{wrong}");
        }
        assert!(!opens("right", ""));
    }
}
