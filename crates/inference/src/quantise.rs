//! From a float classifier to a quantised one: static QDQ, unsigned bytes between layers, signed bytes as weights with a scale
//! for each output channel.
//!
//! ```text
//! ONNX ─ preparing ─► float graph ─ selection ─► what becomes bytes ─┐
//!                          └─ Observer ─► range of each tensor ──────┴─ emission ─► ONNX with conversions
//! ```
//!
//! [`Quantiser`] is fed pictures in passes: [`Pass::Extremes`] over all of them, [`Pass::Counts`] over the same ones where
//! another method than minmax is wanted, then [`Quantiser::model`]; [`Pass::Layers`] says what each layer loses. What it keeps does not
//! grow with their number. Pictures go through the front-end of the model's own specification. docs/quantising.md is the
//! user's view of it.
//!
//! Bytes come where the compiled engine and ONNX Runtime compute with them: each conversion to bytes is the only reader of its
//! floats, and where both sides of an operator are converted it runs on bytes (docs/engine.md). The same pictures give the
//! same file, byte by byte.

mod emission;
mod error;
mod graph;
mod opset;
mod preparing;
mod range;
mod selection;
mod shadow;
mod weights;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use margay_frontend::decode::Decoder;
use margay_frontend::frame::FrameView;
use margay_frontend::prepare::Preparer;
use margay_kernels::Quantised;
use prost::Message;
use serde::{Deserialize, Serialize};
use tract_onnx::pb::{ModelProto, StringStringEntryProto};

pub use self::error::{ObserveError, QuantiseError};
use self::range::{Range, Statistics};
pub use self::selection::FloatLayer;
use self::selection::Selection;
pub use self::shadow::LayerError;
use self::shadow::Shadow;
use crate::engine::LoadError;
use crate::engine::onnx::OnnxFile;
use crate::engine::tract::Observer;
use crate::spec::ModelSpec;

/// Operator sets that are read; what is written has at least 13.
const OPSETS: RangeInclusive<i64> = 7..=21;

/// Most nodes of a graph; classifiers have hundreds.
const MAX_NODES: usize = 4096;

/// By how much the range of a concatenation's output may exceed that of an input that takes it over: a bit of the input.
const JOINT_RATIO: f32 = 2.0;

/// How a tensor's range is found from what was seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// From the least number to the greatest.
    MinMax,
    /// The range that loses least of the numbers' distribution: outliers are cut off.
    Entropy,
    /// The range with the least squared error: outliers are cut off as far as that makes steps finer.
    Mse,
}

impl Method {
    /// Every method, in the order in which they are tried.
    pub const ALL: [Self; 3] = [Self::MinMax, Self::Entropy, Self::Mse];
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MinMax => "minmax",
            Self::Entropy => "entropy",
            Self::Mse => "mse",
        })
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "minmax" => Ok(Self::MinMax),
            "entropy" => Ok(Self::Entropy),
            "mse" => Ok(Self::Mse),
            _ => Err(format!("'{text}' is no method: write minmax, entropy or mse")),
        }
    }
}

/// What a picture is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pass {
    /// The least and the greatest number of each tensor.
    Extremes,
    /// How often each held which numbers; comes after the extremes of all pictures.
    Counts,
    /// What each layer of the model that a method gives loses.
    Layers(Method),
}

/// What is to become bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Convolutions and matrix products that get weights of bytes.
    pub layers: usize,
    /// Tensors between layers that become bytes.
    pub tensors: usize,
    /// Layers that stay floats, and why.
    pub floats: Vec<FloatLayer>,
}

/// A float model on its way to a quantised one.
#[derive(Debug)]
pub struct Quantiser {
    path: PathBuf,
    spec: ModelSpec,
    model: ModelProto,
    selection: Selection,
    observer: Observer,
    statistics: Vec<Statistics>,
    pictures: u64,
    shadow: Option<(Method, Shadow, Observer)>,
    decoder: Decoder,
    preparer: Preparer,
}

impl Quantiser {
    /// Opens a float model; nodes that `keep` names, by name or output, stay floats.
    ///
    /// # Errors
    /// [`QuantiseError`]: the model cannot be read, is quantised already, or has nothing to quantise.
    pub fn open(path: &Path, spec: &ModelSpec, keep: &[String]) -> Result<Self, QuantiseError> {
        spec.validate().map_err(LoadError::Spec)?;
        let file = OnnxFile::read(path)?;
        file.check_input(&spec.input)?;
        let model = preparing::prepare(&file)?;
        let Some(graph) = &model.graph else { return Err(QuantiseError::Nothing) };
        let selection = Selection::of(graph, keep)?;
        let names: Vec<String> = selection.tensors.iter().map(|tensor| tensor.name.clone()).collect();
        let observer = Observer::load(path, &model, &spec.input, &names)?;
        if let Some(name) = names.iter().find(|name| !observer.has(name)) {
            return Err(QuantiseError::Structure {
                reason: format!("its tensor {name:?} is no tensor of 32-bit floats"),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            spec: spec.clone(),
            statistics: vec![Statistics::new(); names.len()],
            model,
            selection,
            observer,
            pictures: 0,
            shadow: None,
            decoder: Decoder::new(),
            preparer: Preparer::new(&spec.input),
        })
    }

    /// What is to become bytes, and what is not.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let is_weighted = |role: &&selection::Role| matches!(role, selection::Role::Products { .. });
        Scope {
            layers: self.selection.roles.iter().filter(is_weighted).count(),
            tensors: self.selection.tensors.len(),
            floats: self.selection.floats.clone(),
        }
    }

    /// Looks at a picture.
    ///
    /// # Errors
    /// [`ObserveError`]: the picture cannot be read, or the model gives something that is no number.
    pub fn observe(&mut self, pass: Pass, frame: &FrameView<'_>) -> Result<(), ObserveError> {
        if let Pass::Layers(method) = pass {
            self.watch_layers(method)?;
        }
        let picture = self.decoder.open(frame, &self.preparer.need()).map_err(ObserveError::Decode)?;
        let tensor = self.preparer.prepare(picture).map_err(ObserveError::Prepare)?;
        if let (Pass::Layers(_), Some((_, shadow, observer))) = (pass, &mut self.shadow) {
            observer.run(tensor).map_err(QuantiseError::Run)?;
            shadow.add(observer);
            return Ok(());
        }
        self.observer.run(tensor).map_err(QuantiseError::Run)?;
        for (tensor, statistics) in self.selection.tensors.iter().zip(&mut self.statistics) {
            let values = self.observer.values(&tensor.name);
            if pass == Pass::Counts {
                statistics.count(values);
            } else if let Err(value) = statistics.widen(values) {
                return Err(QuantiseError::NotFinite { tensor: tensor.name.clone(), value }.into());
            }
        }
        self.pictures += u64::from(pass == Pass::Extremes);
        Ok(())
    }

    /// The quantised model as an ONNX file. Methods but [`Method::MinMax`] take the pictures of [`Pass::Counts`]; a
    /// tensor of which nothing was counted keeps its extremes.
    ///
    /// # Errors
    /// [`QuantiseError::NoPictures`].
    pub fn model(&self, method: Method) -> Result<Vec<u8>, QuantiseError> {
        let (selection, quantised) = self.settled(method)?;
        let mut model = emission::emit(&self.model, &selection, &quantised);
        model.producer_name = "margay".to_owned();
        model.producer_version = env!("CARGO_PKG_VERSION").to_owned();
        let entry = |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
        model.metadata_props.retain(|entry| !entry.key.starts_with("margay."));
        model.metadata_props.push(entry("margay.calibration", method.to_string()));
        model.metadata_props.push(entry("margay.pictures", self.pictures.to_string()));
        Ok(model.encode_to_vec())
    }

    /// What each layer loses, the one that loses most first, by the pictures of [`Pass::Layers`].
    #[must_use]
    pub fn layers(&self) -> Vec<LayerError> {
        self.shadow.as_ref().map_or_else(Vec::new, |(_, shadow, _)| shadow.errors())
    }

    /// The quantisation of each tensor by a method, and which tensors share one by it.
    fn settled(&self, method: Method) -> Result<(Selection, Vec<Quantised>), QuantiseError> {
        if self.pictures == 0 {
            return Err(QuantiseError::NoPictures);
        }
        let range = |statistics: &Statistics| match method {
            Method::MinMax => statistics.extremes(),
            Method::Entropy => statistics.by_entropy(),
            Method::Mse => statistics.by_squares(),
        };
        let mut selection = self.selection.clone();
        let mut ranges: Vec<Range> = self.statistics.iter().map(range).collect();
        for (place, tensor) in selection.tensors.iter().enumerate() {
            ranges[tensor.group] = ranges[tensor.group].and(ranges[place]);
        }
        for joint in &selection.joints {
            let Some((&output, inputs)) = joint.split_last() else { continue };
            for &input in inputs {
                let [from, to] = [input, output].map(|place| selection.tensors[place].group);
                let joined = ranges[from].and(ranges[to]);
                if from == to || joined.width() > JOINT_RATIO * ranges[from].width() {
                    continue;
                }
                ranges[to] = joined;
                selection.tensors.iter_mut().filter(|tensor| tensor.group == from).for_each(|tensor| tensor.group = to);
            }
        }
        let quantised = selection.tensors.iter().map(|tensor| ranges[tensor.group].quantised()).collect();
        Ok((selection, quantised))
    }

    /// Sets the float model and its double up, unless that was done.
    fn watch_layers(&mut self, method: Method) -> Result<(), QuantiseError> {
        if self.shadow.as_ref().is_some_and(|(known, ..)| *known == method) {
            return Ok(());
        }
        let (selection, quantised) = self.settled(method)?;
        let emitted = emission::emit(&self.model, &selection, &quantised);
        let (shadow, joined, tensors) = Shadow::of(&self.model, &emitted, &selection, &quantised);
        let observer = Observer::load(&self.path, &joined, &self.spec.input, &tensors)?;
        self.shadow = Some((method, shadow, observer));
        Ok(())
    }
}
