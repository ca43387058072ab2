//! What became of a model's requests, as the statistics extension counts it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use margay_inference::StageTimings;
use serde_json::{Value, json};

/// A number of times something was done, and how long it took in all, in nanoseconds.
#[derive(Debug, Default)]
struct Span {
    count: AtomicU64,
    ns: AtomicU64,
}

impl Span {
    fn add(&self, took: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn document(&self) -> Value {
        json!({ "count": self.count.load(Ordering::Relaxed), "ns": self.ns.load(Ordering::Relaxed) })
    }
}

/// One model's counters since the server started.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    success: Span,
    fail: Span,
    queue: Span,
    prepare: Span,
    infer: Span,
    rank: Span,
}

impl Statistics {
    /// A request that was answered with outputs: how long it took in all, and how long it waited for its turn.
    pub(super) fn succeeded(&self, took: Duration, waited: Duration, stages: &StageTimings) {
        let micros = Duration::from_micros;
        self.success.add(took);
        self.queue.add(waited);
        self.prepare.add(micros(stages.decode_us + stages.resize_us));
        self.infer.add(micros(stages.inference_us));
        self.rank.add(micros(stages.postprocess_us));
    }

    /// A request that was not.
    pub(super) fn failed(&self, took: Duration) {
        self.fail.add(took);
    }

    /// The extension's entry for the model.
    pub(super) fn document(&self, name: &str, version: &str) -> Value {
        let count = self.success.count.load(Ordering::Relaxed);
        json!({
            "name": name,
            "version": version,
            "inference_count": count,
            "execution_count": count,
            "inference_stats": {
                "success": self.success.document(),
                "fail": self.fail.document(),
                "queue": self.queue.document(),
                "compute_input": self.prepare.document(),
                "compute_infer": self.infer.document(),
                "compute_output": self.rank.document(),
            },
            "batch_stats": [],
        })
    }
}
