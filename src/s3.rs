//! Model packages from S3: one signed GET at a time, streamed to a file, resumed where it broke off (B-10, B-11); and
//! files to S3, streamed as well.
//!
//! The settings of Signature Version 4 are S3's own (a path encoded once and not normalised, the payload's hash in a
//! header), and it signs at the time that the clock has learnt from servers. Errors of S3 are read, named, and, where
//! a fresh token, the bucket's region, the server's clock or patience can mend them, mended.
//!
//! Refuses to list and to follow redirects. Serves [`deployment`](crate::deployment).

mod address;
mod answer;
mod attempt;
mod error;
mod file_body;
mod landing;
mod pace;
mod regions;
mod sign;
mod training_job;
mod upload;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::config;
use crate::credentials::CredentialsProvider;
use crate::http::HttpClient;
use crate::name::S3Uri;
use crate::store::Admission;
pub use crate::store::Download;
use address::{ObjectUrl, Place};
use attempt::{Attempt, Outcome};
pub use error::{Action, DownloadError, Problem, Refusal};
use landing::Landing;
use pace::Pace;
use regions::Regions;
pub use sign::{EMPTY as EMPTY_BODY, Scope, SignError, sign_request};
pub use training_job::TrainingJobError;
pub use upload::{Details, Replace, UploadError, Uploaded};

/// The largest object that is downloaded, in bytes: ten times the largest model of the guide.
pub const MAX_OBJECT: u64 = 2 << 30;

/// Pauses between attempts, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));

/// The longest pause that a server's `Retry-After` may ask for.
const LONGEST_ASKED_FOR: Duration = Duration::from_secs(300);

/// How many attempts in a row may bring nothing. One that brought bytes starts the count anew.
const FRUITLESS_ATTEMPTS: u32 = 5;

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes on disk, or sent.
    pub received: u64,
    /// Bytes of the object, once the server has said.
    pub total: Option<u64>,
}

/// Which object is wanted, and when it is not.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The object.
    pub uri: &'a S3Uri,
    /// This version of it, not the newest. The role needs `s3:GetObjectVersion` then.
    pub version_id: Option<&'a str>,
    /// Not if it still has this `ETag`.
    pub unless_etag: Option<&'a str>,
    /// Not if its newest version is still this one. Unlike an `ETag`, a version changes by uploading the same bytes again.
    pub unless_version: Option<&'a str>,
    /// Asked for room once the server has told the size, before anything is read.
    pub admission: Option<&'a Admission>,
}

impl<'a> Wanted<'a> {
    /// The newest version of `uri`, in any case.
    pub fn newest(uri: &'a S3Uri) -> Self {
        Self { uri, version_id: None, unless_etag: None, unless_version: None, admission: None }
    }
}

/// What was downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Size, digest and `ETag`.
    pub download: Download,
    /// The version, in a bucket with versioning.
    pub version_id: Option<String>,
}

/// A client of one S3 endpoint. Cheap to clone; clones share bandwidth and what they know of buckets' regions.
#[derive(Debug, Clone)]
pub struct S3Client {
    settings: config::S3,
    http: HttpClient,
    credentials: CredentialsProvider,
    pauses: (Duration, Duration),
    pace: Arc<Pace>,
    regions: Arc<Regions>,
}

impl S3Client {
    /// A client that sends nothing yet. `http` must trust the endpoint's certificate.
    pub fn new(settings: config::S3, http: HttpClient, credentials: CredentialsProvider) -> Self {
        let pace = Arc::new(Pace::new(settings.max_bytes_per_second));
        let regions = Arc::new(Regions::new(settings.region.clone()));
        Self { settings, http, credentials, pauses: PAUSES, pace, regions }
    }

    /// The same with other pauses between attempts, the first and the longest.
    pub fn with_pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.pauses = (first, longest);
        self
    }

    /// Downloads `uri` to the file `to`, unless the object still has the version `unless_etag`: [`S3Client::fetch`] in
    /// short.
    ///
    /// # Errors
    /// As for [`S3Client::fetch`].
    pub async fn download(
        &self,
        uri: &S3Uri,
        to: &Path,
        unless_etag: Option<&str>,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Option<Download>, DownloadError> {
        let wanted = Wanted { unless_etag, ..Wanted::newest(uri) };
        Ok(self.fetch(&wanted, to, progress).await?.map(|fetched| fetched.download))
    }

    /// Downloads what is `wanted` to the file `to`, replacing it; `None` if it is not wanted. `progress` is told after
    /// each piece. On return the file is synced. Memory does not grow with the object.
    ///
    /// Dropping the call leaves a partial file.
    ///
    /// # Errors
    /// When the object cannot be had after all that is worth trying. The file is then incomplete.
    pub async fn fetch(
        &self,
        wanted: &Wanted<'_>,
        to: &Path,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Option<Fetched>, DownloadError> {
        let uri = wanted.uri;
        let mut landing = Landing::create(to).await?;
        let mut pauses = Backoff::new(self.pauses.0, self.pauses.1);
        let mut fruitless = 0;
        let mut mended = Mended::default();
        loop {
            let before = landing.received();
            let region = self.regions.of(uri.bucket());
            let url = ObjectUrl::of(Place { uri, version_id: wanted.version_id, region: &region }, &self.settings)?;
            let attempt = Attempt { client: self, url: &url, wanted };
            let problem = match attempt.run(&mut landing, &mut progress).await {
                Ok(Outcome::Complete) => return landing.finish().await.map(Some),
                Ok(Outcome::Unchanged) => return Ok(None),
                Err(error) => error,
            };
            fruitless = if landing.received() > before { 1 } else { fruitless + 1 };
            if let Some(refusal) = problem.refusal()
                && mended.mend(self, uri.bucket(), refusal).await
            {
                continue;
            }
            if !problem.is_retryable() || fruitless >= FRUITLESS_ATTEMPTS {
                return Err(problem);
            }
            let pause = pauses.next().max(problem.refusal().map_or(Duration::ZERO, Refusal::asks_for));
            tracing::info!(%uri, received = landing.received(), pause_ms = pause.as_millis(), problem = &problem as &dyn std::error::Error, "the download pauses");
            tokio::time::sleep(pause).await;
        }
    }
}

/// What has been mended in this transfer; each at most once.
#[derive(Debug, Default)]
struct Mended {
    credentials: bool,
    clock: bool,
    region: bool,
}

impl Mended {
    /// Does what makes another attempt worthwhile at once, if anything does.
    async fn mend(&mut self, client: &S3Client, bucket: &str, refusal: &Refusal) -> bool {
        let done = match refusal.problem {
            Problem::CredentialsRefused => &mut self.credentials,
            // Mended already: the answer that complained carried the right date.
            Problem::ClockSkewed => &mut self.clock,
            Problem::WrongRegion if client.regions.learn(bucket, refusal.region.as_ref()) => &mut self.region,
            _ => return false,
        };
        if std::mem::replace(done, true) {
            return false;
        }
        if refusal.problem == Problem::CredentialsRefused {
            // Whether this succeeds, the next attempt finds out.
            let _ = client.credentials.get_other_than(&refusal.credentials).await;
        }
        true
    }
}
