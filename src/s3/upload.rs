//! A file to S3 by one PUT: hashed first, so that S3 checks every byte, then streamed. Its whole content is signed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::{Body, Request, Response};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::watch;

use super::address::{ObjectUrl, Place};
use super::attempt::{VERSION_ID, text};
use super::error::{Action, DownloadError, Problem, Refusal};
use super::file_body::FileBody;
use super::sign::{Scope, SignError, SignableBody, sign_request};
use super::{FRUITLESS_ATTEMPTS, Mended, Progress, S3Client};
use crate::backoff::Backoff;
use crate::config::{Addressing, S3};
use crate::credentials::{Credentials, CredentialsError};
use crate::http::TransportError;
use crate::name::S3Uri;
use crate::package::Sha256Digest;

/// The largest object of one PUT, in bytes (S3 user guide, "Uploading objects").
pub const MAX_UPLOAD: u64 = 5 << 30;

/// What was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its digest, which S3 has checked.
    pub sha256: Sha256Digest,
    /// The `ETag` that S3 gave it.
    pub etag: Option<String>,
    /// The version, in a bucket with versioning.
    pub version_id: Option<String>,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// How often it was tried before.
    pub retries: u32,
}

/// What an object gets beside its content, and how much is done for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// What the content is.
    pub content_type: Option<HeaderValue>,
    /// The object's metadata: headers that begin with `x-amz-meta-`.
    pub metadata: Vec<(HeaderName, HeaderValue)>,
    /// Whether it may take the place of another.
    pub replace: Replace,
    /// Attempts after which it is given up, at least 1.
    pub attempts: u32,
}

impl Details {
    /// Content alone, which may or may not replace an object.
    pub fn plain(replace: Replace) -> Self {
        Self { content_type: None, metadata: Vec::new(), replace, attempts: FRUITLESS_ATTEMPTS }
    }
}

/// Why an upload failed.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The object's name fits no URL.
    #[error("uploading to {uri}: {why}; choose another name")]
    Unaddressable {
        /// The object.
        uri: S3Uri,
        /// Why.
        why: &'static str,
    },
    /// The file could not be read.
    #[error("reading {} to upload it", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The file is larger than one PUT may be.
    #[error("uploading {} to {uri}: it has {actual} bytes, and one PUT takes at most {MAX_UPLOAD}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The object.
        uri: S3Uri,
        /// Its size.
        actual: u64,
    },
    /// There are no credentials to sign with.
    #[error("uploading to {uri} without credentials")]
    NoCredentials {
        /// The object.
        uri: S3Uri,
        /// Why.
        #[source]
        source: Box<CredentialsError>,
    },
    /// The request could not be signed.
    #[error("uploading to {uri}")]
    Unsigned {
        /// The object.
        uri: S3Uri,
        /// Why.
        #[source]
        source: SignError,
    },
    /// The server could not be reached, or the connection broke.
    #[error("uploading to {uri}")]
    Transport {
        /// The object.
        uri: S3Uri,
        /// Why.
        #[source]
        source: TransportError,
    },
    /// There is an object of that name already, and it was not to be replaced.
    #[error("uploading to {uri}: there is an object of that name already")]
    Exists {
        /// The object.
        uri: S3Uri,
    },
    /// S3 answered with an error.
    #[error("uploading to {uri}: {refusal}")]
    Refused {
        /// The object.
        uri: S3Uri,
        /// The answer.
        refusal: Box<Refusal>,
    },
}

impl UploadError {
    /// Whether another attempt after a pause may succeed by itself.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::NoCredentials { source, .. } => source.is_retryable(),
            Self::Refused { refusal, .. } => refusal.problem == Problem::Busy,
            _ => false,
        }
    }

    /// S3's answer, if it was S3 that refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }
}

/// Whether an upload may replace an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// It may.
    Allowed,
    /// It may not (`If-None-Match: *`).
    Never,
}

/// What is sent.
struct Parcel<'a> {
    path: &'a Path,
    uri: &'a S3Uri,
    bytes: u64,
    sha256: Sha256Digest,
    details: &'a Details,
}

impl S3Client {
    /// Uploads the file `from` to `uri`. `progress` is told while it is sent; an attempt that failed starts at zero
    /// again. Memory does not grow with the file.
    ///
    /// # Errors
    /// When the file cannot be read, or S3 does not take it after all that is worth trying.
    pub async fn upload(
        &self,
        from: &Path,
        uri: &S3Uri,
        replace: Replace,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Uploaded, UploadError> {
        self.upload_with(from, uri, &Details::plain(replace), progress).await
    }

    /// The same, with what the object gets beside its content.
    ///
    /// # Errors
    /// As for [`S3Client::upload`].
    pub async fn upload_with(
        &self,
        from: &Path,
        uri: &S3Uri,
        details: &Details,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Uploaded, UploadError> {
        let (bytes, sha256) = measure(from, uri).await?;
        let parcel = Parcel { path: from, uri, bytes, sha256, details };
        let mut pauses = Backoff::new(self.pauses.0, self.pauses.1);
        let mut mended = Mended::default();
        let mut attempts = 0;
        loop {
            let problem = match self.put(&parcel, &mut progress).await {
                Ok(uploaded) => return Ok(Uploaded { retries: attempts, ..uploaded }),
                Err(problem) => problem,
            };
            attempts += 1;
            if let Some(refusal) = problem.refusal()
                && mended.mend(self, uri.bucket(), refusal).await
            {
                continue;
            }
            if !problem.is_retryable() || attempts >= details.attempts {
                return Err(problem);
            }
            let pause = pauses.next().max(problem.refusal().map_or(Duration::ZERO, Refusal::asks_for));
            tracing::info!(%uri, pause_ms = pause.as_millis(), problem = &problem as &dyn std::error::Error, "the upload pauses");
            tokio::time::sleep(pause).await;
        }
    }

    async fn put(
        &self,
        parcel: &Parcel<'_>,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<Uploaded, UploadError> {
        let uri = parcel.uri;
        let credentials = self.credentials.get().await;
        let credentials =
            credentials.map_err(|source| UploadError::NoCredentials { uri: uri.clone(), source: Box::new(source) })?;
        let region = self.regions.of(uri.bucket());
        let url = ObjectUrl::of(Place { uri, version_id: None, region: &region }, &self.addressing_of(uri));
        let url = url.map_err(|error| unaddressable(uri, &error))?;
        let (sent, mut heard) = watch::channel(0);
        let request = self.put_request(parcel, &url, &credentials, sent).await?;
        let sending = self.http.send(request);
        tokio::pin!(sending);
        let response = loop {
            tokio::select! {
                response = &mut sending => break response,
                Ok(()) = heard.changed() => {
                    progress(Progress { received: *heard.borrow_and_update(), total: Some(parcel.bytes) });
                }
            }
        };
        let response = response.map_err(|source| UploadError::Transport { uri: uri.clone(), source })?;
        if !response.status().is_success() {
            return Err(refused(response, &url, credentials, parcel).await);
        }
        Ok(Uploaded {
            bytes: parcel.bytes,
            sha256: parcel.sha256,
            etag: text(&response, &ETAG).map(str::to_owned),
            version_id: text(&response, &VERSION_ID).map(str::to_owned),
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            retries: 0,
        })
    }

    /// The settings by which the bucket can be addressed: in path style S3 takes names that no host can have, too.
    fn addressing_of(&self, uri: &S3Uri) -> S3 {
        let mut settings = self.settings.clone();
        let is_covered = !settings.is_virtual_hosted_over_tls() || !uri.bucket().contains('.');
        if !uri.can_be_host() || !is_covered {
            settings.addressing = Addressing::Path;
        }
        settings
    }

    async fn put_request(
        &self,
        parcel: &Parcel<'_>,
        url: &ObjectUrl,
        credentials: &Credentials,
        sent: watch::Sender<u64>,
    ) -> Result<Request, UploadError> {
        let mut request = Request::new(Method::PUT, url.url.clone());
        request.headers_mut().insert(CONTENT_LENGTH, parcel.bytes.into());
        for (name, value) in parcel.details.metadata.iter().cloned() {
            request.headers_mut().insert(name, value);
        }
        if let Some(kind) = parcel.details.content_type.clone() {
            request.headers_mut().insert(CONTENT_TYPE, kind);
        }
        if parcel.details.replace == Replace::Never {
            request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let scope = Scope::s3(&url.region, self.http.clock().now());
        let hash = SignableBody::Precomputed(parcel.sha256.to_string().replace("sha256:", ""));
        sign_request(&mut request, credentials, scope, hash)
            .map_err(|source| UploadError::Unsigned { uri: parcel.uri.clone(), source })?;
        let mut file = File::open(parcel.path).await.map_err(unreadable(parcel.path))?;
        file.rewind().await.map_err(unreadable(parcel.path))?;
        *request.body_mut() = Some(Body::wrap(FileBody::new(file, parcel.bytes, sent, self.pace.clone())));
        Ok(request)
    }
}

async fn refused(response: Response, url: &ObjectUrl, credentials: Credentials, parcel: &Parcel<'_>) -> UploadError {
    let uri = parcel.uri.clone();
    if response.status() == http::StatusCode::PRECONDITION_FAILED && parcel.details.replace == Replace::Never {
        return UploadError::Exists { uri };
    }
    let refusal = Refusal::read(response, &url.endpoint, credentials, Action::Put).await;
    UploadError::Refused { uri, refusal: Box::new(refusal) }
}

/// Size and digest of the file, read once in pieces.
async fn measure(path: &Path, uri: &S3Uri) -> Result<(u64, Sha256Digest), UploadError> {
    let mut file = File::open(path).await.map_err(unreadable(path))?;
    let mut digest = Sha256::new();
    let mut bytes = 0;
    let mut piece = vec![0; 64 * 1024];
    loop {
        let length = file.read(&mut piece).await.map_err(unreadable(path))?;
        if length == 0 {
            break;
        }
        digest.update(&piece[..length]);
        bytes += length as u64;
    }
    if bytes > MAX_UPLOAD {
        return Err(UploadError::TooLarge { path: path.to_owned(), uri: uri.clone(), actual: bytes });
    }
    Ok((bytes, Sha256Digest::from_bytes(digest.finalize().into())))
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> UploadError {
    move |source| UploadError::File { path: path.to_owned(), source }
}

/// Addresses fail in one way only.
fn unaddressable(uri: &S3Uri, error: &DownloadError) -> UploadError {
    let why = match error {
        DownloadError::Unaddressable { why, .. } => why,
        _ => "its name fits no URL",
    };
    UploadError::Unaddressable { uri: uri.clone(), why }
}
