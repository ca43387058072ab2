//! The whole way from a frame to its predictions, with every buffer kept from one frame to the next.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{MonotonicClock, ProcessClock};
use crate::engine::compiled::artefact::{Artefact, Unusable};
use crate::engine::execution::Execution;
use crate::engine::{self, Engine, EngineError, Keeping, LoadError};
use crate::labels::Labels;
use crate::rank::{RankError, Ranked, to_probabilities, top_k};
use crate::spec::ModelSpec;
use margay_frontend::decode::{DecodeError, Decoder, View};
use margay_frontend::frame::FrameView;
use margay_frontend::prepare::{PrepareError, Preparer};
use margay_frontend::tensor::InputTensor;

/// One class that a frame may show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The class's name, shared with the [`Labels`] it came from.
    #[serde(with = "shared_text")]
    pub label: Arc<str>,
    /// Its index in the list of labels.
    pub class: u32,
    /// 0 to 1.
    pub probability: f32,
}

/// `Arc<str>` as a plain string, without serde's feature `rc`, which would be turned on for the whole build.
mod shared_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Arc::from)
    }
}

/// Where the time of one frame went, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTimings {
    /// Frame to RGB.
    pub decode_us: u64,
    /// RGB to tensor: resize, crop, and normalise for an engine that does not do so by itself.
    pub resize_us: u64,
    /// Tensor to raw outputs.
    pub inference_us: u64,
    /// Raw outputs to ranked predictions.
    pub postprocess_us: u64,
}

/// What the model says about one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// Most probable first; equal probabilities by class index.
    pub predictions: Vec<Prediction>,
    /// Time spent.
    pub timings: StageTimings,
}

/// A frame without a prediction.
#[derive(Debug, thiserror::Error)]
pub enum ClassifyError {
    /// The frame is not an image that can be decoded. Another frame may be.
    #[error("the frame cannot be decoded")]
    Decode(#[source] DecodeError),
    /// The image cannot be brought to the model's size.
    #[error("the frame cannot be resized")]
    Prepare(#[source] PrepareError),
    /// The engine failed.
    #[error("the model cannot be run")]
    Engine(#[source] EngineError),
    /// The engine's numbers make no sense.
    #[error("the model's output cannot be ranked")]
    Rank(#[source] RankError),
}

impl ClassifyError {
    /// Whether the frame is at fault, so that the next one may succeed with the same model.
    #[must_use]
    pub fn is_the_frames_fault(&self) -> bool {
        matches!(self, Self::Decode(_) | Self::Prepare(_))
    }
}

/// A loaded classifier. Synchronous, for one thread; frames are classified one after the other.
#[derive(Debug)]
pub struct Pipeline {
    spec: ModelSpec,
    labels: Labels,
    decoder: Decoder,
    preparer: Preparer,
    engine: Box<dyn Engine>,
    /// Why what was kept of the model was not used.
    passed_over: Option<Unusable>,
    /// What the choice of the engine remarked.
    remark: Option<String>,
    outputs: Vec<f32>,
    ranked: Vec<Ranked>,
    clock: Box<dyn MonotonicClock>,
}

impl Pipeline {
    /// Loads a model file on the engine of choice, which may be said alone, and checks it against its specification and its labels.
    ///
    /// # Errors
    /// [`LoadError`] when the specification breaks a rule, the file cannot be read or is refused, or model,
    /// specification and labels do not fit each other.
    pub fn load(
        model_file: &Path,
        spec: &ModelSpec,
        labels: Labels,
        execution: impl Into<Execution>,
    ) -> Result<Self, LoadError> {
        Self::load_kept(model_file, spec, labels, execution, None)
    }

    /// As [`Self::load`], from what an earlier start kept of the model where that is usable; otherwise
    /// [`Self::take_artefact`] gives what to keep.
    ///
    /// # Errors
    /// As for [`Self::load`]. What was kept is never a reason for an error.
    pub fn load_kept(
        model_file: &Path,
        spec: &ModelSpec,
        labels: Labels,
        execution: impl Into<Execution>,
        keeping: Option<&Keeping>,
    ) -> Result<Self, LoadError> {
        spec.validate().map_err(LoadError::Spec)?;
        let engine::Loaded { engine, passed_over, remark } =
            engine::load(model_file, spec, &execution.into(), keeping)?;
        Ok(Self { passed_over, remark, ..Self::with_engine(engine, spec, labels)? })
    }

    /// A pipeline around an engine that is loaded already.
    ///
    /// # Errors
    /// [`LoadError::Spec`] and [`LoadError::Labels`], as for [`Pipeline::load`].
    pub fn with_engine(engine: Box<dyn Engine>, spec: &ModelSpec, labels: Labels) -> Result<Self, LoadError> {
        spec.validate().map_err(LoadError::Spec)?;
        labels.check_count(engine.outputs(), spec.output.index_offset as usize).map_err(LoadError::Labels)?;
        Ok(Self {
            decoder: Decoder::new(),
            preparer: engine::preparer_for(engine.as_ref(), &spec.input),
            outputs: Vec::with_capacity(engine.outputs()),
            ranked: Vec::new(),
            clock: Box::new(ProcessClock::start()),
            spec: spec.clone(),
            labels,
            engine,
            passed_over: None,
            remark: None,
        })
    }

    /// The same pipeline with its stages timed by another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Box<dyn MonotonicClock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same pipeline for the frames of a camera of which only a part matters, or that does not stand upright.
    #[must_use]
    pub fn with_view(mut self, view: View) -> Self {
        self.decoder = self.decoder.with_view(view);
        self
    }

    /// Name of the engine that runs the model.
    #[must_use]
    pub fn engine_name(&self) -> &str {
        self.engine.name()
    }

    /// That the model runs otherwise than was to be expected, and why, in one line: tract runs it because the compiled
    /// engine, which covers it, gives other scores; or what the engine remarks by itself ([`Engine::remark`]).
    #[must_use]
    pub fn engine_remark(&self) -> Option<&str> {
        self.remark.as_deref().or_else(|| self.engine.remark())
    }

    /// Whether the model was compiled at an earlier start.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.engine.is_kept()
    }

    /// Why what an earlier start kept of the model was not used.
    #[must_use]
    pub fn passed_over(&self) -> Option<&Unusable> {
        self.passed_over.as_ref()
    }

    /// What to keep of the model for the next start, once, where it was loaded for that and compiled anew.
    pub fn take_artefact(&mut self) -> Option<Artefact> {
        self.engine.take_artefact()
    }

    /// The specification that the pipeline was loaded with.
    #[must_use]
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The classes.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Classifies one frame and returns its `k` most probable classes (all of them when `k` is larger).
    ///
    /// # Errors
    /// [`ClassifyError`]; the pipeline can go on with the next frame after any of them.
    pub fn classify(&mut self, frame: &FrameView<'_>, k: usize) -> Result<Classification, ClassifyError> {
        let (mut timings, since) = self.score(frame)?;
        top_k(&self.outputs, self.spec.output.index_offset as usize, k, &mut self.ranked);
        let predictions = self.ranked.iter().filter_map(|ranked| labelled(&self.labels, *ranked)).collect();
        timings.postprocess_us = Lap { since, clock: self.clock.as_ref() }.take();
        Ok(Classification { predictions, timings })
    }

    /// The probability of every output for one frame, those before `output.index_offset` included: f32, `[outputs]`.
    ///
    /// # Errors
    /// As for [`Pipeline::classify`].
    pub fn probabilities(&mut self, frame: &FrameView<'_>) -> Result<(&[f32], StageTimings), ClassifyError> {
        let (mut timings, since) = self.score(frame)?;
        timings.postprocess_us = Lap { since, clock: self.clock.as_ref() }.take();
        Ok((&self.outputs, timings))
    }

    /// Runs the engine alone on a tensor that the caller prepared: elements in the specification's layout,
    /// little-endian. What comes out is not touched: f32, `[outputs]`, stored integers as they are.
    ///
    /// # Errors
    /// [`ClassifyError::Engine`] when the number of bytes is not the tensor's, or the engine fails.
    pub fn run_tensor(&mut self, elements: &[u8]) -> Result<(&[f32], StageTimings), ClassifyError> {
        let mut lap = Lap::start(self.clock.as_ref());
        let expected = || self.spec.input.shape().to_vec();
        let tensor = InputTensor::from_le_bytes(&self.spec.input, elements)
            .ok_or_else(|| EngineError::Input { expected: expected(), found: vec![elements.len()] })
            .map_err(ClassifyError::Engine)?;
        let resize_us = lap.take();
        self.engine.run(&tensor, &mut self.outputs).map_err(ClassifyError::Engine)?;
        let inference_us = lap.take();
        Ok((&self.outputs, StageTimings { resize_us, inference_us, ..StageTimings::default() }))
    }

    /// From a frame to probabilities in `outputs`; gives the times so far and when the last of them ended.
    fn score(&mut self, frame: &FrameView<'_>) -> Result<(StageTimings, Duration), ClassifyError> {
        let mut lap = Lap::start(self.clock.as_ref());
        let picture = self.decoder.open(frame, &self.preparer.need()).map_err(ClassifyError::Decode)?;
        let decode_us = lap.take();
        let tensor = self.preparer.prepare(picture).map_err(ClassifyError::Prepare)?;
        let resize_us = lap.take();
        self.engine.run(tensor, &mut self.outputs).map_err(ClassifyError::Engine)?;
        let inference_us = lap.take();
        let since = lap.since;
        to_probabilities(&self.spec.output, &mut self.outputs).map_err(ClassifyError::Rank)?;
        Ok((StageTimings { decode_us, resize_us, inference_us, postprocess_us: 0 }, since))
    }
}

fn labelled(labels: &Labels, ranked: Ranked) -> Option<Prediction> {
    let label = labels.get(ranked.class)?.clone();
    Some(Prediction { label, class: ranked.class, probability: ranked.probability })
}

/// Time between two readings of a clock.
struct Lap<'a> {
    clock: &'a dyn MonotonicClock,
    since: Duration,
}

impl<'a> Lap<'a> {
    fn start(clock: &'a dyn MonotonicClock) -> Self {
        Self { since: clock.now(), clock }
    }

    /// Microseconds since the start or the last call.
    fn take(&mut self) -> u64 {
        let now = self.clock.now();
        let lap = now.saturating_sub(self.since);
        self.since = now;
        u64::try_from(lap.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use margay_frontend::tensor::TensorData;

    use super::*;
    use crate::spec::input::InputSpec;
    use crate::spec::output::{OutputKind, OutputSpec};

    /// Answers every image with the same numbers.
    #[derive(Debug)]
    struct Oracle(Vec<f32>);

    impl Engine for Oracle {
        fn name(&self) -> &str {
            "oracle"
        }

        fn outputs(&self) -> usize {
            self.0.len()
        }

        fn run(&mut self, _input: &InputTensor, output: &mut Vec<f32>) -> Result<(), EngineError> {
            output.clear();
            output.extend_from_slice(&self.0);
            Ok(())
        }
    }

    /// Answers with the first element, and says what it takes.
    #[derive(Debug)]
    struct First {
        takes_pixels: bool,
    }

    impl Engine for First {
        fn name(&self) -> &str {
            "first"
        }

        fn takes_pixels(&self) -> bool {
            self.takes_pixels
        }

        fn outputs(&self) -> usize {
            1
        }

        fn run(&mut self, input: &InputTensor, output: &mut Vec<f32>) -> Result<(), EngineError> {
            output.clear();
            output.push(match input.data() {
                TensorData::F32(elements) => elements[0],
                TensorData::Pixels(pixels) if self.takes_pixels => f32::from(pixels[0]) / 256.0,
                _ => return Err(EngineError::Pixels { engine: "first" }),
            });
            Ok(())
        }
    }

    /// Moves on by 10 µs more at every reading.
    #[derive(Debug, Default)]
    struct Stepping(Cell<u64>);

    impl MonotonicClock for Stepping {
        fn now(&self) -> Duration {
            let step = self.0.get() + 1;
            self.0.set(step);
            Duration::from_micros(10 * step * step)
        }
    }

    fn pipeline(logits: Vec<f32>) -> Pipeline {
        let spec = ModelSpec { input: InputSpec::imagenet(8), output: OutputSpec::logits() };
        let labels = Labels::new(["cat", "dog", "macaw"]).unwrap();
        Pipeline::with_engine(Box::new(Oracle(logits)), &spec, labels).unwrap()
    }

    #[test]
    fn predictions_carry_label_class_and_probability() {
        let pixels = [0; 12];
        let found = pipeline(vec![0.0, 2.0, 1.0]).classify(&FrameView::rgb24(2, 2, &pixels), 2).unwrap();
        let names: Vec<_> = found.predictions.iter().map(|p| (&*p.label, p.class)).collect();
        assert_eq!(names, [("dog", 1), ("macaw", 2)]);
        assert!((found.predictions[0].probability - 0.665_241).abs() < 1e-5);
    }

    #[test]
    fn each_stage_is_timed_by_the_injected_clock() {
        let pixels = [0; 12];
        let mut pipeline = pipeline(vec![0.0; 3]).with_clock(Box::new(Stepping::default()));
        let timings = pipeline.classify(&FrameView::rgb24(2, 2, &pixels), 1).unwrap().timings;
        let expected = StageTimings { decode_us: 30, resize_us: 50, inference_us: 70, postprocess_us: 90 };
        assert_eq!(timings, expected);
    }

    #[test]
    fn a_tensor_goes_to_the_engine_as_it_is_and_its_numbers_come_back_untouched() {
        let mut pipeline = pipeline(vec![0.0, 2.0, 1.0]);
        let elements = vec![0; 4 * 3 * 8 * 8];
        assert_eq!(pipeline.run_tensor(&elements).unwrap().0, [0.0, 2.0, 1.0]);
        let error = pipeline.run_tensor(&elements[1..]).unwrap_err();
        assert!(matches!(error, ClassifyError::Engine(EngineError::Input { .. })), "{error}");
        let sum: f32 = pipeline.probabilities(&FrameView::rgb24(1, 1, &[0; 3])).unwrap().0.iter().sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }

    #[test]
    fn an_engine_gets_pixels_only_where_it_takes_them_and_floats_from_outside_in_any_case() {
        let input = InputSpec { scale: 0.25, mean: [0.5; 3], std: [1.0; 3], ..InputSpec::imagenet(1) };
        let output = OutputSpec { kind: OutputKind::Probabilities, ..OutputSpec::logits() };
        let spec = ModelSpec { input, output };
        for (takes_pixels, expected) in [(false, 3.0 * 0.25 - 0.5), (true, 3.0 / 256.0)] {
            let labels = Labels::new(["cat"]).unwrap();
            let mut pipeline = Pipeline::with_engine(Box::new(First { takes_pixels }), &spec, labels).unwrap();
            assert_eq!(pipeline.probabilities(&FrameView::rgb24(1, 1, &[3; 3])).unwrap().0, [expected]);
            let floats = [0.5_f32; 3].map(f32::to_le_bytes);
            assert_eq!(pipeline.run_tensor(floats.as_flattened()).unwrap().0, [0.5]);
        }
    }

    #[test]
    fn a_bad_frame_does_not_spoil_the_next_one() {
        let mut pipeline = pipeline(vec![0.0; 3]);
        let error = pipeline.classify(&FrameView::jpeg(b"no jpeg"), 1).unwrap_err();
        assert!(error.is_the_frames_fault());
        assert_eq!(pipeline.classify(&FrameView::rgb24(1, 1, &[0; 3]), 9).unwrap().predictions.len(), 3);
    }

    #[test]
    fn a_model_that_returns_no_numbers_makes_no_prediction() {
        let error = pipeline(vec![f32::NAN; 3]).classify(&FrameView::rgb24(1, 1, &[0; 3]), 1).unwrap_err();
        assert!(matches!(error, ClassifyError::Rank(RankError::NotFinite { .. })), "{error}");
        assert!(!error.is_the_frames_fault());
    }

    #[test]
    fn labels_that_do_not_fit_the_model_are_refused_at_load() {
        let spec = ModelSpec { input: InputSpec::imagenet(8), output: OutputSpec::logits() };
        let labels = Labels::new(["cat"]).unwrap();
        let error = Pipeline::with_engine(Box::new(Oracle(vec![0.0; 3])), &spec, labels).unwrap_err();
        assert!(matches!(error, LoadError::Labels(_)), "{error}");
    }
}
