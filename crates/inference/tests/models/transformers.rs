//! Transformers over tokens: attention as exporters spell it, against tract, and what of it is refused and why.

use margay_inference::ModelSpec;

use crate::compiled::{check, declined};
use crate::networks::{Growing, spec};
use crate::protobuf::Value;

/// A transformer of some heads of sixteen channels, with a token of its own or not: `patches` a side of the picture.
pub fn transformer(seed: u64, patches: usize, heads: usize, spelled: bool) -> (Vec<u8>, ModelSpec) {
    let (mut network, channels) = (Growing::new(seed, 3 * patches, 3 * patches), 16 * heads);
    network.convolution(channels, [3, 3, 0], 1);
    let shape = network.integers(&[1, channels as i64, -1]);
    network.then("Reshape", &[&shape], &[]);
    network.then("Transpose", &[], &[("perm", Value::Ints(&[0, 2, 1]))]);
    let mut tokens = patches * patches;
    if spelled {
        let token = network.weights(&[1, 1, channels], 1.0);
        network.push("Concat", &[&token, &network.last.clone()], &[("axis", Value::Int(1))]);
        tokens += 1;
    }
    let places = network.weights(&[1, tokens, channels], 1.0);
    network.then("Add", &[&places], &[]);
    transformer_block(&mut network, tokens, heads, spelled);
    if spelled {
        let first = network.whole(0);
        network.then("Gather", &[&first], &[("axis", Value::Int(1))]);
    } else {
        network.then("ReduceMean", &[], &[("axes", Value::Ints(&[1])), ("keepdims", Value::Int(0))]);
    }
    let weights = network.weights(&[channels, 3], 0.3);
    network.then("MatMul", &[&weights], &[]);
    network.channels = 3;
    (network.file(17), spec(3 * patches as u32, 3 * patches as u32))
}

/// Attention and a perceptron behind it; queries, keys and values are places of an axis, or channels cut apart.
fn transformer_block(network: &mut Growing, tokens: usize, heads: usize, spelled: bool) {
    let (entry, channels) = (network.last.clone(), 16 * heads);
    let [scale, shift] = ["scale", "shift"].map(|_| network.weights(&[channels], 0.8));
    network.then("LayerNormalization", &[&scale, &shift], &[("epsilon", Value::Float(1e-3))]);
    let [weights, back] = [3 * channels, channels].map(|outputs| network.weights(&[channels, outputs], 0.2));
    let (bias, root) = (network.weights(&[3 * channels], 0.2), network.constant(&[], &[4.0]));
    network.then("MatMul", &[&weights], &[]);
    network.then("Add", &[&bias], &[]);
    let all = network.last.clone();
    let parts = if spelled {
        let shape = network.integers(&[1, tokens as i64, 3, heads as i64, 16]);
        network.then("Reshape", &[&shape], &[]);
        network.then("Transpose", &[], &[("perm", Value::Ints(&[2, 0, 3, 1, 4]))]);
        let split = network.last.clone();
        [0, 1, 2].map(|place| {
            let place = network.whole(place);
            network.push("Gather", &[&split, &place], &[("axis", Value::Int(0))]);
            network.last.clone()
        })
    } else {
        let shape = network.integers(&[1, tokens as i64, heads as i64, 16]);
        [0, 1, 2].map(|part| {
            let first = part * channels as i64;
            let [start, end, axis] = [first, first + channels as i64, 2].map(|bound| network.integers(&[bound]));
            network.push("Slice", &[&all, &start, &end, &axis], &[]);
            network.then("Reshape", &[&shape], &[]);
            network.then("Transpose", &[], &[("perm", Value::Ints(&[0, 2, 1, 3]))]);
            network.last.clone()
        })
    };
    let [queries, keys, values] = parts;
    network.push("Transpose", &[&keys], &[("perm", Value::Ints(&[0, 1, 3, 2]))]);
    network.push("MatMul", &[&queries, &network.last.clone()], &[]);
    network.then("Div", &[&root], &[]);
    network.then("Softmax", &[], &[("axis", Value::Int(-1))]);
    network.then("MatMul", &[&values], &[]);
    network.then("Transpose", &[], &[("perm", Value::Ints(&[0, 2, 1, 3]))]);
    let merged = network.integers(&[1, tokens as i64, channels as i64]);
    network.then("Reshape", &[&merged], &[]);
    network.then("MatMul", &[&back], &[]);
    network.then("Add", &[&entry], &[]);
}

#[test]
fn transformers_of_many_sizes_say_the_same_as_with_tract() {
    for (seed, (patches, heads)) in [(2, 1), (2, 3), (3, 2), (4, 1), (7, 2), (9, 4)].into_iter().enumerate() {
        for spelled in [false, true] {
            let (file, spec) = transformer(seed as u64, patches, heads, spelled);
            check(&format!("{patches} patches a side, {heads} heads, {spelled}"), &file, &spec);
        }
    }
}

/// Of two tokens that ask all.
#[test]
fn queries_may_be_fewer_than_keys() {
    let mut network = Growing::new(22, 9, 9);
    network.convolution(16, [3, 3, 0], 1);
    let shape = network.integers(&[1, 16, 9]);
    network.then("Reshape", &[&shape], &[]);
    network.then("Transpose", &[], &[("perm", Value::Ints(&[0, 2, 1]))]);
    let places = network.weights(&[1, 9, 16], 1.0);
    network.then("Add", &[&places], &[]);
    let tokens = network.last.clone();
    network.then("Transpose", &[], &[("perm", Value::Ints(&[0, 2, 1]))]);
    let keys = network.last.clone();
    let [start, end, axis] = [3, 5, 1].map(|bound| network.integers(&[bound]));
    network.push("Slice", &[&tokens, &start, &end, &axis], &[]);
    network.then("MatMul", &[&keys], &[]);
    network.then("Softmax", &[], &[("axis", Value::Int(2))]);
    network.then("MatMul", &[&tokens], &[]);
    network.then("ReduceMean", &[], &[("axes", Value::Ints(&[1])), ("keepdims", Value::Int(0))]);
    network.channels = 16;
    check("two queries", &network.file(17), &spec(9, 9));
}

/// Why attention of tokens by themselves is left to tract where `change` comes between its two products.
fn declined_attention(channels: usize, change: impl Fn(&mut Growing)) -> String {
    let mut network = Growing::new(21, 6, 6);
    network.convolution(channels, [3, 3, 0], 1);
    let shape = network.integers(&[1, channels as i64, 4]);
    network.then("Reshape", &[&shape], &[]);
    network.then("Transpose", &[], &[("perm", Value::Ints(&[0, 2, 1]))]);
    let places = network.weights(&[1, 4, channels], 1.0);
    network.then("Add", &[&places], &[]);
    let tokens = network.last.clone();
    network.then("Transpose", &[], &[("perm", Value::Ints(&[0, 2, 1]))]);
    network.push("MatMul", &[&tokens, &network.last.clone()], &[]);
    change(&mut network);
    network.push("MatMul", &[&network.last.clone(), &tokens], &[]);
    network.then("ReduceMean", &[], &[("axes", Value::Ints(&[1])), ("keepdims", Value::Int(0))]);
    network.channels = channels;
    declined(&network.file(17), &spec(6, 6))
}

#[test]
fn attention_that_is_not_covered_says_what_is_in_the_way() {
    let softmax = |network: &mut Growing| network.then("Softmax", &[], &[("axis", Value::Int(-1))]);
    let mask = declined_attention(16, |network| {
        let mask = network.weights(&[1, 4, 4], 1.0);
        network.then("Add", &[&mask], &[]);
        softmax(network);
    });
    assert!(mask.starts_with("Add at ") && mask.contains("as for a mask"), "{mask}");
    let other_axis = declined_attention(16, |network| network.then("Softmax", &[], &[("axis", Value::Int(1))]));
    assert!(other_axis.starts_with("Softmax at ") && other_axis.contains("over axis 1"), "{other_axis}");
    let linear = declined_attention(16, |_| {});
    assert!(linear.starts_with("MatMul at ") && linear.contains("without their softmax"), "{linear}");
    let narrow = declined_attention(24, softmax);
    assert!(narrow.starts_with("MatMul at ") && narrow.contains("heads of 24 channels"), "{narrow}");
    let scaled = declined_attention(16, |network| {
        softmax(network);
        let half = network.constant(&[], &[0.5]);
        network.then("Mul", &[&half], &[]);
    });
    assert!(scaled.starts_with("Mul at "), "{scaled}");
}
