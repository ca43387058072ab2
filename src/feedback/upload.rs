//! Samples to S3, one after the other, the oldest first, for as long as it takes.

use std::time::Duration;

use http::HeaderValue;

use super::messages::{self, Metric, PREDICTION_TOPIC, Reason, STATUS_TOPIC};
use super::sample::{Sample, metadata_headers};
use super::{CONNECTOR, Feedback, is_gone};
use crate::backoff::Backoff;
use crate::causes::explain;
use crate::name::S3Uri;
use crate::s3::{Details, Replace, UploadError, Uploaded};

/// Pauses while S3 is out of reach, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// How often it is looked whether messages need the room.
const LOOK: Duration = Duration::from_secs(1);

/// Attempts before a pause.
const ATTEMPTS: u32 = 2;

/// What became of a sample.
enum Fate {
    Uploaded(Box<Uploaded>),
    Refused(Reason),
    /// It waits on: what S3 or the way to it says may pass.
    Later(String),
}

impl Feedback {
    /// Uploads what is taken, and makes room for messages, until dropped.
    pub async fn run(self) {
        let uploading = self.clone();
        tokio::select! {
            () = uploading.upload() => {}
            () = self.watch_room() => {}
        }
    }

    async fn watch_room(&self) {
        loop {
            self.make_room();
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn upload(&self) {
        let mut pauses = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            let taken = self.shelf().as_mut().ok().and_then(super::Shelf::take);
            let Some(number) = taken else {
                self.0.arrived.notified().await;
                continue;
            };
            let sample = self.shelf().as_ref().map_err(Clone::clone).and_then(|shelf| {
                shelf.read(number).map(|sample| (sample, shelf.content(number))).map_err(|error| error.to_string())
            });
            let (sample, path) = match sample {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(connector = CONNECTOR, number, error, "a sample cannot be read and is given up");
                    self.0.counts.failed.count();
                    self.settle(number);
                    continue;
                }
            };
            match self.attempt(&sample, &path).await {
                Fate::Uploaded(uploaded) => {
                    self.0.counts.uploaded.count();
                    self.tell_success(&sample, &uploaded);
                }
                Fate::Refused(reason) => {
                    tracing::warn!(
                        connector = CONNECTOR,
                        bucket = sample.bucket,
                        key = sample.key,
                        error = reason.message,
                        "a sample is not uploaded"
                    );
                    self.0.counts.failed.count();
                    self.tell_failure(&sample, &reason);
                }
                Fate::Later(why) => {
                    self.pause(why, pauses.next()).await;
                    continue;
                }
            }
            self.settle(number);
            pauses.reset();
        }
    }

    async fn attempt(&self, sample: &Sample, path: &std::path::Path) -> Fate {
        let refused = |error: &str, message: String| Fate::Refused(Reason { error: error.to_owned(), message });
        let uri = match S3Uri::in_any_bucket(&sample.bucket, &sample.key) {
            Ok(uri) => uri,
            Err(error) => return refused("ParamValidationError", error.to_string()),
        };
        let metadata = match metadata_headers(&sample.metadata) {
            Ok(metadata) => metadata,
            Err(error) => return refused("ParamValidationError", error.to_string()),
        };
        let details = Details {
            content_type: HeaderValue::from_str(&sample.content_type).ok(),
            metadata,
            replace: Replace::Allowed,
            attempts: ATTEMPTS,
        };
        match self.0.s3.upload_with(path, &uri, &details, |_| {}).await {
            Ok(uploaded) => Fate::Uploaded(Box::new(uploaded)),
            Err(error) if error.is_retryable() => Fate::Later(explain(&error)),
            Err(error) => Fate::Refused(reason(&error)),
        }
    }

    fn tell_success(&self, sample: &Sample, uploaded: &Uploaded) {
        let connector = &sample.connector;
        self.publish(connector, STATUS_TOPIC, &messages::succeeded(sample, uploaded));
        self.measure(connector, Metric::SampleUploadSuccess);
        if self.publish(connector, PREDICTION_TOPIC, &messages::prediction(sample)) {
            self.measure(connector, Metric::SampleAndPredictionPublished);
        }
    }

    /// The sample's way is at its end.
    fn settle(&self, number: u64) {
        if let Ok(shelf) = self.shelf().as_mut()
            && let Err(error) = shelf.remove(number)
            && !is_gone(&error)
        {
            tracing::error!(connector = CONNECTOR, number, %error, "a sample stays on the disk, and is uploaded again at the next start");
        }
        let mut hand = self.hand();
        hand.fresh.remove(&number);
        hand.outage = false;
        drop(hand);
        self.set_trouble(None);
    }

    /// Nothing can be uploaded for a while: what waits is no longer worked on, and makes room for messages.
    async fn pause(&self, why: String, pause: Duration) {
        if let Ok(shelf) = self.shelf().as_mut() {
            shelf.release();
        }
        {
            let mut hand = self.hand();
            hand.fresh.clear();
            hand.outage = true;
        }
        tracing::info!(connector = CONNECTOR, why, pause_ms = pause.as_millis(), "samples wait for S3");
        self.set_trouble(Some(why));
        // The end of an outage ends the pause, and so does the pause itself.
        let _ = tokio::time::timeout(pause, self.0.hopeful.notified()).await;
    }
}

/// As boto3 would have named it (B-34).
fn reason(error: &UploadError) -> Reason {
    let Some(refusal) = error.refusal() else {
        let name = match error {
            UploadError::NoCredentials { .. } => "NoCredentialsError",
            UploadError::File { .. } => "OSError",
            _ => "ParamValidationError",
        };
        return Reason { error: name.to_owned(), message: explain(error) };
    };
    let status = refusal.status.to_string();
    let code = refusal.code.as_deref().unwrap_or(&status);
    let message = refusal.message.as_deref().unwrap_or("Unknown");
    // S3's model has one error of its own for PutObject's bucket; all others are the client's general one.
    let name = if code == "NoSuchBucket" { code } else { "ClientError" };
    let message = format!("An error occurred ({code}) when calling the PutObject operation: {message}");
    Reason { error: name.to_owned(), message }
}
