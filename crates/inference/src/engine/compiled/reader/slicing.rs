//! Operators that take some channels, rows or columns of a picture.

use std::ops::Range;

use margay_kernels::{Sample, Samples, Shape};
use tract_onnx::pb::NodeProto;

use super::{Known, Reader, Tensor};
use crate::engine::compiled::attributes::Attributes;
use crate::engine::compiled::declined::Declined;
use crate::engine::compiled::network::Layer;

/// Longest side of squares that become channels.
const MAX_BLOCK: usize = 4;

impl<'a> Reader<'a> {
    /// Every so many channels, rows or columns, from a start to an end.
    pub(super) fn slice(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let (mut tensor, shape) = self.picture(node, 0)?;
        let [starts, ends, axes, steps] = self.bounds(node)?;
        let mut sides = [1, shape.channels, shape.height, shape.width].map(Slice::all);
        let mut seen = [false; 4];
        for (place, &axis) in axes.iter().enumerate() {
            let from_front =
                usize::try_from(if axis < 0 { axis.saturating_add(4) } else { axis }).unwrap_or(usize::MAX);
            if seen.get(from_front) != Some(&false) {
                return Err(Declined::node(node, format!("axes has {axis}, twice or beyond four")));
            }
            seen[from_front] = true;
            let side = &mut sides[from_front];
            *side = Slice::of(side.length, [starts[place], ends[place], steps[place]])
                .ok_or_else(|| Declined::node(node, format!("steps has {}, or nothing is left", steps[place])))?;
        }
        let [_, channels, rows, columns] = &sides;
        if !channels.is_all() {
            tensor = self.channels(node, &tensor, channels.places().collect())?;
        }
        if rows.is_all() && columns.is_all() {
            return Ok(tensor);
        }
        let samples = |side: &Slice| side.places().map(|place| Sample::copy_of(place as u32)).collect();
        self.resampled(node, &tensor, Samples { rows: samples(rows), columns: samples(columns) })
    }

    /// Starts, ends, axes and steps of a slice, of one length, four at most.
    pub(super) fn bounds(&self, node: &NodeProto) -> Result<[Vec<i64>; 4], Declined> {
        let attributes = Attributes::of(node);
        let list = |name: &'static str, input: usize| -> Option<Vec<i64>> {
            if self.opset < 10 {
                return attributes.get(name).map(|attribute| attribute.ints.clone());
            }
            self.constant(node, input).and_then(|list| list.as_integers().map(<[i64]>::to_vec))
        };
        let starts = list("starts", 1);
        let count = starts.as_ref().map_or(0, Vec::len);
        let is_input = |input: usize| self.opset >= 10 && Self::has(node, input);
        let axes = list("axes", 3).or_else(|| (!is_input(3)).then(|| (0..count as i64).collect()));
        let steps = if is_input(4) { list("steps", 4) } else { Some(vec![1; count]) };
        let ends = list("ends", 2);
        attributes.finish()?;
        let (Some(starts), Some(ends), Some(axes), Some(steps)) = (starts, ends, axes, steps) else {
            return Err(Declined::node(node, "its bounds are no constants"));
        };
        if count > 4 || [ends.len(), axes.len(), steps.len()] != [count; 3] {
            return Err(Declined::node(node, "it has bounds of different numbers of axes"));
        }
        Ok([starts, ends, axes, steps])
    }

    /// Squares of pixels as channels: all of one place in their squares, then those of the next.
    pub(super) fn space_to_depth(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let (tensor, shape) = self.picture(node, 0)?;
        let attributes = Attributes::of(node);
        let block = attributes.int("blocksize", 0);
        attributes.finish()?;
        let side = usize::try_from(block).ok().filter(|side| (1..=MAX_BLOCK).contains(side));
        let side = side
            .filter(|&side| shape.height.is_multiple_of(side) && shape.width.is_multiple_of(side))
            .ok_or_else(|| {
                Declined::node(
                    node,
                    format!("its blocksize {block} is not 1 to {MAX_BLOCK}, or does not divide {shape}"),
                )
            })?;
        let every = |first: usize, length: usize| {
            (first..length).step_by(side).map(|place| Sample::copy_of(place as u32)).collect()
        };
        let mut parts = Vec::with_capacity(side * side);
        for place in 0..side * side {
            let rows = every(place / side, shape.height);
            let columns = every(place % side, shape.width);
            parts.push(self.resampled(node, &tensor, Samples { rows, columns })?);
        }
        self.concatenated(node, &parts, 1)
    }

    /// All channels, in parts one after the other; each has a name of its own.
    pub(super) fn split(&mut self, node: &'a NodeProto) -> Result<(), Declined> {
        let (tensor, shape) = self.picture(node, 0)?;
        let (axis, given) = self.parts_of_split(node)?;
        let lengths = lengths(given, node.output.len(), shape.channels).filter(|_| [1, -3].contains(&axis));
        let lengths = lengths.ok_or_else(|| Declined::node(node, "only all channels of a picture are covered"))?;
        let mut first = 0;
        for (output, length) in node.output.iter().zip(lengths) {
            let part = self.channels(node, &tensor, (first..first + length).collect())?;
            self.known.insert(output, Known::Tensor(part));
            first += length;
        }
        Ok(())
    }

    /// The axis of a `Split`, and the lengths of its parts where they are given.
    pub(super) fn parts_of_split(&self, node: &NodeProto) -> Result<(i64, Option<Vec<i64>>), Declined> {
        let attributes = Attributes::of(node);
        let axis = attributes.int("axis", 0);
        attributes.int("num_outputs", 0);
        let given = attributes.get("split").map(|attribute| attribute.ints.clone());
        attributes.finish()?;
        match given {
            None if Self::has(node, 1) => {
                let lengths = self.constant(node, 1).and_then(|list| list.as_integers().map(<[i64]>::to_vec));
                Ok((axis, Some(lengths.ok_or_else(|| Declined::node(node, "its lengths are no constants"))?)))
            }
            given => Ok((axis, given)),
        }
    }

    fn channels(&mut self, node: &NodeProto, tensor: &Tensor, order: Vec<usize>) -> Result<Tensor, Declined> {
        let shape = self.network.shapes[tensor.value];
        if order.is_empty() || order.iter().any(|&channel| channel >= shape.channels) {
            return Err(Declined::node(node, format!("{} channels of {}", order.len(), shape.channels)));
        }
        let shape = Shape { channels: order.len(), ..shape };
        let value = self.network.add(Layer::Channels { order }, vec![tensor.value], shape);
        Ok(Tensor::plain(value, vec![1, shape.channels, shape.height, shape.width]))
    }
}

/// The lengths of so many parts of an axis, which are all of it; without any given they are equal, but for a last one that has what is
/// left.
pub(super) fn lengths(given: Option<Vec<i64>>, count: usize, length: usize) -> Option<Vec<usize>> {
    let each = length.div_ceil(count.max(1));
    let lengths = match given {
        Some(lengths) => lengths.iter().map(|&length| usize::try_from(length).ok()).collect::<Option<Vec<_>>>(),
        None => (0..count).map(|part| each.min(length.saturating_sub(part * each))).map(Some).collect(),
    }?;
    let whole = lengths.iter().try_fold(0_usize, |sum, &length| sum.checked_add(length));
    (lengths.len() == count && whole == Some(length)).then_some(lengths)
}

/// Every so many places of an axis.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slice {
    length: usize,
    pub(super) range: Range<usize>,
    step: usize,
}

impl Slice {
    fn all(length: usize) -> Self {
        Self { length, range: 0..length, step: 1 }
    }

    /// From a start to an end by a step; `None` where the step is not positive, or no place is left.
    pub(super) fn of(length: usize, [start, end, step]: [i64; 3]) -> Option<Self> {
        let range = place(start, length)..place(end, length);
        let step = usize::try_from(step).ok().filter(|&step| step > 0)?;
        (!range.is_empty()).then_some(Self { length, range, step })
    }

    fn is_all(&self) -> bool {
        *self == Self::all(self.length)
    }

    fn places(&self) -> impl Iterator<Item = usize> {
        self.range.clone().step_by(self.step)
    }
}

/// A bound counted from the front, or from the end where it is negative, held within the length.
pub(super) fn place(bound: i64, length: usize) -> usize {
    let signed = i64::try_from(length).unwrap_or(i64::MAX);
    let bound = if bound < 0 { bound.saturating_add(signed) } else { bound };
    usize::try_from(bound.clamp(0, signed)).unwrap_or(length)
}
