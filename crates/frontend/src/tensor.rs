//! The tensor that goes into an engine: one image, one buffer, allocated once.

use crate::input::{Element, InputSpec};

/// Elements of a tensor, in its layout's order.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// Normalised floats.
    F32(Vec<f32>),
    /// Raw bytes, of a specification of bytes.
    U8(Vec<u8>),
    /// The bytes of the pixels that the floats of a float specification would be made of, in the order of those: for an engine
    /// that normalises by itself.
    Pixels(Vec<u8>),
}

/// A batch of one image. The buffer keeps its length for the life of the tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct InputTensor {
    shape: [usize; 4],
    pub(crate) data: TensorData,
}

impl InputTensor {
    /// A zeroed tensor of the shape and element that a specification asks for.
    #[must_use]
    pub fn zeroed(spec: &InputSpec) -> Self {
        let shape = spec.shape();
        let length = shape.iter().product();
        let data = match spec.element {
            Element::F32 => TensorData::F32(vec![0.0; length]),
            Element::U8 => TensorData::U8(vec![0; length]),
        };
        Self { shape, data }
    }

    /// The same for an engine that takes pixels: of a float specification, the pixels of its floats.
    #[must_use]
    pub fn zeroed_pixels(spec: &InputSpec) -> Self {
        let shape = spec.shape();
        let bytes = vec![0; shape.iter().product()];
        let data = match spec.element {
            Element::F32 => TensorData::Pixels(bytes),
            Element::U8 => TensorData::U8(bytes),
        };
        Self { shape, data }
    }

    /// The pixels of a float specification, which come from elsewhere; `None` when their number is not the shape's, or the
    /// specification is one of bytes.
    #[must_use]
    pub fn from_pixels(spec: &InputSpec, pixels: Vec<u8>) -> Option<Self> {
        let shape = spec.shape();
        let fits = spec.element == Element::F32 && shape.iter().product::<usize>() == pixels.len();
        fits.then_some(Self { shape, data: TensorData::Pixels(pixels) })
    }

    /// A float tensor from elements computed elsewhere; `None` when their number is not the shape's.
    #[must_use]
    pub fn from_f32(shape: [usize; 4], elements: Vec<f32>) -> Option<Self> {
        (shape.iter().product::<usize>() == elements.len()).then_some(Self { shape, data: TensorData::F32(elements) })
    }

    /// The tensor that a specification asks for from its elements in little-endian order, as protocols carry them;
    /// `None` when the number of bytes is not the shape's.
    #[must_use]
    pub fn from_le_bytes(spec: &InputSpec, bytes: &[u8]) -> Option<Self> {
        let mut tensor = Self::zeroed(spec);
        match &mut tensor.data {
            TensorData::U8(elements) if elements.len() == bytes.len() => elements.copy_from_slice(bytes),
            TensorData::F32(elements) if elements.len().checked_mul(4) == Some(bytes.len()) => {
                for (element, bytes) in elements.iter_mut().zip(bytes.as_chunks().0) {
                    *element = f32::from_le_bytes(*bytes);
                }
            }
            _ => return None,
        }
        Some(tensor)
    }

    /// Axes, batch first.
    #[must_use]
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// The elements.
    #[must_use]
    pub fn data(&self) -> &TensorData {
        &self.data
    }
}
