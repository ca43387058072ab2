//! Which object a request means: bucket from the host name or the path, key from the path, version from the query.

use http::header::HOST;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::error::S3Error;

/// Bucket, key and, if asked for, version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectAddress {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) version_id: Option<String>,
}

impl ObjectAddress {
    pub(super) fn of(parts: &Parts) -> Result<Self, S3Error> {
        let path = parts.uri.path().strip_prefix('/').unwrap_or_default();
        let (bucket, key) = match bucket_of_host(host(parts)) {
            Some(bucket) => (bucket, path),
            None => path.split_once('/').unwrap_or((path, "")),
        };
        if key.is_empty() {
            return Err(S3Error::NotImplemented); // listing buckets and objects
        }
        Ok(Self { bucket: decode(bucket)?, key: decode(key)?, version_id: version_of_query(parts.uri.query())? })
    }

    /// What a policy's resource pattern is matched against.
    pub(super) fn resource(&self) -> String {
        format!("{}/{}", self.bucket, self.key)
    }
}

/// The `Host` header, or the authority of an absolute request target.
pub(super) fn host(parts: &Parts) -> &str {
    let header = parts.headers.get(HOST).and_then(|value| value.to_str().ok());
    header.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default()
}

/// The bucket of a virtual-hosted host name; none where the host is the service itself.
fn bucket_of_host(host: &str) -> Option<&str> {
    let name = name_of(host);
    if let Some(bucket) = [".s3.localhost", ".s3.amazonaws.com"].iter().find_map(|suffix| name.strip_suffix(suffix)) {
        return Some(bucket);
    }
    let (bucket, region) = name.strip_suffix(".amazonaws.com")?.split_once(".s3.")?;
    (!region.contains('.')).then_some(bucket)
}

/// The region that a regional host name of AWS stands for.
pub(super) fn region_of_host(host: &str) -> Option<&str> {
    let name = name_of(host).strip_suffix(".amazonaws.com")?;
    let region = name.strip_prefix("s3.").or_else(|| Some(name.split_once(".s3.")?.1))?;
    (!region.contains('.')).then_some(region)
}

fn name_of(host: &str) -> &str {
    host.rsplit_once(':').map_or(host, |(name, _port)| name)
}

fn version_of_query(query: Option<&str>) -> Result<Option<String>, S3Error> {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs.find_map(|pair| pair.strip_prefix("versionId=")).map(decode).transpose()
}

fn decode(encoded: &str) -> Result<String, S3Error> {
    percent_decode_str(encoded).decode_utf8().map(|text| text.into_owned()).map_err(|_| S3Error::InvalidUri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, target: &str) -> Result<ObjectAddress, S3Error> {
        let (parts, ()) = http::Request::get(target).header(HOST, host).body(()).unwrap().into_parts();
        ObjectAddress::of(&parts)
    }

    #[test]
    fn both_addressing_styles_name_the_same_object() {
        let path = address("localhost:4000", "/models/a/b.zip").unwrap();
        assert_eq!((path.bucket.as_str(), path.key.as_str()), ("models", "a/b.zip"));
        for host in ["models.s3.localhost:4000", "models.s3.eu-central-1.amazonaws.com", "models.s3.amazonaws.com:443"]
        {
            assert_eq!(address(host, "/a/b.zip").unwrap(), path, "{host}");
        }
        assert_eq!(address("s3.eu-central-1.amazonaws.com", "/models/a/b.zip").unwrap(), path);
    }

    #[test]
    fn a_key_is_decoded_once_and_plus_stays_plus() {
        let address = address("localhost", "/models/dir/a%20b+c%3D%C3%BC%2525.bin?versionId=v1").unwrap();
        assert_eq!(address.key, "dir/a b+c=ü%25.bin");
        assert_eq!(address.version_id.as_deref(), Some("v1"));
    }

    #[test]
    fn listing_is_not_offered() {
        for target in ["/", "/models", "/models/"] {
            assert!(matches!(address("localhost", target), Err(S3Error::NotImplemented)), "{target}");
        }
    }
}
