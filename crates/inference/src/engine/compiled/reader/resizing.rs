//! Pictures of another size: `Resize` and its older name `Upsample`.

mod coordinates;

use margay_kernels::{Sample, Samples, Shape};
use tract_onnx::pb::NodeProto;

use super::{Reader, Tensor};
use crate::engine::compiled::attributes::Attributes;
use crate::engine::compiled::declined::Declined;
use crate::engine::compiled::network::Layer;
use coordinates::{Axis, Method};

/// Longest side of a resized picture.
pub(super) const MAX_SIDE: usize = 1 << 14;

/// Words that a sample takes, in the account of weights.
const WORDS_OF_SAMPLE: usize = 3;

/// What a resizing is told: factors, or lengths, of some axes.
#[derive(Debug)]
enum Sizes {
    Scales(Vec<f32>),
    Lengths(Vec<i64>),
}

impl<'a> Reader<'a> {
    /// Rows and columns of a picture by constant scales or to constant sizes.
    pub(super) fn resize(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let (tensor, shape) = self.picture(node, 0)?;
        let attributes = Attributes::of(node);
        let method = Method::read(node, &attributes, self.opset)?;
        let axes = attributes.get("axes").map_or_else(|| (0..4).collect(), |attribute| attribute.ints.clone());
        let sizes = self.sizes(node, &attributes)?;
        attributes.finish()?;
        let [batch, channels, rows, columns] =
            sides(shape, &axes, &sizes).map_err(|reason| Declined::node(node, reason))?;
        if !batch.is_unchanged() || !channels.is_unchanged() {
            return Err(Declined::node(node, "only rows and columns are resized, not the batch or the channels"));
        }
        let samples = |axis: &Axis| method.samples(axis).map_err(|reason| Declined::node(node, reason));
        let samples = Samples { rows: samples(&rows)?, columns: samples(&columns)? };
        self.resampled(node, &tensor, samples)
    }

    /// Scales or sizes, of which one is given; before operator set 9 as an attribute.
    fn sizes(&self, node: &NodeProto, attributes: &Attributes<'_>) -> Result<Sizes, Declined> {
        if node.op_type == "Upsample" && self.opset < 9 {
            let scales = attributes.get("scales").map(|attribute| attribute.floats.clone());
            return scales.map(Sizes::Scales).ok_or_else(|| Declined::node(node, "its scales are missing"));
        }
        let scales = if self.opset < 11 { 1 } else { 2 };
        // An input that is empty is not given, like one without a name.
        let is_given = |input: usize| {
            Self::has(node, input) && self.constant(node, input).is_none_or(|constant| constant.len() > 0)
        };
        match (is_given(scales), scales == 2 && is_given(3)) {
            (true, false) => self.floats(node, scales).map(|constant| {
                // floats() has seen that they are.
                Sizes::Scales(constant.floats().unwrap_or_default().to_vec())
            }),
            (false, true) => {
                let lengths = self.constant(node, 3).and_then(|list| list.as_integers().map(<[i64]>::to_vec));
                lengths.map(Sizes::Lengths).ok_or_else(|| Declined::node(node, "its sizes are no constants"))
            }
            _ => Err(Declined::node(node, "it has both scales and sizes, or neither")),
        }
    }

    /// A picture of other rows and columns; pixels that are copied of copies are copied at once.
    pub(super) fn resampled(
        &mut self,
        node: &NodeProto,
        tensor: &Tensor,
        samples: Samples,
    ) -> Result<Tensor, Declined> {
        self.spend(node, (samples.rows.len() + samples.columns.len()) * WORDS_OF_SAMPLE)?;
        let from = self.network.shapes[tensor.value];
        let shape = Shape { height: samples.rows.len(), width: samples.columns.len(), ..from };
        let before = self.network.producer(tensor.value).map(|place| &self.network.nodes[place]);
        let (input, samples) = match before.map(|before| (&before.layer, before.inputs.as_slice())) {
            Some((Layer::Resize(first), &[input])) if first.are_copies() && samples.are_copies() => {
                (input, joined(first, &samples))
            }
            _ => (tensor.value, samples),
        };
        let value = self.network.add(Layer::Resize(samples), vec![input], shape);
        Ok(Tensor::plain(value, vec![1, shape.channels, shape.height, shape.width]))
    }
}

/// Batch, channels, rows and columns before and after; the reason where they are none.
fn sides(shape: Shape, axes: &[i64], sizes: &Sizes) -> Result<[Axis; 4], String> {
    let mut sides = [1, shape.channels, shape.height, shape.width].map(Axis::unchanged);
    let given = match sizes {
        Sizes::Scales(scales) => scales.len(),
        Sizes::Lengths(lengths) => lengths.len(),
    };
    let from_front = |&axis: &i64| if axis < 0 { axis.saturating_add(4) } else { axis };
    let places: Vec<i64> = axes.iter().map(from_front).collect();
    let is_known = |(place, axis): (usize, &i64)| (0..4).contains(axis) && !places[..place].contains(axis);
    if given != places.len() || !places.iter().enumerate().all(is_known) {
        let first = &axes[..axes.len().min(8)];
        return Err(format!("{given} scales or sizes for the axes {first:?} of four"));
    }
    for (place, &axis) in places.iter().enumerate() {
        let side = &mut sides[axis as usize];
        *side = match sizes {
            Sizes::Scales(scales) => Axis::scaled(side.from, scales[place]),
            Sizes::Lengths(lengths) => Axis::sized(side.from, lengths[place]),
        }?;
    }
    Ok(sides)
}

/// Copies of copies.
fn joined(first: &Samples, then: &Samples) -> Samples {
    let of = |first: &[Sample], then: &[Sample]| then.iter().map(|sample| first[sample.first as usize]).collect();
    Samples { rows: of(&first.rows, &then.rows), columns: of(&first.columns, &then.columns) }
}
