//! One request, and what comes of it: bytes for the landing, or a reason why not.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::{Request, Response};

use super::address::ObjectUrl;
use super::error::{Action, DownloadError, Refusal};
use super::landing::Landing;
use super::sign::{EMPTY, Scope, sign_request};
use super::{MAX_OBJECT, Progress, S3Client, Wanted};
use crate::credentials::Credentials;
use crate::http::TransportError;
use crate::store::space;

/// The version of an object in a bucket with versioning.
pub(super) const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// How an attempt ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Every byte is there.
    Complete,
    /// The object still has the version that the caller has.
    Unchanged,
}

/// What every attempt of a download has in common.
pub(super) struct Attempt<'a> {
    pub(super) client: &'a S3Client,
    pub(super) url: &'a ObjectUrl,
    pub(super) wanted: &'a Wanted<'a>,
}

impl Attempt<'_> {
    /// Asks for what is missing and lands it.
    pub(super) async fn run(
        &self,
        landing: &mut Landing,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<Outcome, DownloadError> {
        let uri = || self.url.uri.clone();
        let credentials = self.client.credentials.get().await;
        let credentials =
            credentials.map_err(|source| DownloadError::NoCredentials { uri: uri(), source: Box::new(source) })?;
        let request = self.request(landing, &credentials)?;
        let sent = self.client.http.send(request).await;
        let response = sent.map_err(|source| DownloadError::Transport { uri: uri(), source })?;
        match response.status() {
            StatusCode::OK if self.is_known(&response) => return Ok(Outcome::Unchanged),
            StatusCode::OK => {
                if landing.received() > 0 {
                    // The server does not do ranges, or not of this object.
                    landing.start_over().await?;
                }
                self.prepare(landing, &response).await?;
            }
            StatusCode::PARTIAL_CONTENT if self.continues(landing, &response) => {}
            StatusCode::PARTIAL_CONTENT => return Err(self.unexpected("sent a part that was not asked for")),
            StatusCode::NOT_MODIFIED if self.wanted.unless_etag.is_some() => return Ok(Outcome::Unchanged),
            _ => {
                let refusal = Refusal::read(response, &self.url.endpoint, credentials, Action::Get).await;
                let refusal = DownloadError::Refused { uri: uri(), refusal: Box::new(refusal) };
                if refusal.voids_what_came() {
                    landing.start_over().await?;
                }
                return Err(refusal);
            }
        }
        self.receive(response, landing, progress).await
    }

    fn request(&self, landing: &Landing, credentials: &Credentials) -> Result<Request, DownloadError> {
        let mut request = Request::new(Method::GET, self.url.url.clone());
        let headers = request.headers_mut();
        if landing.received() > 0 {
            insert(headers, RANGE, &format!("bytes={}-", landing.received()));
            if let Some(etag) = landing.etag() {
                insert(headers, IF_MATCH, etag);
            }
        } else if let Some(etag) = self.wanted.unless_etag {
            insert(headers, IF_NONE_MATCH, etag);
        }
        let now = self.client.http.clock().now();
        sign_request(&mut request, credentials, Scope::s3(&self.url.region, now), EMPTY).map_err(|source| {
            DownloadError::Unsigned { uri: self.url.uri.clone(), endpoint: self.url.endpoint.clone(), source }
        })?;
        Ok(request)
    }

    /// Whether a whole object is what the caller has already: not every server heeds conditions, and none has one on
    /// versions. Its body is left unread.
    fn is_known(&self, response: &Response) -> bool {
        let same = |name: &HeaderName, known: Option<&str>| known.is_some() && text(response, name) == known;
        same(&ETAG, self.wanted.unless_etag) || same(&VERSION_ID, self.wanted.unless_version)
    }

    /// Notes size and version of a whole object, and checks that there is room for it.
    async fn prepare(&self, landing: &mut Landing, response: &Response) -> Result<(), DownloadError> {
        let uri = || self.url.uri.clone();
        let total = number(response.headers(), &CONTENT_LENGTH);
        if let Some(actual) = total {
            if actual > MAX_OBJECT {
                return Err(DownloadError::TooLarge { uri: uri(), actual, limit: MAX_OBJECT });
            }
            self.ask_for_room(actual).await?;
            space::check(landing.path(), actual).map_err(|source| DownloadError::DiskFull { uri: uri(), source })?;
        }
        let owned = |name| text(response, name).map(str::to_owned);
        landing.expect(total, owned(&ETAG), owned(&VERSION_ID));
        Ok(())
    }

    /// Asks the store for room, which may have to remove old models first.
    async fn ask_for_room(&self, bytes: u64) -> Result<(), DownloadError> {
        let Some(admission) = self.wanted.admission.cloned() else { return Ok(()) };
        let asked = tokio::task::spawn_blocking(move || admission.ask(bytes)).await;
        asked.unwrap_or_else(|aborted| Err(aborted.into())).map_err(|source| DownloadError::NoRoom {
            uri: self.url.uri.clone(),
            bytes,
            source: source.into(),
        })
    }

    /// Whether a part begins where the landing ends, and belongs to the same object (RFC 9110, section 14.4).
    fn continues(&self, landing: &Landing, response: &Response) -> bool {
        let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let Some((range, total)) = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('/')) else {
            return false;
        };
        let start = range.split_once('-').and_then(|(start, _)| start.parse().ok());
        let same_size = total == "*" || landing.total().is_none() || total.parse().ok() == landing.total();
        landing.received() > 0 && start == Some(landing.received()) && same_size
    }

    async fn receive(
        &self,
        mut response: Response,
        landing: &mut Landing,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<Outcome, DownloadError> {
        let uri = || self.url.uri.clone();
        let broken =
            |source| DownloadError::Transport { uri: uri(), source: TransportError::new(&self.url.url, source) };
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            let actual = landing.received() + piece.len() as u64;
            if actual > landing.total().unwrap_or(MAX_OBJECT) {
                return Err(DownloadError::TooLarge { uri: uri(), actual, limit: MAX_OBJECT });
            }
            self.client.pace.pay(piece.len()).await;
            landing.write(&piece).await.map_err(|error| self.full_disk(error, landing))?;
            progress(Progress { received: landing.received(), total: landing.total() });
        }
        if landing.total().is_none() {
            landing.ended();
        }
        if landing.is_complete() { Ok(Outcome::Complete) } else { Err(self.unexpected("sent less than it announced")) }
    }

    fn full_disk(&self, error: DownloadError, landing: &Landing) -> DownloadError {
        match error {
            DownloadError::Disk { path, source }
                if matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) =>
            {
                let source = space::NoSpace::found_while_writing(&path, landing.total());
                DownloadError::DiskFull { uri: self.url.uri.clone(), source }
            }
            error => error,
        }
    }

    fn unexpected(&self, what: &'static str) -> DownloadError {
        DownloadError::Unexpected { uri: self.url.uri.clone(), endpoint: self.url.endpoint.clone(), what }
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Numbers, and entity tags that came in a header themselves.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

pub(super) fn text<'r>(response: &'r Response, name: &HeaderName) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}
