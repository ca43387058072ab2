//! How messages wait for the cloud: the system function `GGCloudSpooler` and its variables.

use crate::document::{Field, Object, Unknown};
use crate::units::ByteSize;

/// The smallest queue that V1 starts with (V25).
const LEAST_SIZE: u64 = 262_144;
/// V1's default, 2.5 MB.
const DEFAULT_SIZE: ByteSize = ByteSize::from_kib(2560);
/// The guide's text for a smaller one (contract G1).
const TOO_SMALL: &str = "Spool size should be at least 262144 bytes.";

/// How messages wait for the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spooler {
    /// Where they wait (`GG_CONFIG_STORAGE_TYPE`).
    pub storage: Storage,
    /// The most that waits; the oldest are replaced by new ones (`GG_CONFIG_MAX_SIZE_BYTES`).
    pub max_size: ByteSize,
    /// Which of them (`MARGAY_WHEN_FULL`, which V1 does not have).
    pub when_full: WhenFull,
    /// How the core subscribes in the cloud (`GG_CONFIG_SUBSCRIPTION_QUALITY`).
    pub subscription_quality: SubscriptionQuality,
}

impl Default for Spooler {
    fn default() -> Self {
        Self {
            storage: Storage::Memory,
            max_size: DEFAULT_SIZE,
            when_full: WhenFull::DropOldest,
            subscription_quality: SubscriptionQuality::AtMostOnce,
        }
    }
}

/// Where messages wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// In memory; a restart loses them.
    Memory,
    /// On disk; they outlast a restart.
    FileSystem,
}

impl Storage {
    const NAMES: [(&'static str, Self); 2] = [("Memory", Self::Memory), ("FileSystem", Self::FileSystem)];
}

/// Which messages make room in a full queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest, as in V1.
    DropOldest,
    /// The oldest that only repeat, with confidence, what the one before them said; else the oldest.
    DropRepeats,
}

impl WhenFull {
    const NAMES: [(&'static str, Self); 2] = [("DropOldest", Self::DropOldest), ("DropRepeats", Self::DropRepeats)];
}

/// How the core subscribes in the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionQuality {
    /// At QoS 0.
    AtMostOnce,
    /// At QoS 1, in a persistent session.
    AtLeastOncePersistent,
}

impl SubscriptionQuality {
    const NAMES: [(&'static str, Self); 2] =
        [("AtMostOnce", Self::AtMostOnce), ("AtLeastOncePersistent", Self::AtLeastOncePersistent)];
}

impl Spooler {
    pub(super) fn read(mut variables: Object<'_>) -> Self {
        let default = Self::default();
        let storage = variables.field("GG_CONFIG_STORAGE_TYPE").choice(&Storage::NAMES);
        let when_full = variables.field("MARGAY_WHEN_FULL").choice(&WhenFull::NAMES);
        let max_size = read_size(&variables.field("GG_CONFIG_MAX_SIZE_BYTES"));
        let quality = variables.field("GG_CONFIG_SUBSCRIPTION_QUALITY").choice(&SubscriptionQuality::NAMES);
        variables.finish(Unknown::Warn);
        Self {
            storage: storage.unwrap_or(default.storage),
            max_size: max_size.unwrap_or(default.max_size),
            when_full: when_full.unwrap_or(default.when_full),
            subscription_quality: quality.unwrap_or(default.subscription_quality),
        }
    }
}

fn read_size(field: &Field<'_>) -> Option<ByteSize> {
    let bytes = field.integer(0..=u64::MAX, "bytes")?;
    if bytes < LEAST_SIZE {
        field.refuse(TOO_SMALL, "write 262144 or more");
    }
    Some(ByteSize::from_bytes(bytes))
}
