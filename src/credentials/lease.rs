//! What a function is started with so that its AWS SDK finds the token exchange endpoint: where it is, and the
//! function's own token, as a value or as a file that only the function can read.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid, fchown};

use crate::secret::Secret;

/// Where SDKs look for the endpoint.
const URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
/// Where SDKs look for the token.
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
/// Where SDKs look for the token's file; SDKs that know it read it before each request.
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// One function's way to its credentials.
#[derive(Debug, Clone)]
pub struct Lease {
    uri: String,
    token: Secret,
}

/// A token's file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("writing the token for the token exchange endpoint to {}", path.display())]
pub struct TokenFileError {
    /// The file.
    pub path: PathBuf,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

impl Lease {
    pub(super) fn new(uri: String, token: Secret) -> Self {
        Self { uri, token }
    }

    /// The endpoint: the value of `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The function's token, verbatim the value of its `Authorization` header.
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// The environment of a function that gets its token as a value.
    pub fn environment(&self) -> [(&'static str, &str); 2] {
        [(URI, &self.uri), (TOKEN, self.token.expose())]
    }

    /// The environment of a function that finds its token in the file `inside`, a path as the function sees it.
    pub fn environment_with_file<'a>(&'a self, inside: &'a str) -> [(&'static str, &'a str); 2] {
        [(URI, &self.uri), (TOKEN_FILE, inside)]
    }

    /// Writes the token to `path`, mode 0400, for the user and group `owner` if the core may give files away. A file
    /// that is there is replaced whole. Keep it on a file system in memory.
    ///
    /// # Errors
    /// When the folder cannot be written, or the file not given away.
    pub fn write_token(&self, path: &Path, owner: Option<(u32, u32)>) -> Result<(), TokenFileError> {
        let failed = |source| TokenFileError { path: path.to_owned(), source };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        // Left by a core that was killed in between.
        let _ = std::fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&new).map_err(failed)?;
        let written = give(&file, owner)
            .and_then(|()| file.write_all(self.token.expose().as_bytes()))
            .and_then(|()| std::fs::rename(&new, path));
        written.inspect_err(|_| drop(std::fs::remove_file(&new))).map_err(failed)
    }
}

fn give(file: &File, owner: Option<(u32, u32)>) -> io::Result<()> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    Ok(fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn lease() -> Lease {
        Lease::new("http://127.0.0.1:1/".to_owned(), Secret::new("ab".repeat(32)))
    }

    #[test]
    fn the_tokens_file_is_for_its_owner_alone_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for _ in 0..2 {
            lease().write_token(&path, None).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "ab".repeat(32), "without a line end");
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = lease().write_token(&folder.path().join("no/such/token"), None).unwrap_err();
        assert!(error.to_string().contains("no/such/token") && !format!("{error:?}").contains("abab"), "{error}");
    }

    #[test]
    fn debug_shows_no_token() {
        assert!(!format!("{:?}", lease()).contains("abab"));
    }
}
