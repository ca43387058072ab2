//! How the axes of a tensor go over a value's channels and pixels, where that is another order than the value's own: what exporters
//! do to tokens between the layers of a transformer, none of which moves a number.

use std::ops::Range;

use margay_kernels::Shape;

use super::Tensor;
use crate::engine::compiled::network::ValueId;

/// What a stretch goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Channels,
    /// Row by row.
    Pixels,
}

/// Channels or pixels at equal distances, two or more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) side: Side,
    pub(super) length: usize,
    pub(super) apart: usize,
}

impl Stretch {
    /// Neighbours.
    pub(super) fn of(side: Side, length: usize) -> Self {
        Self { side, length, apart: 1 }
    }
}

/// A tensor that is some channels and pixels of a value, in the order of its axes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Arranged {
    pub(super) value: ValueId,
    /// First channel and first pixel.
    pub(super) first: [usize; 2],
    /// Each axis as stretches, the outermost first; an axis of length 1 has none.
    pub(super) axes: Vec<Vec<Stretch>>,
    /// As for [`Tensor`].
    pub(super) is_shared: bool,
    /// What every number is multiplied by.
    pub(super) scale: f32,
}

impl Arranged {
    /// Some stretches of a value, the outermost first, as axes of these lengths; `None` where they cannot be cut so.
    pub(super) fn new(value: ValueId, stretches: &[Stretch], dims: &[usize]) -> Option<Self> {
        let axes = cut(stretches, dims)?;
        Some(Self { value, first: [0; 2], axes, is_shared: false, scale: 1.0 })
    }

    /// A tensor of a value of this shape.
    pub(super) fn of(tensor: &Tensor, shape: Shape) -> Option<Self> {
        let (channels, pixels) =
            (Stretch::of(Side::Channels, shape.channels), Stretch::of(Side::Pixels, shape.pixels()));
        let stretches = if tensor.is_channels_last { [pixels, channels] } else { [channels, pixels] };
        let arranged = Self::new(tensor.value, &stretches, &tensor.dims)?;
        (tensor.padding == [0; 4]).then_some(Self { is_shared: tensor.is_shared, ..arranged })
    }

    /// ONNX's shape.
    pub(super) fn dims(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.iter().map(|stretch| stretch.length).product()).collect()
    }

    /// All stretches of some axes, as few as can be.
    pub(super) fn stretches(&self, axes: Range<usize>) -> Vec<Stretch> {
        joined(&self.axes.get(axes).unwrap_or_default().concat())
    }

    /// The same numbers in the same order as other axes.
    pub(super) fn reshaped(&self, dims: &[usize]) -> Option<Self> {
        let axes = cut(&self.stretches(0..self.axes.len()), dims)?;
        Some(Self { axes, ..self.clone() })
    }

    /// Axis `i` is axis `order[i]` of these; `None` where that is no permutation.
    pub(super) fn transposed(&self, order: &[i64]) -> Option<Self> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        let is_permutation = sorted.iter().enumerate().all(|(place, &axis)| axis == place as i64);
        let axes = order.iter().map(|&axis| self.axes.get(usize::try_from(axis).ok()?).cloned());
        let axes = axes.collect::<Option<Vec<_>>>()?;
        (is_permutation && axes.len() == self.axes.len()).then(|| Self { axes, ..self.clone() })
    }

    /// Some neighbouring places of an axis, at least one; `None` where they are no stretches themselves.
    pub(super) fn part(&self, axis: usize, places: Range<usize>) -> Option<Self> {
        let length: usize = self.axes.get(axis)?.iter().map(|stretch| stretch.length).product();
        if places.is_empty() || places.end > length {
            return None;
        }
        let mut part = self.clone();
        let (mut start, mut count, mut inner) = (places.start, places.len(), length);
        let mut stretches = Vec::new();
        for &stretch in &self.axes[axis] {
            inner /= stretch.length;
            let whole = start.is_multiple_of(inner) && count.is_multiple_of(inner);
            let skipped = start / inner;
            part.first[stretch.side as usize] += skipped * stretch.apart;
            start -= skipped * inner;
            if whole {
                stretches.push(Stretch { length: count / inner, ..stretch });
                (start, count) = (0, inner);
            } else if start + count > inner {
                return None;
            }
        }
        part.axes[axis] = stretches.into_iter().filter(|stretch| stretch.length > 1).collect();
        Some(part)
    }
}

/// Stretches of which none goes on from the one before.
fn joined(stretches: &[Stretch]) -> Vec<Stretch> {
    let mut joined: Vec<Stretch> = Vec::new();
    for &stretch in stretches.iter().filter(|stretch| stretch.length > 1) {
        match joined.last_mut() {
            Some(outer) if outer.side == stretch.side && outer.apart == stretch.length * stretch.apart => {
                *outer = Stretch { length: outer.length * stretch.length, ..stretch };
            }
            _ => joined.push(stretch),
        }
    }
    joined
}

/// Stretches cut into axes of these lengths.
fn cut(stretches: &[Stretch], dims: &[usize]) -> Option<Vec<Vec<Stretch>>> {
    let mut left = joined(stretches);
    left.reverse();
    let mut axes = Vec::with_capacity(dims.len());
    for &length in dims {
        let (mut wanted, mut axis) = (length, Vec::new());
        while wanted != 1 {
            let stretch = left.pop()?;
            if wanted == 0 {
                return None;
            }
            if wanted.is_multiple_of(stretch.length) {
                axis.push(stretch);
                wanted /= stretch.length;
            } else if stretch.length.is_multiple_of(wanted) {
                let inner = Stretch { length: stretch.length / wanted, ..stretch };
                axis.push(Stretch { length: wanted, apart: stretch.apart * inner.length, ..stretch });
                left.push(inner);
                wanted = 1;
            } else {
                return None;
            }
        }
        axes.push(axis);
    }
    left.is_empty().then_some(axes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(dims: &[usize]) -> Arranged {
        let tensor = Tensor { is_channels_last: true, ..Tensor::plain(3, dims.to_vec()) };
        Arranged::of(&tensor, Shape { channels: 192, height: 1, width: 10 }).unwrap()
    }

    fn channels(length: usize, apart: usize) -> Vec<Stretch> {
        vec![Stretch { side: Side::Channels, length, apart }]
    }

    #[test]
    fn heads_are_taken_out_of_what_one_layer_computes() {
        let all = tokens(&[1, 10, 192]).reshaped(&[1, 10, 3, 2, 32]).unwrap().transposed(&[2, 0, 3, 1, 4]).unwrap();
        assert_eq!(all.dims(), [3, 1, 2, 10, 32]);
        let keys = all.part(0, 1..2).unwrap().reshaped(&[1, 2, 10, 32]).unwrap();
        assert_eq!(
            (keys.first, keys.axes[1].clone(), keys.axes[3].clone()),
            ([64, 0], channels(2, 32), channels(32, 1))
        );
        assert_eq!(keys.axes[2], [Stretch::of(Side::Pixels, 10)]);
        let back = keys.transposed(&[0, 2, 1, 3]).unwrap().reshaped(&[1, 10, 64]).unwrap();
        assert_eq!(back.axes[2], channels(64, 1));
        let mixed = keys.reshaped(&[1, 10, 64]).unwrap();
        assert_ne!(mixed.axes[2], channels(64, 1), "heads before tokens are no channels");
    }

    #[test]
    fn parts_of_axes_are_stretches_or_nothing() {
        let heads = tokens(&[1, 10, 192]).reshaped(&[10, 6, 32]).unwrap().transposed(&[1, 0, 2]).unwrap();
        let both = Arranged { axes: vec![heads.stretches(0..2), heads.axes[2].clone()], ..heads };
        assert_eq!(both.dims(), [60, 32]);
        let one = both.part(0, 23..24).unwrap();
        assert_eq!((one.first, one.dims()), ([64, 3], vec![1, 32]));
        let within = both.part(0, 11..15).unwrap();
        assert_eq!((within.first, within.dims()), ([32, 1], vec![4, 32]));
        assert_eq!(both.part(0, 20..40).unwrap().first, [64, 0]);
        for range in [5..15, 0..0, 60..61, 0..61] {
            assert_eq!(both.part(0, range.clone()), None, "{range:?}");
        }
        assert_eq!(both.part(2, 0..1), None);
    }

    #[test]
    fn what_is_no_shape_or_permutation_is_refused() {
        let all = tokens(&[1, 10, 192]);
        for dims in [&[0, 10, 192][..], &[10, 191], &[1920, 2], &[7, 10, 192], &[]] {
            assert_eq!(all.reshaped(dims), None, "{dims:?}");
        }
        for order in [&[0, 1][..], &[0, 0, 1], &[0, 1, 3], &[0, 1, -1], &[0, 1, 2, 3]] {
            assert_eq!(all.transposed(order), None, "{order:?}");
        }
    }
}
