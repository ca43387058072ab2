//! One sample as it waits on the disk: where it goes, and what is told when it is there.

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

/// The version of a sample's document.
pub(super) const FORMAT: u32 = 1;

/// Metadata of an object, names and values, in bytes (S3 user guide, "Working with object metadata").
const METADATA_LIMIT: usize = 2048;

/// The key that the connector adds (B-28).
const PUBLISHED: &str = "publish-ts";

/// A sample's document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// The version of the document.
    pub(super) format: u32,
    /// The request's number.
    pub(super) id: String,
    /// The connector that publishes what becomes of it.
    pub(super) connector: String,
    pub(super) config_id: String,
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) content_type: String,
    pub(super) prediction: Value,
    pub(super) metadata: Map<String, Value>,
    /// Of the sample itself.
    pub(super) bytes: u64,
}

/// Metadata that no object can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// A key that no header can have.
    #[error("the key {key:?} of Metadata can be no part of a header's name: use letters, digits, '-' and '_'")]
    Key {
        /// The key.
        key: String,
    },
    /// A value that no header can carry.
    #[error(
        "the value of {key:?} in Metadata has characters beyond printable ASCII, which an S3 object's metadata cannot hold"
    )]
    Value {
        /// Its key.
        key: String,
    },
    /// Too much of it.
    #[error("Metadata has {actual} bytes, and an S3 object has at most {METADATA_LIMIT}")]
    TooLarge {
        /// How much, with the key that is added.
        actual: usize,
    },
}

/// `metadata` with the time of the request, as an object's headers.
///
/// # Errors
/// [`MetadataError`].
pub(super) fn metadata_headers(metadata: &Map<String, Value>) -> Result<Vec<(HeaderName, HeaderValue)>, MetadataError> {
    let mut headers = Vec::with_capacity(metadata.len());
    let mut size = 0;
    for (key, value) in metadata {
        let name = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        let name =
            Some(key).filter(|key| name && !key.is_empty()).map(|key| format!("x-amz-meta-{}", key.to_lowercase()));
        let name = name.and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        let name = name.ok_or_else(|| MetadataError::Key { key: key.clone() })?;
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        // Signature Version 4 trims and joins spaces; what is printable arrives as it is.
        let printable = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        let value = Some(&text).filter(|_| printable).and_then(|text| HeaderValue::from_str(text).ok());
        size += key.len() + text.len();
        headers.push((name, value.ok_or_else(|| MetadataError::Value { key: key.clone() })?));
    }
    if size > METADATA_LIMIT {
        return Err(MetadataError::TooLarge { actual: size });
    }
    Ok(headers)
}

/// Puts the time of the request beside what the function says (B-34): UTC, a space, microseconds, no zone.
pub(super) fn stamp(metadata: &mut Map<String, Value>, now: OffsetDateTime) {
    let now = now.to_offset(time::UtcOffset::UTC);
    let (date, (hour, minute, second, micro)) = (now.date(), now.to_hms_micro());
    let text = format!("{date} {hour:02}:{minute:02}:{second:02}.{micro:06}");
    metadata.insert(PUBLISHED.to_owned(), text.into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(metadata: &Value) -> Result<Vec<(HeaderName, HeaderValue)>, MetadataError> {
        metadata_headers(metadata.as_object().expect("an object"))
    }

    #[test]
    fn metadata_becomes_headers_or_is_refused_by_its_key() {
        let found = headers(&json!({ "Some-Key": "some value", "count": 3 })).expect("headers");
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or(""))).collect();
        assert_eq!(found, [("x-amz-meta-some-key", "some value"), ("x-amz-meta-count", "3")]);
        for (metadata, word) in [
            (json!({ "a b": "x" }), "\"a b\""),
            (json!({ "": "x" }), "\"\""),
            (json!({ "name": "Gürtel" }), "printable ASCII"),
            (json!({ "name": "a\nb" }), "printable ASCII"),
            (json!({ "name": "x".repeat(3000) }), "3004 bytes"),
        ] {
            let refused = headers(&metadata).expect_err("it is refused").to_string();
            assert!(refused.contains(word), "{refused}");
        }
    }

    #[test]
    fn the_time_of_the_request_is_written_as_the_guide_does_b_34() {
        let now = OffsetDateTime::from_unix_timestamp_nanos(1_562_803_968_816_752_900).expect("a time");
        let mut metadata = Map::new();
        stamp(&mut metadata, now);
        assert_eq!(metadata["publish-ts"], "2019-07-11 00:12:48.816752");
    }
}
