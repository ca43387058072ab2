//! What stands between conversions becomes layers over bytes.
//!
//! A layer of floats that is computed from bytes and read by nobody but a conversion to bytes gives way to one over bytes
//! that gives the same bytes: the conversion of a maximum is the maximum of the conversions, a function of a byte has 256
//! values, and sums are the definition itself in whole numbers.

use margay_kernels::{Activation, Combination, PoolKind, Quantised, byte_of};

use super::super::network::{Layer, Network, Node, ValueId};
use super::layer::{ByteLayer, Finish, Stored};

/// Fuses what can be.
pub(in super::super) fn fuse(network: &mut Network) {
    if network.bytes.is_empty() {
        return;
    }
    let mut fusion = Fusion::of(network);
    for place in 0..fusion.network.nodes.len() {
        if let Layer::Bytes(ByteLayer::Quantise(to)) = fusion.network.nodes[place].layer {
            fusion.conversion(place, to);
        }
    }
    fusion.clean();
    for place in 0..fusion.network.nodes.len() {
        fusion.residual(place);
    }
    fusion.clean();
}

/// A network under fusion.
struct Fusion<'a> {
    network: &'a mut Network,
    /// How often each value is read by what the output depends on.
    readers: Vec<usize>,
    /// Which node computes each value.
    producers: Vec<Option<usize>>,
    /// Nodes to come before others.
    additions: Vec<(usize, Node)>,
}

impl<'a> Fusion<'a> {
    fn of(network: &'a mut Network) -> Self {
        let mut fusion = Self { network, readers: Vec::new(), producers: Vec::new(), additions: Vec::new() };
        fusion.clean();
        fusion
    }

    /// Puts additions into their places, drops nodes that nobody reads, and counts readers anew.
    fn clean(&mut self) {
        // From the last place on, so that the places before stay what they are.
        while let Some((place, node)) = self.additions.pop() {
            self.network.nodes.insert(place, node);
        }
        let count = self.network.shapes.len();
        self.readers = vec![0; count];
        self.readers[self.network.output] += 1;
        let readers = &mut self.readers;
        let mut keep: Vec<bool> = self
            .network
            .nodes
            .iter()
            .rev()
            .map(|node| {
                let is_read = readers[node.output] > 0;
                if is_read {
                    node.inputs.iter().for_each(|&input| readers[input] += 1);
                }
                is_read
            })
            .collect();
        self.network.nodes.retain(|_| keep.pop().unwrap_or(true));
        self.producers = vec![None; count];
        for (place, node) in self.network.nodes.iter().enumerate() {
            self.producers[node.output] = Some(place);
        }
    }

    fn producer(&self, value: ValueId) -> Option<&Node> {
        self.producers[value].map(|place| &self.network.nodes[place])
    }

    /// The bytes that a value is converted from.
    fn bytes_of(&self, value: ValueId) -> Option<(ValueId, Quantised)> {
        match self.producer(value)? {
            Node { layer: Layer::Bytes(ByteLayer::Dequantise(from)), inputs, .. } => Some((inputs[0], *from)),
            _ => None,
        }
    }

    /// Makes the conversion to bytes at a place a layer over bytes, with what it reads.
    fn conversion(&mut self, place: usize, to: Quantised) {
        let node = &self.network.nodes[place];
        let (floats, output) = (node.inputs[0], node.output);
        if let Some((bytes, from)) = self.bytes_of(floats) {
            if from == to {
                // Only scores show whether bytes are signed.
                if output == self.network.output {
                    let stored = self.network.bytes.get(&output).copied();
                    self.network.bytes.extend(stored.map(|stored| (bytes, stored)));
                }
                return self.substitute(output, bytes);
            }
            let table = table(from, to, Activation::Identity);
            return self.set(place, ByteLayer::Table(table), vec![bytes]);
        }
        if self.readers[floats] != 1 {
            return;
        }
        let Some(at) = self.producers[floats] else { return };
        let Node { layer, inputs, .. } = self.network.nodes[at].clone();
        let bytes: Option<Vec<_>> = inputs.iter().map(|&input| self.bytes_of(input)).collect();
        match (layer, bytes.as_deref()) {
            (Layer::Bytes(ByteLayer::Convolution(_)), _) => self.rounded(at, place, to),
            (Layer::Affine { factors, addends, activation }, Some(&[(bytes, from)])) => {
                let is_bare =
                    factors.iter().all(|&factor| factor == 1.0) && addends.iter().all(|&addend| addend == 0.0);
                if is_bare {
                    self.set(place, ByteLayer::Table(table(from, to, activation)), vec![bytes]);
                }
            }
            (Layer::Combine { how: Combination::Sum, activation }, Some(&[(a, first), (b, second)])) => {
                if let Some(limits) = limits(activation, to) {
                    self.set(place, ByteLayer::Sum { from: [first, second], to, limits }, vec![a, b]);
                }
            }
            (
                Layer::Combine { how: Combination::Product, activation }
                | Layer::ByChannel { how: Combination::Product, activation },
                Some(&[first, second]),
            ) => self.product(place, [first, second], activation, to),
            (Layer::Average, Some(&[(bytes, from)])) => {
                self.set(place, ByteLayer::Mean { from, to }, vec![bytes]);
            }
            (Layer::Pool { kind: PoolKind::Maximum, window }, Some(&[(bytes, from)])) if from == to => {
                self.set(place, ByteLayer::Pool(window), vec![bytes]);
            }
            (layer, Some(bytes)) if layer.only_copies() => {
                let inputs = bytes.iter().map(|&(bytes, from)| self.converted(place, bytes, from, to)).collect();
                let node = &mut self.network.nodes[place];
                (node.layer, node.inputs) = (layer, inputs);
            }
            _ => {}
        }
    }

    /// Has a convolution of bytes give the bytes that the conversion at a later place makes of its floats.
    fn rounded(&mut self, at: usize, later: usize, to: Quantised) {
        let output = self.network.nodes[later].output;
        let Layer::Bytes(ByteLayer::Convolution(filters)) = &mut self.network.nodes[at].layer else { return };
        let is_plain = matches!(&filters.finish, Finish::Floats(addends) if addends.is_empty());
        let Some(limits) = limits(filters.activation, to).filter(|_| is_plain) else { return };
        (filters.finish, filters.activation) = (Finish::Bytes(to, limits), Activation::Identity);
        self.rename(at, output, later);
    }

    /// A product as a layer over bytes; of a byte and a function of the same one, such as a gate, it is a table.
    fn product(&mut self, place: usize, bytes: [(ValueId, Quantised); 2], activation: Activation, to: Quantised) {
        for ((x, from), (gate, gate_from)) in [(bytes[0], bytes[1]), (bytes[1], bytes[0])] {
            let Some(Node { layer: Layer::Bytes(ByteLayer::Table(gates)), inputs, .. }) = self.producer(gate) else {
                continue;
            };
            if inputs[0] == x {
                let number = |byte: u8, by: Quantised| f32::from(i16::from(byte) - i16::from(by.zero)) * by.scale;
                let gated = |byte: u8| number(byte, from) * number(gates[usize::from(byte)], gate_from);
                let table = (0..=255).map(|byte| byte_of(activation.of(gated(byte)), to)).collect::<Vec<u8>>();
                let mut all = Box::new([0; 256]);
                all.copy_from_slice(&table);
                return self.set(place, ByteLayer::Table(all), vec![x]);
            }
        }
        // The vector, if there is one, comes second.
        let pixels = bytes.map(|(value, _)| self.network.shapes[value].pixels());
        let [first, second] = if pixels[0] < pixels[1] { [bytes[1], bytes[0]] } else { bytes };
        if let Some(limits) = limits(activation, to) {
            let layer = ByteLayer::Product { from: [first.1, second.1], to, limits };
            self.set(place, layer, vec![first.0, second.0]);
        }
    }

    /// Bytes in another quantisation, for a node at a place.
    fn converted(&mut self, place: usize, bytes: ValueId, from: Quantised, to: Quantised) -> ValueId {
        if from == to {
            return bytes;
        }
        let output = self.network.shapes.len();
        self.network.shapes.push(self.network.shapes[bytes]);
        self.network.bytes.insert(output, Stored { quantised: to, is_signed: false });
        self.readers.push(1);
        self.producers.push(None);
        let layer = Layer::Bytes(ByteLayer::Table(table(from, to, Activation::Identity)));
        self.additions.push((place, Node { layer, inputs: vec![bytes], output }));
        output
    }

    /// Has everybody read another value.
    fn substitute(&mut self, old: ValueId, new: ValueId) {
        let inputs = self.network.nodes.iter_mut().flat_map(|node| &mut node.inputs);
        for input in inputs.chain([&mut self.network.output]).filter(|input| **input == old) {
            *input = new;
        }
        self.readers[new] += self.readers[old];
        self.readers[old] = 0;
    }

    /// Puts another layer at a place.
    fn set(&mut self, place: usize, layer: ByteLayer, inputs: Vec<ValueId>) {
        let node = &mut self.network.nodes[place];
        node.layer = Layer::Bytes(layer);
        node.inputs = inputs;
    }

    /// Has the node at a place compute another value, which a later node computed so far; that one is left without
    /// readers, by computing what nobody reads.
    fn rename(&mut self, at: usize, output: ValueId, later: usize) {
        let old = std::mem::replace(&mut self.network.nodes[at].output, output);
        self.network.nodes[later].output = old;
        self.readers[old] = 0;
        self.network.nodes[later].inputs.clear();
        self.network.nodes[later].layer = Layer::Concatenate;
        (self.producers[output], self.producers[old]) = (Some(at), None);
    }

    /// Adds the residual to the sums of the dense convolution that comes before a sum of bytes.
    fn residual(&mut self, place: usize) {
        let Node { layer: Layer::Bytes(ByteLayer::Sum { from, to, limits }), inputs, output } =
            self.network.nodes[place].clone()
        else {
            return;
        };
        let mut order = [(0, 1), (1, 0)];
        // The one that is computed last.
        order.sort_by_key(|&(sum, _)| std::cmp::Reverse(self.producers[inputs[sum]]));
        for (sum, other) in order {
            let (value, residual) = (inputs[sum], inputs[other]);
            let Some(at) = self.producers[value] else { continue };
            let is_before = self.producers[residual].is_none_or(|residual| residual < at);
            let channels = [self.network.nodes[at].inputs[0], value].map(|value| self.network.shapes[value].channels);
            if self.readers[value] != 1 || !is_before || value == residual {
                continue;
            }
            let Layer::Bytes(ByteLayer::Convolution(filters)) = &mut self.network.nodes[at].layer else { continue };
            let is_depthwise = channels == [filters.groups; 2];
            if is_depthwise || !matches!(filters.finish, Finish::Bytes(_, [0, 255])) {
                continue;
            }
            filters.finish = Finish::Sum { between: from[sum], residual: from[other], to, limits };
            self.network.nodes[at].inputs.push(residual);
            return self.rename(at, output, place);
        }
    }
}

/// The least and greatest byte that a clamp leaves; `None` for other activations.
fn limits(activation: Activation, to: Quantised) -> Option<[u8; 2]> {
    match activation {
        Activation::Identity => Some([0, 255]),
        // Rounding keeps the order: the bounds' own bytes bound the bytes.
        Activation::Clamp { low, high } if low <= high => Some([byte_of(low, to), byte_of(high, to)]),
        _ => None,
    }
}

/// For each byte the one of its function.
fn table(from: Quantised, to: Quantised, activation: Activation) -> Box<[u8; 256]> {
    let mut table = Box::new([0; 256]);
    for (byte, to_byte) in (0_i32..).zip(table.iter_mut()) {
        let number = (byte - i32::from(from.zero)) as f32 * from.scale;
        *to_byte = byte_of(activation.of(number), to);
    }
    table
}
