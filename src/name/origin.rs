//! Where a package came from: an object in S3, or a file of this device.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{S3Uri, S3UriError};

/// Where a package came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An object in S3.
    S3(S3Uri),
    /// An archive on this device, by its absolute path.
    File(PathBuf),
}

impl Origin {
    /// The name under which the archive was offered, whose ending says what it is.
    pub fn name(&self) -> String {
        match self {
            Self::S3(uri) => uri.key().to_owned(),
            Self::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

impl From<&S3Uri> for Origin {
    fn from(uri: &S3Uri) -> Self {
        Self::S3(uri.clone())
    }
}

impl From<&Path> for Origin {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&Origin> for Origin {
    fn from(origin: &Origin) -> Self {
        origin.clone()
    }
}

impl PartialEq<S3Uri> for Origin {
    fn eq(&self, uri: &S3Uri) -> bool {
        matches!(self, Self::S3(own) if own == uri)
    }
}

impl FromStr for Origin {
    type Err = S3UriError;

    /// What [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, S3UriError> {
        if text.starts_with('/') {
            return Ok(Self::File(PathBuf::from(text)));
        }
        text.parse().map(Self::S3)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3(uri) => uri.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_reads_back_what_it_writes() {
        for text in ["s3://models/signs.tar.gz", "/opt/functions/count.zip"] {
            assert_eq!(text.parse::<Origin>().expect("an origin").to_string(), text);
        }
        assert!("count.zip".parse::<Origin>().is_err());
    }
}
