//! What is in a model file, without running it: the facts that `margay model inspect` shows.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use margay_kernels::Options;
use serde::{Deserialize, Serialize};
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;

use crate::engine::compiled::{CompiledEngine, Declined};
use crate::engine::onnx::OnnxFile;
use crate::engine::signature::{Axis, TensorSignature};
use crate::engine::{LoadError, scores, tract};
use crate::spec::ModelSpec;
use crate::spec::input::{InputSpec, Layout};
use crate::spec::output::{OutputSpec, Quantisation};

/// Whether the compiled engine runs a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// It does.
    Covered,
    /// It leaves the model to tract, for this reason.
    Declined(Declined),
    /// The file leaves the picture's size open, so that only a package can tell.
    Open,
}

/// A model file in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// Tool that wrote the file, with its version, if it says so.
    pub producer: String,
    /// Version of the standard operator set; 0 when the file does not say.
    pub opset: i64,
    /// Tensors that a caller supplies.
    pub inputs: Vec<TensorSignature>,
    /// Tensors that come out, as declared.
    pub outputs: Vec<TensorSignature>,
    /// How often each operator occurs.
    pub operators: BTreeMap<String, usize>,
    /// Weights and constants kept in the file, in bytes.
    pub parameter_bytes: u64,
    /// The operator that computes the first output's numbers, behind those that only reshape or quantise them.
    pub scored_by: Option<String>,
    /// How the first output is stored, where the graph ends in a `QuantizeLinear` with fixed parameters.
    pub quantisation: Option<Quantisation>,
    /// Multiply-accumulate operations for one frame; `None` where the shapes are not all known or the engine refuses
    /// the model.
    pub multiply_accumulates: Option<u64>,
    /// Numbers that come out for one frame, likewise.
    pub scores: Option<u64>,
    /// Whether the compiled engine runs it.
    pub compiled: Coverage,
}

impl fmt::Display for ModelSummary {
    /// One fact a line, under aligned names; operators by falling number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for input in &self.inputs {
            writeln!(f, "input       {input}")?;
        }
        for output in &self.outputs {
            writeln!(f, "output      {output}")?;
        }
        let mut operators: Vec<(&String, &usize)> = self.operators.iter().collect();
        operators.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
        let operators: Vec<String> = operators.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(f, "operators   {}", operators.join(", "))?;
        writeln!(f, "parameters  {} bytes", self.parameter_bytes)?;
        if let Some(count) = self.multiply_accumulates {
            writeln!(f, "work        {:.1} million multiply-accumulates a frame", count as f64 / 1e6)?;
        }
        match &self.compiled {
            Coverage::Covered => writeln!(f, "compiled    all of it")?,
            Coverage::Declined(reason) => writeln!(f, "compiled    not: {reason}")?,
            Coverage::Open => {}
        }
        write!(f, "written by  {}, operator set {}", self.producer, self.opset)
    }
}

/// Reads a model file and describes it. A model that is refused at a later stage than `parse` can still be inspected,
/// but for what only an engine knows.
///
/// # Errors
/// [`LoadError`] when the file cannot be read, is too large, or is no ONNX file.
pub fn inspect(path: &Path) -> Result<ModelSummary, LoadError> {
    let file = OnnxFile::read(path)?;
    let proto = &file.proto;
    let mut operators = BTreeMap::new();
    let mut parameter_bytes = 0;
    if let Some(graph) = &proto.graph {
        for node in &graph.node {
            *operators.entry(node.op_type.clone()).or_default() += 1;
        }
        parameter_bytes = graph.initializer.iter().map(bytes_of).fold(0, u64::saturating_add);
    }
    let (scored_by, quantisation) = proto.graph.as_ref().map(scores::of).unwrap_or_default();
    let work = tract::measure(&file);
    Ok(ModelSummary {
        producer: format!("{} {}", proto.producer_name, proto.producer_version).trim().to_owned(),
        opset: file.opset(),
        inputs: file.inputs(),
        outputs: file.outputs(),
        operators,
        parameter_bytes,
        scored_by,
        quantisation,
        multiply_accumulates: work.as_ref().map(|work| work.multiply_accumulates),
        scores: work.map(|work| work.scores),
        compiled: coverage(&file),
    })
}

/// Tries the compiled engine on a model, for pictures of the size that its input declares.
fn coverage(file: &OnnxFile) -> Coverage {
    let inputs = file.inputs();
    let axes = inputs
        .first()
        .and_then(|input| input.shape.as_ref())
        .map(|axes| axes.iter().map(Axis::fixed).collect::<Vec<_>>());
    let (layout, height, width) = match axes.as_deref() {
        Some(&[_, Some(3), Some(height), Some(width)]) => (Layout::Nchw, height, width),
        Some(&[_, Some(height), Some(width), Some(3)]) => (Layout::Nhwc, height, width),
        _ => return Coverage::Open,
    };
    let (Ok(height), Ok(width)) = (u32::try_from(height), u32::try_from(width)) else { return Coverage::Open };
    let input = InputSpec { layout, height, width, ..InputSpec::imagenet(1) };
    let spec = ModelSpec { input, output: OutputSpec::logits() };
    if spec.validate().is_err() {
        return Coverage::Open;
    }
    match CompiledEngine::compile(file, &spec, Options::default()) {
        Ok(_) => Coverage::Covered,
        Err(declined) => Coverage::Declined(declined),
    }
}

/// Bytes that a tensor's elements take in memory.
fn bytes_of(tensor: &TensorProto) -> u64 {
    let elements =
        tensor.dims.iter().fold(1u64, |product, &length| product.saturating_mul(length.max(0).unsigned_abs()));
    let element = match DataType::try_from(tensor.data_type).unwrap_or(DataType::Undefined) {
        DataType::Double | DataType::Int64 | DataType::Uint64 | DataType::Complex64 => 8,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => 2,
        _ => 1,
    };
    elements.saturating_mul(element)
}
