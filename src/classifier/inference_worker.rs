//! The program of the inference worker: frames from the ring, predictions to the core.
//!
//! It runs in a sandbox with one model, read-only, and a read-only view of the ring; the two dangerous parsers, of
//! models and of pictures, are its own. **Here a frame becomes a tensor**: `Server::classify` hands the ring's bytes
//! to [`margay_inference::Pipeline::classify`].

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use margay_camera::FrameMeta;
use margay_camera::ring::{ReadError, RingReader, Wait};
use margay_inference::still::MAX_STILL_BYTES;
use margay_inference::{
    Classification, EngineChoice, FrameView, GoldenSample, Keeping, LoadError, Pipeline, Provider, Thumbnailer,
    verify_golden,
};

use super::glance::{Glance, Shades};
use super::message::{Account, FromInference, Inferred, Outcome, ToInference};
use super::model_directory::ModelDirectory;
use super::running::Running;
use crate::causes::explain;
use crate::clock::Clock;
use crate::ipc::{IpcError, Received, Waited, WorkerChannel};
use crate::package::EngineHint;
use crate::payload::thumbnail::MAX_THUMBNAIL_BYTES;
use crate::payload::{self, Ranked};
use crate::units::Probability;

/// How long the worker waits for a frame, or for a message while it has none to wait for, before it looks at the other.
const WAIT: Duration = Duration::from_millis(100);

/// No more rings than this may wait their turn; the core never sends so many.
const MAX_RINGS: usize = 8;

mod shelf;

use shelf::Shelf;

/// Why the inference worker ended early.
#[derive(Debug, thiserror::Error)]
pub enum InferenceWorkerError {
    /// The channel to the core broke.
    #[error(transparent)]
    Channel(#[from] IpcError),
    /// A ring's header does not describe the memory that came.
    #[error("mapping the ring")]
    Ring(#[from] margay_camera::ring::RingError),
    /// The core's messages came in an order that makes no sense.
    #[error("the core sent {message} {when}")]
    OutOfOrder {
        /// Which message.
        message: &'static str,
        /// The circumstance that forbids it.
        when: &'static str,
    },
}

/// Classifies until every frame it was asked for is accounted for, or the core hangs up.
///
/// # Errors
/// [`InferenceWorkerError`]. A model that cannot be used is no error here: the core has been told why.
pub fn run(channel: &WorkerChannel, clock: &dyn Clock) -> Result<(), InferenceWorkerError> {
    let Some(Loaded { opened: Opened { pipeline, threshold, .. }, classes, thumbnailer, shades }) = load(channel)?
    else {
        return Ok(());
    };
    let mut server = Server {
        channel,
        clock,
        pipeline,
        classes,
        threshold,
        thumbnailer,
        rings: VecDeque::new(),
        next: None,
        last: u64::MAX,
        bytes: Vec::new(),
        glance: Glance::new(shades),
    };
    server.serve()
}

/// What an order to load a model came to.
struct Loaded {
    opened: Opened,
    classes: usize,
    thumbnailer: Option<Thumbnailer>,
    shades: Shades,
}

/// Waits for the order to load a model, and loads and warms it; `None` when there is nothing to serve.
fn load(channel: &WorkerChannel) -> Result<Option<Loaded>, InferenceWorkerError> {
    let Waited::Message(Received { message, descriptors }) = channel.receive::<ToInference>(Duration::from_secs(30))?
    else {
        return Ok(None);
    };
    let ToInference::Load { directory, classes, threshold, thumbnail, shades, view, running, keeping } = message else {
        return Err(InferenceWorkerError::OutOfOrder { message: "another order", when: "before a model to load" });
    };
    let started = Instant::now();
    let shelf = keeping.and_then(|order| Shelf::of(&order, descriptors));
    let keeping = shelf.as_ref().map(|shelf| &shelf.keeping);
    match open(&margay_sandbox::resource_path(Path::new(&directory)), &running, keeping) {
        Ok(mut opened) => {
            let load_us = micros(started.elapsed());
            let engine = opened.pipeline.engine_name().to_owned();
            let (is_kept, remark) = (opened.pipeline.is_kept(), opened.remark.take());
            let passed_over = opened.pipeline.passed_over().map(|unusable| explain(unusable));
            if let Some(shelf) = shelf {
                shelf.put(&mut opened.pipeline);
            }
            channel.send(&FromInference::Loaded { engine, load_us, remark, is_kept, passed_over })?;
            // The parsers, their copies of the model, and whatever the samples' pictures took.
            margay_sandbox::release_start_up_memory();
            opened.threshold = threshold.unwrap_or(opened.threshold);
            // Golden samples have been classified as they are.
            opened.pipeline = opened.pipeline.with_view(view);
            let thumbnailer = thumbnail.map(|side| Thumbnailer::new(side, MAX_THUMBNAIL_BYTES));
            Ok(Some(Loaded { opened, classes, thumbnailer, shades }))
        }
        Err(why) => {
            channel.send(&FromInference::Refused { why })?;
            Ok(None)
        }
    }
}

/// A package that is ready to classify.
pub(super) struct Opened {
    pub(super) pipeline: Pipeline,
    /// Classes below this probability are not told, if the package's own rule stands.
    threshold: f32,
    /// That the model runs otherwise than was to be expected, and why.
    pub(super) remark: Option<String>,
}

/// Loads the package's model, runs it once on a grey picture, so that the first frame does not pay for what an engine
/// puts off, and has it name its golden samples; an error is told in one line. What an earlier start kept of the model is
/// tried like the model.
pub(super) fn open(directory: &Path, running: &Running, keeping: Option<&Keeping>) -> Result<Opened, String> {
    let package = ModelDirectory::open(directory).map_err(|error| explain(&error))?;
    let (mut pipeline, remark) = load_pipeline(&package, running, keeping).map_err(|error| explain(&error))?;
    // Their number was held against the model's outputs before.
    package.manifest.check_golden_labels(pipeline.labels()).map_err(|error| explain(&error))?;
    let grey = [128; 3 * 64 * 64];
    pipeline.classify(&FrameView::rgb24(64, 64, &grey), 1).map_err(|error| explain(&error))?;
    for golden in package.manifest.golden() {
        let sample = GoldenSample {
            name: golden.image.as_str().to_owned(),
            picture: read_picture(&directory.join(golden.image.as_str()))?,
            class: golden.class,
            minimum_probability: golden.minimum_probability.get(),
            maximum_probability: golden.maximum_probability.get(),
        };
        verify_golden(&mut pipeline, sample).map_err(|error| explain(&error))?;
    }
    if let Some(ceiling) = package.manifest.latency_ceiling() {
        check_latency(&mut pipeline, ceiling)?;
    }
    let threshold = package.manifest.threshold().map_or(0.0, Probability::get);
    Ok(Opened { pipeline, threshold, remark })
}

/// Loads the model on the engine of choice, or on the package's own where the choice may be passed over.
/// What runs instead, and why, comes along.
fn load_pipeline(
    package: &ModelDirectory,
    running: &Running,
    keeping: Option<&Keeping>,
) -> Result<(Pipeline, Option<String>), LoadError> {
    let spec = package.manifest.model_spec();
    let hint = match package.manifest.engine() {
        EngineHint::Auto => EngineChoice::Auto,
        EngineHint::Tract => EngineChoice::Tract,
        EngineHint::Compiled => EngineChoice::Compiled,
        EngineHint::OnnxRuntime => EngineChoice::OnnxRuntime(Provider::default()),
    };
    let load = |running: &Running| {
        Pipeline::load_kept(&package.model, &spec, package.labels.clone(), running.execution(hint), keeping)
    };
    match load(running) {
        Err(error) if running.may_fall_back => {
            let pipeline = load(&Running { engine: EngineChoice::Auto, ..running.clone() })?;
            let remark = format!(
                "{}, the engine that was chosen by measurement, does not run the model now, and {} does: {}",
                running.engine,
                pipeline.engine_name(),
                explain(&error)
            );
            Ok((pipeline, Some(remark)))
        }
        loaded => loaded.map(|pipeline| {
            let remark = pipeline.engine_remark().map(str::to_owned);
            (pipeline, remark)
        }),
    }
}

/// Frames timed against a ceiling; their median is judged, so that one interruption does not cost a good model.
const TIMED_FRAMES: usize = 9;

/// Holds the time for a frame, from RGB to ranked classes, against the package's ceiling.
fn check_latency(pipeline: &mut Pipeline, ceiling: Duration) -> Result<(), String> {
    let grey = [128; 3 * 640 * 480];
    let frame = FrameView::rgb24(640, 480, &grey);
    let mut times = Vec::with_capacity(TIMED_FRAMES);
    for _ in 0..TIMED_FRAMES {
        let timings = pipeline.classify(&frame, 1).map_err(|error| explain(&error))?.timings;
        times.push(timings.decode_us + timings.resize_us + timings.inference_us + timings.postprocess_us);
    }
    times.sort_unstable();
    let median = Duration::from_micros(times[TIMED_FRAMES / 2]);
    if median <= ceiling {
        return Ok(());
    }
    Err(format!(
        "the model takes {:.1} ms for a frame of 640x480 (median of {TIMED_FRAMES}), more than the {:.1} ms that its \
         package allows in thresholds.maximum_latency_ms: deploy a smaller or quantised model, or allow more",
        median.as_secs_f64() * 1e3,
        ceiling.as_secs_f64() * 1e3,
    ))
}

/// Reads one byte more than a picture may have at most, so that the decoder sees that it is too large.
fn read_picture(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_STILL_BYTES as u64 + 1).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| format!("reading the golden sample {}: {error}", path.display()))
}

struct Server<'a> {
    channel: &'a WorkerChannel,
    clock: &'a dyn Clock,
    pipeline: Pipeline,
    classes: usize,
    threshold: f32,
    /// Present where thumbnails are wanted.
    thumbnailer: Option<Thumbnailer>,
    /// The ring in use, then those that follow it; all but the last are final.
    rings: VecDeque<RingReader>,
    /// The next frame to account for, once the core has said where to begin.
    next: Option<u64>,
    /// The last frame to account for.
    last: u64,
    /// The frame's bytes, kept for their allocation.
    bytes: Vec<u8>,
    glance: Glance,
}

impl Server<'_> {
    fn serve(&mut self) -> Result<(), InferenceWorkerError> {
        loop {
            let idle = self.next.is_none() || self.rings.is_empty();
            if !self.take_orders(if idle { WAIT } else { Duration::ZERO })? {
                return Ok(());
            }
            let Some(next) = self.next else { continue };
            if next > self.last {
                self.channel.send(&FromInference::Finished)?;
                return Ok(());
            }
            self.follow_ring(next)?;
        }
    }

    /// Takes every waiting order; `false` when the core is gone.
    fn take_orders(&mut self, timeout: Duration) -> Result<bool, InferenceWorkerError> {
        let mut timeout = timeout;
        loop {
            match self.channel.receive::<ToInference>(timeout)? {
                Waited::Nothing => return Ok(true),
                Waited::CoreGone => return Ok(false),
                Waited::Message(received) => self.take_order(received)?,
            }
            timeout = Duration::ZERO;
        }
    }

    fn take_order(&mut self, received: Received<ToInference>) -> Result<(), InferenceWorkerError> {
        match received.message {
            ToInference::Ring => {
                let memory = received
                    .descriptors
                    .into_iter()
                    .next()
                    .ok_or(InferenceWorkerError::OutOfOrder { message: "a ring", when: "without its descriptor" })?;
                if self.rings.len() == MAX_RINGS {
                    return Err(InferenceWorkerError::OutOfOrder { message: "a ring", when: "with too many waiting" });
                }
                self.rings.push_back(RingReader::map(memory)?);
            }
            ToInference::ServeFrom { frame } => self.next = Some(frame),
            ToInference::StopAfter { frame } => self.stop_after(frame)?,
            ToInference::Load { .. } => {
                return Err(InferenceWorkerError::OutOfOrder { message: "a model", when: "to a worker that has one" });
            }
        }
        Ok(())
    }

    /// Agrees on the last frame: one that was already dealt with cannot be given to another worker.
    fn stop_after(&mut self, frame: u64) -> Result<(), InferenceWorkerError> {
        let Some(next) = self.next else {
            return Err(InferenceWorkerError::OutOfOrder { message: "a last frame", when: "before the first" });
        };
        self.last = frame.max(next.saturating_sub(1));
        Ok(self.channel.send(&FromInference::Stopping { after: self.last })?)
    }

    /// Waits for a frame in the ring in use and deals with the newest; goes on to the next ring once this one is
    /// drained and will not grow.
    fn follow_ring(&mut self, next: u64) -> Result<(), InferenceWorkerError> {
        let Some(ring) = self.rings.front() else { return Ok(()) };
        let superseded = self.rings.len() > 1;
        let wait = if superseded { Duration::ZERO } else { WAIT };
        match ring.wait_newer(next.checked_sub(1), wait) {
            Wait::Frame(newest) => {
                let (account, frame) = self.account(next, newest.min(self.last));
                self.next = Some(account.through + 1);
                self.tell(account)?;
                // Afterwards, so that no prediction waits for it.
                let look = frame.and_then(|meta| self.glance.look(&meta, &self.bytes, self.clock.boottime()));
                if let Some(look) = look {
                    self.channel.send(&FromInference::Looked(look))?;
                }
            }
            Wait::Closed(_) | Wait::TimedOut if superseded => {
                self.rings.pop_front();
            }
            // A closed ring has no successor yet: orders are the only thing left to wait for.
            Wait::Closed(_) => {
                self.take_orders(WAIT)?;
            }
            Wait::TimedOut => {}
        }
        Ok(())
    }

    /// Sends an account; one that is too large goes without its thumbnail.
    fn tell(&self, account: Account) -> Result<(), InferenceWorkerError> {
        let mut message = FromInference::Accounted(account);
        match self.channel.send(&message) {
            Err(IpcError::TooLarge { .. }) => {}
            sent => return Ok(sent?),
        }
        if let FromInference::Accounted(Account { outcome: Outcome::Inferred(inferred), .. }) = &mut message {
            inferred.thumbnail = None;
        }
        Ok(self.channel.send(&message)?)
    }

    /// Accounts for `from..=through` by classifying the newest of them, whose bytes are left to be looked at.
    fn account(&mut self, from: u64, through: u64) -> (Account, Option<FrameMeta>) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let read = self.rings.front().map(|ring| ring.read_into(through, &mut bytes));
        let frame = read.as_ref().and_then(|read| read.as_ref().ok()).copied();
        let outcome = match read {
            Some(Ok(meta)) => self.classify(&meta, &bytes),
            Some(Err(error @ ReadError::Malformed { .. })) => Outcome::Undecodable { why: explain(&error) },
            Some(Err(_)) | None => Outcome::Overwritten,
        };
        self.bytes = bytes;
        (Account { from, through, outcome }, frame)
    }

    fn classify(&mut self, meta: &FrameMeta, bytes: &[u8]) -> Outcome {
        let queue_us = micros(self.clock.boottime().saturating_sub(Duration::from_nanos(meta.captured_ns)));
        let frame = FrameView::new(meta, bytes);
        match self.pipeline.classify(&frame, self.classes) {
            Ok(classification) => {
                let thumbnail = self.thumbnail(&frame);
                Outcome::Inferred(self.report(meta, queue_us, classification, thumbnail))
            }
            Err(error) if error.is_the_frames_fault() => Outcome::Undecodable { why: explain(&error) },
            Err(error) => Outcome::InferenceFailed { why: explain(&error) },
        }
    }

    /// The frame in small, where that is wanted; one that cannot be made is left out.
    fn thumbnail(&mut self, frame: &FrameView<'_>) -> Option<payload::Thumbnail> {
        match self.thumbnailer.as_mut()?.make(frame) {
            Ok(made) => Some(payload::Thumbnail {
                media_type: "image/jpeg".to_owned(),
                width: made.width,
                height: made.height,
                data: base64::engine::general_purpose::STANDARD.encode(made.jpeg),
            }),
            Err(error) => {
                tracing::debug!(error = explain(&error), "a frame has no thumbnail");
                None
            }
        }
    }

    fn report(
        &self,
        meta: &FrameMeta,
        queue_us: u64,
        classification: Classification,
        thumbnail: Option<payload::Thumbnail>,
    ) -> Inferred {
        let Classification { predictions, timings } = classification;
        let predictions = predictions
            .into_iter()
            .map(|p| Ranked { label: p.label.to_string(), class: p.class, probability: p.probability })
            .collect();
        Inferred {
            item: meta.item,
            captured_ns: meta.captured_ns,
            captured_at_source: meta.timestamp_source,
            predictions,
            threshold: self.threshold,
            thumbnail,
            queue_us,
            decode_us: timings.decode_us,
            resize_us: timings.resize_us,
            inference_us: timings.inference_us,
            postprocess_us: timings.postprocess_us,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
