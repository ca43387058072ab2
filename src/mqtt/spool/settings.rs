//! How much the spool keeps, and where: what V1 sets by variables of the system function `GGCloudSpooler`, which
//! the group document's reader understands.

use std::path::PathBuf;

use super::worth::WhenFull;

/// `GG_CONFIG_MAX_SIZE_BYTES` when nothing is said: 2.5 MB.
pub const DEFAULT_MAX_SIZE_BYTES: usize = 2_621_440;

/// The smallest `GG_CONFIG_MAX_SIZE_BYTES`: 256 KB, about two messages of the largest size.
pub const MIN_MAX_SIZE_BYTES: usize = 262_144;

/// Why the spool's settings are refused; the core does not start with them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolSettingsError {
    /// Below [`MIN_MAX_SIZE_BYTES`]. The text is V1's own (B-43).
    #[error("Spool size should be at least {MIN_MAX_SIZE_BYTES} bytes.")]
    TooSmall {
        /// The size asked for, in bytes.
        actual: usize,
    },
}

/// Where accepted messages are kept (`GG_CONFIG_STORAGE_TYPE`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StorageType {
    /// In the core's memory: lost when the core stops.
    #[default]
    Memory,
    /// In files of this folder: they outlast the core, and a power cut. docs/spool.md has their format.
    FileSystem(PathBuf),
}

/// How much the spool keeps, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    max_size_bytes: usize,
    storage: StorageType,
    when_full: WhenFull,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self { max_size_bytes: DEFAULT_MAX_SIZE_BYTES, storage: StorageType::default(), when_full: WhenFull::default() }
    }
}

impl SpoolSettings {
    /// A spool of at most `max_size_bytes`: payloads, topics and
    /// [`OVERHEAD_BYTES`](crate::mqtt::message::OVERHEAD_BYTES) a message.
    ///
    /// # Errors
    /// [`SpoolSettingsError::TooSmall`].
    pub fn new(max_size_bytes: usize, storage: StorageType) -> Result<Self, SpoolSettingsError> {
        if max_size_bytes < MIN_MAX_SIZE_BYTES {
            return Err(SpoolSettingsError::TooSmall { actual: max_size_bytes });
        }
        Ok(Self { max_size_bytes, storage, when_full: WhenFull::default() })
    }

    /// The most bytes that queued and in-flight messages use together.
    pub fn max_size_bytes(&self) -> usize {
        self.max_size_bytes
    }

    /// The same, with another rule for which message makes room.
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> Self {
        Self { when_full, ..self }
    }

    /// The same size and rule in memory.
    pub(in crate::mqtt) fn in_memory(&self) -> Self {
        Self { storage: StorageType::Memory, ..self.clone() }
    }

    /// Where accepted messages are kept.
    pub fn storage(&self) -> &StorageType {
        &self.storage
    }

    /// Which message makes room.
    pub(super) fn makes_room(&self) -> WhenFull {
        self.when_full
    }
}
