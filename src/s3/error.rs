//! Why an object could not be had, and what to do about it: by whom, by patience, or by the client itself.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use http::header::RETRY_AFTER;
use reqwest::Response;

use super::LONGEST_ASKED_FOR;
use super::answer::{ErrorDocument, MAX_DOCUMENT};
use super::attempt::text;
use super::sign::SignError;
use crate::credentials::{Credentials, CredentialsError};
use crate::http::{TransportError, read_body};
use crate::name::{Region, S3Uri};
use crate::store::StoreError;
use crate::store::space::NoSpace;

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The object's name fits no URL.
    #[error("downloading {uri}: {why}; rename the object")]
    Unaddressable {
        /// The object.
        uri: S3Uri,
        /// Why.
        why: &'static str,
    },
    /// There are no credentials to sign with.
    #[error("downloading {uri} without credentials")]
    NoCredentials {
        /// The object.
        uri: S3Uri,
        /// Why.
        #[source]
        source: Box<CredentialsError>,
    },
    /// The request could not be signed.
    #[error("downloading {uri} from {endpoint}")]
    Unsigned {
        /// The object.
        uri: S3Uri,
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: SignError,
    },
    /// The server could not be reached, or the connection broke.
    #[error("downloading {uri}")]
    Transport {
        /// The object.
        uri: S3Uri,
        /// Why.
        #[source]
        source: TransportError,
    },
    /// S3 answered with an error.
    #[error("downloading {uri}: {refusal}")]
    Refused {
        /// The object.
        uri: S3Uri,
        /// The answer.
        refusal: Box<Refusal>,
    },
    /// The answer does not fit the request.
    #[error("downloading {uri}: {endpoint} {what}")]
    Unexpected {
        /// The object.
        uri: S3Uri,
        /// The endpoint.
        endpoint: String,
        /// What is odd.
        what: &'static str,
    },
    /// The object is larger than a package may be.
    #[error("downloading {uri}: it has {actual} bytes, and a package has at most {limit}")]
    TooLarge {
        /// The object.
        uri: S3Uri,
        /// Its size, or what had come when the limit was passed.
        actual: u64,
        /// The limit.
        limit: u64,
    },
    /// The disk is full.
    #[error("downloading {uri}")]
    DiskFull {
        /// The object.
        uri: S3Uri,
        /// How full.
        #[source]
        source: NoSpace,
    },
    /// The store may not hold it.
    #[error("downloading {uri}, of {bytes} bytes")]
    NoRoom {
        /// The object.
        uri: S3Uri,
        /// Its size.
        bytes: u64,
        /// Why not.
        #[source]
        source: Box<StoreError>,
    },
    /// The file could not be written.
    #[error("writing the download to {}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Where a bucket lies, in an answer of another region.
const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Reading an object.
    Get,
    /// Writing an object.
    Put,
    /// Asking SageMaker about a training job.
    Describe,
}

/// An error that S3 answered with.
#[derive(Debug)]
pub struct Refusal {
    /// The endpoint.
    pub endpoint: String,
    /// The HTTP status.
    pub status: u16,
    /// S3's name of the error.
    pub code: Option<String>,
    /// S3's words.
    pub message: Option<String>,
    /// What that means.
    pub problem: Problem,
    /// What was tried.
    pub action: Action,
    /// Where the bucket lies, if the answer said.
    pub region: Option<Region>,
    /// How long the server asked to be left alone.
    retry_after: Option<Duration>,
    /// The credentials that signed the request.
    pub(super) credentials: Credentials,
}

impl Refusal {
    /// Reads what `endpoint` answered to a request signed with `credentials`.
    pub(super) async fn read(response: Response, endpoint: &str, credentials: Credentials, action: Action) -> Self {
        let status = response.status().as_u16();
        let named = text(&response, &BUCKET_REGION).map(str::to_owned);
        let retry_after = text(&response, &RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
        let body = read_body(response, MAX_DOCUMENT).await.unwrap_or_default();
        let ErrorDocument { code, message, region } = ErrorDocument::read(&body);
        let problem = Problem::of(status, code.as_deref(), message.as_deref());
        Self {
            endpoint: endpoint.to_owned(),
            status,
            code,
            message,
            problem,
            action,
            region: named.or(region).and_then(|region| region.parse().ok()),
            retry_after: retry_after.map(Duration::from_secs),
            credentials,
        }
    }

    /// How long the server asked to be left alone, within reason.
    pub(super) fn asks_for(&self) -> Duration {
        self.retry_after.unwrap_or_default().min(LONGEST_ASKED_FOR)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {}", self.endpoint, self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, " {message:?}")?;
        }
        match (&self.region, self.problem) {
            (Some(region), Problem::WrongRegion) => write!(f, "; the bucket lies in {region}, and this did not help"),
            _ => write!(f, "; {}", self.problem.remedy(self.action)),
        }
    }
}

/// What an error of S3 means for the client and its operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The role may not read the object, or the object does not exist and the role may not list the bucket.
    AccessDenied,
    /// The token has expired or the key is unknown, although it should not: fetch another.
    CredentialsRefused,
    /// The device's clock was wrong when it signed.
    ClockSkewed,
    /// The bucket does not exist.
    NoSuchBucket,
    /// The object does not exist.
    NoSuchKey,
    /// The bucket lies in another region, or under another endpoint.
    WrongRegion,
    /// The object changed while it was downloaded.
    Changed,
    /// The part asked for does not exist, so the object became shorter.
    Shrunk,
    /// Too many requests, or a fault of the server.
    Busy,
    /// The server does not accept the signature.
    SignatureRefused,
    /// The object is encrypted with a key that its uploader kept (SSE-C), which cannot be read (B-10).
    CustomerKey,
    /// None of these.
    Unclassified,
}

impl Problem {
    /// Classifies an answer by S3's code, or by its status where it has none.
    pub(super) fn of(status: u16, code: Option<&str>, message: Option<&str>) -> Self {
        match code {
            Some("InvalidRequest") if message.is_some_and(|message| message.contains("Server Side Encryption")) => {
                return Self::CustomerKey;
            }
            Some("ExpiredToken" | "ExpiredTokenException" | "InvalidAccessKeyId" | "InvalidToken") => {
                return Self::CredentialsRefused;
            }
            Some("RequestTimeTooSkewed" | "RequestExpired") => return Self::ClockSkewed,
            Some("SignatureDoesNotMatch") => return Self::SignatureRefused,
            Some("NoSuchBucket") => return Self::NoSuchBucket,
            Some("NoSuchKey" | "NoSuchVersion") => return Self::NoSuchKey,
            Some(
                "PermanentRedirect"
                | "TemporaryRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException",
            ) => return Self::WrongRegion,
            Some("RequestTimeout" | "SlowDown" | "InternalError" | "ServiceUnavailable") => return Self::Busy,
            _ => {}
        }
        match status {
            301 | 302 | 307 | 308 => Self::WrongRegion,
            403 => Self::AccessDenied,
            404 => Self::NoSuchKey,
            412 => Self::Changed,
            416 => Self::Shrunk,
            408 | 429 | 500..=599 => Self::Busy,
            _ => Self::Unclassified,
        }
    }

    /// What to do about it.
    pub fn remedy(self, action: Action) -> &'static str {
        match self {
            Self::AccessDenied if action == Action::Put => {
                "the role behind the role alias needs s3:PutObject on this object (and kms:GenerateDataKey if the \
                 bucket encrypts with SSE-KMS)"
            }
            Self::AccessDenied if action == Action::Describe => {
                "the role behind the role alias needs sagemaker:DescribeTrainingJob on this training job"
            }
            Self::AccessDenied => {
                "the role behind the role alias needs s3:GetObject on this object (and kms:Decrypt if it is encrypted \
                 with SSE-KMS); without s3:ListBucket a missing object looks the same"
            }
            Self::CredentialsRefused => "the credentials provider and S3 disagree; check that both are of one account",
            Self::ClockSkewed => "the device's clock is wrong; let it synchronise (NTP)",
            Self::CustomerKey => {
                "the object is encrypted with a key of its uploader (SSE-C), which cannot be read (B-10): upload it with \
                 SSE-S3 or SSE-KMS"
            }
            Self::NoSuchBucket => "check the bucket's name in the group's S3Uri",
            Self::NoSuchKey => "check the key in the group's S3Uri; it is case sensitive",
            Self::WrongRegion => "the bucket lies elsewhere: set margay.s3.region (and endpoint) to the bucket's",
            Self::Changed | Self::Shrunk => "the object changes while it is read; upload under a new key instead",
            Self::Busy => "the server asks for patience; the core tries again",
            Self::SignatureRefused => "something between the core and S3 changes requests; check proxies and endpoint",
            Self::Unclassified => "check endpoint, bucket and key",
        }
    }
}

impl DownloadError {
    /// Whether another attempt after a pause may succeed by itself.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::NoCredentials { source, .. } => source.is_retryable(),
            Self::Refused { refusal, .. } => {
                matches!(refusal.problem, Problem::Busy | Problem::Changed | Problem::Shrunk)
            }
            _ => false,
        }
    }

    /// What S3's answer meant, if it was S3 that refused.
    pub fn problem(&self) -> Option<Problem> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.problem),
            _ => None,
        }
    }

    /// Whether the bytes that have come belong to another version of the object.
    pub(super) fn voids_what_came(&self) -> bool {
        matches!(self.problem(), Some(Problem::Changed | Problem::Shrunk))
    }

    /// S3's answer, if it was S3 that refused.
    /// Whether the object is not there. A role that may not list the bucket is told 403 of missing objects, too.
    pub fn is_missing(&self) -> bool {
        self.refusal().is_some_and(|refusal| matches!(refusal.problem, Problem::NoSuchKey | Problem::AccessDenied))
    }

    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_classified_by_s3s_code_and_by_its_status_where_there_is_none() {
        for (status, code, expected) in [
            (400, Some("ExpiredToken"), Problem::CredentialsRefused),
            (403, Some("InvalidAccessKeyId"), Problem::CredentialsRefused),
            (403, Some("RequestTimeTooSkewed"), Problem::ClockSkewed),
            (403, Some("SignatureDoesNotMatch"), Problem::SignatureRefused),
            (403, Some("AccessDenied"), Problem::AccessDenied),
            (403, None, Problem::AccessDenied),
            (404, Some("NoSuchBucket"), Problem::NoSuchBucket),
            (404, Some("NoSuchKey"), Problem::NoSuchKey),
            (404, None, Problem::NoSuchKey),
            (301, Some("PermanentRedirect"), Problem::WrongRegion),
            (400, Some("AuthorizationHeaderMalformed"), Problem::WrongRegion),
            (307, None, Problem::WrongRegion),
            (400, Some("RequestTimeout"), Problem::Busy),
            (400, Some("InvalidRequest"), Problem::Unclassified),
            (412, Some("PreconditionFailed"), Problem::Changed),
            (416, Some("InvalidRange"), Problem::Shrunk),
            (429, None, Problem::Busy),
            (500, Some("InternalError"), Problem::Busy),
            (503, None, Problem::Busy),
            (418, None, Problem::Unclassified),
        ] {
            assert_eq!(Problem::of(status, code, None), expected, "{status} {code:?}");
        }
    }
}
