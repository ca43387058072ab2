//! Name, element type and shape of a model's tensor, and whether they are what a specification describes.

use std::fmt;

use serde::{Deserialize, Serialize};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as DimensionValue;
use tract_onnx::pb::{ValueInfoProto, type_proto};

use crate::spec::SpecProblem;
use crate::spec::input::{Element, InputSpec, Layout};

/// One axis of a declared shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Axis {
    /// A fixed length.
    Fixed(u64),
    /// A length by name, such as `batch_size`, or `?` when the file names none.
    Named(String),
}

impl Axis {
    /// The length, where it is fixed.
    #[must_use]
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Self::Fixed(length) => usize::try_from(*length).ok(),
            Self::Named(_) => None,
        }
    }

    fn admits(&self, length: usize) -> bool {
        match self {
            Self::Fixed(fixed) => *fixed == length as u64,
            Self::Named(_) => true,
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(length) => write!(f, "{length}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// A tensor at the edge of a model, as its file declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSignature {
    /// Name in the graph.
    pub name: String,
    /// ONNX element type in lower case: `float`, `uint8`, …
    pub element: String,
    /// Axes, batch first; `None` when the file declares no shape.
    pub shape: Option<Vec<Axis>>,
}

impl TensorSignature {
    pub(super) fn from_proto(value: &ValueInfoProto) -> Self {
        let tensor = value.r#type.as_ref().and_then(|r#type| r#type.value.as_ref());
        let (element, shape) = match tensor {
            Some(type_proto::Value::TensorType(tensor)) => (tensor.elem_type, tensor.shape.as_ref()),
            None => (DataType::Undefined as i32, None),
        };
        let element = DataType::try_from(element).unwrap_or(DataType::Undefined).as_str_name().to_lowercase();
        let axis = |value: &Option<DimensionValue>| match value {
            Some(DimensionValue::DimValue(length)) if *length > 0 => Axis::Fixed(length.unsigned_abs()),
            Some(DimensionValue::DimParam(name)) if !name.is_empty() => Axis::Named(name.clone()),
            _ => Axis::Named("?".to_owned()),
        };
        let shape = shape.map(|shape| shape.dim.iter().map(|dimension| axis(&dimension.value)).collect());
        Self { name: value.name.clone(), element, shape }
    }

    /// Every difference between this input and what `spec` says of it.
    #[must_use]
    pub fn differences(&self, spec: &InputSpec) -> Vec<SpecProblem> {
        let mut problems = Vec::new();
        let (element, onnx) = match spec.element {
            Element::F32 => ("f32", "float"),
            Element::U8 => ("u8", "uint8"),
        };
        if self.element != onnx {
            let rule = format!("the model's input `{}` takes {}", self.name, self.element);
            problems.push(SpecProblem::new("input.element", element, rule));
        }
        if let Some(shape) = &self.shape {
            self.shape_differences(shape, spec, &mut problems);
        }
        problems
    }

    fn shape_differences(&self, shape: &[Axis], spec: &InputSpec, problems: &mut Vec<SpecProblem>) {
        let rule = format!("the model's input is {self}");
        let layout = match spec.layout {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
        };
        let (channel, row, column) = match spec.layout {
            Layout::Nchw => (1, 2, 3),
            Layout::Nhwc => (3, 1, 2),
        };
        if shape.len() != 4 || !shape[channel].admits(3) {
            problems.push(SpecProblem::new("input.layout", layout, rule));
            return;
        }
        if !shape[0].admits(1) {
            let rule = format!("{rule}, and frames are classified one by one");
            problems.push(SpecProblem::new("the batch", 1, rule));
        }
        for (field, axis, length) in [("input.height", row, spec.height), ("input.width", column, spec.width)] {
            if !shape[axis].admits(length as usize) {
                problems.push(SpecProblem::new(field, length, rule.clone()));
            }
        }
    }
}

impl fmt::Display for TensorSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.name, self.element)?;
        match &self.shape {
            None => f.write_str(" of unknown shape"),
            Some(shape) => {
                let axes: Vec<String> = shape.iter().map(ToString::to_string).collect();
                write!(f, " [{}]", axes.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(element: &str, shape: &[u64]) -> TensorSignature {
        let shape = shape.iter().map(|&length| if length == 0 { Axis::Named("N".into()) } else { Axis::Fixed(length) });
        TensorSignature { name: "data".into(), element: element.into(), shape: Some(shape.collect()) }
    }

    fn fields(signature: &TensorSignature, spec: &InputSpec) -> Vec<&'static str> {
        signature.differences(spec).iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn a_named_axis_takes_any_length() {
        let spec = InputSpec::imagenet(224);
        assert!(fields(&signature("float", &[0, 3, 0, 0]), &spec).is_empty());
        assert!(fields(&signature("float", &[1, 3, 224, 224]), &spec).is_empty());
    }

    #[test]
    fn each_difference_names_its_field_and_both_values() {
        let spec = InputSpec::imagenet(224);
        assert_eq!(
            fields(&signature("uint8", &[1, 3, 192, 160]), &spec),
            ["input.element", "input.height", "input.width"]
        );
        assert_eq!(fields(&signature("float", &[1, 224, 224, 3]), &spec), ["input.layout"]);
        assert_eq!(fields(&signature("float", &[4, 3, 224, 224]), &spec), ["the batch"]);
        let text = signature("float", &[1, 3, 192, 224]).differences(&spec)[0].to_string();
        assert_eq!(text, "input.height is 224, but the model's input is `data` float [1, 3, 192, 224]");
    }
}
