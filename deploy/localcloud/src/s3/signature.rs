//! Verifies Signature Version 4 in the `Authorization` header, by signing the request again with the secret of the
//! credential it names and comparing. Signatures in the query (presigned URLs) are not taken.

use std::ops::Range;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sha2::{Digest, Sha256};
use time::{Date, Duration, Month, OffsetDateTime, Time};

use super::address::host;
use super::error::S3Error;
use crate::issued::{IssuedCredential, IssuedCredentials};
use crate::registry::hex;

/// How far the time of a signature may be from the server's, either way.
pub(super) const ALLOWED_SKEW: Duration = Duration::minutes(15);

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const CONTENT_HASH: &str = "x-amz-content-sha256";
const REQUEST_DATE: &str = "x-amz-date";
const SECURITY_TOKEN: &str = "x-amz-security-token";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// What the payload hash begins with where the body is signed in pieces, which only uploads do.
const IN_PIECES: &str = "STREAMING-";

/// Headers that signing again adds by itself.
const ADDED_BY_SIGNING: [&str; 3] = [CONTENT_HASH, REQUEST_DATE, SECURITY_TOKEN];

/// What a signature is checked against.
#[derive(Debug)]
pub(crate) struct Verifier<'a> {
    pub(crate) service: &'static str,
    pub(crate) region: &'a str,
    pub(crate) issued: &'a IssuedCredentials,
    pub(crate) now: OffsetDateTime,
}

/// The parts of an `Authorization` header of this algorithm.
#[derive(Debug, PartialEq, Eq)]
struct Authorization<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl Verifier<'_> {
    /// Accepts the request or says what S3 would say against it, first cause first.
    pub(crate) fn verify(&self, parts: &Parts, body: &[u8]) -> Result<(), S3Error> {
        let header = text(&parts.headers, AUTHORIZATION.as_str()).ok_or(S3Error::AccessDenied)?;
        let authorization = Authorization::parse(header)?;
        self.check_scope(&authorization)?;
        let signed_at = self.check_time(&parts.headers, &authorization)?;
        let credential = self
            .issued
            .find(authorization.access_key_id)
            .ok_or_else(|| S3Error::InvalidAccessKeyId { access_key_id: authorization.access_key_id.to_owned() })?;
        self.check_token(&parts.headers, &credential)?;
        check_all_signed(&parts.headers, &authorization)?;
        let claimed = text(&parts.headers, CONTENT_HASH).ok_or(S3Error::MissingContentHash)?;
        let expected = signature(parts, &authorization, &credential, (signed_at, claimed))?;
        if expected != authorization.signature {
            return Err(S3Error::SignatureDoesNotMatch { canonical: authorization.signed_headers.join(";") });
        }
        check_hash(claimed, body)
    }

    fn check_scope(&self, authorization: &Authorization<'_>) -> Result<(), S3Error> {
        let malformed = |detail| Err(S3Error::AuthorizationHeaderMalformed { detail });
        if authorization.service != self.service {
            return malformed(format!(
                "incorrect service \"{}\". This endpoint belongs to \"{}\".",
                authorization.service, self.service
            ));
        }
        if authorization.region != self.region {
            let (signed, region) = (authorization.region.to_owned(), self.region.to_owned());
            return Err(S3Error::WrongScope { signed, region });
        }
        Ok(())
    }

    fn check_time(&self, headers: &HeaderMap, authorization: &Authorization<'_>) -> Result<OffsetDateTime, S3Error> {
        let date = text(headers, REQUEST_DATE).ok_or(S3Error::AccessDenied)?;
        let signed_at = parse_date(date).ok_or(S3Error::AccessDenied)?;
        let (scope_day, day) = (authorization.date, &date[..8]);
        if scope_day != day {
            let detail =
                format!("Invalid credential date \"{scope_day}\". This date is not the same as X-Amz-Date: \"{day}\".");
            return Err(S3Error::AuthorizationHeaderMalformed { detail });
        }
        if (self.now - signed_at).abs() > ALLOWED_SKEW {
            let server = httpdate::fmt_http_date(self.now.into());
            return Err(S3Error::RequestTimeTooSkewed { request: date.to_owned(), server });
        }
        Ok(signed_at)
    }

    /// Temporary credentials without their token are unknown to S3; with another's, the token is invalid.
    fn check_token(&self, headers: &HeaderMap, credential: &IssuedCredential) -> Result<(), S3Error> {
        let Some(token) = text(headers, SECURITY_TOKEN) else {
            return Err(S3Error::InvalidAccessKeyId { access_key_id: credential.access_key_id.clone() });
        };
        if token != credential.session_token {
            return Err(S3Error::InvalidToken);
        }
        if credential.expires <= self.now {
            return Err(S3Error::ExpiredToken);
        }
        Ok(())
    }
}

impl<'a> Authorization<'a> {
    fn parse(header: &'a str) -> Result<Self, S3Error> {
        let malformed = |detail: &str| S3Error::AuthorizationHeaderMalformed { detail: detail.to_owned() };
        let fields = header.strip_prefix(ALGORITHM).ok_or_else(|| malformed("only AWS4-HMAC-SHA256 is supported"))?;
        let field = |name: &str| {
            let value = fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
            value.ok_or_else(|| malformed(&format!("missing {name}")))
        };
        let scope: Vec<&str> = field("Credential")?.split('/').collect();
        let &[access_key_id, date, region, service, "aws4_request"] = scope.as_slice() else {
            return Err(malformed("the credential is not <access key>/<date>/<region>/<service>/aws4_request"));
        };
        let signed_headers = field("SignedHeaders")?.split(';').collect();
        Ok(Self { access_key_id, date, region, service, signed_headers, signature: field("Signature")? })
    }

    fn signs(&self, header: &str) -> bool {
        self.signed_headers.contains(&header)
    }
}

/// The host and everything that starts with `x-amz-` must be signed.
fn check_all_signed(headers: &HeaderMap, authorization: &Authorization<'_>) -> Result<(), S3Error> {
    let must_be_signed = |name: &&str| *name == "host" || name.starts_with("x-amz-");
    let unsigned: Vec<&str> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(must_be_signed)
        .filter(|name| !authorization.signs(name))
        .collect();
    if unsigned.is_empty() { Ok(()) } else { Err(S3Error::UnsignedHeaders { names: unsigned.join(", ") }) }
}

/// The signature this request should carry, in hexadecimal digits; `sealed` is the time and payload hash it claims.
fn signature(
    parts: &Parts,
    authorization: &Authorization<'_>,
    credential: &IssuedCredential,
    sealed: (OffsetDateTime, &str),
) -> Result<String, S3Error> {
    let mismatch = || S3Error::SignatureDoesNotMatch { canonical: authorization.signed_headers.join(";") };
    let (signed_at, content_hash) = sealed;
    let mut headers = Vec::new();
    for &name in authorization.signed_headers.iter().filter(|name| !ADDED_BY_SIGNING.contains(name)) {
        for value in parts.headers.get_all(name) {
            headers.push((name, value.to_str().map_err(|_| mismatch())?));
        }
    }
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let url = format!("https://{}{target}", host(parts));
    let body = SignableBody::Precomputed(content_hash.to_owned());
    let request =
        SignableRequest::new(parts.method.as_str(), url, headers.into_iter(), body).map_err(|_| mismatch())?;
    let token = text(&parts.headers, SECURITY_TOKEN).map(str::to_owned);
    let identity =
        Credentials::new(&credential.access_key_id, &credential.secret_access_key, token, None, "margay-localcloud")
            .into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(authorization.region)
        .name(authorization.service)
        .time(signed_at.into())
        .settings(s3_settings())
        .build()
        .map_err(|_| mismatch())?;
    let output = sign(request, &params.into()).map_err(|_| mismatch())?;
    Ok(output.signature().to_owned())
}

/// S3 differs from other services: the path is encoded once and not normalised, and the payload hash is a header.
fn s3_settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.excluded_headers = None; // what the client signed is signed
    settings
}

fn check_hash(claimed: &str, body: &[u8]) -> Result<(), S3Error> {
    if claimed.starts_with(IN_PIECES) {
        return Err(S3Error::NotImplemented);
    }
    let computed = hex(&Sha256::digest(body));
    if claimed == UNSIGNED || claimed == computed {
        return Ok(());
    }
    Err(S3Error::ContentHashMismatch { claimed: claimed.to_owned(), computed })
}

/// Reads `20130524T000000Z`.
fn parse_date(text: &str) -> Option<OffsetDateTime> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let digits = |range| text.get::<Range<usize>>(range).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let number = |range| digits(range)?.parse::<u16>().ok();
    let small = |range| number(range).and_then(|value| u8::try_from(value).ok());
    let date =
        Date::from_calendar_date(i32::from(number(0..4)?), Month::try_from(small(4..6)?).ok()?, small(6..8)?).ok()?;
    let time = Time::from_hms(small(9..11)?, small(11..13)?, small(13..15)?).ok()?;
    Some(date.with_time(time).assume_utc())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_header_or_date_brings_the_parsers_down(
            header in "(AWS4-HMAC-SHA256 )?(Credential=|SignedHeaders=|Signature=|/|,|;|.){0,30}",
            date in "[0-9TZ+\u{e9}]{0,18}",
        ) {
            let _ = Authorization::parse(&header);
            let _ = parse_date(&date);
        }
    }

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// The GET Object example of "Signature Calculations for the Authorization Header" in the S3 API reference.
    #[test]
    fn the_signature_of_the_published_example_comes_out() {
        let (parts, ()) = http::Request::get("/test.txt")
            .header("host", "examplebucket.s3.amazonaws.com")
            .header("range", "bytes=0-9")
            .header(CONTENT_HASH, EMPTY)
            .header(REQUEST_DATE, "20130524T000000Z")
            .body(())
            .unwrap()
            .into_parts();
        let header = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
                      SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
                      Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        let authorization = Authorization::parse(header).unwrap();
        let credential = IssuedCredential {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: String::new(),
            expires: OffsetDateTime::UNIX_EPOCH,
        };
        let signed_at = parse_date("20130524T000000Z").unwrap();
        let computed = signature(&parts, &authorization, &credential, (signed_at, EMPTY)).unwrap();
        assert_eq!(computed, authorization.signature);
    }

    #[test]
    fn a_date_is_read_in_one_form_only() {
        assert_eq!(parse_date("20130524T010203Z").map(OffsetDateTime::unix_timestamp), Some(1_369_357_323));
        for text in [
            "2013-05-24T01:02:03Z",
            "20130524T010203",
            "20131324T010203Z",
            "20130524T250203Z",
            "2013052\u{e9}T01020Z",
            "+0130524T010203Z",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn a_header_of_another_form_is_malformed() {
        for header in [
            "",
            "AWS AKID:signature",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request",
            "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=0",
        ] {
            assert!(
                matches!(Authorization::parse(header), Err(S3Error::AuthorizationHeaderMalformed { .. })),
                "{header}"
            );
        }
    }
}
