//! Random strings in the shapes AWS gives its identifiers and secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::CloudError;

/// The alphabet of access key identifiers.
const KEY_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// `count` characters of the alphabet that access key identifiers use, five random bits each.
pub(crate) fn key_characters(count: usize) -> Result<String, CloudError> {
    let bytes = bytes(count, "an access key identifier")?;
    Ok(bytes.iter().map(|byte| char::from(KEY_ALPHABET[usize::from(byte & 31)])).collect())
}

/// `count` random bytes in standard Base64.
pub(crate) fn base64_of(count: usize, purpose: &'static str) -> Result<String, CloudError> {
    Ok(STANDARD.encode(bytes(count, purpose)?))
}

fn bytes(count: usize, purpose: &'static str) -> Result<Vec<u8>, CloudError> {
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).map_err(|source| CloudError::Random { purpose, source })?;
    Ok(bytes)
}
