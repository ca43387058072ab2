//! Operators that bring channels together or put them in another order.

use margay_kernels::Shape;
use tract_onnx::pb::NodeProto;

use super::{Reader, Tensor};
use crate::engine::compiled::attributes::Attributes;
use crate::engine::compiled::declined::Declined;
use crate::engine::compiled::network::Layer;

impl<'a> Reader<'a> {
    /// The transposition of a picture that comes with its channels last, or the middle of a shuffle of channels.
    pub(super) fn transpose(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let tensor = self.any_tensor(node, 0)?;
        let attributes = Attributes::of(node);
        let order = attributes.get("perm").map(|attribute| attribute.ints.as_slice()).unwrap_or_default();
        attributes.finish()?;
        let shape = self.network.shapes[tensor.value];
        let Shape { channels, height, width } = shape;
        let (first, last) = ([1, channels, height, width], [1, height, width, channels]);
        if tensor.is_channels_last && order == [0, 3, 1, 2] {
            return Ok(Tensor { dims: first.to_vec(), is_channels_last: false, ..tensor });
        }
        let is_plain = !tensor.is_channels_last && tensor.padding == [0; 4];
        if is_plain && tensor.dims == first && order == [0, 2, 3, 1] {
            return Ok(Tensor { dims: last.to_vec(), is_channels_last: true, ..tensor });
        }
        match (tensor.dims.as_slice(), order) {
            (&[1, groups, each, height, width], [0, 2, 1, 3, 4])
                if is_plain && [height, width] == [shape.height, shape.width] && groups * each == shape.channels =>
            {
                let order =
                    (0..each).flat_map(|of_group| (0..groups).map(move |group| group * each + of_group)).collect();
                let value = self.network.add(Layer::Channels { order }, vec![tensor.value], shape);
                Ok(Tensor::plain(value, vec![1, each, groups, height, width]))
            }
            // Axes of length 1 may change places with others as long as those keep their order.
            (dims, order) if is_plain && keeps_order(dims, order) => {
                let dims = order.iter().map(|&axis| dims[axis as usize]).collect();
                Ok(Tensor { dims, ..tensor })
            }
            (dims, _) => Err(Declined::node(node, format!("of {dims:?} to {order:?} it is not covered"))),
        }
    }

    /// Channels one after the other.
    pub(super) fn concatenation(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let attributes = Attributes::of(node);
        let axis = attributes.int("axis", 1);
        attributes.finish()?;
        let tensors = (0..node.input.len()).map(|input| self.tensor(node, input)).collect::<Result<Vec<_>, _>>()?;
        self.concatenated(node, &tensors, axis)
    }

    /// The channels of tensors one after the other.
    pub(super) fn concatenated(
        &mut self,
        node: &'a NodeProto,
        tensors: &[Tensor],
        axis: i64,
    ) -> Result<Tensor, Declined> {
        let Some(first) = tensors.first() else { return Err(Declined::node(node, "it has no inputs")) };
        let shapes: Vec<Shape> = tensors.iter().map(|tensor| self.network.shapes[tensor.value]).collect();
        let axes = first.dims.len() as i64;
        let fits = tensors.iter().zip(&shapes).all(|(tensor, shape)| {
            let (same, picture) =
                (tensor.dims.len() == first.dims.len(), [1, shape.channels, shape.height, shape.width]);
            let is_picture = tensor.dims == picture || (tensor.dims == picture[..2] && shape.pixels() == 1);
            same && is_picture && [shape.height, shape.width] == [shapes[0].height, shapes[0].width]
        });
        if !fits || (axis != 1 && axis != 1 - axes) {
            return Err(Declined::node(node, "only channels of pictures of one size are covered"));
        }
        let channels = shapes.iter().map(|shape| shape.channels).sum();
        let mut dims = first.dims.clone();
        dims[1] = channels;
        let inputs = tensors.iter().map(|tensor| tensor.value).collect();
        let value = self.network.add(Layer::Concatenate, inputs, Shape { channels, ..shapes[0] });
        Ok(Tensor::plain(value, dims))
    }

    /// Softmax over the classes.
    pub(super) fn softmax(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let tensor = self.tensor(node, 0)?;
        let attributes = Attributes::of(node);
        let axis = attributes.int("axis", if self.opset < 13 { 1 } else { -1 });
        attributes.finish()?;
        let shape = self.network.shapes[tensor.value];
        let axes = tensor.dims.len() as i64;
        let axis = usize::try_from(if axis < 0 { axis.saturating_add(axes) } else { axis }).unwrap_or(usize::MAX);
        // Before operator set 13, all axes from the given one on were one.
        let last = if self.opset < 13 { tensor.dims.len() } else { axis.saturating_add(1) };
        let is_over_all =
            tensor.dims.get(axis..last).is_some_and(|dims| dims.iter().product::<usize>() == shape.channels);
        if shape.pixels() != 1 || !is_over_all {
            return Err(Declined::node(node, format!("over {:?} it is not covered", tensor.dims)));
        }
        let value = self.network.add(Layer::Softmax, vec![tensor.value], shape);
        Ok(Tensor::plain(value, tensor.dims))
    }
}

/// Whether a transposition leaves the elements where they are.
fn keeps_order(dims: &[usize], order: &[i64]) -> bool {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    let is_permutation =
        sorted.iter().enumerate().all(|(place, &axis)| axis == place as i64) && order.len() == dims.len();
    let long: Vec<i64> =
        order.iter().copied().filter(|&axis| dims.get(axis as usize).is_some_and(|&length| length != 1)).collect();
    is_permutation && long.is_sorted()
}
