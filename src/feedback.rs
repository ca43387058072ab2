//! The ML Feedback connector (B-32 to B-34): samples of what a model is given, chosen by a strategy, go to S3 with the
//! core's credentials; what became of each is published.
//!
//! ```text
//! take → configuration, metadata, prediction → request limit → strategy → shelf (disk) ──► Uploader → S3
//!            │ refused: the caller hears            │ dropped: a status        │ within the spool's limit
//! ```
//!
//! A sample that was taken waits on the disk, through outages and restarts, until S3 has it or refuses it for good. All
//! that wait share the spool's limit with messages: the oldest samples make room, for messages and for newer samples.
//!
//! It serves `app`, which has it answer functions' SDK and the classification service.

mod messages;
mod sample;
mod sampling;
mod settings;
mod shelf;
mod upload;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Notify;

pub use messages::{METRIC_TOPIC, PREDICTION_TOPIC, STATUS_TOPIC};
pub use sample::MetadataError;
pub use sampling::{SamplingError, Strategy};
pub use settings::{Configuration, FeedbackSettings};

use self::messages::{Metric, Reason};
use self::sample::{FORMAT, Sample, metadata_headers, stamp};
use self::shelf::Shelf;
use crate::clock::Clock;
use crate::function::draw_id;
use crate::mqtt::spool::Worth;
use crate::name::S3UriError;
use crate::router::{Endpoint, Outgoing, QueueFullPolicy, RouteError, Router};
use crate::s3::S3Client;

/// The connector's name in its ARN, and what its log is called.
pub const CONNECTOR: &str = "MLFeedback";

/// What a function or the classification service hands in (B-28).
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The feedback configuration (`ConfigId`).
    pub config_id: String,
    /// The sample (`ModelInput`).
    pub input: Bytes,
    /// What the model made of it (`ModelPrediction`).
    pub prediction: Value,
    /// What else there is to say (`Metadata`).
    pub metadata: Map<String, Value>,
}

/// Why a request was not taken; whoever asks hears it.
#[derive(Debug, thiserror::Error)]
pub enum FeedbackError {
    /// The group has no such connector.
    #[error("the group has no ML Feedback connector: deploy MLFeedback")]
    NoConnector,
    /// The connector has no such configuration.
    #[error("ConfigId {config_id:?} is no feedback configuration of the ML Feedback connector, which has {known}")]
    UnknownConfiguration {
        /// The id.
        config_id: String,
        /// Those that there are.
        known: String,
    },
    /// The prediction is neither a list nor a dictionary.
    #[error("ModelPrediction is a list of numbers or a dictionary")]
    Prediction,
    /// The strategy can make nothing of it.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The metadata cannot be an object's.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Configuration and id make no address.
    #[error(transparent)]
    Address(#[from] S3UriError),
}

/// How much of the spool's limit is in use, and the limit, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// What messages take.
    pub used: u64,
    /// What messages and samples may take together.
    pub limit: u64,
}

/// Tells the [`Budget`] now.
pub type BudgetOf = Box<dyn Fn() -> Budget + Send + Sync>;

/// What became of samples since the core started: received = uploaded + not used + throttled + failed + dropped +
/// what waits now, less what waited at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackStatus {
    /// The connector of the group that runs; `None` where it has none and samples of an earlier one wait.
    pub connector: Option<String>,
    /// Requests.
    pub received: u64,
    /// Samples that S3 has.
    pub uploaded: u64,
    /// Those that the strategy did not choose.
    pub not_used: u64,
    /// Requests beyond the limit.
    pub throttled: u64,
    /// Samples that S3 or the disk refused.
    pub failed: u64,
    /// Samples for which there was no room, or none any more.
    pub dropped: u64,
    /// Samples that wait on the disk.
    pub waiting: u64,
    /// What these count for.
    pub waiting_bytes: u64,
    /// What keeps them from being uploaded, or kept.
    pub trouble: Option<String>,
}

/// The connector. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Feedback(Arc<Inner>);

struct Inner {
    settings: RwLock<Option<Arc<FeedbackSettings>>>,
    shelf: Mutex<Result<Shelf, String>>,
    hand: Mutex<Hand>,
    s3: S3Client,
    router: Arc<Router>,
    clock: Arc<dyn Clock>,
    budget: BudgetOf,
    counts: Counts,
    trouble: Mutex<Option<String>>,
    /// A sample was kept.
    arrived: Notify,
    /// S3 may be in reach again.
    hopeful: Notify,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feedback").field("settings", &self.settings).field("shelf", &self.shelf).finish_non_exhaustive()
    }
}

/// The requests that are worked on: received, and not through their first attempt to be uploaded.
#[derive(Debug, Default)]
struct Hand {
    arriving: usize,
    fresh: BTreeSet<u64>,
    /// S3 is out of reach: samples wait from the start.
    outage: bool,
}

#[derive(Debug, Default)]
struct Counts {
    received: AtomicU64,
    uploaded: AtomicU64,
    not_used: AtomicU64,
    throttled: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Feedback {
    /// Without a connector yet. Samples wait in `folder`, as many as `budget` leaves room for.
    pub fn new(folder: &Path, budget: BudgetOf, s3: S3Client, router: Arc<Router>, clock: Arc<dyn Clock>) -> Self {
        let shelf = Shelf::open(folder).map_err(|error| format!("{}: {error}", folder.display()));
        if let Err(error) = &shelf {
            tracing::error!(connector = CONNECTOR, error, "samples cannot be kept");
        }
        Self(Arc::new(Inner {
            settings: RwLock::default(),
            shelf: Mutex::new(shelf),
            hand: Mutex::default(),
            s3,
            router,
            clock,
            budget,
            counts: Counts::default(),
            trouble: Mutex::default(),
            arrived: Notify::new(),
            hopeful: Notify::new(),
        }))
    }

    /// Goes on as the group that runs now says; samples that wait go where they were to go.
    pub fn configure(&self, settings: Option<FeedbackSettings>) {
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = settings.map(Arc::new);
    }

    /// Takes a request: chosen, the sample is on the disk when this returns. What becomes of it is published.
    ///
    /// # Errors
    /// [`FeedbackError`]: the request makes no sense. It is not counted then.
    pub async fn take(&self, request: Request) -> Result<(), FeedbackError> {
        let settings = self.0.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
        let settings = settings.ok_or(FeedbackError::NoConnector)?;
        let configuration = configuration(&settings, &request.config_id)?;
        let id = draw_id();
        let (sample, content) = self.sample(&settings, configuration, id, request)?;
        let uses =
            configuration.strategy.map_or(Ok(true), |strategy| strategy.uses(&sample.prediction, fastrand::f64()))?;
        add(&self.0.counts.received);
        let Some(arriving) = self.begin(settings.limit()) else {
            add(&self.0.counts.throttled);
            self.publish(&sample.connector, STATUS_TOPIC, &messages::throttled(&sample.id, settings.limit()));
            self.measure(&sample.connector, Metric::ErrorRequestThrottled);
            return Ok(());
        };
        if !uses {
            add(&self.0.counts.not_used);
            self.publish(&sample.connector, STATUS_TOPIC, &messages::not_used(&sample.id));
            self.measure(&sample.connector, Metric::SampleNotUsed);
            return Ok(());
        }
        self.measure(&sample.connector, Metric::SampleSize(sample.bytes));
        let own = self.clone();
        // Kept also if whoever asks goes away meanwhile.
        let keeping = tokio::task::spawn_blocking(move || own.keep(&sample, &content, arriving));
        if let Err(error) = keeping.await {
            tracing::error!(connector = CONNECTOR, %error, "a sample was not kept");
        }
        Ok(())
    }

    /// The sample of a request, if all of it can be uploaded.
    fn sample(
        &self,
        settings: &FeedbackSettings,
        configuration: &Configuration,
        id: String,
        request: Request,
    ) -> Result<(Sample, Bytes), FeedbackError> {
        let Request { config_id, input, prediction, mut metadata } = request;
        if !prediction.is_array() && !prediction.is_object() {
            return Err(FeedbackError::Prediction);
        }
        stamp(&mut metadata, self.0.clock.now());
        metadata_headers(&metadata)?;
        let object = configuration.object(&id)?;
        let sample = Sample {
            format: FORMAT,
            id,
            connector: settings.arn.to_string(),
            config_id,
            bucket: object.bucket().to_owned(),
            key: object.key().to_owned(),
            content_type: configuration.content_type.clone(),
            prediction,
            metadata,
            bytes: input.len() as u64,
        };
        Ok((sample, input))
    }

    /// A place among the requests that are worked on, if there is one.
    fn begin(&self, limit: u16) -> Option<Arriving> {
        let mut hand = self.hand();
        if hand.arriving + hand.fresh.len() >= usize::from(limit) {
            return None;
        }
        hand.arriving += 1;
        Some(Arriving(self.clone()))
    }

    /// Puts the sample on the disk, in the place of older ones where there is no other.
    fn keep(&self, sample: &Sample, content: &[u8], arriving: Arriving) {
        let outcome = self.put(sample, content);
        match outcome {
            Ok(number) => {
                let mut hand = self.hand();
                if !hand.outage {
                    hand.fresh.insert(number);
                }
                drop(hand);
                drop(arriving);
                self.0.arrived.notify_one();
            }
            Err(NotKept::NoRoom(reason)) => {
                add(&self.0.counts.dropped);
                self.tell_failure(sample, &reason);
            }
            Err(NotKept::Disk(reason)) => {
                add(&self.0.counts.failed);
                self.tell_failure(sample, &reason);
            }
        }
    }

    fn put(&self, sample: &Sample, content: &[u8]) -> Result<u64, NotKept> {
        let room = self.room();
        loop {
            {
                let mut shelf = self.shelf();
                let shelf = shelf.as_mut().map_err(|why| NotKept::Disk(disk(why)))?;
                if shelf.has_room(sample, room) {
                    return shelf.put(sample, content).map_err(|error| NotKept::Disk(disk(&error.to_string())));
                }
            }
            if sample.bytes > room || !self.give_up_oldest() {
                let message = format!(
                    "the sample has {} bytes, and messages leave {room} bytes of the spool's limit for samples \
                     (GG_CONFIG_MAX_SIZE_BYTES)",
                    sample.bytes
                );
                return Err(NotKept::NoRoom(Reason { error: "NoRoom".to_owned(), message }));
            }
        }
    }

    /// What messages leave for samples.
    fn room(&self) -> u64 {
        let Budget { used, limit } = (self.0.budget)();
        limit.saturating_sub(used)
    }

    /// Gives up samples, the oldest first, until the others fit what messages leave.
    fn make_room(&self) {
        let is_over = || self.shelf().as_ref().is_ok_and(|shelf| shelf.bytes() > self.room());
        while is_over() && self.give_up_oldest() {}
    }

    /// Gives up the oldest sample that is not being uploaded; false where there is none.
    fn give_up_oldest(&self) -> bool {
        let given_up = {
            let mut shelf = self.shelf();
            let Ok(shelf) = shelf.as_mut() else { return false };
            let Some(number) = shelf.expendable() else { return false };
            let sample = shelf.read(number);
            if let Err(error) = shelf.remove(number) {
                tracing::warn!(connector = CONNECTOR, number, %error, "a sample that was given up stays on the disk");
            }
            self.hand().fresh.remove(&number);
            sample
        };
        add(&self.0.counts.dropped);
        if let Ok(sample) = given_up {
            let message = "the sample made room for messages or newer samples: the spool's limit \
                           (GG_CONFIG_MAX_SIZE_BYTES) is for both";
            self.tell_failure(&sample, &Reason { error: "NoRoom".to_owned(), message: message.to_owned() });
        }
        true
    }

    fn tell_failure(&self, sample: &Sample, reason: &Reason) {
        self.publish(&sample.connector, STATUS_TOPIC, &messages::failed(&sample.id, reason));
        self.measure(&sample.connector, Metric::SampleUploadFailure);
    }

    fn measure(&self, connector: &str, metric: Metric) {
        self.publish(connector, METRIC_TOPIC, &metric.message());
    }

    /// Gives a message to whom subscriptions name; whether it was taken or nobody wants it.
    fn publish(&self, connector: &str, topic: &str, message: &Value) -> bool {
        let source = Endpoint::Connector(connector.to_owned());
        let payload = Bytes::from(message.to_string());
        let (mark, policy) = ((0, Worth::Ordinary), QueueFullPolicy::BestEffort);
        match self.0.router.publish(Outgoing { source: &source, topic, payload, mark, policy }) {
            Ok(_) | Err(RouteError::NoRoute { .. }) => true,
            Err(error) => {
                tracing::warn!(connector = CONNECTOR, topic, %error, "a message of the feedback connector was not taken");
                false
            }
        }
    }

    /// How it stands; `None` where the group has no connector and nothing waits.
    pub fn status(&self) -> Option<FeedbackStatus> {
        let settings = self.0.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (waiting, waiting_bytes, broken) = match self.shelf().as_ref() {
            Ok(shelf) => (shelf.len() as u64, shelf.bytes(), None),
            Err(why) => (0, 0, Some(why.clone())),
        };
        if settings.is_none() && waiting == 0 {
            return None;
        }
        let counts = &self.0.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let trouble = || self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(FeedbackStatus {
            connector: settings.map(|settings| settings.arn.to_string()),
            received: read(&counts.received),
            uploaded: read(&counts.uploaded),
            not_used: read(&counts.not_used),
            throttled: read(&counts.throttled),
            failed: read(&counts.failed),
            dropped: read(&counts.dropped),
            waiting,
            waiting_bytes,
            trouble: broken.or_else(trouble),
        })
    }

    /// The network is back: what waits need not wait for the end of its pause.
    pub fn retry_now(&self) {
        self.0.hopeful.notify_one();
    }

    fn shelf(&self) -> MutexGuard<'_, Result<Shelf, String>> {
        self.0.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.0.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// A request that is being taken; dropped, its place is free.
#[derive(Debug)]
struct Arriving(Feedback);

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.hand().arriving -= 1;
    }
}

/// Why a sample is not on the disk.
enum NotKept {
    NoRoom(Reason),
    Disk(Reason),
}

fn disk(error: &str) -> Reason {
    Reason { error: "OSError".to_owned(), message: format!("the sample could not be kept on the disk: {error}") }
}

fn configuration<'s>(settings: &'s FeedbackSettings, config_id: &str) -> Result<&'s Configuration, FeedbackError> {
    settings.configurations.get(config_id).ok_or_else(|| {
        let known: Vec<&str> = settings.configurations.keys().map(String::as_str).take(10).collect();
        let config_id = config_id.chars().take(64).collect();
        FeedbackError::UnknownConfiguration { config_id, known: known.join(", ") }
    })
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Whether reading or writing failed because the file is gone.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}
