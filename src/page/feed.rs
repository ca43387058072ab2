//! What the page is told. Telling never waits: news that a slow viewer has not taken make room for newer ones.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::broadcast;

use crate::payload::Prediction;

/// News that may wait for the viewer; at 30 predictions a second, two seconds of them.
const WAITING: usize = 64;

/// Something that the viewer is told.
#[derive(Debug, Clone)]
pub(super) enum News {
    Predicted { camera: usize, prediction: Arc<Prediction> },
    Status(Arc<Value>),
}

/// Tells the page of one camera's predictions.
#[derive(Debug, Clone)]
pub struct Feed {
    camera: usize,
    news: broadcast::Sender<News>,
}

impl Feed {
    pub(super) fn new(camera: usize, news: broadcast::Sender<News>) -> Self {
        Self { camera, news }
    }

    /// A frame was classified.
    pub fn predicted(&self, prediction: &Prediction) {
        if self.news.receiver_count() > 0 {
            // No viewer lives if it fails: nobody needs to know.
            let _ = self.news.send(News::Predicted { camera: self.camera, prediction: Arc::new(prediction.clone()) });
        }
    }
}

/// The queue of news.
pub(super) fn queue() -> broadcast::Sender<News> {
    broadcast::channel(WAITING).0
}
