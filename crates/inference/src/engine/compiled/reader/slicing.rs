//! Operators that take some channels of a picture.

use std::ops::Range;

use margay_kernels::Shape;
use tract_onnx::pb::NodeProto;

use super::{Known, Reader, Tensor};
use crate::engine::compiled::attributes::Attributes;
use crate::engine::compiled::declined::Declined;
use crate::engine::compiled::network::Layer;

impl<'a> Reader<'a> {
    /// Neighbouring channels, from a start to an end.
    pub(super) fn slice(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let (tensor, shape) = self.picture(node, 0)?;
        let attributes = Attributes::of(node);
        let list = |name: &'static str, input: usize| -> Option<Vec<i64>> {
            if self.opset < 10 {
                return attributes.get(name).map(|attribute| attribute.ints.clone());
            }
            self.constant(node, input).and_then(|list| list.as_integers().map(<[i64]>::to_vec))
        };
        let (starts, ends, axes) = (list("starts", 1), list("ends", 2), list("axes", 3));
        let is_dense = !Self::has(node, 4) || list("steps", 4).as_deref() == Some(&[1]);
        attributes.finish()?;
        match (starts.as_deref(), ends.as_deref(), axes.as_deref()) {
            (Some(&[start]), Some(&[end]), Some(&[1 | -3])) if is_dense => {
                let range = place(start, shape.channels)..place(end, shape.channels);
                self.channels(node, &tensor, range)
            }
            _ => Err(Declined::node(node, "only neighbouring channels of a picture are covered")),
        }
    }

    /// All channels, in parts one after the other; each has a name of its own.
    pub(super) fn split(&mut self, node: &'a NodeProto) -> Result<(), Declined> {
        let (tensor, shape) = self.picture(node, 0)?;
        let attributes = Attributes::of(node);
        let axis = attributes.int("axis", 0);
        attributes.int("num_outputs", 0);
        let given = attributes.get("split").map(|attribute| attribute.ints.clone());
        attributes.finish()?;
        let given = match given {
            None if Self::has(node, 1) => {
                let lengths = self.constant(node, 1).and_then(|list| list.as_integers().map(<[i64]>::to_vec));
                Some(lengths.ok_or_else(|| Declined::node(node, "its lengths are no constants"))?)
            }
            given => given,
        };
        let count = node.output.len();
        // Without lengths the parts are equal, but for a last one that has what is left.
        let each = shape.channels.div_ceil(count.max(1));
        let lengths = match given {
            Some(lengths) => lengths.iter().map(|&length| usize::try_from(length).ok()).collect::<Option<Vec<_>>>(),
            None => (0..count).map(|part| each.min(shape.channels.saturating_sub(part * each))).map(Some).collect(),
        };
        let lengths = lengths.unwrap_or_default();
        let whole = lengths.iter().try_fold(0_usize, |sum, &length| sum.checked_add(length));
        if ![1, -3].contains(&axis) || lengths.len() != count || whole != Some(shape.channels) {
            return Err(Declined::node(node, "only all channels of a picture are covered"));
        }
        let mut first = 0;
        for (output, length) in node.output.iter().zip(lengths) {
            let part = self.channels(node, &tensor, first..first + length)?;
            self.known.insert(output, Known::Tensor(part));
            first += length;
        }
        Ok(())
    }

    fn channels(&mut self, node: &NodeProto, tensor: &Tensor, range: Range<usize>) -> Result<Tensor, Declined> {
        let shape = self.network.shapes[tensor.value];
        if range.is_empty() || range.end > shape.channels {
            return Err(Declined::node(node, format!("channels {range:?} of {}", shape.channels)));
        }
        let shape = Shape { channels: range.len(), ..shape };
        let layer = Layer::Channels { order: range.collect() };
        let value = self.network.add(layer, vec![tensor.value], shape);
        Ok(Tensor::plain(value, vec![1, shape.channels, shape.height, shape.width]))
    }
}

/// A bound counted from the front, or from the end where it is negative, held within the length.
fn place(bound: i64, length: usize) -> usize {
    let signed = i64::try_from(length).unwrap_or(i64::MAX);
    let bound = if bound < 0 { bound.saturating_add(signed) } else { bound };
    usize::try_from(bound.clamp(0, signed)).unwrap_or(length)
}
