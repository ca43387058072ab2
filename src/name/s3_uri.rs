//! The address of an object in S3, as a machine learning resource writes it: `s3://bucket/key`.

use std::fmt;
use std::str::FromStr;

const SCHEME: &str = "s3://";
/// S3 user guide, "Bucket naming rules": 3 to 63 characters.
const BUCKET_LENGTH: std::ops::RangeInclusive<usize> = 3..=63;
/// S3 user guide, "Naming objects": a key has at most 1,024 bytes of UTF-8.
const KEY_LIMIT: usize = 1024;

/// An object in S3. The bucket's name may have periods, which not every way of addressing it allows (B-10); the key is
/// not percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Uri {
    bucket: String,
    key: String,
}

/// Why a text is not the address of an object in S3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum S3UriError {
    /// It does not begin with `s3://`.
    #[error("an S3 URI begins with s3://")]
    Scheme,
    /// It names a bucket and no object in it.
    #[error("an S3 URI names an object in its bucket: s3://bucket/key")]
    NoKey,
    /// The bucket's name breaks S3's rules for names.
    #[error(
        "{bucket:?} is no bucket name: 3 to 63 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit, no two periods together, and no IP address"
    )]
    Bucket {
        /// The name as it was written.
        bucket: String,
    },
    /// The key is too long, or holds a control character.
    #[error("an S3 object's key has at most {limit} bytes and no control characters, this one has {actual} bytes")]
    Key {
        /// The most bytes that S3 allows.
        limit: usize,
        /// The bytes that it has.
        actual: usize,
    },
}

impl S3Uri {
    /// An object in a bucket whose name may be from before today's rules: letters of both cases, digits, `.`, `-` and
    /// `_`, as the ML Feedback connector allows (B-32).
    ///
    /// # Errors
    /// [`S3UriError`]; the key is checked as ever.
    pub fn in_any_bucket(bucket: &str, key: &str) -> Result<Self, S3UriError> {
        if !is_old_bucket(bucket) {
            return Err(S3UriError::Bucket { bucket: bucket.to_owned() });
        }
        check_key(key)?;
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// Whether the bucket's name can be part of a host name; over TLS it must have no period besides (B-10).
    pub fn can_be_host(&self) -> bool {
        check_bucket(&self.bucket).is_ok()
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The object's key: no leading slash, not percent-encoded.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl FromStr for S3Uri {
    type Err = S3UriError;

    fn from_str(text: &str) -> Result<Self, S3UriError> {
        let rest = text.strip_prefix(SCHEME).ok_or(S3UriError::Scheme)?;
        let (bucket, key) = rest.split_once('/').ok_or(S3UriError::NoKey)?;
        check_bucket(bucket)?;
        check_key(key)?;
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

fn check_key(key: &str) -> Result<(), S3UriError> {
    if key.is_empty() {
        return Err(S3UriError::NoKey);
    }
    if key.len() > KEY_LIMIT || key.chars().any(char::is_control) {
        return Err(S3UriError::Key { limit: KEY_LIMIT, actual: key.len() });
    }
    Ok(())
}

/// Whether `text` matches `^[a-zA-Z0-9\.\-_]{3,63}$` (B-32).
pub(crate) fn is_old_bucket(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    BUCKET_LENGTH.contains(&text.len()) && text.bytes().all(allowed)
}

fn check_bucket(bucket: &str) -> Result<(), S3UriError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let valid = BUCKET_LENGTH.contains(&bucket.len())
        && bucket.bytes().all(allowed)
        && !bucket.starts_with(['-', '.'])
        && !bucket.ends_with(['-', '.'])
        && !bucket.contains("..")
        && bucket.parse::<std::net::Ipv4Addr>().is_err();
    if valid { Ok(()) } else { Err(S3UriError::Bucket { bucket: bucket.to_owned() }) }
}

impl fmt::Display for S3Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_uri_is_a_bucket_and_a_key() {
        let uri: S3Uri = "s3://greengrass-models/squeezenet/v1.tar.gz".parse().expect("a URI");
        assert_eq!((uri.bucket(), uri.key()), ("greengrass-models", "squeezenet/v1.tar.gz"));
        assert_eq!(uri.to_string(), "s3://greengrass-models/squeezenet/v1.tar.gz");
    }

    #[test]
    fn a_bucket_may_have_periods_but_not_look_like_an_address() {
        assert_eq!(
            "s3://my.bucket/model.zip".parse::<S3Uri>().map(|uri| uri.bucket().to_owned()),
            Ok("my.bucket".to_owned())
        );
    }

    #[test]
    fn a_bucket_of_the_feedback_connector_may_have_an_old_name_b_32() {
        let uri = S3Uri::in_any_bucket("My_Bucket.2016", "a/b").expect("a URI");
        assert_eq!((uri.to_string().as_str(), uri.can_be_host()), ("s3://My_Bucket.2016/a/b", false));
        assert!(S3Uri::in_any_bucket("bucket", "a").is_ok_and(|uri| uri.can_be_host()));
        for (bucket, key) in [("ab", "k"), ("a/b", "k"), ("bück", "k"), ("bucket", ""), ("bucket", "a\nb")] {
            assert!(S3Uri::in_any_bucket(bucket, key).is_err(), "{bucket} {key}");
        }
    }

    #[test]
    fn what_is_no_object_in_s3_is_refused_with_its_reason() {
        assert_eq!("https://bucket/key".parse::<S3Uri>(), Err(S3UriError::Scheme));
        assert_eq!("s3://bucket".parse::<S3Uri>(), Err(S3UriError::NoKey));
        assert_eq!("s3://bucket/".parse::<S3Uri>(), Err(S3UriError::NoKey));
        for bucket in ["ab", "Upper", "-edge", "edge-", "under_score", "", "a..b", ".abc", "192.168.5.4"] {
            let text = format!("s3://{bucket}/key");
            assert_eq!(text.parse::<S3Uri>(), Err(S3UriError::Bucket { bucket: bucket.to_owned() }));
        }
        let long = format!("s3://bucket/{}", "k".repeat(1025));
        assert_eq!(long.parse::<S3Uri>(), Err(S3UriError::Key { limit: 1024, actual: 1025 }));
        assert!("s3://bucket/a\nb".parse::<S3Uri>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_reads_back_the_same(text in "s3://[a-z0-9.-]{0,70}/\\PC{0,40}|\\PC{0,40}") {
            if let Ok(uri) = text.parse::<S3Uri>() {
                prop_assert_eq!(uri.to_string(), text);
            }
        }
    }
}
