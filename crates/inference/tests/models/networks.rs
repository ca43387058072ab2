//! Small networks with random weights, written as an exporter would write them.

use margay_inference::{InputSpec, ModelSpec, OutputSpec};

use crate::protobuf::{Graph, Message, Value, integers, node, node_with, tensor, weights};

/// Numbers that are the same in every run.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Numbers from -1 to 1, times `scale`.
    pub fn floats(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| (self.below(20_001) as f32 / 10_000.0 - 1.0) * scale).collect()
    }
}

/// A picture of `height` × `width`, classified by a network.
pub fn spec(height: u32, width: u32) -> ModelSpec {
    let input = InputSpec { height, width, ..InputSpec::imagenet(8) };
    ModelSpec { input, output: OutputSpec::logits() }
}

/// Logits of a picture of 16 × 16, prepared as ImageNet's are.
pub fn square() -> ModelSpec {
    ModelSpec { input: InputSpec::imagenet(16), output: OutputSpec::logits() }
}

/// Three classes of a picture of 16 × 16 by a network that slices with a step behind a convolution: tract 0.23 gives other
/// scores for it than ONNX Runtime and the compiled engine.
pub fn sliced_with_a_step() -> (Vec<u8>, ModelSpec) {
    let mut network = Growing::new(5, 16, 16);
    network.convolution(8, [3, 1, 1], 1);
    let bounds = [[1, 0], [i64::MAX, i64::MAX], [2, 3], [2, 2]].map(|bounds| network.integers(&bounds));
    let [starts, ends, axes, steps] = &bounds;
    network.then("Slice", &[starts, ends, axes, steps], &[]);
    network.convolution(8, [3, 1, 1], 1);
    network.head(3);
    (network.file(13), square())
}

/// A network that grows layer by layer; the last tensor is read by the next layer.
pub struct Growing {
    pub graph: Graph,
    pub random: Random,
    pub channels: usize,
    pub sides: (usize, usize),
    pub last: String,
    names: usize,
}

impl Growing {
    /// Nothing but a picture.
    pub fn new(seed: u64, height: usize, width: usize) -> Self {
        let mut graph = Graph::default();
        graph.inputs.push(tensor("image", &[1, 3, height as u64, width as u64]));
        let random = Random::new(seed);
        Self { graph, random, channels: 3, sides: (height, width), last: "image".to_owned(), names: 0 }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("t{}", self.names)
    }

    /// A constant with random elements.
    pub fn weights(&mut self, shape: &[usize], scale: f32) -> String {
        let name = self.name();
        let values = self.random.floats(shape.iter().product(), scale);
        let shape: Vec<u64> = shape.iter().map(|&side| side as u64).collect();
        self.graph.weights.push(weights(&name, &shape, &values, None));
        name
    }

    /// A constant with given elements.
    pub fn constant(&mut self, shape: &[u64], values: &[f32]) -> String {
        let name = self.name();
        self.graph.weights.push(weights(&name, shape, values, None));
        name
    }

    /// A list of integers.
    pub fn integers(&mut self, values: &[i64]) -> String {
        let name = self.name();
        self.graph.weights.push(integers(&name, values));
        name
    }

    /// A whole number without an axis.
    pub fn whole(&mut self, value: i64) -> String {
        let name = self.name();
        let tensor = Message::new().int(2, 7).bytes(8, &name).bytes(9, value.to_le_bytes());
        self.graph.weights.push(tensor);
        name
    }

    /// A node that reads the last tensor and `others`; what it computes is the last tensor then.
    pub fn then(&mut self, operator: &str, others: &[&str], attributes: &[(&str, Value<'_>)]) {
        let output = self.name();
        let last = self.last.clone();
        let inputs: Vec<&str> = [last.as_str()].into_iter().chain(others.iter().copied()).collect();
        self.graph.nodes.push(node_with(operator, &inputs, &output, attributes));
        self.last = output;
    }

    /// A node that is written out.
    pub fn push(&mut self, operator: &str, inputs: &[&str], attributes: &[(&str, Value<'_>)]) {
        let output = self.name();
        self.graph.nodes.push(node_with(operator, inputs, &output, attributes));
        self.last = output;
    }

    /// A convolution with a bias, whose window has a side, a stride and a padding.
    pub fn convolution(&mut self, outputs: usize, [kernel, stride, padding]: [usize; 3], groups: usize) {
        let of_group = self.channels / groups;
        let scale = 1.5 / ((of_group * kernel * kernel) as f32).sqrt();
        let weights = self.weights(&[outputs, of_group, kernel, kernel], scale);
        let bias = self.weights(&[outputs], 0.2);
        let (stride_, pad) = (stride as i64, padding as i64);
        self.then(
            "Conv",
            &[&weights, &bias],
            &[
                ("kernel_shape", Value::Ints(&[kernel as i64; 2])),
                ("strides", Value::Ints(&[stride_; 2])),
                ("pads", Value::Ints(&[pad; 4])),
                ("group", Value::Int(groups as i64)),
            ],
        );
        let side = |length: usize| (length + 2 * padding - kernel) / stride + 1;
        self.channels = outputs;
        self.sides = (side(self.sides.0), side(self.sides.1));
    }

    /// The mean of the picture, and `classes` numbers computed from it.
    pub fn head(&mut self, classes: usize) {
        self.then("GlobalAveragePool", &[], &[]);
        self.then("Flatten", &[], &[("axis", Value::Int(1))]);
        let weights = self.weights(&[classes, self.channels], 1.0);
        let bias = self.weights(&[classes], 0.1);
        self.then("Gemm", &[&weights, &bias], &[("transB", Value::Int(1))]);
        self.sides = (1, 1);
        self.channels = classes;
    }

    /// The file, whose output is the last tensor.
    pub fn file(mut self, opset: u64) -> Vec<u8> {
        let last: Message = node("Identity", &[&self.last], "scores");
        self.graph.nodes.push(last);
        self.graph.outputs.push(tensor("scores", &[1, self.channels as u64]));
        self.graph.file_of(opset)
    }
}
