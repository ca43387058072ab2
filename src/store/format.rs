//! Which version of a document of the store this is. Read before anything else of it, so that what a newer Margay wrote
//! is refused for what it is, and left as it is.

use std::path::Path;

use serde::Deserialize;

use super::error::StoreError;

#[derive(Deserialize)]
struct Head {
    format: u64,
}

/// Refuses `content` of the document at `path` if its version is above `known`. What has no version is left to its
/// reader, which says what is wrong with it.
pub(super) fn check(path: &Path, content: &[u8], known: u32) -> Result<(), StoreError> {
    match serde_json::from_slice::<Head>(content) {
        Ok(Head { format: found }) if found > u64::from(known) => {
            Err(StoreError::NewerDocument { path: path.to_owned(), found, known })
        }
        _ => Ok(()),
    }
}
