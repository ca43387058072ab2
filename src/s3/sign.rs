//! Signature Version 4 with S3's settings, by `aws-sigv4`.

pub(super) use aws_sigv4::http_request::SignableBody;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableRequest, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use http::{HeaderName, HeaderValue};
use reqwest::Request;
use time::OffsetDateTime;

use crate::credentials::Credentials;
use crate::name::Region;

/// The request cannot be signed; only a host or header that is not ASCII does that.
#[derive(Debug, thiserror::Error)]
#[error("signing the request")]
pub struct SignError {
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// What a signature is good for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The service's name in signatures.
    pub service: &'static str,
    /// The region of the bucket, or of whatever is asked for.
    pub region: &'a Region,
    /// The time, as the server has it.
    pub now: OffsetDateTime,
}

impl<'a> Scope<'a> {
    /// S3 in `region`.
    #[must_use]
    pub fn s3(region: &'a Region, now: OffsetDateTime) -> Self {
        Self { service: "s3", region, now }
    }
}

/// A request without a body.
pub const EMPTY: SignableBody<'static> = SignableBody::Bytes(&[]);

/// Adds the signature to `request`, whose body is or hashes to `body`.
///
/// # Errors
/// [`SignError`] where a host or header is not ASCII.
pub fn sign_request(
    request: &mut Request,
    credentials: &Credentials,
    scope: Scope<'_>,
    body: SignableBody<'_>,
) -> Result<(), SignError> {
    let identity = aws_credential_types::Credentials::new(
        credentials.access_key_id.clone(),
        credentials.secret_access_key.expose(),
        Some(credentials.session_token.expose().to_owned()),
        None,
        "margay",
    )
    .into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(scope.region.as_str())
        .name(scope.service)
        .time(scope.now.into())
        .settings(settings())
        .build()
        .map_err(failed)?;
    let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable =
        SignableRequest::new(request.method().as_str(), request.url().as_str(), headers, body).map_err(failed)?;
    let (instructions, _) = sign(signable, &params.into()).map_err(failed)?.into_parts();
    let (added, _) = instructions.into_parts();
    for header in added {
        let name = HeaderName::from_bytes(header.name().as_bytes()).map_err(failed)?;
        let mut value = HeaderValue::from_str(header.value()).map_err(failed)?;
        value.set_sensitive(header.sensitive());
        request.headers_mut().insert(name, value);
    }
    Ok(())
}

fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}

fn failed(source: impl std::error::Error + Send + Sync + 'static) -> SignError {
    SignError { source: Box::new(source) }
}
