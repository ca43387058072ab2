//! Model packages from S3: one signed GET at a time, streamed to a file, resumed where it broke off (B-10, B-11).
//!
//! The settings of Signature Version 4 are S3's own (a path encoded once and not normalised, the payload's hash in a
//! header), and it signs at the time that the clock has learnt from servers. Errors of S3 are read, named, and, where
//! a fresh token, the server's clock or patience can mend them, mended.
//!
//! Refuses to write, to list, and to follow redirects. Serves [`deployment`](crate::deployment).

mod address;
mod answer;
mod attempt;
mod error;
mod landing;
mod sign;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::config;
use crate::credentials::CredentialsProvider;
use crate::http::HttpClient;
use crate::name::S3Uri;
pub use crate::store::Download;
use address::ObjectUrl;
use attempt::{Attempt, Outcome};
pub use error::{DownloadError, Problem, Refusal};
use landing::Landing;
pub use sign::SignError;

/// The largest object that is downloaded, in bytes: ten times the largest model of the guide.
pub const MAX_OBJECT: u64 = 2 << 30;

/// Pauses between attempts, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));

/// How many attempts in a row may bring nothing. One that brought bytes starts the count anew.
const FRUITLESS_ATTEMPTS: u32 = 5;

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes on disk.
    pub received: u64,
    /// Bytes of the object, once the server has said.
    pub total: Option<u64>,
}

/// A client of one S3 endpoint and region. Cheap to clone.
#[derive(Debug, Clone)]
pub struct S3Client {
    settings: config::S3,
    http: HttpClient,
    credentials: CredentialsProvider,
    pauses: (Duration, Duration),
}

impl S3Client {
    /// A client that sends nothing yet. `http` must trust the endpoint's certificate.
    pub fn new(settings: config::S3, http: HttpClient, credentials: CredentialsProvider) -> Self {
        Self { settings, http, credentials, pauses: PAUSES }
    }

    /// The same with other pauses between attempts, the first and the longest.
    pub fn with_pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.pauses = (first, longest);
        self
    }

    /// Downloads `uri` to the file `to`, replacing it, unless the object still has the version `unless_etag`, which
    /// gives `None`. `progress` is told after each piece. On return the file is synced.
    ///
    /// Dropping the call leaves a partial file.
    ///
    /// # Errors
    /// When the object cannot be had after all that is worth trying. The file is then incomplete.
    pub async fn download(
        &self,
        uri: &S3Uri,
        to: &Path,
        unless_etag: Option<&str>,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Option<Download>, DownloadError> {
        let url = ObjectUrl::of(uri, &self.settings)?;
        let mut landing = Landing::create(to).await?;
        let mut pauses = Backoff::new(self.pauses.0, self.pauses.1);
        let mut fruitless = 0;
        let mut mended = Mended::default();
        loop {
            let before = landing.received();
            let attempt = Attempt { client: self, url: &url, unless_etag };
            let problem = match attempt.run(&mut landing, &mut progress).await {
                Ok(Outcome::Complete) => return landing.finish().await.map(Some),
                Ok(Outcome::Unchanged) => return Ok(None),
                Err(error) => error,
            };
            fruitless = if landing.received() > before { 1 } else { fruitless + 1 };
            if mended.can_mend(&problem) {
                self.mend(&problem).await;
                continue;
            }
            if !problem.is_retryable() || fruitless >= FRUITLESS_ATTEMPTS {
                return Err(problem);
            }
            let pause = pauses.next();
            tracing::info!(%uri, received = landing.received(), pause_ms = pause.as_millis(), problem = &problem as &dyn std::error::Error, "the download pauses");
            tokio::time::sleep(pause).await;
        }
    }

    /// Does what makes another attempt worthwhile at once.
    async fn mend(&self, problem: &DownloadError) {
        if let Some(refused) = problem.refused_credentials() {
            // Whether this succeeds, the next attempt finds out.
            let _ = self.credentials.get_other_than(refused).await;
        }
        // A skewed clock has been mended already: the answer that complained carried the right date.
    }
}

/// What has been mended in this download; each at most once.
#[derive(Debug, Default)]
struct Mended {
    credentials: bool,
    clock: bool,
}

impl Mended {
    fn can_mend(&mut self, problem: &DownloadError) -> bool {
        let done = match problem.problem() {
            Some(Problem::CredentialsRefused) => &mut self.credentials,
            Some(Problem::ClockSkewed) => &mut self.clock,
            _ => return false,
        };
        !std::mem::replace(done, true)
    }
}
