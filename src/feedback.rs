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

mod hand;
mod keeping;
mod messages;
mod request;
mod sample;
mod sampling;
mod settings;
mod shelf;
mod status;
mod upload;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Notify;

pub use keeping::{Budget, BudgetOf};
pub use messages::{METRIC_TOPIC, PREDICTION_TOPIC, STATUS_TOPIC};
pub use request::{FeedbackError, Request};
pub use sample::MetadataError;
pub use sampling::{SamplingError, Strategy};
pub use settings::{Configuration, FeedbackSettings};
pub use status::FeedbackStatus;

use self::hand::Hand;
use self::messages::{Metric, Reason};
use self::sample::{FORMAT, Sample, metadata_headers, stamp};
use self::shelf::Shelf;
use self::status::Counts;
use crate::clock::Clock;
use crate::function::draw_id;
use crate::mqtt::spool::Worth;
use crate::router::{Endpoint, Outgoing, QueueFullPolicy, RouteError, Router};
use crate::s3::S3Client;

/// The connector's name in its ARN, and what its log is called.
pub const CONNECTOR: &str = "MLFeedback";

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
        self.0.counts.received.count();
        let Some(arriving) = self.begin(settings.limit()) else {
            self.0.counts.throttled.count();
            self.publish(&sample.connector, STATUS_TOPIC, &messages::throttled(&sample.id, settings.limit()));
            self.measure(&sample.connector, Metric::ErrorRequestThrottled);
            return Ok(());
        };
        if !uses {
            self.0.counts.not_used.count();
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

fn configuration<'s>(settings: &'s FeedbackSettings, config_id: &str) -> Result<&'s Configuration, FeedbackError> {
    settings.configurations.get(config_id).ok_or_else(|| {
        let known: Vec<&str> = settings.configurations.keys().map(String::as_str).take(10).collect();
        let config_id = config_id.chars().take(64).collect();
        FeedbackError::UnknownConfiguration { config_id, known: known.join(", ") }
    })
}

/// Whether reading or writing failed because the file is gone.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}
