//! Attention: a product of queries and keys, scaled, its softmax, and the product with the values, as one layer.

use margay_kernels::{LANES, Shape};
use tract_onnx::pb::NodeProto;

use super::arrangement::{Arranged, Side, Stretch};
use super::{Known, Reader};
use crate::engine::compiled::attributes::Attributes;
use crate::engine::compiled::declined::Declined;
use crate::engine::compiled::network::{Layer, ValueId};

/// Neighbouring channels of tokens, head by head.
#[derive(Debug, Clone)]
struct Heads {
    arranged: Arranged,
    count: usize,
    /// Channels from a head to the next, and of a head.
    apart: usize,
    channels: usize,
    tokens: usize,
}

/// The products of queries and keys.
#[derive(Debug, Clone)]
pub(super) struct Scores {
    queries: Heads,
    keys: Heads,
    scale: f32,
    /// Axes before those of queries and keys.
    heads: Vec<usize>,
    is_softmax: bool,
}

impl Scores {
    pub(super) fn dims(&self) -> Vec<usize> {
        [&self.heads[..], &[self.queries.tokens, self.keys.tokens]].concat()
    }

    /// The same multiplied by a number, before the softmax.
    pub(super) fn scaled(&self, factor: f32) -> Option<Self> {
        (!self.is_softmax).then(|| Self { scale: self.scale * factor, ..self.clone() })
    }
}

impl<'a> Reader<'a> {
    /// `MatMul` of two tensors that the model computes: of queries and keys, or of their scores and values.
    pub(super) fn product(&mut self, node: &'a NodeProto) -> Result<Known, Declined> {
        Attributes::of(node).finish()?;
        if let Some(Known::Scores(scores)) = node.input.first().and_then(|name| self.known.get(name.as_str())) {
            let scores = scores.clone();
            return self.attention(node, &scores);
        }
        let [Some(queries), Some(keys)] = [0, 1].map(|input| self.arranged(node, input)) else {
            return Err(Declined::node(node, "of two tensors that are no tokens it is not covered"));
        };
        let axes = keys.axes.len();
        let mut order: Vec<i64> = (0..axes as i64).collect();
        if axes > 1 {
            order.swap(axes - 2, axes - 1);
        }
        let [queries, keys] = [(0, Some(queries)), (1, keys.transposed(&order))]
            .map(|(input, arranged)| self.heads(node, input, arranged));
        let (queries, keys) = (queries?, keys?);
        let heads = |heads: &Heads| heads.arranged.dims()[..heads.arranged.axes.len() - 2].to_vec();
        if heads(&queries) != heads(&keys) || queries.channels != keys.channels {
            let reason = format!("queries {:?} and keys {:?}", queries.arranged.dims(), keys.arranged.dims());
            return Err(Declined::node(node, reason));
        }
        let (scale, heads) = (queries.arranged.scale * keys.arranged.scale, heads(&queries));
        Ok(Known::Scores(Box::new(Scores { queries, keys, scale, heads, is_softmax: false })))
    }

    /// Softmax over the keys.
    pub(super) fn softmax_of_scores(&self, node: &NodeProto, scores: &Scores) -> Result<Known, Declined> {
        let attributes = Attributes::of(node);
        let axis = attributes.int("axis", if self.opset < 13 { 1 } else { -1 });
        attributes.finish()?;
        let last = scores.heads.len() as i64 + 1;
        if scores.is_softmax || ![-1, last].contains(&axis) {
            return Err(Declined::node(node, format!("over axis {axis} of an attention's scores it is not covered")));
        }
        Ok(Known::Scores(Box::new(Scores { is_softmax: true, ..scores.clone() })))
    }

    /// Scores, or parts of tokens, multiplied or divided by one number.
    pub(super) fn scaled_tokens(&self, node: &NodeProto) -> Result<Known, Declined> {
        Attributes::of(node).finish()?;
        let constants = [0, 1].map(|input| self.constant(node, input));
        let (input, constant) = match constants {
            [None, Some(constant)] => (0, constant),
            [Some(constant), None] => (1, constant),
            _ => return Err(Declined::node(node, "of two tensors of parts of tokens it is not covered")),
        };
        let known = node.input.get(input).and_then(|name| self.known.get(name.as_str()));
        let factor = match constant.floats() {
            Some(&[number]) if node.op_type == "Div" => Some(1.0 / number),
            Some(&[number]) => Some(number),
            _ => None,
        };
        let scaled = factor.and_then(|factor| match known {
            Some(Known::Scores(scores)) => scores.scaled(factor).map(|scores| Known::Scores(Box::new(scores))),
            _ => self.arranged(node, input).map(|arranged| {
                let scale = arranged.scale * factor;
                Known::Arranged(Box::new(Arranged { scale, ..arranged }))
            }),
        });
        scaled.ok_or_else(|| Declined::node(node, format!("parts of tokens by constants of {:?}", constant.dims)))
    }

    /// The product of scores and values.
    fn attention(&mut self, node: &'a NodeProto, scores: &Scores) -> Result<Known, Declined> {
        if !scores.is_softmax {
            return Err(Declined::node(node, "of an attention's scores without their softmax it is not covered"));
        }
        let arranged = self.arranged(node, 1);
        let values = self.heads(node, 1, arranged)?;
        let Scores { queries, keys, scale, heads, .. } = scores;
        let is_alike = values.arranged.dims()[..values.arranged.axes.len() - 2] == heads[..];
        if !is_alike || values.channels != keys.channels || values.tokens != keys.tokens {
            let reason = format!("scores {:?} and values {:?}", scores.dims(), values.arranged.dims());
            return Err(Declined::node(node, reason));
        }
        if values.arranged.scale != 1.0 {
            return Err(Declined::node(node, "of scaled values it is not covered"));
        }
        let (count, channels, tokens) = (queries.count, queries.channels, queries.tokens);
        if !channels.is_multiple_of(LANES) {
            return Err(Declined::node(node, format!("heads of {channels} channels, no multiple of {LANES}")));
        }
        let mut inputs = Vec::with_capacity(3);
        let mut first = [0; 3];
        for (from, first) in [queries, keys, &values].into_iter().zip(&mut first) {
            let (value, channel) = self.side_by_side(node, from)?;
            inputs.push(value);
            *first = channel;
        }
        let shape = Shape { channels: count * channels, height: 1, width: tokens };
        let layer = Layer::Attention { heads: count, channels, first, scale: *scale };
        let value = self.network.add(layer, inputs, shape);
        let stretches = [
            Stretch { side: Side::Channels, length: count, apart: channels },
            Stretch::of(Side::Pixels, tokens),
            Stretch::of(Side::Channels, channels),
        ];
        let dims = [&heads[..], &[tokens, channels]].concat();
        let arranged = Arranged::new(value, &stretches, &dims);
        let arranged = arranged.ok_or_else(|| Declined::node(node, format!("its shape {dims:?}")))?;
        Ok(self.settled(arranged))
    }

    /// An input `[heads…, tokens, channels]` of all pixels of a value.
    fn heads(&self, node: &NodeProto, input: usize, arranged: Option<Arranged>) -> Result<Heads, Declined> {
        let found = arranged.and_then(|arranged| {
            let axes = arranged.axes.len();
            let before = axes.checked_sub(2)?;
            let shape = self.network.shapes[arranged.value];
            let count = match arranged.stretches(0..before)[..] {
                [] => (1, 0),
                [Stretch { side: Side::Channels, length, apart }] => (length, apart),
                _ => return None,
            };
            let tokens = match arranged.stretches(before..before + 1)[..] {
                [] if shape.pixels() == 1 => 1,
                [Stretch { side: Side::Pixels, length, apart: 1 }] if length == shape.pixels() => length,
                _ => return None,
            };
            let channels = match arranged.stretches(before + 1..axes)[..] {
                [] => 1,
                [Stretch { side: Side::Channels, length, apart: 1 }] => length,
                _ => return None,
            };
            (shape.height == 1).then_some(Heads { arranged, count: count.0, apart: count.1, channels, tokens })
        });
        found.ok_or_else(|| Declined::node(node, format!("its input {input} is not tokens in one row, head by head")))
    }

    /// The value, and its channel, from which on heads lie one behind the other: a copy where they do not.
    fn side_by_side(&mut self, node: &NodeProto, heads: &Heads) -> Result<(ValueId, usize), Declined> {
        let Heads { arranged, count, apart, channels, tokens } = heads;
        let first = arranged.first[Side::Channels as usize];
        if first.is_multiple_of(LANES) && (*count == 1 || apart == channels) {
            return Ok((arranged.value, first));
        }
        let order: Vec<usize> =
            (0..*count).flat_map(|head| (0..*channels).map(move |at| first + head * apart + at)).collect();
        let shape = Shape { channels: count * channels, height: 1, width: *tokens };
        if order.iter().any(|&channel| channel >= self.network.shapes[arranged.value].channels) {
            return Err(Declined::node(node, "a channel that does not exist"));
        }
        Ok((self.network.add(Layer::Channels { order }, vec![arranged.value], shape), 0))
    }
}
