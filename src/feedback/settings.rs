//! What the ML Feedback connector is told (B-32), read by `connector`.

use std::collections::BTreeMap;

use super::sampling::Strategy;
use crate::arn::ConnectorArn;
use crate::name::{S3Uri, S3UriError};

/// Requests that are worked on at a time where `RequestLimit` is absent, empty or 0: as many as it can say at most.
const MOST_REQUESTS: u16 = 999;

/// The connector `MLFeedback`, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedbackSettings {
    /// The connector, as subscriptions name it.
    pub arn: ConnectorArn,
    /// The feedback configurations by their ids (`FeedbackConfigurationMap`).
    pub configurations: BTreeMap<String, Configuration>,
    /// Requests that it works on at a time (`RequestLimit`), if it says so.
    pub request_limit: Option<u16>,
}

impl FeedbackSettings {
    /// The requests that are worked on at a time. The guide does not say what an empty limit or 0 means: no limit of the
    /// connector's own.
    pub fn limit(&self) -> u16 {
        self.request_limit.filter(|limit| *limit > 0).unwrap_or(MOST_REQUESTS)
    }
}

/// Where samples of one kind go, and which.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// The bucket (`s3-bucket-name`).
    pub bucket: String,
    /// What the samples are (`content-type`).
    pub content_type: String,
    /// What their keys begin with (`s3-prefix`), if anything.
    pub prefix: Option<String>,
    /// What their keys end in (`file-ext`), if anything.
    pub extension: Option<String>,
    /// Which of them are uploaded (`sampling-strategy`); without one, all.
    pub strategy: Option<Strategy>,
}

impl Configuration {
    /// Where the sample `id` goes: `PREFIX/ID.EXTENSION` (B-34).
    ///
    /// # Errors
    /// Prefix and extension make no key, or the bucket's name is none.
    pub fn object(&self, id: &str) -> Result<S3Uri, S3UriError> {
        let prefix = self.prefix.as_deref().map(|prefix| prefix.trim_end_matches('/')).filter(|text| !text.is_empty());
        let extension = self.extension.as_deref().map(|text| text.trim_start_matches('.'));
        let mut key = prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default();
        key.push_str(id);
        if let Some(extension) = extension.filter(|text| !text.is_empty()) {
            key.push('.');
            key.push_str(extension);
        }
        S3Uri::in_any_bucket(&self.bucket, &key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_samples_key_is_prefix_id_and_extension_as_far_as_they_are_said_b_34() {
        let object = |prefix: Option<&str>, extension: Option<&str>| {
            let (prefix, extension) = (prefix.map(str::to_owned), extension.map(str::to_owned));
            let (bucket, content_type) = ("my-aws-bucket".to_owned(), "image/png".to_owned());
            let configuration = Configuration { bucket, content_type, prefix, extension, strategy: None };
            configuration.object("UUID").expect("a key").to_string()
        };
        assert_eq!(object(Some("s3-key-prefix"), Some("png")), "s3://my-aws-bucket/s3-key-prefix/UUID.png");
        assert_eq!(object(Some("DeviceA/"), None), "s3://my-aws-bucket/DeviceA/UUID");
        assert_eq!(object(None, Some(".jpg")), "s3://my-aws-bucket/UUID.jpg");
        assert_eq!(object(Some(""), Some("")), "s3://my-aws-bucket/UUID");
    }
}
