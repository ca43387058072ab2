//! What the core tells of its own presence on `margay/THING/status`. `docs/status.schema.json` is its contract.

use serde::{Deserialize, Serialize};

use super::ClockSource;

/// The version of the schema that [`Status`] follows.
pub const STATUS_SCHEMA: &str = "margay.status/1";

/// Whether the core is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Always [`STATUS_SCHEMA`].
    pub schema: String,
    /// The core's thing name.
    pub thing: String,
    /// Whether it is there.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// The program's version.
    pub version: String,
    /// When the document was written, RFC 3339 in UTC: for `connection_lost`, when the connection that was lost began.
    pub at: String,
    /// What `at` rests on.
    pub clock: ClockSource,
}

/// Whether the core is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its connection stands.
    Online,
    /// It does not.
    Offline,
}

/// Why the core says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was admitted by the broker.
    Connected,
    /// It is being stopped.
    Stopped,
    /// The broker noticed that the connection ended without a farewell.
    ConnectionLost,
}
