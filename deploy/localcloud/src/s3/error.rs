//! S3's error answers: status, code and message as the S3 API reference lists them, in its XML.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, StatusCode};

use super::signature::ALLOWED_SKEW;

/// Why a request is not answered with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum S3Error {
    AccessDenied,
    UnsignedHeaders {
        names: String,
    },
    AuthorizationHeaderMalformed {
        detail: String,
    },
    /// Signed for another region than the bucket's.
    WrongScope {
        signed: String,
        region: String,
    },
    /// Addressed at another region's host than the bucket's.
    PermanentRedirect {
        bucket: String,
        region: String,
    },
    /// The object is encrypted with its uploader's key.
    CustomerKey,
    ExpiredToken,
    Internal,
    Injected {
        status: u16,
    },
    InvalidAccessKeyId {
        access_key_id: String,
    },
    InvalidRange {
        size: u64,
    },
    InvalidToken,
    InvalidUri,
    MethodNotAllowed {
        method: String,
    },
    MissingContentHash,
    NoSuchBucket {
        bucket: String,
    },
    NoSuchKey {
        key: String,
    },
    NoSuchVersion {
        version_id: String,
    },
    NotImplemented,
    PreconditionFailed {
        condition: &'static str,
    },
    RequestBody,
    RequestTimeTooSkewed {
        request: String,
        server: String,
    },
    SignatureDoesNotMatch {
        canonical: String,
    },
    ContentHashMismatch {
        claimed: String,
        computed: String,
    },
}

/// How an error goes over the wire.
struct Form {
    status: u16,
    code: &'static str,
    message: String,
    /// Further elements of the document.
    details: Vec<(&'static str, String)>,
}

impl S3Error {
    /// The answer to `request`; without a body if that was a HEAD.
    pub(super) fn respond(&self, request: &Parts) -> Response {
        let form = self.form();
        let body =
            if request.method == Method::HEAD { Body::empty() } else { Body::from(form.document(request.uri.path())) };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(form.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/xml"));
        if let Some(region) = self.bucket_region().and_then(|region| region.parse().ok()) {
            response.headers_mut().insert("x-amz-bucket-region", region);
        }
        response
    }

    fn bucket_region(&self) -> Option<&str> {
        match self {
            // The first carries it in its document only, as S3's does.
            Self::PermanentRedirect { region, .. } => Some(region),
            _ => None,
        }
    }

    fn form(&self) -> Form {
        self.refusal().unwrap_or_else(|| self.failure())
    }

    /// Errors about who asks.
    fn refusal(&self) -> Option<Form> {
        Some(match self {
            Self::AccessDenied => form(403, "AccessDenied", "Access Denied"),
            Self::UnsignedHeaders { names } => form(403, "AccessDenied", "There were headers present in the request which were not signed")
                .with("HeadersNotSigned", names),
            Self::AuthorizationHeaderMalformed { detail } => {
                form(400, "AuthorizationHeaderMalformed", format!("The authorization header is malformed; {detail}"))
            }
            Self::WrongScope { signed, region } => {
                let message = format!("The authorization header is malformed; the region '{signed}' is wrong; expecting '{region}'");
                form(400, "AuthorizationHeaderMalformed", message).with("Region", region)
            }
            Self::ExpiredToken => form(400, "ExpiredToken", "The provided token has expired."),
            Self::InvalidAccessKeyId { access_key_id } => {
                form(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
                    .with("AWSAccessKeyId", access_key_id)
            }
            Self::InvalidToken => form(400, "InvalidToken", "The provided token is malformed or otherwise invalid."),
            Self::RequestTimeTooSkewed { request, server } => {
                form(403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
                    .with("RequestTime", request)
                    .with("ServerTime", server)
                    .with("MaxAllowedSkewMilliseconds", &ALLOWED_SKEW.whole_milliseconds().to_string())
            }
            Self::SignatureDoesNotMatch { canonical } => form(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
            )
            .with("SignedHeaders", canonical),
            Self::ContentHashMismatch { claimed, computed } => form(
                400,
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
            .with("ClientComputedContentSHA256", claimed)
            .with("S3ComputedContentSHA256", computed),
            Self::MissingContentHash => {
                form(400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
            }
            _ => return None,
        })
    }

    /// Errors about what is asked for.
    fn failure(&self) -> Form {
        match self {
            Self::Injected { status } => injected(*status),
            Self::PermanentRedirect { bucket, region } => {
                let message = "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.";
                form(301, "PermanentRedirect", message)
                    .with("Bucket", bucket)
                    .with("Endpoint", &format!("{bucket}.s3.{region}.amazonaws.com"))
            }
            Self::CustomerKey => form(
                400,
                "InvalidRequest",
                "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
            ),
            Self::InvalidRange { size } => form(416, "InvalidRange", "The requested range is not satisfiable")
                .with("ActualObjectSize", &size.to_string()),
            Self::InvalidUri => form(400, "InvalidURI", "Couldn't parse the specified URI."),
            Self::MethodNotAllowed { method } => {
                form(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
                    .with("Method", method)
            }
            Self::NoSuchBucket { bucket } => {
                form(404, "NoSuchBucket", "The specified bucket does not exist").with("BucketName", bucket)
            }
            Self::NoSuchKey { key } => form(404, "NoSuchKey", "The specified key does not exist.").with("Key", key),
            Self::NoSuchVersion { version_id } => {
                form(404, "NoSuchVersion", "The specified version does not exist.").with("VersionId", version_id)
            }
            Self::NotImplemented => {
                form(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
            }
            Self::PreconditionFailed { condition } => {
                form(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
                    .with("Condition", condition)
            }
            Self::RequestBody => form(400, "IncompleteBody", "The request body could not be read"),
            _ => form(500, "InternalError", "We encountered an internal error. Please try again."),
        }
    }
}

/// The code S3 uses with a status that a test asked for.
fn injected(status: u16) -> Form {
    let (code, message) = match status {
        403 => ("AccessDenied", "Access Denied"),
        404 => ("NoSuchKey", "The specified key does not exist."),
        429 => ("TooManyRequests", "Please reduce your request rate."),
        503 => ("SlowDown", "Please reduce your request rate."),
        _ => ("InternalError", "We encountered an internal error. Please try again."),
    };
    form(status, code, message)
}

fn form(status: u16, code: &'static str, message: impl Into<String>) -> Form {
    Form { status, code, message: message.into(), details: Vec::new() }
}

impl Form {
    fn with(mut self, element: &'static str, text: &str) -> Self {
        self.details.push((element, text.to_owned()));
        self
    }

    fn document(&self, resource: &str) -> String {
        let mut document = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
        element(&mut document, "Code", self.code);
        element(&mut document, "Message", &self.message);
        for (name, text) in &self.details {
            element(&mut document, name, text);
        }
        element(&mut document, "Resource", resource);
        element(&mut document, "RequestId", "MARGAYLOCALCLOUD");
        document.push_str("</Error>");
        document
    }
}

fn element(document: &mut String, name: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    write!(document, "<{name}>{text}</{name}>").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_the_client_cannot_break_the_document() {
        let error = S3Error::NoSuchKey { key: "</Key><Code>&".to_owned() };
        assert!(error.form().document("/b/k").contains("<Key>&lt;/Key&gt;&lt;Code&gt;&amp;</Key>"));
    }
}
