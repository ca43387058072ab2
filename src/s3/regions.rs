//! Where buckets lie, as their answers have said: a request to the wrong region is answered with the right one
//! (`x-amz-bucket-region`), so nobody has to configure it, nor to have the right to ask for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::name::Region;

/// As many buckets as are remembered; a group has a handful.
const REMEMBERED: usize = 64;

/// The regions of buckets.
#[derive(Debug)]
pub(super) struct Regions {
    default: Region,
    learnt: Mutex<BTreeMap<String, Region>>,
}

impl Regions {
    /// Buckets lie in `default` until they say otherwise.
    pub(super) fn new(default: Region) -> Self {
        Self { default, learnt: Mutex::default() }
    }

    /// Where `bucket` lies.
    pub(super) fn of(&self, bucket: &str) -> Region {
        self.learnt().get(bucket).unwrap_or(&self.default).clone()
    }

    /// Takes note of what an answer said; false if it said nothing new.
    pub(super) fn learn(&self, bucket: &str, region: Option<&Region>) -> bool {
        let Some(region) = region.filter(|region| **region != self.of(bucket)) else { return false };
        let mut learnt = self.learnt();
        if learnt.len() >= REMEMBERED {
            learnt.clear();
        }
        tracing::info!(bucket, %region, "the bucket lies in another region");
        learnt.insert(bucket.to_owned(), region.clone());
        true
    }

    fn learnt(&self) -> MutexGuard<'_, BTreeMap<String, Region>> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lies_where_it_last_said_and_the_memory_is_bounded() {
        let regions = Regions::new("eu-central-1".parse().unwrap());
        let ohio: Region = "us-east-2".parse().unwrap();
        assert!(!regions.learn("models", None));
        assert!(regions.learn("models", Some(&ohio)));
        assert!(!regions.learn("models", Some(&ohio)), "nothing new");
        assert_eq!((regions.of("models"), regions.of("other").as_str()), (ohio.clone(), "eu-central-1"));
        for bucket in 0..10_000 {
            regions.learn(&bucket.to_string(), Some(&ohio));
        }
        assert!(regions.learnt().len() <= REMEMBERED);
    }
}
