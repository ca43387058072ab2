//! A model's compiled artefact, beside its package: what a worker made of the model at an earlier start.
//!
//! ```text
//! <store>/models/sha256-<hex>/compiled    gone with the model, counted by the quota
//! ```
//!
//! The core neither reads nor understands what is in it: a worker writes it into a pipe, and another one checks it. Whatever
//! goes wrong costs the next start some time and nothing else.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::StoreError;
use super::room::Room;
use super::scratch::Scratch;
use crate::disk::{self, FillError};

/// The artefact's name, beside the package.
const NAME: &str = "compiled";

/// Where the artefact of one installed model lies.
#[derive(Debug, Clone)]
pub struct CompiledPlace {
    home: PathBuf,
    temporary: PathBuf,
    room: Arc<Room>,
}

impl CompiledPlace {
    pub(super) fn new(home: &Path, temporary: PathBuf, room: Arc<Room>) -> Self {
        Self { home: home.to_owned(), temporary, room }
    }

    /// The artefact's path.
    pub fn path(&self) -> PathBuf {
        self.home.join(NAME)
    }

    /// The artefact for reading, if there is one.
    pub fn open(&self) -> Option<File> {
        let path = self.path();
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&path).ok()?;
        file.metadata().is_ok_and(|metadata| metadata.is_file()).then_some(file)
    }

    /// Puts all of `content` in the place of the artefact, if it is anything; returns its length. Blocks for as long as it
    /// comes.
    ///
    /// # Errors
    /// When it is longer than `most` bytes, the quota or the disk refuses, or the model was removed meanwhile. What was
    /// there is there.
    pub fn keep(&self, content: &mut dyn Read, most: u64) -> Result<u64, StoreError> {
        let path = self.path();
        let failed = |error| StoreError::io("keeping", &path)(error);
        let mut first = [0; 4096];
        let length = content.read(&mut first).map_err(failed)?;
        if length == 0 {
            return Ok(0);
        }
        let scratch = Scratch::directory_within(&self.temporary)?;
        let written = scratch.path().join(NAME);
        let mut file = disk::create_file(&written, 0o644).map_err(failed)?;
        let (mut booking, mut bytes) = (self.room.book(), 0);
        let admit = |piece: &[u8]| {
            bytes += piece.len() as u64;
            if bytes > most {
                return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
            }
            booking.grow_to(bytes)
        };
        let bytes = match disk::fill(&mut file, &mut first[..length].chain(content), admit) {
            Ok(bytes) => bytes,
            Err(FillError::Reading(error) | FillError::Writing(error)) => return Err(failed(error)),
            Err(FillError::Refused(error)) => return Err(error),
        };
        disk::publish(&written, &path).map_err(failed)?;
        Ok(bytes)
    }
}

/// Bytes of the artefact of the model in `home`.
pub(super) fn bytes_in(home: &Path) -> u64 {
    fs::symlink_metadata(home.join(NAME)).map_or(0, |metadata| metadata.len())
}
