//! A float model whose inner tensors are looked at: it runs on tract, which takes more operators than the compiled engine,
//! so that a model can be quantised around those that have no form for bytes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tract_onnx::pb::{ModelProto, ValueInfoProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::model::TypedSimpleState;

use super::{ENGINE, attempt, datum_type, failed, typed};
use crate::engine::onnx::OnnxFile;
use crate::engine::{EngineError, LoadError, Stage};
use crate::spec::input::InputSpec;
use margay_frontend::tensor::{InputTensor, TensorData};

/// A model with the tensors that are wanted of it as its outputs. Each run holds all of them until the next one.
#[derive(Debug)]
pub(crate) struct Observer {
    state: TypedSimpleState,
    input: Arc<Tensor>,
    /// For each tensor that is floats, which output it is.
    places: BTreeMap<String, usize>,
    results: TVec<TValue>,
}

impl Observer {
    /// Loads a model to look at some of its tensors; `path` says where it came from.
    ///
    /// # Errors
    /// [`LoadError::Refused`]: tract does not take it.
    pub(crate) fn load(
        path: &Path,
        model: &ModelProto,
        spec: &InputSpec,
        tensors: &[String],
    ) -> Result<Self, LoadError> {
        let mut proto = model.clone();
        if let Some(graph) = &mut proto.graph {
            let value = |name: &String| ValueInfoProto { name: name.clone(), ..ValueInfoProto::default() };
            graph.output = tensors.iter().map(value).collect();
        }
        let file = OnnxFile { path: path.to_owned(), proto, weights: None };
        file.check_input(spec)?;
        let model = typed(&file, InferenceFact::dt_shape(datum_type(spec.element), spec.shape()))?;
        attempt(&file, Stage::Optimise, || {
            let model = model.into_optimized()?;
            let mut places = BTreeMap::new();
            for (place, name) in tensors.iter().enumerate() {
                if model.output_fact(place)?.datum_type == DatumType::F32 {
                    places.insert(name.clone(), place);
                }
            }
            let input = Arc::new(Tensor::zero_dt(datum_type(spec.element), &spec.shape())?);
            Ok(Self { state: model.into_runnable()?.spawn()?, input, places, results: tvec!() })
        })
    }

    /// Whether a tensor is looked at, and is floats.
    pub(crate) fn has(&self, tensor: &str) -> bool {
        self.places.contains_key(tensor)
    }

    /// Runs the model on a picture.
    ///
    /// # Errors
    /// [`EngineError`]: the picture has another shape, or tract failed.
    pub(crate) fn run(&mut self, picture: &InputTensor) -> Result<(), EngineError> {
        self.results.clear();
        let shape = picture.shape();
        let tensor = match picture.data() {
            _ if shape != *self.input.shape() => {
                return Err(EngineError::Input { expected: self.input.shape().to_vec(), found: shape.to_vec() });
            }
            TensorData::F32(elements) => Tensor::from_shape(&shape, elements),
            TensorData::U8(elements) => Tensor::from_shape(&shape, elements),
            TensorData::Pixels(_) => return Err(EngineError::Pixels { engine: ENGINE }),
        };
        let results = tensor.and_then(|tensor| self.state.run(tvec!(tensor.into_tvalue())));
        match results {
            Ok(results) => {
                self.results = results;
                Ok(())
            }
            Err(error) => {
                self.state.reset_turn().map_err(|error| failed(&error))?;
                Err(failed(&error))
            }
        }
    }

    /// What a tensor held in the last run; nothing where it is not looked at.
    pub(crate) fn values(&self, tensor: &str) -> &[f32] {
        let result = self.places.get(tensor).and_then(|&place| self.results.get(place));
        let view = result.and_then(|result| result.try_as_plain_ram().ok());
        view.and_then(|view| view.as_slice::<f32>().ok()).unwrap_or_default()
    }
}
