//! S3, as far as a client of models needs it: GET, HEAD and PUT of objects, in path style and virtual-hosted style, with
//! ranges, conditions and regions, behind a Signature Version 4 that is really verified.

mod address;
mod delivery;
mod error;
mod objects;
mod range;
mod signature;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED, RANGE,
};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

pub use self::objects::StoredVersion;

pub(crate) use self::objects::ObjectStore;

use self::address::{ObjectAddress, host, region_of_host};
use self::delivery::Delivery;
use self::error::S3Error;
use self::objects::StoredObject;
use self::range::{ByteRange, Requested};
pub(crate) use self::signature::Verifier;
use crate::counters::Counters;
use crate::faults::{Faults, S3Fault};
use crate::issued::IssuedCredentials;
use crate::policy;
use crate::sagemaker::TrainingJobs;

const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// The largest object that is taken; it is held in memory.
const REQUEST_BODY_LIMIT: usize = 256 * 1024 * 1024;

/// What S3 works with; clones are the same S3.
#[derive(Debug, Clone)]
pub(crate) struct S3 {
    pub(crate) region: String,
    pub(crate) readable: Vec<String>,
    pub(crate) writable: Vec<String>,
    pub(crate) objects: ObjectStore,
    pub(crate) training_jobs: TrainingJobs,
    pub(crate) issued: IssuedCredentials,
    pub(crate) faults: Faults,
    pub(crate) counters: Counters,
}

impl S3 {
    pub(crate) fn router(self) -> Router {
        Router::new().fallback(answer).with_state(self)
    }

    async fn serve(&self, parts: &Parts, body: Body, fault: Option<S3Fault>) -> Result<Response, S3Error> {
        match fault {
            Some(S3Fault::Hang) => std::future::pending().await,
            Some(S3Fault::Status(status)) => return Err(S3Error::Injected { status }),
            Some(S3Fault::ExpiredToken) => return Err(S3Error::ExpiredToken),
            _ => {}
        }
        let body = to_bytes(body, REQUEST_BODY_LIMIT).await.map_err(|_| S3Error::RequestBody)?;
        let address = ObjectAddress::of(parts);
        let bucket = address.as_ref().map_or("", |address| &address.bucket);
        let region = self.objects.region_of(bucket).unwrap_or_else(|| self.region.clone());
        if region_of_host(host(parts)).is_some_and(|addressed| addressed != region) {
            return Err(S3Error::PermanentRedirect { bucket: bucket.to_owned(), region });
        }
        let verifier = Verifier { service: "s3", region: &region, issued: &self.issued, now: self.faults.now() };
        verifier.verify(parts, &body)?;
        if parts.method == Method::PUT {
            return self.store(parts, &address?, body);
        }
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return Err(S3Error::MethodNotAllowed { method: parts.method.to_string() });
        }
        let address = address?;
        if !self.readable.iter().any(|pattern| policy::resource_matches(pattern, &address.resource())) {
            return Err(S3Error::AccessDenied);
        }
        let object = self.objects.find(&address)?;
        if object.customer_key {
            return Err(S3Error::CustomerKey);
        }
        if let Some(unchanged) = check_conditions(&parts.headers, &object)? {
            return Ok(unchanged);
        }
        self.deliver(parts, object, fault)
    }

    /// Takes an object, whose hash has been checked already.
    fn store(&self, parts: &Parts, address: &ObjectAddress, body: Bytes) -> Result<Response, S3Error> {
        if !self.writable.iter().any(|pattern| policy::resource_matches(pattern, &address.resource())) {
            return Err(S3Error::AccessDenied);
        }
        let only_if_absent = parts.headers.get(IF_NONE_MATCH).is_some_and(|value| value == "*");
        if only_if_absent && self.objects.newest(&address.bucket, &address.key).is_some() {
            return Err(S3Error::PreconditionFailed { condition: "If-None-Match" });
        }
        let stored = self.objects.put(&address.bucket, &address.key, body, self.faults.now());
        let response = Response::builder().header(ETAG, stored.etag).header(VERSION_ID, stored.version_id);
        response.body(Body::empty()).map_err(|_| S3Error::Internal)
    }

    fn deliver(&self, parts: &Parts, object: StoredObject, fault: Option<S3Fault>) -> Result<Response, S3Error> {
        let whole = object.bytes.len() as u64;
        let requested =
            parts.headers.get(RANGE).map_or(Requested::Whole, |value| Requested::parse(value.as_bytes(), whole));
        let (status, range) = match requested {
            Requested::Whole => (StatusCode::OK, ByteRange { start: 0, end: whole }),
            Requested::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Requested::Unsatisfiable => return Err(S3Error::InvalidRange { size: whole }),
        };
        let mut response = Response::builder()
            .status(status)
            .header(ACCEPT_RANGES, "bytes")
            .header(CONTENT_LENGTH, range.len())
            .header("content-type", "binary/octet-stream");
        if status == StatusCode::PARTIAL_CONTENT {
            response = response.header(CONTENT_RANGE, range.content_range(whole));
        }
        let body = if parts.method == Method::HEAD {
            Body::empty()
        } else {
            Body::new(Delivery::new(&object.bytes, range, fault, self.counters.clone()))
        };
        let mut response = response.body(body).map_err(|_| S3Error::Internal)?;
        describe(&object, response.headers_mut());
        Ok(response)
    }
}

async fn answer(State(s3): State<S3>, request: Request) -> Response {
    let fault = s3.faults.take_s3();
    let (parts, body) = request.into_parts();
    if host(&parts).starts_with("api.sagemaker.") {
        return s3.training_jobs.answer(&parts, body, (&s3.region, &s3.issued, s3.faults.now())).await;
    }
    match s3.serve(&parts, body, fault).await {
        Ok(response) => {
            s3.counters.add(|served| served.s3 += 1);
            response
        }
        Err(error) => {
            s3.counters.add(|served| served.s3_refused += 1);
            error.respond(&parts)
        }
    }
}

/// Evaluates `If-Match` and `If-None-Match` (RFC 9110, 13.2.2); a 304 if the client has this version already.
fn check_conditions(headers: &HeaderMap, object: &StoredObject) -> Result<Option<Response>, S3Error> {
    let names = |name: HeaderName| headers.get(name).map(|value| lists_etag(value.as_bytes(), &object.etag));
    if names(IF_MATCH) == Some(false) {
        return Err(S3Error::PreconditionFailed { condition: "If-Match" });
    }
    if names(IF_NONE_MATCH) == Some(true) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        describe(object, response.headers_mut());
        return Ok(Some(response));
    }
    Ok(None)
}

/// Whether a list of entity tags names this one. S3 takes tags without their quotes too.
fn lists_etag(list: &[u8], etag: &str) -> bool {
    let bare = etag.trim_matches('"').as_bytes();
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).any(|tag| {
        let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
        let tag = tag.strip_prefix(b"\"").and_then(|tag| tag.strip_suffix(b"\"")).unwrap_or(tag);
        tag == b"*" || tag == bare
    })
}

fn describe(object: &StoredObject, headers: &mut HeaderMap) {
    let modified = httpdate::fmt_http_date(object.modified.into());
    for (name, value) in [(ETAG, &object.etag), (VERSION_ID, &object.version_id), (LAST_MODIFIED, &modified)] {
        headers.insert(name, value.parse().expect("tags, versions and dates are ASCII"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_found_in_a_list_with_or_without_quotes() {
        for (list, expected) in [
            ("\"abc\"", true),
            ("abc", true),
            ("\"x\", \"abc\"", true),
            ("*", true),
            ("W/\"abc\"", true),
            ("\"ab\"", false),
        ] {
            assert_eq!(lists_etag(list.as_bytes(), "\"abc\""), expected, "{list}");
        }
    }
}
