//! The spool's settings, as V1 gives them: environment variables of the system function `GGCloudSpooler`.

/// `GG_CONFIG_MAX_SIZE_BYTES` when nothing is said: 2.5 MB.
pub const DEFAULT_MAX_SIZE_BYTES: usize = 2_621_440;

/// The smallest `GG_CONFIG_MAX_SIZE_BYTES`: 256 KB, about two messages of the largest size.
pub const MIN_MAX_SIZE_BYTES: usize = 262_144;

const MAX_SIZE_VARIABLE: &str = "GG_CONFIG_MAX_SIZE_BYTES";
const STORAGE_VARIABLE: &str = "GG_CONFIG_STORAGE_TYPE";

/// Why the spool's settings are refused; the core does not start with them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolSettingsError {
    /// Below [`MIN_MAX_SIZE_BYTES`]. The text is V1's own (B-43).
    #[error("Spool size should be at least {MIN_MAX_SIZE_BYTES} bytes.")]
    TooSmall {
        /// The size asked for, in bytes.
        actual: usize,
    },
    /// The size is not a whole number of bytes.
    #[error("reading {MAX_SIZE_VARIABLE}: {found:?} is not a whole number of bytes")]
    NotANumber {
        /// The value as it was written.
        found: String,
    },
    /// V1's other storage type. Taking messages into memory instead would break what *accepted* promises.
    #[error(
        "{STORAGE_VARIABLE} is FileSystem, and this version keeps the spool in memory only; set it to Memory if \
         messages may be lost when the core restarts"
    )]
    FileSystemNotSupported,
    /// Neither of V1's two storage types.
    #[error("{STORAGE_VARIABLE} is {found:?}; it can be Memory or FileSystem")]
    UnknownStorage {
        /// The value as it was written.
        found: String,
    },
}

/// Where accepted messages are kept (`GG_CONFIG_STORAGE_TYPE`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StorageType {
    /// In the core's memory: lost when the core stops.
    #[default]
    Memory,
}

/// How much the spool keeps, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    max_size_bytes: usize,
    storage: StorageType,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self { max_size_bytes: DEFAULT_MAX_SIZE_BYTES, storage: StorageType::default() }
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
        Ok(Self { max_size_bytes, storage })
    }

    /// Reads the variables of `GGCloudSpooler`; those that are absent have their defaults.
    ///
    /// # Errors
    /// Every [`SpoolSettingsError`].
    pub fn from_variables<'a>(lookup: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, SpoolSettingsError> {
        let storage = match lookup(STORAGE_VARIABLE) {
            None | Some("Memory") => StorageType::Memory,
            Some("FileSystem") => return Err(SpoolSettingsError::FileSystemNotSupported),
            Some(found) => {
                return Err(SpoolSettingsError::UnknownStorage { found: found.to_owned() });
            }
        };
        let max_size_bytes = match lookup(MAX_SIZE_VARIABLE) {
            None => DEFAULT_MAX_SIZE_BYTES,
            Some(text) => text.trim().parse().map_err(|_| SpoolSettingsError::NotANumber { found: text.to_owned() })?,
        };
        Self::new(max_size_bytes, storage)
    }

    /// The most bytes that queued and in-flight messages use together.
    pub fn max_size_bytes(&self) -> usize {
        self.max_size_bytes
    }

    /// Where accepted messages are kept.
    pub fn storage(&self) -> StorageType {
        self.storage
    }
}
