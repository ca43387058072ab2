//! The weights of a layer: floats, or the way to them. What is large stays in the model's file until the layer is packed, so
//! that a network is never in memory twice.

use std::borrow::Cow;
use std::sync::Arc;

use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::constant::{Constant, Elements};
use crate::engine::onnx::sparse;

/// An initial value of the graph whose floats are still in the file.
#[derive(Debug, Clone)]
pub(super) struct FloatsInFile {
    file: Arc<sparse::Weights>,
    /// Its number among the initial values.
    number: usize,
    dims: Vec<usize>,
    count: usize,
}

impl FloatsInFile {
    /// The value with this number, whose data `tensor` lacks; nothing where these are no floats, or more or fewer than its
    /// shape wants.
    pub(super) fn new(file: &Arc<sparse::Weights>, number: usize, tensor: &TensorProto) -> Option<Self> {
        let dims: Vec<usize> =
            tensor.dims.iter().map(|&length| usize::try_from(length).ok()).collect::<Option<Vec<_>>>()?;
        let count = dims.iter().try_fold(1_usize, |product, &length| product.checked_mul(length))?;
        let bytes = u64::try_from(count.checked_mul(size_of::<f32>())?).ok()?;
        let is_float = tensor.data_type == DataType::Float as i32;
        (is_float && file.length(number) == Some(bytes)).then(|| Self { file: Arc::clone(file), number, dims, count })
    }

    pub(super) fn dims(&self) -> &[usize] {
        &self.dims
    }

    fn read(&self) -> Option<Vec<f32>> {
        let dims = self.dims.iter().map(|&length| length as i64).collect();
        let raw_data = self.file.read(self.number).ok()?;
        let tensor = TensorProto { dims, data_type: DataType::Float as i32, raw_data, ..TensorProto::default() };
        match Constant::decode(&tensor).ok()?.elements {
            Elements::Floats(floats) => Some(floats),
            Elements::Integers(_) | Elements::Bytes { .. } => None,
        }
    }
}

/// Weights of a convolution, `[outputs][inputs of a group][rows][columns]`.
#[derive(Debug, Clone)]
pub(super) enum LayerWeights {
    /// In memory.
    Floats(Vec<f32>),
    /// In the file.
    InFile {
        floats: FloatsInFile,
        /// How many outputs there are, where the file has a column for each and not a row.
        columns: Option<usize>,
        /// What each output's weights are multiplied by, if anything: the product of several factors, none of which may overflow
        /// before it meets a weight.
        factors: Vec<f64>,
    },
}

impl LayerWeights {
    /// What an artefact has in their place, which holds them packed.
    pub(super) fn none() -> Self {
        Self::Floats(Vec::new())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Floats(floats) => floats.len(),
            Self::InFile { floats, .. } => floats.count,
        }
    }

    /// Multiplies the weights of each output.
    pub(super) fn scale(&mut self, by: &[f32]) {
        match self {
            Self::Floats(floats) => multiply(floats, &by.iter().copied().map(f64::from).collect::<Vec<_>>()),
            Self::InFile { factors, .. } => {
                factors.resize(by.len(), 1.0);
                factors.iter_mut().zip(by).for_each(|(factor, by)| *factor *= f64::from(*by));
            }
        }
    }

    /// All of them; nothing where the file does not give them any more.
    pub(super) fn floats(&self) -> Option<Cow<'_, [f32]>> {
        match self {
            Self::Floats(floats) => Some(Cow::Borrowed(floats)),
            Self::InFile { floats, columns, factors } => {
                let floats = floats.read()?;
                let mut floats = columns.map(|outputs| in_rows(&floats, outputs)).unwrap_or(floats);
                multiply(&mut floats, factors);
                Some(Cow::Owned(floats))
            }
        }
    }
}

/// Multiplies each of as many parts as there are factors.
fn multiply(floats: &mut [f32], factors: &[f64]) {
    if let Some(part) = floats.len().checked_div(factors.len()).filter(|&part| part > 0) {
        for (part, factor) in floats.chunks_mut(part).zip(factors) {
            part.iter_mut().for_each(|float| *float = (f64::from(*float) * factor) as f32);
        }
    }
}

/// A matrix with a row for each output, from one that has them as columns.
pub(super) fn in_rows<T: Copy>(values: &[T], outputs: usize) -> Vec<T> {
    let column = |output: usize| values.get(output..).unwrap_or_default().iter().step_by(outputs).copied();
    (0..outputs).flat_map(column).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// An ONNX file with one initial value of `floats`, which is large enough to be left in it.
    fn in_file(dims: &[i64], kind: DataType, floats: &[f32]) -> Option<FloatsInFile> {
        let raw: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
        let field = |number: u8, bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).unwrap();
            let varint = |mut rest: u32| {
                let mut bytes = Vec::new();
                while rest >= 0x80 {
                    bytes.push(rest as u8 | 0x80);
                    rest >>= 7;
                }
                bytes.push(rest as u8);
                bytes
            };
            [vec![number << 3 | 2], varint(length), bytes.to_vec()].concat()
        };
        let model = field(7, &field(5, &field(9, &raw)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        fs::write(&path, &model).unwrap();
        let (_, weights) = sparse::read(fs::File::open(&path).unwrap(), model.len() as u64).unwrap();
        let tensor = TensorProto { dims: dims.to_vec(), data_type: kind as i32, ..TensorProto::default() };
        FloatsInFile::new(&Arc::new(weights), 0, &tensor)
    }

    #[test]
    fn weights_in_the_file_are_those_in_memory_scaled_and_turned() {
        let floats: Vec<f32> = (0..2048).map(|place| place as f32).collect();
        let found = in_file(&[512, 4], DataType::Float, &floats).unwrap();
        assert_eq!(found.dims(), [512, 4]);
        for columns in [None, Some(4)] {
            let mut weights = LayerWeights::InFile { floats: found.clone(), columns, factors: Vec::new() };
            let rows = columns.map_or(512, |_| 4);
            let in_memory = if columns.is_some() { in_rows(&floats, 4) } else { floats.clone() };
            let mut in_memory = LayerWeights::Floats(in_memory);
            assert_eq!((weights.len(), weights.floats()), (2048, in_memory.floats()));
            for by in [0.5, 3.0] {
                let by: Vec<f32> = (0..rows).map(|row| by + row as f32).collect();
                weights.scale(&by);
                in_memory.scale(&by);
            }
            let (found, expected) = (weights.floats().unwrap(), in_memory.floats().unwrap());
            let is_near = |(found, expected): (&f32, &f32)| (found - expected).abs() <= expected.abs() * 1e-6;
            assert!(found.iter().zip(expected.iter()).all(is_near));
        }
        let mut large = LayerWeights::InFile { floats: found, columns: None, factors: Vec::new() };
        for by in [1e30, 1e30, 1e-30, 1e-30] {
            large.scale(&[by; 512]);
        }
        assert!(
            large.floats().unwrap().iter().zip(&floats).all(|(found, float)| (found - float).abs() <= float * 1e-6)
        );
        assert_eq!(in_rows(&[1, 2, 3, 4, 5, 6], 3), [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn what_does_not_fit_its_shape_or_are_no_floats_is_not_left_in_the_file() {
        let floats = vec![1.0; 2048];
        assert!(in_file(&[512, 5], DataType::Float, &floats).is_none());
        assert!(in_file(&[-1, 2048], DataType::Float, &floats).is_none());
        assert!(in_file(&[i64::MAX, i64::MAX], DataType::Float, &floats).is_none());
        assert!(in_file(&[2048], DataType::Int32, &floats).is_none());
    }
}
