//! The file that a download lands in: how much has come, of which version of the object, and its digest so far.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::Fetched;
use super::error::DownloadError;
use crate::package::Sha256Digest;
use crate::store::Download;

/// A download on its way.
pub(super) struct Landing {
    path: PathBuf,
    file: File,
    digest: Sha256,
    received: u64,
    total: Option<u64>,
    etag: Option<String>,
    version_id: Option<String>,
}

impl Landing {
    /// Empties or makes the file at `path`.
    pub(super) async fn create(path: &Path) -> Result<Self, DownloadError> {
        let file = File::create(path).await.map_err(disk_error(path))?;
        let path = path.to_owned();
        Ok(Self { path, file, digest: Sha256::new(), received: 0, total: None, etag: None, version_id: None })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes written.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Bytes of the object, if known.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// The version of the object that the bytes came from, if the server names versions.
    pub(super) fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// Whether every byte is there; unknown sizes never are.
    pub(super) fn is_complete(&self) -> bool {
        self.total == Some(self.received)
    }

    /// Notes what the first answer says about the object.
    pub(super) fn expect(&mut self, total: Option<u64>, etag: Option<String>, version_id: Option<String>) {
        self.total = total;
        self.etag = etag;
        self.version_id = version_id;
    }

    /// An answer of unknown length has come to its end, which is the object's.
    pub(super) fn ended(&mut self) {
        self.total = Some(self.received);
    }

    /// Adds `bytes`.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        self.file.write_all(bytes).await.map_err(disk_error(&self.path))?;
        self.digest.update(bytes);
        self.received += bytes.len() as u64;
        Ok(())
    }

    /// Throws away what has come: it belongs to another version of the object.
    pub(super) async fn start_over(&mut self) -> Result<(), DownloadError> {
        let cleared = async {
            self.file.flush().await?;
            self.file.set_len(0).await?;
            self.file.rewind().await
        };
        cleared.await.map_err(disk_error(&self.path))?;
        self.digest = Sha256::new();
        self.received = 0;
        self.expect(None, None, None);
        Ok(())
    }

    /// Syncs the file.
    pub(super) async fn finish(mut self) -> Result<Fetched, DownloadError> {
        let synced = async {
            self.file.flush().await?;
            self.file.sync_all().await
        };
        synced.await.map_err(disk_error(&self.path))?;
        let sha256 = Sha256Digest::from_bytes(self.digest.finalize().into());
        let download = Download { bytes: self.received, sha256, etag: self.etag };
        Ok(Fetched { download, version_id: self.version_id })
    }
}

fn disk_error(path: &Path) -> impl FnOnce(io::Error) -> DownloadError {
    move |source| DownloadError::Disk { path: path.to_owned(), source }
}
