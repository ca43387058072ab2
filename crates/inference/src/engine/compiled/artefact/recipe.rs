//! A network in an artefact, without the weights of its convolutions, and without what is added to rows of tokens.
//!
//! What the reader of models guarantees is checked here again, because lowering relies on it: every layer reads what the
//! input is or a layer before it wrote, and writes what none before it did. Shapes and numbers are the program builder's to
//! check.

use std::collections::BTreeMap;
use std::sync::Arc;

use margay_kernels::{Activation, Combination, InputOrder, PoolKind, Quantised, Sample, Samples, Shape, Window};

use super::codec::{Malformed, Reader, put_count, put_floats, put_sizes};
use crate::engine::compiled::network::{Layer, Network, Node};
use crate::engine::compiled::quantised::layer::{ByteFilters, ByteLayer, Finish, Stored};
use crate::engine::compiled::weights::LayerWeights;

/// Most values of a network, and most inputs of a layer: more than any model's file can have.
const MAX_VALUES: usize = 1 << 16;

pub(super) fn write(network: &Network, to: &mut Vec<u8>) {
    to.push(u8::from(network.order == InputOrder::ChannelsLast));
    put_count(to, network.shapes.len());
    for Shape { channels, height, width } in &network.shapes {
        [channels, height, width].into_iter().for_each(|&length| put_count(to, length));
    }
    put_count(to, network.bytes.len());
    for (value, stored) in &network.bytes {
        put_count(to, *value);
        put_quantised(to, stored.quantised);
        to.push(u8::from(stored.is_signed));
    }
    put_count(to, network.output);
    put_count(to, network.nodes.len());
    for Node { layer, inputs, output } in &network.nodes {
        put_sizes(to, inputs);
        put_count(to, *output);
        put_layer(to, layer);
    }
}

pub(super) fn read(from: &mut Reader<'_>) -> Result<Network, Malformed> {
    let order = if from.flag()? { InputOrder::ChannelsLast } else { InputOrder::ChannelsFirst };
    let values = from.count(MAX_VALUES)?;
    let shape = |from: &mut Reader<'_>| {
        let [channels, height, width] = [from.size()?, from.size()?, from.size()?];
        Ok(Shape { channels, height, width })
    };
    let shapes = (0..values).map(|_| shape(from)).collect::<Result<Vec<_>, Malformed>>()?;
    let mut bytes = BTreeMap::new();
    for _ in 0..from.count(values)? {
        let (value, quantised, is_signed) = (from.size()?, quantised(from)?, from.flag()?);
        bytes.insert(value, Stored { quantised, is_signed });
    }
    let output = from.size()?;
    let mut is_written = vec![false; values];
    *is_written.first_mut().ok_or(from.error("no values"))? = true;
    let mut nodes = Vec::new();
    for _ in 0..from.count(values)? {
        let (inputs, output) = (from.sizes()?, from.size()?);
        let is_fit = !inputs.is_empty() && inputs.len() <= MAX_VALUES;
        if !is_fit || !inputs.iter().all(|&input| is_written.get(input) == Some(&true)) {
            return Err(from.error("a layer that reads what nothing writes before it"));
        }
        match is_written.get_mut(output) {
            Some(is_written) if !*is_written => *is_written = true,
            _ => return Err(from.error("a layer that writes what is written")),
        }
        nodes.push(Node { layer: layer(from)?, inputs, output });
    }
    if is_written.get(output) != Some(&true) {
        return Err(from.error("an output that nothing writes"));
    }
    Ok(Network { order, shapes, nodes, output, bytes })
}

fn put_layer(to: &mut Vec<u8>, layer: &Layer) {
    match layer {
        Layer::Convolution { weights: _, bias, window, groups, activation } => {
            to.push(0);
            put_floats(to, bias);
            put_window(to, *window);
            put_count(to, *groups);
            put_activation(to, *activation);
        }
        Layer::Pool { kind, window } => {
            to.push(1);
            let (kind, counts) = match kind {
                PoolKind::Maximum => (0, false),
                PoolKind::Average { counts_padding } => (1, *counts_padding),
            };
            to.extend([kind, u8::from(counts)]);
            put_window(to, *window);
        }
        Layer::Average => to.push(2),
        Layer::Combine { how, activation } => {
            to.extend([3, combination(*how)]);
            put_activation(to, *activation);
        }
        Layer::ByChannel { how, activation } => {
            to.extend([4, combination(*how)]);
            put_activation(to, *activation);
        }
        Layer::Affine { factors, addends, activation } => {
            to.push(5);
            put_floats(to, factors);
            put_floats(to, addends);
            put_activation(to, *activation);
        }
        Layer::Concatenate => to.push(6),
        Layer::Channels { order } => {
            to.push(7);
            put_sizes(to, order);
        }
        Layer::Softmax => to.push(8),
        Layer::Resize(samples) => {
            to.push(12);
            put_samples(to, &samples.rows);
            put_samples(to, &samples.columns);
        }
        Layer::Normalise { scale, shift, epsilon } => {
            to.push(9);
            put_floats(to, scale);
            put_floats(to, shift);
            to.extend(epsilon.to_le_bytes());
        }
        Layer::Tokens { first, addends: _ } => {
            to.push(10);
            put_count(to, *first);
        }
        Layer::Attention { heads, channels, first, scale } => {
            to.push(11);
            [*heads, *channels].into_iter().chain(*first).for_each(|size| put_count(to, size));
            to.extend(scale.to_le_bytes());
        }
        Layer::Bytes(layer) => put_byte_layer(to, layer),
    }
}

fn layer(from: &mut Reader<'_>) -> Result<Layer, Malformed> {
    Ok(match from.byte()? {
        0 => Layer::Convolution {
            weights: LayerWeights::none(),
            bias: from.floats()?,
            window: window(from)?,
            groups: from.size()?,
            activation: activation(from)?,
        },
        1 => {
            let kind = match (from.byte()?, from.flag()?) {
                (0, false) => PoolKind::Maximum,
                (1, counts_padding) => PoolKind::Average { counts_padding },
                _ => return Err(from.error("an unknown pooling")),
            };
            Layer::Pool { kind, window: window(from)? }
        }
        2 => Layer::Average,
        3 => Layer::Combine { how: combination_of(from)?, activation: activation(from)? },
        4 => Layer::ByChannel { how: combination_of(from)?, activation: activation(from)? },
        5 => Layer::Affine { factors: from.floats()?, addends: from.floats()?, activation: activation(from)? },
        6 => Layer::Concatenate,
        7 => Layer::Channels { order: from.sizes()? },
        8 => Layer::Softmax,
        12 => Layer::Resize(Samples { rows: samples(from)?, columns: samples(from)? }),
        10 => Layer::Tokens { first: from.size()?, addends: Vec::new() },
        11 => Layer::Attention {
            heads: from.size()?,
            channels: from.size()?,
            first: [from.size()?, from.size()?, from.size()?],
            scale: from.float()?,
        },
        9 => Layer::Normalise { scale: from.floats()?, shift: from.floats()?, epsilon: from.float()? },
        kind => Layer::Bytes(byte_layer(kind, from)?),
    })
}

fn put_byte_layer(to: &mut Vec<u8>, layer: &ByteLayer) {
    match layer {
        ByteLayer::Quantise(by) => {
            to.push(16);
            put_quantised(to, *by);
        }
        ByteLayer::Dequantise(by) => {
            to.push(17);
            put_quantised(to, *by);
        }
        ByteLayer::Convolution(filters) => {
            to.push(18);
            put_quantised(to, filters.from);
            put_floats(to, &filters.scales);
            put_window(to, filters.window);
            put_count(to, filters.groups);
            put_activation(to, filters.activation);
            put_finish(to, &filters.finish);
        }
        ByteLayer::Table(table) => {
            to.push(19);
            to.extend(table.iter());
        }
        ByteLayer::Sum { from, to: by, limits } => {
            to.push(20);
            [from[0], from[1], *by].into_iter().for_each(|by| put_quantised(to, by));
            to.extend(limits);
        }
        ByteLayer::Product { from, to: by, limits } => {
            to.push(21);
            [from[0], from[1], *by].into_iter().for_each(|by| put_quantised(to, by));
            to.extend(limits);
        }
        ByteLayer::Pool(window) => {
            to.push(22);
            put_window(to, *window);
        }
        ByteLayer::Mean { from, to: by } => {
            to.push(23);
            put_quantised(to, *from);
            put_quantised(to, *by);
        }
    }
}

fn byte_layer(kind: u8, from: &mut Reader<'_>) -> Result<ByteLayer, Malformed> {
    Ok(match kind {
        16 => ByteLayer::Quantise(quantised(from)?),
        17 => ByteLayer::Dequantise(quantised(from)?),
        18 => ByteLayer::Convolution(Box::new(ByteFilters {
            from: quantised(from)?,
            weights: Arc::from([]),
            scales: from.floats()?,
            bias: Vec::new(),
            window: window(from)?,
            groups: from.size()?,
            activation: activation(from)?,
            finish: finish(from)?,
        })),
        19 => ByteLayer::Table(Box::new(from.bytes()?)),
        20 => {
            ByteLayer::Sum { from: [quantised(from)?, quantised(from)?], to: quantised(from)?, limits: from.bytes()? }
        }
        21 => ByteLayer::Product {
            from: [quantised(from)?, quantised(from)?],
            to: quantised(from)?,
            limits: from.bytes()?,
        },
        22 => ByteLayer::Pool(window(from)?),
        23 => ByteLayer::Mean { from: quantised(from)?, to: quantised(from)? },
        _ => return Err(from.error("an unknown layer")),
    })
}

fn put_finish(to: &mut Vec<u8>, finish: &Finish) {
    match finish {
        Finish::Floats(addends) => {
            to.push(0);
            put_floats(to, addends);
        }
        Finish::Bytes(by, limits) => {
            to.push(1);
            put_quantised(to, *by);
            to.extend(limits);
        }
        Finish::Sum { between, residual, to: by, limits } => {
            to.push(2);
            [*between, *residual, *by].into_iter().for_each(|by| put_quantised(to, by));
            to.extend(limits);
        }
    }
}

fn finish(from: &mut Reader<'_>) -> Result<Finish, Malformed> {
    Ok(match from.byte()? {
        0 => Finish::Floats(from.floats()?),
        1 => Finish::Bytes(quantised(from)?, from.bytes()?),
        2 => Finish::Sum {
            between: quantised(from)?,
            residual: quantised(from)?,
            to: quantised(from)?,
            limits: from.bytes()?,
        },
        _ => return Err(from.error("an unknown end of a convolution")),
    })
}

fn put_quantised(to: &mut Vec<u8>, by: Quantised) {
    to.extend(by.scale.to_le_bytes());
    to.push(by.zero);
}

fn quantised(from: &mut Reader<'_>) -> Result<Quantised, Malformed> {
    Ok(Quantised { scale: from.float()?, zero: from.byte()? })
}

fn put_samples(to: &mut Vec<u8>, samples: &[Sample]) {
    put_count(to, samples.len());
    for Sample { first, second, weight } in samples {
        [first, second].into_iter().for_each(|place| to.extend(place.to_le_bytes()));
        to.extend(weight.to_le_bytes());
    }
}

fn samples(from: &mut Reader<'_>) -> Result<Vec<Sample>, Malformed> {
    let sample =
        |from: &mut Reader<'_>| Ok(Sample { first: from.word()?, second: from.word()?, weight: from.float()? });
    (0..from.count(usize::MAX)?).map(|_| sample(from)).collect()
}

fn put_window(to: &mut Vec<u8>, window: Window) {
    let Window { kernel, stride, padding, dilation } = window;
    [kernel, stride, padding, dilation].as_flattened().iter().for_each(|&length| put_count(to, length));
}

fn window(from: &mut Reader<'_>) -> Result<Window, Malformed> {
    let mut pair = || Ok::<_, Malformed>([from.size()?, from.size()?]);
    Ok(Window { kernel: pair()?, stride: pair()?, padding: pair()?, dilation: pair()? })
}

fn combination(how: Combination) -> u8 {
    match how {
        Combination::Sum => 0,
        Combination::Product => 1,
    }
}

fn combination_of(from: &mut Reader<'_>) -> Result<Combination, Malformed> {
    Ok(if from.flag()? { Combination::Product } else { Combination::Sum })
}

fn put_activation(to: &mut Vec<u8>, activation: Activation) {
    let (kind, numbers) = match activation {
        Activation::Identity => (0, [0.0; 2]),
        Activation::Clamp { low, high } => (1, [low, high]),
        Activation::LeakyRelu { slope } => (2, [slope, 0.0]),
        Activation::HardSigmoid { alpha, beta } => (3, [alpha, beta]),
        Activation::HardSwish { alpha, beta } => (4, [alpha, beta]),
        Activation::Sigmoid => (5, [0.0; 2]),
        Activation::Swish => (6, [0.0; 2]),
        Activation::Gelu => (7, [0.0; 2]),
        Activation::GeluByTanh => (8, [0.0; 2]),
    };
    to.push(kind);
    numbers.iter().for_each(|number| to.extend(number.to_le_bytes()));
}

fn activation(from: &mut Reader<'_>) -> Result<Activation, Malformed> {
    let (kind, first, second) = (from.byte()?, from.float()?, from.float()?);
    Ok(match kind {
        0 => Activation::Identity,
        1 => Activation::Clamp { low: first, high: second },
        2 => Activation::LeakyRelu { slope: first },
        3 => Activation::HardSigmoid { alpha: first, beta: second },
        4 => Activation::HardSwish { alpha: first, beta: second },
        5 => Activation::Sigmoid,
        6 => Activation::Swish,
        7 => Activation::Gelu,
        8 => Activation::GeluByTanh,
        _ => return Err(from.error("an unknown activation")),
    })
}
