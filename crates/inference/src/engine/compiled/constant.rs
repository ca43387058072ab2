//! Tensors whose elements the file holds.

use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;

/// Elements of a constant, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Elements {
    /// Weights and parameters.
    Floats(Vec<f32>),
    /// Shapes, axes and indices.
    Integers(Vec<i64>),
    /// Quantised weights and zero points; signed bytes by their bits.
    Bytes {
        /// Their bits.
        bytes: Vec<u8>,
        /// Whether they are signed.
        is_signed: bool,
    },
}

/// A tensor that is known before the model runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Constant {
    pub(crate) dims: Vec<usize>,
    pub(crate) elements: Elements,
}

impl Constant {
    /// Integers of one axis, or a single one without.
    pub(crate) fn integers(values: Vec<i64>, is_scalar: bool) -> Self {
        let dims = if is_scalar { Vec::new() } else { vec![values.len()] };
        Self { dims, elements: Elements::Integers(values) }
    }

    /// Decodes a tensor of the file; the reason where it cannot be.
    pub(crate) fn decode(tensor: &TensorProto) -> Result<Self, String> {
        let side = |&length: &i64| usize::try_from(length).map_err(|_| format!("an axis has the length {length}"));
        let dims: Vec<usize> = tensor.dims.iter().map(side).collect::<Result<_, _>>()?;
        let raw = tensor.raw_data.as_slice();
        let elements = match DataType::try_from(tensor.data_type).unwrap_or(DataType::Undefined) {
            DataType::Float if raw.is_empty() => Elements::Floats(tensor.float_data.clone()),
            DataType::Float => Elements::Floats(words(raw).map(f32::from_le_bytes).collect()),
            DataType::Double if raw.is_empty() => {
                Elements::Floats(tensor.double_data.iter().map(|&value| value as f32).collect())
            }
            DataType::Double => Elements::Floats(words(raw).map(|word| f64::from_le_bytes(word) as f32).collect()),
            DataType::Int64 if raw.is_empty() => Elements::Integers(tensor.int64_data.clone()),
            DataType::Int64 => Elements::Integers(words(raw).map(i64::from_le_bytes).collect()),
            DataType::Int32 if raw.is_empty() => {
                Elements::Integers(tensor.int32_data.iter().copied().map(i64::from).collect())
            }
            DataType::Int32 => Elements::Integers(words(raw).map(|word| i64::from(i32::from_le_bytes(word))).collect()),
            kind @ (DataType::Uint8 | DataType::Int8) => {
                let of_word = |&word: &i32| word.to_le_bytes()[0];
                let bytes = if raw.is_empty() { tensor.int32_data.iter().map(of_word).collect() } else { raw.to_vec() };
                Elements::Bytes { bytes, is_signed: kind == DataType::Int8 }
            }
            other => return Err(format!("constants of {} are not covered", other.as_str_name().to_lowercase())),
        };
        let constant = Self { dims, elements };
        let expected = constant.dims.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
        if expected != Some(constant.len()) {
            return Err(format!("{} elements for the shape {:?}", constant.len(), constant.dims));
        }
        Ok(constant)
    }

    pub(crate) fn len(&self) -> usize {
        match &self.elements {
            Elements::Floats(values) => values.len(),
            Elements::Integers(values) => values.len(),
            Elements::Bytes { bytes, .. } => bytes.len(),
        }
    }

    pub(crate) fn floats(&self) -> Option<&[f32]> {
        match &self.elements {
            Elements::Floats(values) => Some(values),
            Elements::Integers(_) | Elements::Bytes { .. } => None,
        }
    }

    pub(crate) fn as_integers(&self) -> Option<&[i64]> {
        match &self.elements {
            Elements::Integers(values) => Some(values),
            Elements::Floats(_) | Elements::Bytes { .. } => None,
        }
    }

    /// An element as a whole number, where elements are such.
    pub(crate) fn whole(&self, place: usize) -> Option<i32> {
        match &self.elements {
            Elements::Floats(_) => None,
            Elements::Integers(values) => values.get(place).and_then(|&value| i32::try_from(value).ok()),
            Elements::Bytes { bytes, is_signed } => {
                bytes.get(place).map(|&byte| if *is_signed { i32::from(byte.cast_signed()) } else { i32::from(byte) })
            }
        }
    }

    /// The only element, as a float.
    pub(crate) fn scalar(&self) -> Option<f32> {
        match self.floats()? {
            [value] => Some(*value),
            _ => None,
        }
    }
}

/// Little-endian numbers of a fixed size; what is left over at the end makes a length that does not fit the shape.
fn words<const BYTES: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; BYTES]> {
    let (words, rest) = raw.as_chunks::<BYTES>();
    words.iter().copied().chain((!rest.is_empty()).then_some([0; BYTES]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(dims: &[i64], data_type: DataType, raw: &[u8]) -> TensorProto {
        let (dims, raw_data) = (dims.to_vec(), raw.to_vec());
        TensorProto { dims, data_type: data_type as i32, raw_data, ..TensorProto::default() }
    }

    #[test]
    fn numbers_of_the_usual_types_are_decoded() {
        let float = Constant::decode(&tensor(&[1, 2], DataType::Float, &[0, 0, 128, 63, 0, 0, 0, 64])).unwrap();
        assert_eq!((float.dims.as_slice(), float.floats()), (&[1, 2][..], Some(&[1.0, 2.0][..])));
        let long = Constant::decode(&tensor(&[1], DataType::Int64, &[254, 255, 255, 255, 255, 255, 255, 255])).unwrap();
        assert_eq!(long.as_integers(), Some(&[-2][..]));
        let double = Constant::decode(&tensor(&[], DataType::Double, &1.5_f64.to_le_bytes())).unwrap();
        assert_eq!(double.scalar(), Some(1.5));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        for (dims, raw) in [(&[2_i64][..], &[0; 4][..]), (&[1], &[0; 7]), (&[-1], &[]), (&[i64::MAX, 4], &[0; 8])] {
            assert!(Constant::decode(&tensor(dims, DataType::Float, raw)).is_err(), "{dims:?}");
        }
        assert!(Constant::decode(&tensor(&[1], DataType::String, &[])).unwrap_err().contains("string"));
    }
}
