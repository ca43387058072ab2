//! Carries out what a job asks for: fetches the group document from S3, checks its digest, and submits it to the core's
//! deployments under the job's id.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::deploys::{Deploys, Outcome};
use super::document::Order;
use super::execution::detail;
use crate::backoff::Backoff;
use crate::deployment::{
    DeploymentId, Deployments, FailureKind, Order as Deploy, Report, Request, Status, SubmitError,
};
use crate::group;
use crate::mqtt::jobs::Details;
use crate::package::Sha256Digest;
use crate::s3::{DownloadError, S3Client, Wanted};
use crate::store::{Store, StoreError};

/// Pauses between attempts to fetch the document, from the first to the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// How often it is asked again while another deployment is in the way.
const BUSY: Duration = Duration::from_secs(1);

/// Why the group document of a job could not be had.
#[derive(Debug, thiserror::Error)]
enum DocumentError {
    #[error("fetching the group document")]
    Download(#[from] DownloadError),
    #[error("keeping the group document")]
    Store(#[from] StoreError),
    #[error("reading the group document")]
    Read(#[source] std::io::Error),
    #[error("the group document is larger than {} bytes", group::SIZE_LIMIT)]
    TooLarge,
    #[error(
        "the group document has another digest than group.sha256 says, {actual}; create the job with the digest of the document that is there"
    )]
    Digest { actual: Sha256Digest },
    #[error("the group document is not UTF-8")]
    NotText,
}

impl DocumentError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Download(error) => error.is_retryable(),
            Self::Store(error) => error.is_retryable(),
            Self::Read(_) => true,
            Self::TooLarge | Self::Digest { .. } | Self::NotText => false,
        }
    }
}

/// Deploys groups in this core.
#[derive(Debug)]
pub struct GroupDeployer {
    s3: S3Client,
    store: Arc<Store>,
    deployments: Deployments,
}

impl GroupDeployer {
    /// Fetches with `s3`, by way of `store`, and submits to `deployments`.
    pub fn new(s3: S3Client, store: Arc<Store>, deployments: Deployments) -> Self {
        Self { s3, store, deployments }
    }
}

impl Deploys for GroupDeployer {
    fn deploy(&self, order: &Order) -> watch::Receiver<Outcome> {
        let (told, outcome) = watch::channel(Outcome::Working(detail("step", "fetching the group document")));
        let work = Work {
            s3: self.s3.clone(),
            store: self.store.clone(),
            deployments: self.deployments.clone(),
            order: order.clone(),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = work.run(&told) => {}
                // The job was taken back: a document that arrives later must not be deployed over what came after it.
                () = told.closed() => {}
            }
        });
        outcome
    }

    fn withdraw(&self, id: &DeploymentId) {
        self.deployments.withdraw(id, "its job was cancelled or timed out");
    }
}

struct Work {
    s3: S3Client,
    store: Arc<Store>,
    deployments: Deployments,
    order: Order,
}

impl Work {
    async fn run(&self, told: &watch::Sender<Outcome>) {
        // Under way or done already, before this start of the core perhaps.
        if let Some(report) = self.deployments.find(&self.order.id) {
            let again =
                Request { id: report.id.clone(), source: report.source, order: Deploy::Again { of: report.id } };
            if let Ok(report) = self.deployments.submit(again) {
                return follow(report, told).await;
            }
        }
        let Some(document) = self.document(told).await else { return };
        let source = format!("job {}", self.order.id);
        loop {
            let request = Request {
                id: self.order.id.clone(),
                source: source.clone(),
                order: Deploy::New { document: document.clone() },
            };
            match self.deployments.submit(request) {
                Ok(report) => return follow(report, told).await,
                Err(error @ SubmitError::Busy { .. }) => {
                    told.send_replace(Outcome::Working(detail("step", &error.to_string())));
                    tokio::time::sleep(BUSY).await;
                }
                // The job stays in progress: the next start of the core finds it so.
                Err(SubmitError::Stopped) => return,
            }
        }
    }

    /// The group document, once it could be had; tells why not.
    async fn document(&self, told: &watch::Sender<Outcome>) -> Option<String> {
        let mut pauses = Backoff::new(RETRY.0, RETRY.1);
        loop {
            let error = match self.fetch().await {
                Ok(document) => return Some(document),
                Err(error) => error,
            };
            let text = crate::causes::explain(&error);
            tracing::warn!(job = %self.order.id, error = text, "the group document of a job");
            if !error.is_retryable() {
                told.send_replace(Outcome::Failed(detail("error", &text)));
                return None;
            }
            let mut details = detail("error", &text);
            details.insert("step".to_owned(), "waiting to fetch the group document".to_owned());
            told.send_replace(Outcome::Working(details));
            tokio::time::sleep(pauses.next()).await;
        }
    }

    async fn fetch(&self) -> Result<String, DocumentError> {
        let download = self.store.download_path()?;
        let (too_large, mut stop) = watch::channel(false);
        let wanted = Wanted { version_id: self.order.version_id.as_deref(), ..Wanted::newest(&self.order.group) };
        let limit = u64::try_from(group::SIZE_LIMIT).unwrap_or(u64::MAX);
        let fetching = self.s3.fetch(&wanted, download.path(), |received| {
            let _ = too_large.send(received.received > limit || received.total.is_some_and(|total| total > limit));
        });
        tokio::select! {
            fetched = fetching => fetched?,
            _ = stop.wait_for(|stop| *stop) => return Err(DocumentError::TooLarge),
        };
        let bytes = std::fs::read(download.path()).map_err(DocumentError::Read)?;
        if bytes.len() > group::SIZE_LIMIT {
            return Err(DocumentError::TooLarge);
        }
        let actual = Sha256Digest::of(&bytes);
        if actual != self.order.sha256 {
            return Err(DocumentError::Digest { actual });
        }
        String::from_utf8(bytes).map_err(|_| DocumentError::NotText)
    }
}

/// Tells how the deployment goes until it is over.
async fn follow(mut report: watch::Receiver<Report>, told: &watch::Sender<Outcome>) {
    loop {
        let now = report.borrow_and_update().clone();
        told.send_if_modified(|before| {
            let outcome = outcome(&now);
            let changed = *before != outcome;
            *before = outcome;
            changed
        });
        if now.status.is_terminal() || report.changed().await.is_err() {
            return;
        }
    }
}

fn outcome(report: &Report) -> Outcome {
    let details = details(report);
    match (report.status, &report.failure) {
        (Status::Success, _) => Outcome::Succeeded(details),
        (Status::Failure, Some(failure)) if failure.kind == FailureKind::GroupDocument => Outcome::Rejected(details),
        (Status::Failure, _) => Outcome::Failed(details),
        (Status::Building | Status::InProgress, _) => Outcome::Working(details),
    }
}

/// Without bytes and percents: each change is a message of every core of a fleet.
fn details(report: &Report) -> Details {
    let mut details = Details::new();
    if let Some(step) = report.step.and_then(|step| serde_json::to_value(step).ok()) {
        details.insert("step".to_owned(), step.as_str().unwrap_or_default().to_owned());
    }
    if let Some(failure) = &report.failure {
        details.insert("error".to_owned(), failure.message.clone());
    }
    if report.status.is_terminal() {
        let packages = report.packages.values().map(|package| format!("{} {}", package.name, package.version));
        details.insert("packages".to_owned(), packages.collect::<Vec<_>>().join(", "));
        details.insert("deployment".to_owned(), report.id.to_string());
    }
    details
}
