//! Poolings of windows and of whole pictures.

use margay_kernels::{PoolKind, Shape, Window};
use tract_onnx::pb::NodeProto;

use super::convolution::Padded;
use super::{Reader, Tensor};
use crate::engine::compiled::attributes::Attributes;
use crate::engine::compiled::declined::Declined;
use crate::engine::compiled::network::Layer;

impl<'a> Reader<'a> {
    pub(super) fn pooling(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let (tensor, shape) = self.picture(node, 0)?;
        let attributes = Attributes::of(node);
        let whole = Window { kernel: [shape.height, shape.width], ..Window::square(1, 1, 0) };
        let vector = Shape::vector(shape.channels);
        let (layer, output) = match node.op_type.as_str() {
            "GlobalAveragePool" => (Layer::Average, vector),
            "GlobalMaxPool" => (Layer::Pool { kind: PoolKind::Maximum, window: whole }, vector),
            "ReduceMean" => return self.mean(node, &tensor, shape),
            _ => windows(node, &attributes, shape)?,
        };
        attributes.finish()?;
        let value = self.network.add(layer, vec![tensor.value], output);
        Ok(Tensor::plain(value, vec![1, output.channels, output.height, output.width]))
    }

    /// The axes of a mean, and whether they stay, with length 1.
    pub(super) fn axes_of_mean(
        &self,
        node: &NodeProto,
        attributes: &Attributes<'_>,
    ) -> Result<(Vec<i64>, bool), Declined> {
        let keeps = attributes.int("keepdims", 1) != 0;
        attributes.int("noop_with_empty_axes", 0);
        let given = attributes.get("axes").map(|attribute| attribute.ints.clone());
        attributes.finish()?;
        let axes = given.or_else(|| self.constant(node, 1)?.as_integers().map(<[i64]>::to_vec)).unwrap_or_default();
        Ok((axes, keeps))
    }

    /// A mean over rows and columns.
    fn mean(&mut self, node: &'a NodeProto, tensor: &Tensor, shape: Shape) -> Result<Tensor, Declined> {
        let (axes, keeps) = self.axes_of_mean(node, &Attributes::of(node))?;
        let mut axes: Vec<i64> = axes.iter().map(|&axis| if axis < 0 { axis.wrapping_add(4) } else { axis }).collect();
        axes.sort_unstable();
        if axes != [2, 3] {
            return Err(Declined::node(node, "only means over rows and columns are covered"));
        }
        let value = self.network.add(Layer::Average, vec![tensor.value], Shape::vector(shape.channels));
        Ok(Tensor::plain(value, if keeps { vec![1, shape.channels, 1, 1] } else { vec![1, shape.channels] }))
    }
}

/// A pooling of windows, and the shape that comes out.
pub(super) fn windows(node: &NodeProto, attributes: &Attributes<'_>, shape: Shape) -> Result<(Layer, Shape), Declined> {
    let sides = [shape.height, shape.width];
    let padded = Padded::read(node, attributes, [0; 2], sides)?;
    let is_ceiling = attributes.int("ceil_mode", 0) != 0;
    let counts_padding = attributes.int("count_include_pad", 0) != 0;
    let kind = if node.op_type == "MaxPool" {
        attributes.int("storage_order", 0);
        PoolKind::Maximum
    } else {
        PoolKind::Average { counts_padding }
    };
    let mut counts = [0; 2];
    let mut is_beyond = false;
    for axis in 0..2 {
        let Some((count, rest)) = padded.count(axis, sides[axis]) else {
            return Err(Declined::node(node, "its window is larger than the picture"));
        };
        // With ceil_mode one more window counts, as long as it begins before the padding behind the picture.
        let begins = count * padded.window.stride[axis] < sides[axis] + padded.window.padding[axis];
        let has_more = is_ceiling && rest > 0 && begins;
        is_beyond |= has_more;
        counts[axis] = count + usize::from(has_more);
    }
    if padded.window.dilation != [1; 2] || (counts_padding && is_beyond) {
        return Err(Declined::node(node, "its dilations, or its padding with ceil_mode, are not covered"));
    }
    let output = Shape { channels: shape.channels, height: counts[0], width: counts[1] };
    let is_whole = padded.window.kernel == sides && padded.window.padding == [0; 2] && output.pixels() == 1;
    if is_whole && kind != PoolKind::Maximum {
        return Ok((Layer::Average, output));
    }
    Ok((Layer::Pool { kind, window: padded.window }, output))
}
