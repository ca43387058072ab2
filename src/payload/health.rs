//! What a subscriber hears when a camera falls ill or is well again, as JSON. `docs/health.schema.json` is its contract.

use serde::{Deserialize, Serialize};

use super::ClockSource;

/// The version of the schema that [`Health`] follows.
pub const HEALTH_SCHEMA: &str = "margay.health/1";

/// A camera's health, published when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Always [`HEALTH_SCHEMA`].
    pub schema: String,
    /// The core's thing name.
    pub thing: String,
    /// The camera's name in the group document.
    pub camera: String,
    /// In a word.
    pub state: State,
    /// What is wrong: `black`, `over_exposed`, `frozen`, `silent`; empty where nothing is.
    pub conditions: Vec<String>,
    /// For a camera that is silent: what was last wrong with its source, if anything was.
    pub reason: Option<String>,
    /// When this was found, RFC 3339 in UTC, to the microsecond.
    pub at: String,
    /// What that time rests on.
    pub clock: ClockSource,
}

/// A camera's health in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is wrong.
    Well,
    /// Something is.
    Ill,
}
