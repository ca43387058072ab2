//! The tensor that goes into an engine: one image, one buffer, allocated once.

use crate::input::{Element, InputSpec};

/// Elements of a tensor, in its layout's order.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// Normalised floats.
    F32(Vec<f32>),
    /// Raw bytes.
    U8(Vec<u8>),
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

    /// A float tensor from elements computed elsewhere; `None` when their number is not the shape's.
    #[must_use]
    pub fn from_f32(shape: [usize; 4], elements: Vec<f32>) -> Option<Self> {
        (shape.iter().product::<usize>() == elements.len()).then_some(Self { shape, data: TensorData::F32(elements) })
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
