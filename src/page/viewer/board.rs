//! What the page shows besides pictures: the latest predictions, where their time went, and the core's status.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::payload::{Latency, Prediction, Ranked};

/// Predictions that are kept for the history.
const HISTORY: usize = 48;

/// Predictions over which quantiles and the rate are taken.
const WINDOW: usize = 512;

/// Classes of a prediction that are shown.
const CLASSES: usize = 5;

/// The rate is taken over this time.
const RATE_OVER: Duration = Duration::from_secs(5);

/// What is known; every change wakes those who wait for one.
#[derive(Debug)]
pub(super) struct Board {
    /// Tells one viewer's numbers from the next one's.
    instance: String,
    known: Mutex<Known>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Known {
    status: Value,
    status_version: u64,
    cameras: Vec<Camera>,
}

#[derive(Debug, Default)]
struct Camera {
    /// How many predictions were told.
    told: u64,
    history: VecDeque<(u64, Arc<Prediction>)>,
    window: VecDeque<(Instant, Latency)>,
}

/// How far a browser's knowledge goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// The number of the last prediction.
    pub prediction: u64,
    /// The version of the status.
    pub status: u64,
}

/// What a browser does not know yet.
#[derive(Debug, Serialize)]
pub(super) struct News {
    instance: String,
    prediction: u64,
    predictions: Vec<Shown>,
    latency: Quantiles,
    status_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Value>,
}

/// A prediction as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    frame: u64,
    item: u64,
    captured_at: String,
    total_us: u64,
    classes: Vec<Ranked>,
}

impl Shown {
    pub(super) fn of(prediction: &Prediction) -> Self {
        Self {
            frame: prediction.frame,
            item: prediction.item,
            captured_at: prediction.captured_at.clone(),
            total_us: prediction.latency_us.total,
            classes: prediction.predictions.iter().take(CLASSES).cloned().collect(),
        }
    }
}

/// Half of the frames took no longer than `p50` for a stage, 99 of 100 no longer than `p99`; in microseconds.
#[derive(Debug, Default, Serialize)]
struct Quantiles {
    frames: usize,
    per_second: f64,
    stages: Vec<Stage>,
}

#[derive(Debug, Serialize)]
struct Stage {
    name: &'static str,
    p50: u64,
    p99: u64,
}

type TimeOf = fn(&Latency) -> u64;

/// The stages in the order in which a frame passes them; `publish` is what the others leave of the total.
const STAGES: [(&str, TimeOf); 7] = [
    ("queue", |latency| latency.queue),
    ("decode", |latency| latency.decode),
    ("resize", |latency| latency.resize),
    ("inference", |latency| latency.inference),
    ("postprocess", |latency| latency.postprocess),
    ("publish", publish),
    ("total", |latency| latency.total),
];

fn publish(latency: &Latency) -> u64 {
    let Latency { queue, decode, resize, inference, postprocess, total } = *latency;
    total.saturating_sub(queue + decode + resize + inference + postprocess)
}

impl Board {
    pub(super) fn new(cameras: usize) -> Self {
        let mut random = [0; 8];
        // Without randomness two viewers may take the same name: a browser then shows an old history for a moment.
        let _ = getrandom::fill(&mut random);
        Self {
            instance: format!("{:016x}", u64::from_ne_bytes(random)),
            known: Mutex::new(Known {
                status: Value::Null,
                status_version: 0,
                cameras: (0..cameras).map(|_| Camera::default()).collect(),
            }),
            changes: watch::channel(0).0,
        }
    }

    pub(super) fn predicted(&self, camera: usize, prediction: Arc<Prediction>) {
        if let Some(camera) = self.known().cameras.get_mut(camera) {
            camera.told += 1;
            if camera.window.len() == WINDOW {
                camera.window.pop_front();
            }
            camera.window.push_back((Instant::now(), prediction.latency_us));
            if camera.history.len() == HISTORY {
                camera.history.pop_front();
            }
            let number = camera.told;
            camera.history.push_back((number, prediction));
        }
        self.changes.send_modify(|change| *change += 1);
    }

    pub(super) fn status(&self, status: Value) {
        {
            let mut known = self.known();
            known.status = status;
            known.status_version += 1;
        }
        self.changes.send_modify(|change| *change += 1);
    }

    /// What a browser that has `seen` so much of `camera` does not know yet, as soon as there is something, or after
    /// `patience` whatever there is. `None`: there is no such camera.
    pub(super) async fn news(&self, camera: usize, seen: Seen, patience: Duration) -> Option<News> {
        let mut changes = self.changes.subscribe();
        let waited = tokio::time::timeout(patience, async {
            loop {
                match self.look(camera, seen) {
                    Some(news) if news.prediction == seen.prediction && news.status.is_none() => {}
                    news => return news,
                }
                // The sender lives as long as this.
                let _ = changes.changed().await;
            }
        });
        match waited.await {
            Ok(news) => news,
            Err(_) => self.look(camera, seen),
        }
    }

    fn look(&self, camera: usize, seen: Seen) -> Option<News> {
        let known = self.known();
        let camera = known.cameras.get(camera)?;
        let unseen = camera.history.iter().filter(|(number, _)| *number > seen.prediction);
        Some(News {
            instance: self.instance.clone(),
            prediction: camera.told,
            predictions: unseen.map(|(_, prediction)| Shown::of(prediction)).collect(),
            latency: quantiles(&camera.window, Instant::now()),
            status_version: known.status_version,
            status: (known.status_version != seen.status).then(|| known.status.clone()),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn quantiles(window: &VecDeque<(Instant, Latency)>, now: Instant) -> Quantiles {
    let recent = window.iter().rev().take_while(|(told, _)| now.saturating_duration_since(*told) < RATE_OVER).count();
    let mut sorted = Vec::with_capacity(window.len());
    let stages = STAGES.iter().map(|(name, of)| {
        sorted.clear();
        sorted.extend(window.iter().map(|(_, latency)| of(latency)));
        sorted.sort_unstable();
        Stage { name, p50: rank(&sorted, 50), p99: rank(&sorted, 99) }
    });
    let stages = stages.collect();
    Quantiles { frames: window.len(), per_second: recent as f64 / RATE_OVER.as_secs_f64(), stages }
}

/// The smallest value that at least `percent` of all do not exceed; 0 of none.
fn rank(sorted: &[u64], percent: usize) -> u64 {
    let place = (sorted.len() * percent).div_ceil(100);
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{ClockSource, Model, SCHEMA};

    pub(in crate::page::viewer) fn prediction(frame: u64, total: u64) -> Arc<Prediction> {
        let class = |class: u32| Ranked { label: format!("class {class}"), class, probability: 0.1 };
        Arc::new(Prediction {
            schema: SCHEMA.to_owned(),
            thing: "thing".to_owned(),
            camera: "camera".to_owned(),
            frame,
            item: frame,
            captured_at: "2026-11-21T12:00:00Z".to_owned(),
            captured_at_source: margay_camera::TimestampSource::Replay,
            clock: ClockSource::System,
            model: Model { name: "m".to_owned(), version: "1".to_owned(), digest: "sha256:0".to_owned() },
            predictions: (0..20).map(class).collect(),
            latency_us: Latency { queue: 1, decode: 2, resize: 3, inference: 4, postprocess: 5, total },
            publication: None,
            stable: None,
            trigger: None,
            thumbnail: None,
            device: None,
        })
    }

    fn seen(prediction: u64, status: u64) -> Seen {
        Seen { prediction, status }
    }

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!((rank(&values, 50), rank(&values, 99)), (50, 99));
        assert_eq!((rank(&[7], 50), rank(&[7], 99)), (7, 7));
        assert_eq!(rank(&[], 99), 0);
    }

    #[test]
    fn what_no_stage_accounts_for_is_publishing() {
        assert_eq!(publish(&prediction(0, 20).latency_us), 5);
        assert_eq!(publish(&prediction(0, 3).latency_us), 0, "clocks of two processes may disagree by a little");
    }

    #[test]
    fn the_history_is_bounded_and_a_browser_gets_what_it_has_not_seen() {
        let board = Board::new(1);
        for frame in 0..1000 {
            board.predicted(0, prediction(frame, 20));
        }
        let all = board.look(0, seen(0, 0)).unwrap();
        assert_eq!((all.prediction, all.predictions.len(), all.latency.frames), (1000, HISTORY, WINDOW));
        assert_eq!(all.predictions[0].classes.len(), CLASSES);
        assert!(all.status.is_none());
        assert_eq!(board.look(0, seen(998, 0)).unwrap().predictions.len(), 2);
        board.predicted(7, prediction(0, 1));
        assert!(board.look(1, seen(0, 0)).is_none(), "there is one camera");
    }

    #[test]
    fn a_browser_waits_for_news_and_gets_the_status_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let board = Arc::new(Board::new(1));
            let asking = board.clone();
            let long = Duration::from_secs(60);
            let waiting = tokio::spawn(async move { asking.news(0, seen(0, 0), long).await });
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            board.status(Value::from("fine"));
            let news = waiting.await.unwrap().unwrap();
            assert_eq!((news.status_version, news.status.as_ref()), (1, Some(&Value::from("fine"))));
            let nothing = board.news(0, seen(0, 1), Duration::ZERO).await.unwrap();
            assert!(nothing.status.is_none() && nothing.predictions.is_empty());
        });
    }
}
