//! The stored objects: buckets of keys, each with all versions that were put, as in a bucket with versioning.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::address::ObjectAddress;
use super::error::S3Error;
use crate::lock::lock;
use crate::registry::hex;

/// What identifies a version of an object once it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVersion {
    /// The entity tag with its quotes. Not an MD5 sum, as with S3's own encrypted objects: 32 digits of SHA-256.
    pub etag: String,
    /// Value of `x-amz-version-id`, and of `?versionId=`.
    pub version_id: String,
}

/// One version of an object. Cloning does not copy the bytes.
#[derive(Debug, Clone)]
pub(super) struct StoredObject {
    pub(super) bytes: Bytes,
    pub(super) etag: String,
    pub(super) version_id: String,
    pub(super) modified: OffsetDateTime,
    /// Whether it is encrypted with its uploader's key.
    pub(super) customer_key: bool,
}

type Bucket = BTreeMap<String, Vec<StoredObject>>;

/// All buckets of one cloud; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ObjectStore {
    buckets: Arc<Mutex<BTreeMap<String, Bucket>>>,
    /// Of the buckets that lie elsewhere.
    regions: Arc<Mutex<BTreeMap<String, String>>>,
}

impl ObjectStore {
    pub(crate) fn put(&self, bucket: &str, key: &str, bytes: Bytes, modified: OffsetDateTime) -> StoredVersion {
        let etag = format!("\"{}\"", &hex(&Sha256::digest(&bytes))[..32]);
        let mut buckets = lock(&self.buckets);
        let versions = buckets.entry(bucket.to_owned()).or_default().entry(key.to_owned()).or_default();
        let version_id = format!("v{:031}", versions.len() + 1); // 32 characters, as S3's
        versions.push(StoredObject {
            bytes,
            etag: etag.clone(),
            version_id: version_id.clone(),
            modified,
            customer_key: false,
        });
        StoredVersion { etag, version_id }
    }

    pub(crate) fn delete(&self, bucket: &str, key: &str) {
        if let Some(bucket) = lock(&self.buckets).get_mut(bucket) {
            bucket.remove(key);
        }
    }

    pub(crate) fn lock_with_customer_key(&self, bucket: &str, key: &str) {
        let mut buckets = lock(&self.buckets);
        if let Some(object) = buckets.get_mut(bucket).and_then(|bucket| bucket.get_mut(key)?.last_mut()) {
            object.customer_key = true;
        }
    }

    pub(crate) fn newest(&self, bucket: &str, key: &str) -> Option<Bytes> {
        lock(&self.buckets).get(bucket)?.get(key)?.last().map(|object| object.bytes.clone())
    }

    pub(crate) fn set_region(&self, bucket: String, region: String) {
        lock(&self.regions).insert(bucket, region);
    }

    pub(super) fn region_of(&self, bucket: &str) -> Option<String> {
        lock(&self.regions).get(bucket).cloned()
    }

    pub(super) fn find(&self, address: &ObjectAddress) -> Result<StoredObject, S3Error> {
        let buckets = lock(&self.buckets);
        let Some(bucket) = buckets.get(&address.bucket) else {
            return Err(S3Error::NoSuchBucket { bucket: address.bucket.clone() });
        };
        let Some(versions) = bucket.get(&address.key) else {
            return Err(S3Error::NoSuchKey { key: address.key.clone() });
        };
        match &address.version_id {
            None => versions.last().cloned().ok_or_else(|| S3Error::NoSuchKey { key: address.key.clone() }),
            Some(wanted) => versions
                .iter()
                .find(|object| object.version_id == *wanted)
                .cloned()
                .ok_or_else(|| S3Error::NoSuchVersion { version_id: wanted.clone() }),
        }
    }
}
