//! Functions that exporters spell out: layer normalisation before operator set 17, GELU before 20. They are found by how nodes
//! are connected, before any of them is read; constants are looked at when the last node is.

use std::collections::{HashMap, HashSet};
use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use margay_kernels::Activation;
use tract_onnx::pb::{GraphProto, NodeProto};

/// Constants of GELU by the hyperbolic tangent: the root of 2 / π, and the cube's factor.
const TANH: [f32; 2] = [0.797_884_6, 0.044_715];

/// What a node is to a spelled function.
#[derive(Debug)]
pub(super) enum Spelled<'a> {
    /// One that only others of the function read.
    Part,
    /// The last, whose output is the function's.
    Whole(Function<'a>),
}

/// A spelled function.
#[derive(Debug)]
pub(super) enum Function<'a> {
    /// `(x − mean) / √(mean of the square + ε)`, by the two means. The square is a product where there is no exponent.
    Normalisation { input: &'a str, means: [&'a NodeProto; 2], exponent: Option<&'a str>, epsilon: &'a str },
    /// `x · (1 + erf(x / √2)) / 2`, or the same by the hyperbolic tangent, with constants and what they must be. `first` reads the
    /// input, which is read so many times.
    Gelu { activation: Activation, first: &'a NodeProto, input: &'a str, reads: usize, constants: Vec<(&'a str, f32)> },
}

/// The nodes of spelled functions, by number.
pub(super) fn find(graph: &GraphProto) -> HashMap<usize, Spelled<'_>> {
    let connections = Connections::of(graph);
    let mut found = HashMap::new();
    for (number, node) in graph.node.iter().enumerate() {
        let whole = match node.op_type.as_str() {
            "ReduceMean" if !found.contains_key(&number) => connections.normalisation(number),
            "Erf" => connections.gelu(number),
            "Tanh" => connections.gelu_by_tanh(number),
            _ => None,
        };
        let Some((parts, last, function)) = whole else { continue };
        // Nodes of two functions would be none's; so hostile a graph is left to the operators.
        if parts.iter().chain([&last]).any(|number| found.contains_key(number)) {
            continue;
        }
        found.extend(parts.into_iter().map(|part| (part, Spelled::Part)));
        found.insert(last, Spelled::Whole(function));
    }
    found
}

/// Parts of a function, its last node, and what it is.
type Found<'a> = (Vec<usize>, usize, Function<'a>);

/// Who writes and who reads each name.
struct Connections<'a> {
    graph: &'a GraphProto,
    constants: HashSet<&'a str>,
    producers: HashMap<&'a str, usize>,
    /// One entry for each reading; `None` where it is the graph's output.
    readers: HashMap<&'a str, Vec<Option<usize>>>,
}

impl<'a> Connections<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let mut constants: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        let mut producers = HashMap::new();
        let mut readers: HashMap<&str, Vec<Option<usize>>> = HashMap::new();
        for (number, node) in graph.node.iter().enumerate() {
            if node.op_type == "Constant" {
                constants.extend(node.output.iter().map(String::as_str));
            }
            for output in &node.output {
                producers.insert(output.as_str(), number);
            }
            for input in &node.input {
                readers.entry(input).or_default().push(Some(number));
            }
        }
        for output in &graph.output {
            readers.entry(&output.name).or_default().push(None);
        }
        Self { graph, constants, producers, readers }
    }

    fn node(&self, number: usize) -> Option<&'a NodeProto> {
        self.graph.node.get(number).filter(|node| ["", "ai.onnx"].contains(&node.domain.as_str()))
    }

    fn output(&self, number: usize) -> Option<&'a str> {
        match self.node(number)?.output.as_slice() {
            [output] => Some(output),
            _ => None,
        }
    }

    /// The nodes that read a name, each once; `None` where it is an output of the graph.
    fn readers(&self, name: &str) -> Option<Vec<usize>> {
        let mut readers = self.readers.get(name)?.iter().copied().collect::<Option<Vec<usize>>>()?;
        readers.dedup();
        Some(readers)
    }

    /// The one reading of a node's output, by an operator.
    fn then(&self, number: usize, operator: &str) -> Option<usize> {
        match self.readers.get(self.output(number)?)?.as_slice() {
            &[Some(reader)] if self.node(reader)?.op_type == operator => Some(reader),
            _ => None,
        }
    }

    /// The other input of a node of two.
    fn other(&self, number: usize, input: &str) -> Option<&'a str> {
        match self.node(number)?.input.as_slice() {
            [a, b] if a == input => Some(b),
            [a, b] if b == input => Some(a),
            _ => None,
        }
    }

    /// The constant that an operator takes beside a node's output, which nobody else reads.
    fn with_constant(&self, number: usize, operator: &str) -> Option<(usize, &'a str)> {
        let reader = self.then(number, operator)?;
        let constant = self.other(reader, self.output(number)?)?;
        self.constants.contains(constant).then_some((reader, constant))
    }

    /// The normalisation that begins with a mean.
    fn normalisation(&self, first: usize) -> Option<Found<'a>> {
        let (input, mean) = (self.node(first)?.input.first()?.as_str(), self.output(first)?);
        // Some exporters subtract the mean once, some once for each use.
        let centred = self.readers(mean)?;
        let is_centred = |&number: &usize| {
            self.node(number).is_some_and(|node| node.op_type == "Sub" && node.input == [input, mean])
        };
        if centred.len() > 2 || !centred.iter().all(is_centred) {
            return None;
        }
        let names: Vec<&str> = centred.iter().map(|&number| self.output(number)).collect::<Option<_>>()?;
        let mut uses: Vec<usize> = Vec::new();
        for name in &names {
            uses.extend(self.readers(name)?);
        }
        uses.sort_unstable();
        uses.dedup();
        let [a, b] = uses[..] else { return None };
        let (square, last) = if self.node(a)?.op_type == "Div" { (b, a) } else { (a, b) };
        let exponent = match (self.node(square)?.op_type.as_str(), self.node(square)?.input.as_slice()) {
            ("Pow", [base, exponent])
                if names.contains(&base.as_str()) && self.constants.contains(exponent.as_str()) =>
            {
                Some(exponent.as_str())
            }
            ("Mul", [x, y]) if x == y && names.contains(&x.as_str()) => None,
            _ => return None,
        };
        let second = self.then(square, "ReduceMean")?;
        let (sum, epsilon) = self.with_constant(second, "Add")?;
        let root = self.then(sum, "Sqrt")?;
        let divides = self.then(root, "Div") == Some(last)
            && matches!(self.node(last)?.input.as_slice(), [x, by] if names.contains(&x.as_str()) && by == self.output(root)?);
        if !divides || self.node(second)?.input.first().map(String::as_str) != self.output(square) {
            return None;
        }
        let parts = [centred, vec![first, square, second, sum, root]].concat();
        let means = [self.node(first)?, self.node(second)?];
        Some((parts, last, Function::Normalisation { input, means, exponent, epsilon }))
    }

    /// The GELU whose error function this is.
    fn gelu(&self, erf: usize) -> Option<Found<'a>> {
        let argument = self.node(erf)?.input.first()?.as_str();
        let first = *self.producers.get(argument)?;
        let node = self.node(first)?;
        let (input, constant) = match (node.op_type.as_str(), node.input.as_slice()) {
            ("Div", [x, by]) => (x.as_str(), (by.as_str(), SQRT_2)),
            ("Mul", [x, by]) if self.constants.contains(by.as_str()) => (x.as_str(), (by.as_str(), FRAC_1_SQRT_2)),
            ("Mul", [by, x]) => (x.as_str(), (by.as_str(), FRAC_1_SQRT_2)),
            _ => return None,
        };
        let is_alone = self.then(first, "Erf") == Some(erf);
        if !is_alone || !self.constants.contains(constant.0) || self.constants.contains(input) {
            return None;
        }
        let head = Head { parts: vec![first, erf], constants: vec![constant], first: node, input, reads: 1 };
        self.halved(erf, head, Activation::Gelu)
    }

    /// The GELU whose hyperbolic tangent this is.
    fn gelu_by_tanh(&self, tanh: usize) -> Option<Found<'a>> {
        let producer = |name: &str| self.producers.get(name).copied();
        let product = producer(self.node(tanh)?.input.first()?)?;
        let (sum, root) = self.by_constant(product, "Mul")?;
        let sum = producer(sum)?;
        let [a, b] = self.node(sum)?.input.as_slice() else { return None };
        // The cube with its factor comes first or last.
        let (input, (scaled, cube, factor)) = [(a, b), (b, a)].into_iter().find_map(|(input, scaled)| {
            let scaled = producer(scaled)?;
            let (cube, factor) = self.by_constant(scaled, "Mul")?;
            Some((input.as_str(), (scaled, producer(cube)?, factor)))
        })?;
        let mut parts = vec![cube, scaled, sum, product, tanh];
        let mut constants = vec![(factor, TANH[1]), (root, TANH[0])];
        let reads = match (self.node(cube)?.op_type.as_str(), self.node(cube)?.input.as_slice()) {
            ("Pow", [x, exponent]) if x == input && self.constants.contains(exponent.as_str()) => {
                constants.push((exponent, 3.0));
                2
            }
            ("Mul", _) => {
                let square = producer(self.other(cube, input)?)?;
                let is_square = self.node(square)?.op_type == "Mul" && self.node(square)?.input == [input, input];
                if !is_square || self.then(square, "Mul") != Some(cube) {
                    return None;
                }
                parts.push(square);
                4
            }
            _ => return None,
        };
        let is_alone = self.then(cube, "Mul") == Some(scaled)
            && self.then(scaled, "Add") == Some(sum)
            && self.then(sum, "Mul") == Some(product)
            && self.then(product, "Tanh") == Some(tanh);
        if !is_alone || self.constants.contains(input) {
            return None;
        }
        let head = Head { parts, constants, first: self.node(sum)?, input, reads };
        self.halved(tanh, head, Activation::GeluByTanh)
    }

    /// What an operator of two inputs takes beside a constant, and the constant.
    fn by_constant(&self, number: usize, operator: &str) -> Option<(&'a str, &'a str)> {
        let node = self.node(number)?;
        match node.input.as_slice() {
            [a, b] if node.op_type == operator && self.constants.contains(b.as_str()) => Some((a, b)),
            [a, b] if node.op_type == operator && self.constants.contains(a.as_str()) => Some((b, a)),
            _ => None,
        }
    }

    /// The GELU that ends with `x · (1 + y) / 2`, of the node that computes `y`.
    fn halved(&self, before: usize, head: Head<'a>, activation: Activation) -> Option<Found<'a>> {
        let Head { mut parts, mut constants, first, input, reads } = head;
        let (sum, one) = self.with_constant(before, "Add")?;
        constants.push((one, 1.0));
        let mut last = sum;
        // Factors come in any order: x, 1/2, or the product of both.
        let [mut has_input, mut has_half] = [false; 2];
        while !(has_input && has_half) {
            parts.push(last);
            let (before, product) = (self.output(last)?, self.then(last, "Mul")?);
            let factor = self.other(product, before)?;
            if factor == input && !has_input {
                has_input = true;
            } else if self.constants.contains(factor) && !has_half {
                has_half = true;
                constants.push((factor, 0.5));
            } else {
                let halved = *self.producers.get(factor)?;
                let half = self.other(halved, input)?;
                let is_half = self.node(halved)?.op_type == "Mul" && self.then(halved, "Mul") == Some(product);
                if !is_half || !self.constants.contains(half) || has_input || has_half {
                    return None;
                }
                constants.push((half, 0.5));
                parts.push(halved);
                [has_input, has_half] = [true; 2];
            }
            last = product;
        }
        Some((parts, last, Function::Gelu { activation, first, input, reads: reads + 1, constants }))
    }
}

/// The beginning of a GELU, to the function in it.
struct Head<'a> {
    parts: Vec<usize>,
    constants: Vec<(&'a str, f32)>,
    first: &'a NodeProto,
    input: &'a str,
    reads: usize,
}
