//! Constants that are stored as integers and stand for floats.

use std::sync::Arc;

use super::super::constant::{Constant, Elements};

/// Integers with their quantisation.
#[derive(Debug, Clone)]
pub(in super::super) struct StoredConstant {
    pub(in super::super) integers: Arc<Constant>,
    /// One for all elements, or one for each place along the axis.
    pub(in super::super) scales: Vec<f32>,
    /// As many as scales.
    pub(in super::super) zeros: Vec<i32>,
    pub(in super::super) axis: usize,
}

impl StoredConstant {
    pub(in super::super) fn dims(&self) -> &[usize] {
        &self.integers.dims
    }

    /// Which of the scales each element has.
    fn channels(&self) -> impl Iterator<Item = usize> + use<> {
        let behind: usize = self.dims().iter().skip(self.axis + 1).product();
        let (count, behind) = (self.scales.len(), behind.max(1));
        (0..).flat_map(move |channel| std::iter::repeat_n(channel % count, behind)).take(self.integers.len())
    }

    /// The floats that it stands for.
    pub(in super::super) fn floats(&self) -> Option<Constant> {
        let float = |(place, channel): (usize, usize)| {
            let steps = self.integers.whole(place)?.checked_sub(self.zeros[channel])?;
            Some(steps as f32 * self.scales[channel])
        };
        let floats: Option<Vec<f32>> = self.channels().enumerate().map(float).collect();
        Some(Constant { dims: self.dims().to_vec(), elements: Elements::Floats(floats?) })
    }

    /// Bytes less their zeros; `None` where elements are no bytes.
    pub(in super::super) fn centred(&self) -> Option<Vec<i16>> {
        let Elements::Bytes { bytes, is_signed } = &self.integers.elements else { return None };
        let centred = bytes.iter().zip(self.channels()).map(|(&byte, channel)| {
            let number = if *is_signed { i16::from(byte.cast_signed()) } else { i16::from(byte) };
            // Zeros are bytes, too.
            number - self.zeros[channel] as i16
        });
        Some(centred.collect())
    }

    /// A scale for each of `outputs` places along `axis`.
    pub(in super::super) fn scales_along(&self, axis: usize, outputs: usize) -> Option<Vec<f32>> {
        match self.scales.as_slice() {
            [scale] => Some(vec![*scale; outputs]),
            scales if self.axis == axis && scales.len() == outputs => Some(scales.to_vec()),
            _ => None,
        }
    }
}
