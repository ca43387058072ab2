//! What the steps should compute, in the order of the definition; and what the tests are made of.

use margay_kernels::{
    Activation, Convolution, InputOrder, Isa, Options, PlanError, PoolKind, Program, ProgramBuilder, Shape, View,
    Window,
};

/// Numbers between -1 and 1, the same in every run.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    pub fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next() as f32 / (1_u64 << 30) as f32 - 1.0).collect()
    }
}

/// A shape.
pub fn shape(channels: usize, height: usize, width: usize) -> Shape {
    Shape { channels, height, width }
}

/// A tensor in the order channels, rows, columns.
#[derive(Debug, Clone)]
pub struct Dense {
    pub shape: Shape,
    pub data: Vec<f32>,
}

impl Dense {
    pub fn random(shape: Shape, random: &mut Random) -> Self {
        Self { data: random.numbers(shape.elements()), shape }
    }

    /// An element; zero outside the picture.
    pub fn at(&self, channel: usize, y: isize, x: isize) -> f32 {
        let Shape { height, width, .. } = self.shape;
        if y < 0 || x < 0 || y as usize >= height || x as usize >= width {
            return 0.0;
        }
        self.data[(channel * height + y as usize) * width + x as usize]
    }

    fn from_elements(shape: Shape, element: impl Fn(usize, usize, usize) -> f32) -> Self {
        let Shape { channels, height, width } = shape;
        let places = (0..channels).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x))));
        Self { shape, data: places.map(|(c, y, x)| element(c, y, x)).collect() }
    }
}

/// The output's side for a window over `length` with as much padding after as before.
pub fn outputs(window: &Window, shape: Shape) -> (usize, usize) {
    let side = |axis: usize, length: usize| {
        let span = (window.kernel[axis] - 1) * window.dilation[axis] + 1;
        (length + 2 * window.padding[axis] - span) / window.stride[axis] + 1
    };
    (side(0, shape.height), side(1, shape.width))
}

/// Row or column of an element of a window.
fn place(window: &Window, axis: usize, output: usize, element: usize) -> isize {
    (output * window.stride[axis] + element * window.dilation[axis]) as isize - window.padding[axis] as isize
}

/// A convolution by its definition, summed in double precision.
pub fn convolve(input: &Dense, layer: &Layer, residual: Option<&Dense>) -> Dense {
    let Layer { window, groups, weights, bias, .. } = layer;
    let (height, width) = outputs(window, input.shape);
    let of_group = input.shape.channels / groups;
    let to_group = layer.outputs / groups;
    Dense::from_elements(shape(layer.outputs, height, width), |output, y, x| {
        let mut sum = f64::from(bias[output]);
        for channel in 0..of_group {
            for row in 0..window.kernel[0] {
                for column in 0..window.kernel[1] {
                    let weight = ((output * of_group + channel) * window.kernel[0] + row) * window.kernel[1] + column;
                    let from = output / to_group * of_group + channel;
                    let element = input.at(from, place(window, 0, y, row), place(window, 1, x, column));
                    sum += f64::from(weights[weight]) * f64::from(element);
                }
            }
        }
        let sum = sum as f32 + residual.map_or(0.0, |residual| residual.at(output, y as isize, x as isize));
        layer.activation.of(sum)
    })
}

/// A pooling by its definition.
pub fn pool(input: &Dense, window: &Window, kind: PoolKind, (height, width): (usize, usize)) -> Dense {
    let inside = |y: isize, x: isize| {
        (0..input.shape.height as isize).contains(&y) && (0..input.shape.width as isize).contains(&x)
    };
    Dense::from_elements(shape(input.shape.channels, height, width), |channel, y, x| {
        let places = (0..window.kernel[0])
            .flat_map(|row| (0..window.kernel[1]).map(move |column| (row, column)))
            .map(|(row, column)| (place(window, 0, y, row), place(window, 1, x, column)))
            .filter(|&(y, x)| inside(y, x));
        let elements: Vec<f32> = places.map(|(y, x)| input.at(channel, y, x)).collect();
        let sum: f32 = elements.iter().sum();
        match kind {
            PoolKind::Maximum => elements.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            PoolKind::Average { counts_padding: false } => sum / elements.len() as f32,
            PoolKind::Average { counts_padding: true } => sum / (window.kernel[0] * window.kernel[1]) as f32,
        }
    })
}

/// A convolution's parameters.
#[derive(Debug)]
pub struct Layer {
    pub outputs: usize,
    pub groups: usize,
    pub window: Window,
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
    pub activation: Activation,
}

impl Layer {
    pub fn random(inputs: usize, outputs: usize, groups: usize, window: Window, random: &mut Random) -> Self {
        let weights = random.numbers(outputs * inputs / groups * window.kernel[0] * window.kernel[1]);
        Self { outputs, groups, window, weights, bias: random.numbers(outputs), activation: Activation::Identity }
    }

    /// The step that computes it.
    pub fn step(&self, input: View, output: View, residual: Option<View>) -> Convolution<'_> {
        let (weights, bias) = (&self.weights, &self.bias);
        let Self { window, groups, activation, .. } = *self;
        Convolution { input, output, residual, weights, bias, window, groups, activation }
    }
}

/// Runs a program of one input on every instruction set, with one thread and two, and compares ([`Case::check`]).
pub fn check(
    name: &str,
    input: &Dense,
    is_planar: bool,
    expected: &Dense,
    network: impl Fn(&mut ProgramBuilder, View) -> Result<View, PlanError>,
) {
    let options = Options { winograd: false, poisons: true, ..Options::default() };
    Case { name, input, is_planar, expected, tolerance: 2e-6, apart: 0.0, options }.check(network);
}

/// As [`check`], for steps that approximate reciprocals.
pub fn check_with_reciprocals(
    name: &str,
    input: &Dense,
    is_planar: bool,
    expected: &Dense,
    network: impl Fn(&mut ProgramBuilder, View) -> Result<View, PlanError>,
) {
    let options = Options { winograd: false, poisons: true, ..Options::default() };
    Case { name, input, is_planar, expected, tolerance: 2e-6, apart: 1e-6, options }.check(network);
}

/// Elements of an output up to which an emulated program is interpreted as well.
const EMULATED_ELEMENTS: usize = 4000;

/// Pictures of a batch.
pub const BATCH: usize = 4;

/// The picture of this number in a batch that begins with `first`: its numbers, each in another place.
pub fn picture_of_batch<T: Copy>(first: &[T], number: usize) -> Vec<T> {
    let mut picture = first.to_vec();
    picture.rotate_left(number * first.len() / BATCH);
    picture
}

/// Whether the program runs on an emulator, which takes a hundred times as long.
pub fn is_emulated() -> bool {
    std::env::var_os("MARGAY_TEST_EMULATED").is_some()
}

/// The instruction sets that are tested: all, or, emulated, all but the portable one, which every machine can test.
pub fn sets<T>(mut available: Vec<T>) -> Vec<T> {
    if is_emulated() && available.len() > 1 {
        available.pop();
    }
    available
}

/// A program of one input, and what comes out of it.
pub struct Case<'a> {
    pub name: &'a str,
    pub input: &'a Dense,
    pub is_planar: bool,
    pub expected: &'a Dense,
    /// Largest difference, as a part of the largest number.
    pub tolerance: f32,
    /// Largest difference from the interpreter, likewise: none but where reciprocals are approximated.
    pub apart: f32,
    pub options: Options,
}

impl Case<'_> {
    /// Runs it on every instruction set, with one thread and two, with poisoned memory and, as it is used, without, and
    /// compares; and then a batch, whose pictures an engine runs through its program one after the other: nothing of one may
    /// be left for the next.
    pub fn check(&self, network: impl Fn(&mut ProgramBuilder, View) -> Result<View, PlanError>) {
        let Self { name, input, expected, tolerance, options, .. } = *self;
        for isa in sets(Isa::available()) {
            let is_interpreted = !is_emulated() || expected.data.len() <= EMULATED_ELEMENTS;
            let batch = if is_interpreted { self.interpreted(isa, &network) } else { Vec::new() };
            for (threads, poisons) in [(1, true), (1, false), (2, true), (2, false)] {
                let mut program = self.build(Options { isa, threads, poisons, ..options }, &network);
                assert_eq!(program.output(), expected.shape, "{name}");
                let name = format!("{name}, {isa}, {threads} threads");
                let mut found = Vec::new();
                program.run(input.data.as_slice(), &mut found).unwrap();
                compare(&name, &found, &expected.data, tolerance);
                for (number, expected) in batch.iter().enumerate() {
                    program.run(&picture_of_batch(&input.data, number), &mut found).unwrap();
                    compare(&format!("{name}, picture {number}, interpreted"), &found, expected, self.apart);
                }
            }
        }
    }

    fn build(
        &self,
        options: Options,
        network: impl Fn(&mut ProgramBuilder, View) -> Result<View, PlanError>,
    ) -> Program {
        let Self { name, input, is_planar, .. } = *self;
        let mut builder = ProgramBuilder::new(options);
        let view = builder.input(input.shape, InputOrder::ChannelsFirst, is_planar).unwrap();
        let output = network(&mut builder, view).unwrap_or_else(|error| panic!("{name}: {error}"));
        builder.build(output).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// What the same program computes of a batch, interpreted with every access checked.
    fn interpreted(
        &self,
        isa: Isa,
        network: impl Fn(&mut ProgramBuilder, View) -> Result<View, PlanError>,
    ) -> Vec<Vec<f32>> {
        let mut interpreter = self.build(Options { isa, checks: true, ..self.options }, network);
        let pictures =
            (0..if is_emulated() { 1 } else { BATCH }).map(|number| picture_of_batch(&self.input.data, number));
        let run = |picture: Vec<f32>| {
            let mut found = Vec::new();
            interpreter.run(&picture, &mut found).unwrap();
            found
        };
        pictures.map(run).collect()
    }
}

/// The same numbers but for a difference of so large a part of the largest; with none, to the bit.
fn compare(name: &str, found: &[f32], expected: &[f32], apart: f32) {
    let scale = expected.iter().fold(1.0_f32, |scale, value| scale.max(value.abs()));
    assert_eq!(found.len(), expected.len(), "{name}");
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        let is_same = found.to_bits() == expected.to_bits() || (found - expected).abs() <= apart * scale;
        assert!(is_same, "{name}, element {place}: {found} is not {expected}");
    }
}
