//! What a subscriber receives: one prediction, as JSON. `docs/payload.schema.json` is its contract, and every payload
//! carries the contract's version, so that a rule in the cloud can tell old cores from new ones.

use margay_camera::TimestampSource;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub mod device;
pub mod health;
pub mod publication;
pub mod status;
pub mod thumbnail;

pub use device::{DeviceState, Throttling};
pub use publication::{Publication, Reason, Stable, Trigger};
pub use thumbnail::Thumbnail;

/// The version of the schema that [`Prediction`] follows. A field may be added under the same version; one that changes
/// its meaning or goes away makes a new one.
pub const SCHEMA: &str = "margay.prediction/1";

/// One frame's result, as published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The core's thing name.
    pub thing: String,
    /// The camera's name in the group document.
    pub camera: String,
    /// The frame's number in this camera's stream, from 0; it never goes back while the core runs.
    pub frame: u64,
    /// The source's own number for the picture: the file's place in a folder, the counter of a test pattern.
    pub item: u64,
    /// When the frame was captured, RFC 3339 in UTC, to the microsecond.
    pub captured_at: String,
    /// Who took that time: the kernel at the start or end of exposure, the capture worker on arrival, a replay.
    pub captured_at_source: TimestampSource,
    /// `server` once the clock was corrected by an authenticated server's `Date`, `system` before.
    pub clock: ClockSource,
    /// The model that made the prediction.
    pub model: Model,
    /// The classes, most probable first.
    pub predictions: Vec<Ranked>,
    /// Where the time went.
    pub latency_us: Latency,
    /// Why this frame is told of, and how many before it were not; absent where it is not published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication: Option<Publication>,
    /// What holds over several frames, where the connector smooths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Stable>,
    /// The request that this message answers, if it gave an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// The frame in small, where the connector wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<Thumbnail>,
    /// How warm the device is, and whether that slows it down, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceState>,
}

/// What a timestamp rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockSource {
    /// The device's own clock, never compared with a server's.
    System,
    /// The device's clock, corrected by an authenticated server's `Date` header.
    Server,
}

/// The model behind a prediction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Its name in `model.toml`, or the package's file name for a V1 package.
    pub name: String,
    /// Its version in `model.toml`, or `v1` for a V1 package.
    pub version: String,
    /// The package's digest, `sha256:` and 64 hexadecimal digits.
    pub digest: String,
}

/// A class and how probable the model holds it to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// The class's label.
    pub label: String,
    /// The class's index in the label file, from 0.
    pub class: u32,
    /// 0 to 1.
    pub probability: f32,
}

/// Time spent on one frame by stage, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// From capture to the moment the inference worker took the frame.
    pub queue: u64,
    /// Decoding the camera's format.
    pub decode: u64,
    /// Resizing, cropping and normalising into the input tensor.
    pub resize: u64,
    /// The model itself.
    pub inference: u64,
    /// Softmax and ranking.
    pub postprocess: u64,
    /// From capture to this payload.
    pub total: u64,
}

/// `instant` as the payload writes it: RFC 3339, UTC, microseconds.
pub fn timestamp(instant: OffsetDateTime) -> String {
    let instant = instant.to_offset(time::UtcOffset::UTC);
    let whole = instant.replace_nanosecond(instant.microsecond() * 1000).unwrap_or(instant);
    whole.format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_utc_with_microseconds() {
        let instant = OffsetDateTime::from_unix_timestamp_nanos(1_795_000_000_123_456_789).unwrap();
        assert_eq!(timestamp(instant), "2026-11-18T11:06:40.123456Z");
    }
}
