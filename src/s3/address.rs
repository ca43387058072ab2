//! The URL of an object: virtual-hosted (`https://bucket.host/key`) or path style (`https://host/bucket/key`).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use super::error::DownloadError;
use crate::config::{Addressing, S3, S3Endpoint};
use crate::name::{Region, S3Uri};

/// What the canonical request of Signature Version 4 leaves as it is: RFC 3986's unreserved characters, and the
/// slashes between the parts of a key.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The same in a query.
const NON_ALPHANUMERIC_BUT_UNRESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a bucket cannot be addressed by a host of its own (B-10, V9).
const PERIOD: &str = "its bucket's name has a period in it, which the certificate of S3's virtual-hosted addresses does \
                      not cover (B-10)";

/// An object's URL, percent-encoded once.
#[derive(Debug, Clone)]
pub(super) struct ObjectUrl {
    pub(super) url: Url,
    pub(super) uri: S3Uri,
    /// The endpoint's host and port, for errors.
    pub(super) endpoint: String,
    /// The region to sign for.
    pub(super) region: Region,
}

/// Of one object: its version, if another than the newest is meant, and where its bucket lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) uri: &'a S3Uri,
    pub(super) version_id: Option<&'a str>,
    pub(super) region: &'a Region,
}

impl ObjectUrl {
    /// The URL of an object at the endpoint that `settings` name, or at AWS in the bucket's region.
    pub(super) fn of(place: Place<'_>, settings: &S3) -> Result<Self, DownloadError> {
        let Place { uri, version_id, region } = place;
        let unaddressable = |why| DownloadError::Unaddressable { uri: uri.clone(), why };
        if uri.key().split('/').any(|part| matches!(part, "." | "..")) {
            // URLs resolve such parts away (RFC 3986, section 5.2.4), whatever their encoding.
            return Err(unaddressable("its key has a part `.` or `..`, which no URL can carry"));
        }
        let (scheme, host) = base(settings, region);
        if settings.is_virtual_hosted_over_tls() && uri.bucket().contains('.') {
            return Err(unaddressable(PERIOD));
        }
        let key = utf8_percent_encode(uri.key(), ENCODED);
        let bucket = uri.bucket();
        let text = match settings.addressing {
            Addressing::Virtual => format!("{scheme}://{bucket}.{host}/{key}"),
            Addressing::Path => format!("{scheme}://{host}/{bucket}/{key}"),
        };
        let mut url: Url = text.parse().map_err(|_| unaddressable("bucket, endpoint and key make no URL"))?;
        if let Some(version_id) = version_id {
            let version_id = utf8_percent_encode(version_id, NON_ALPHANUMERIC_BUT_UNRESERVED).to_string();
            url.set_query(Some(&format!("versionId={version_id}")));
        }
        Ok(Self { url, uri: uri.clone(), endpoint: host, region: region.clone() })
    }
}

fn base(settings: &S3, region: &Region) -> (&'static str, String) {
    match &settings.endpoint {
        Some(S3Endpoint { tls, endpoint }) => (if *tls { "https" } else { "http" }, endpoint.to_string()),
        None => ("https", format!("s3.{region}.{}", domain(region))),
    }
}

/// The domain of AWS's endpoints in a region; AWS China is a partition with one of its own.
pub(super) fn domain(region: &Region) -> &'static str {
    if region.as_str().starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(uri: &str, endpoint: Option<&str>, addressing: Addressing) -> Result<String, DownloadError> {
        let endpoint = endpoint.map(|endpoint| S3Endpoint { tls: true, endpoint: endpoint.parse().unwrap() });
        let settings = S3 {
            endpoint,
            region: "us-west-2".parse().unwrap(),
            addressing,
            ca_path: None,
            max_bytes_per_second: None,
        };
        let (uri, region) = (uri.parse().unwrap(), settings.region.clone());
        let place = Place { uri: &uri, version_id: None, region: &region };
        ObjectUrl::of(place, &settings).map(|object| object.url.to_string())
    }

    #[test]
    fn aws_is_addressed_by_the_buckets_host_and_others_as_configured() {
        let aws = url("s3://greengrass-models/a/b.zip", None, Addressing::Virtual).unwrap();
        assert_eq!(aws, "https://greengrass-models.s3.us-west-2.amazonaws.com/a/b.zip");
        let path = url("s3://bucket/a.zip", Some("localhost:9000"), Addressing::Path).unwrap();
        assert_eq!(path, "https://localhost:9000/bucket/a.zip");
        let virtual_host = url("s3://bucket/a.zip", Some("s3.localhost:9000"), Addressing::Virtual).unwrap();
        assert_eq!(virtual_host, "https://bucket.s3.localhost:9000/a.zip");
    }

    #[test]
    fn a_key_is_encoded_once_and_as_the_signature_wants_it() {
        let encoded = url("s3://bucket/dir/a b+c=ü(1)~%20.bin", Some("h"), Addressing::Path).unwrap();
        assert_eq!(encoded, "https://h/bucket/dir/a%20b%2Bc%3D%C3%BC%281%29~%2520.bin");
        assert_eq!(url("s3://bucket//a//b", Some("h"), Addressing::Path).unwrap(), "https://h/bucket//a//b");
        assert_eq!(url("s3://bucket/a?b#c", Some("h"), Addressing::Path).unwrap(), "https://h/bucket/a%3Fb%23c");
    }

    #[test]
    fn a_bucket_with_a_period_is_refused_where_its_host_would_not_match_the_certificate_v9() {
        let with_period = "s3://my.bucket/a.zip";
        let refused = url(with_period, None, Addressing::Virtual).unwrap_err();
        assert!(refused.to_string().contains("period") && refused.to_string().contains("my.bucket"), "{refused}");
        assert!(url(with_period, Some("h"), Addressing::Virtual).is_err());
        assert_eq!(url(with_period, Some("h"), Addressing::Path).unwrap(), "https://h/my.bucket/a.zip");
        assert!(url(with_period, None, Addressing::Path).unwrap().ends_with("amazonaws.com/my.bucket/a.zip"));
    }

    #[test]
    fn a_version_is_named_in_the_query() {
        let uri = "s3://bucket/a.zip".parse().unwrap();
        let region = "cn-north-1".parse().unwrap();
        let place = Place { uri: &uri, version_id: Some("a/b+c=."), region: &region };
        let settings = S3 {
            endpoint: None,
            region: region.clone(),
            addressing: Addressing::Virtual,
            ca_path: None,
            max_bytes_per_second: None,
        };
        let object = ObjectUrl::of(place, &settings).unwrap();
        let expected = "https://bucket.s3.cn-north-1.amazonaws.com.cn/a.zip?versionId=a%2Fb%2Bc%3D.";
        assert_eq!(object.url.as_str(), expected);
    }

    #[test]
    fn keys_that_a_url_would_change_are_refused() {
        for key in ["a/../b", "./a", "a/."] {
            let refused = url(&format!("s3://bucket/{key}"), None, Addressing::Virtual);
            assert!(matches!(refused, Err(DownloadError::Unaddressable { .. })), "{key}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_url_carries_exactly_the_key(key in "[^\\p{C}]{1,60}") {
            if let Ok(uri) = format!("s3://bucket/{key}").parse::<S3Uri>() {
                let settings = S3 { endpoint: None, region: "us-west-2".parse().unwrap(), addressing: Addressing::Path, ca_path: None, max_bytes_per_second: None };
                let place = Place { uri: &uri, version_id: None, region: &settings.region };
                if let Ok(object) = ObjectUrl::of(place, &settings) {
                    let path = object.url.path().strip_prefix("/bucket/").unwrap();
                    let decoded = percent_encoding::percent_decode_str(path).decode_utf8().unwrap();
                    proptest::prop_assert_eq!(decoded, key);
                    proptest::prop_assert!(object.url.query().is_none() && object.url.fragment().is_none());
                }
            }
        }
    }
}
