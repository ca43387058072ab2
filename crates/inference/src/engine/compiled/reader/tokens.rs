//! Tokens: the pixels of a picture as a sequence, with others before them, something added to each, and taken apart into heads.

use std::ops::Range;

use margay_kernels::{Sample, Samples, Shape};
use tract_onnx::pb::NodeProto;

use super::arrangement::{Arranged, Side, Stretch};
use super::slicing::Slice;
use super::{Known, Reader, Tensor};
use crate::engine::compiled::attributes::Attributes;
use crate::engine::compiled::constant::Constant;
use crate::engine::compiled::declined::Declined;
use crate::engine::compiled::network::Layer;

impl<'a> Reader<'a> {
    /// An input whose axes are a value's channels and pixels in any order.
    pub(super) fn arranged(&self, node: &NodeProto, input: usize) -> Option<Arranged> {
        let name = node.input.get(input)?.as_str();
        let arranged = match self.known.get(name)? {
            Known::Arranged(arranged) => (**arranged).clone(),
            Known::Tensor(tensor) => Arranged::of(tensor, self.network.shapes[tensor.value])?,
            _ => return None,
        };
        let is_shared = arranged.is_shared || self.uses.get(name).is_some_and(|&uses| uses > 1);
        Some(Arranged { is_shared, ..arranged })
    }

    /// Whether a node reads tokens, or parts of them, which are no picture.
    pub(super) fn reads_tokens(&self, node: &NodeProto) -> bool {
        match node.input.first().and_then(|name| self.known.get(name.as_str())) {
            Some(Known::Arranged(_)) => true,
            Some(Known::Tensor(tensor)) => tensor.is_channels_last && tensor.dims.len() != 4,
            _ => false,
        }
    }

    /// A tensor, where axes are those that layers know: all channels of tokens, or of a picture. Some of the tokens are cut out.
    pub(super) fn settled(&mut self, arranged: Arranged) -> Known {
        let shape = self.network.shapes[arranged.value];
        let axes = arranged.axes.len();
        let all = arranged.stretches(0..axes);
        let of_channels = Stretch::of(Side::Channels, shape.channels);
        let of_pixels = |count| Stretch::of(Side::Pixels, count);
        let is_whole = |stretches: &[Stretch], wanted: &[Stretch]| {
            stretches.iter().eq(wanted.iter().filter(|stretch| stretch.length > 1))
        };
        let [channel, pixel] = arranged.first;
        if arranged.scale != 1.0 || channel != 0 {
            return Known::Arranged(Box::new(arranged));
        }
        if pixel == 0 && is_whole(&all, &[of_channels, of_pixels(shape.pixels())]) {
            let tensor = Tensor::plain(arranged.value, arranged.dims());
            return Known::Tensor(Tensor { is_shared: arranged.is_shared, ..tensor });
        }
        let count: usize =
            all.iter().filter(|stretch| stretch.side == Side::Pixels).map(|pixels| pixels.length).product();
        let is_last = arranged.dims().last() == Some(&shape.channels);
        if !is_last || !is_whole(&all, &[of_pixels(count), of_channels]) {
            return Known::Arranged(Box::new(arranged));
        }
        let mut tensor = Tensor { is_channels_last: true, ..Tensor::plain(arranged.value, arranged.dims()) };
        tensor.is_shared = arranged.is_shared;
        if count < shape.pixels() {
            let Some(value) = self.cut_out(arranged.value, pixel..pixel + count) else {
                return Known::Arranged(Box::new(arranged));
            };
            tensor = Tensor { is_channels_last: count > 1, is_shared: false, value, ..tensor };
        }
        Known::Tensor(tensor)
    }

    /// Some neighbouring pixels of a value, of one row.
    fn cut_out(&mut self, value: usize, pixels: Range<usize>) -> Option<usize> {
        let shape = self.network.shapes[value];
        let (row, first) = (pixels.start / shape.width, pixels.start % shape.width);
        let copy = |place: usize| u32::try_from(place).ok().map(Sample::copy_of);
        let columns = (first..first + pixels.len()).map(copy).collect::<Option<Vec<_>>>()?;
        if first + pixels.len() > shape.width {
            return None;
        }
        let samples = Samples { rows: vec![copy(row)?], columns };
        let shape = Shape { height: 1, width: pixels.len(), ..shape };
        Some(self.network.add(Layer::Resize(samples), vec![value], shape))
    }

    /// The same numbers as other axes, or in their order.
    pub(super) fn rearranged(&mut self, node: &'a NodeProto) -> Result<Known, Declined> {
        let Some(arranged) = self.arranged(node, 0) else {
            return Err(Declined::node(node, "its input is no tensor"));
        };
        let dims = arranged.dims();
        let attributes = Attributes::of(node);
        let changed = if node.op_type == "Transpose" {
            let order = attributes.get("perm").map(|attribute| attribute.ints.as_slice()).unwrap_or_default();
            arranged.transposed(order)
        } else {
            self.dims_of(node, &attributes, &dims).and_then(|dims| arranged.reshaped(&dims))
        };
        attributes.finish()?;
        match changed {
            Some(changed) => Ok(self.settled(changed)),
            None => Err(Declined::node(node, format!("of {dims:?} in this way it is not covered"))),
        }
    }

    /// One place of an axis, or all of one, which it leaves as it is.
    pub(super) fn gather(&mut self, node: &'a NodeProto) -> Result<Known, Declined> {
        let attributes = Attributes::of(node);
        let axis = attributes.int("axis", 0);
        attributes.finish()?;
        let Some(arranged) = self.arranged(node, 0) else {
            return Err(Declined::node(node, "of what is no tensor it is not covered"));
        };
        let (dims, constant) = (arranged.dims(), self.constant(node, 1));
        let index = constant.as_ref().and_then(|constant| match constant.as_integers() {
            Some(&[index]) if constant.dims.len() <= 1 => Some((index, constant.dims.is_empty())),
            _ => None,
        });
        let found = index.and_then(|(index, is_scalar)| {
            let axis = from_front(axis, dims.len())?;
            let place = from_front(index, dims[axis])?;
            let mut part = arranged.part(axis, place..place + 1)?;
            if is_scalar {
                part.axes.remove(axis);
            }
            Some(part)
        });
        match found {
            Some(part) => Ok(self.settled(part)),
            None => Err(Declined::node(node, format!("only one place of an axis of {dims:?} is covered"))),
        }
    }

    /// Neighbouring places of axes.
    pub(super) fn slice_of_tokens(&mut self, node: &'a NodeProto) -> Result<Known, Declined> {
        let Some(mut arranged) = self.arranged(node, 0) else {
            return Err(Declined::node(node, "its input is no tensor"));
        };
        let dims = arranged.dims();
        let [starts, ends, axes, steps] = self.bounds(node)?;
        for (place, &axis) in axes.iter().enumerate() {
            let part = from_front(axis, dims.len()).and_then(|axis| {
                let slice = Slice::of(arranged.dims()[axis], [starts[place], ends[place], steps[place]])?;
                if steps[place] == 1 { arranged.part(axis, slice.range) } else { None }
            });
            arranged = part.ok_or_else(|| Declined::node(node, format!("of axis {axis} of {dims:?} in this way")))?;
        }
        Ok(self.settled(arranged))
    }

    /// All of an axis, in parts one after the other.
    pub(super) fn split_of_tokens(&mut self, node: &'a NodeProto) -> Result<(), Declined> {
        let Some(arranged) = self.arranged(node, 0) else {
            return Err(Declined::node(node, "its input is no tensor"));
        };
        let dims = arranged.dims();
        let (axis, given) = self.parts_of_split(node)?;
        let Some(axis) = from_front(axis, dims.len()) else {
            return Err(Declined::node(node, format!("axis {axis} of {dims:?}")));
        };
        let lengths = super::slicing::lengths(given, node.output.len(), dims[axis]);
        let lengths = lengths.ok_or_else(|| Declined::node(node, format!("its lengths of axis {axis} of {dims:?}")))?;
        let mut first = 0;
        for (output, length) in node.output.iter().zip(lengths) {
            let Some(part) = arranged.part(axis, first..first + length) else {
                return Err(Declined::node(node, format!("of axis {axis} of {dims:?} in this way")));
            };
            let part = self.settled(Arranged { is_shared: true, ..part });
            self.known.insert(output, part);
            first += length;
        }
        Ok(())
    }

    /// Constant tokens before those of the model.
    pub(super) fn behind_constants(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let attributes = Attributes::of(node);
        let axis = attributes.int("axis", 1);
        attributes.finish()?;
        let Some((last, before)) = node.input.len().checked_sub(1).zip(node.input.split_last()) else {
            return Err(Declined::node(node, "it has no inputs"));
        };
        let tensor = self.elements(node, last)?;
        let shape = self.network.shapes[tensor.value];
        if !tensor.is_channels_last || tensor.dims.len() != 3 || ![1, -2].contains(&axis) || tensor.dims[0] != 1 {
            return Err(Declined::node(node, format!("constants before {:?} along axis {axis}", tensor.dims)));
        }
        let mut addends = Vec::new();
        for input in 0..before.1.len() {
            let constant = self.floats(node, input)?;
            match constant.dims[..] {
                [1, _, channels] if channels == shape.channels => {
                    addends.extend_from_slice(constant.floats().unwrap_or_default());
                }
                _ => return Err(Declined::node(node, format!("a constant of {:?} before tokens", constant.dims))),
            }
        }
        let first = addends.len() / shape.channels;
        addends.resize(addends.len() + shape.elements(), 0.0);
        self.in_a_row(node, &tensor, first, addends)
    }

    /// Something added to each number of tokens; `None` where the constant has another shape than they.
    pub(super) fn added_to_tokens(
        &mut self,
        node: &'a NodeProto,
        (input, tensor): (usize, &Tensor),
        constant: &Constant,
    ) -> Result<Option<Tensor>, Declined> {
        let shape = self.network.shapes[tensor.value];
        let long = |dims: &[usize]| dims.iter().copied().skip_while(|&length| length == 1).collect::<Vec<_>>();
        let is_alike = long(&constant.dims) == long(&tensor.dims) && constant.dims.len() <= tensor.dims.len();
        let Some(addends) = constant.floats().filter(|_| is_alike && tensor.is_channels_last && shape.pixels() > 1)
        else {
            return Ok(None);
        };
        if self.is_only_reader(node, input, 1) && self.network.fuse_addends(tensor.value, addends) {
            return Ok(Some(tensor.like(tensor.value)));
        }
        self.in_a_row(node, tensor, 0, addends.to_vec()).map(Some)
    }

    /// Tokens behind `first` others.
    fn in_a_row(
        &mut self,
        node: &NodeProto,
        tensor: &Tensor,
        first: usize,
        addends: Vec<f32>,
    ) -> Result<Tensor, Declined> {
        self.spend(node, addends.len())?;
        let from = self.network.shapes[tensor.value];
        let shape = Shape { height: 1, width: first + from.pixels(), ..from };
        let dims = if first > 0 { vec![1, shape.width, shape.channels] } else { tensor.dims.clone() };
        let value = self.network.add(Layer::Tokens { first, addends }, vec![tensor.value], shape);
        Ok(Tensor { is_channels_last: true, ..Tensor::plain(value, dims) })
    }

    /// The mean of all tokens.
    pub(super) fn mean_of_tokens(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let tensor = self.elements(node, 0)?;
        let attributes = Attributes::of(node);
        let (axes, keeps) = self.axes_of_mean(node, &attributes)?;
        let shape = self.network.shapes[tensor.value];
        let channels = tensor.channel_axis();
        let mut axes: Vec<Option<usize>> = axes.iter().map(|&axis| from_front(axis, tensor.dims.len())).collect();
        axes.sort_unstable();
        let is_over = |axis: usize| axes.contains(&Some(axis));
        let is_over_tokens = (0..channels).all(|axis| is_over(axis) || tensor.dims[axis] == 1);
        if axes.contains(&None) || is_over(channels) || !is_over_tokens || !tensor.is_channels_last {
            return Err(Declined::node(node, format!("only means over all tokens of {:?} are covered", tensor.dims)));
        }
        let value = self.network.add(Layer::Average, vec![tensor.value], Shape::vector(shape.channels));
        let kept = tensor.dims.iter().enumerate().filter(|&(axis, _)| keeps || !is_over(axis));
        let dims = kept.map(|(axis, &length)| if is_over(axis) { 1 } else { length }).collect();
        Ok(Tensor::plain(value, dims))
    }
}

/// An axis, or a place of one, counted from the front, or from the end where it is negative.
fn from_front(place: i64, length: usize) -> Option<usize> {
    let place = if place < 0 { place.checked_add(i64::try_from(length).ok()?)? } else { place };
    usize::try_from(place).ok().filter(|&place| place < length)
}
