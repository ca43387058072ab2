//! What steps over bytes should compute, in the order of the definition.

use margay_kernels::{
    Arrival, ByteConvolution, ByteFinish, ByteInput, ByteIsa, InputOrder, Options, PlanError, Program, ProgramBuilder,
    Quantised, Shape, View, Window,
};

use crate::reference::{BATCH, Random, is_emulated, outputs, picture_of_batch, sets, shape};

/// Bytes in the order channels, rows, columns.
#[derive(Debug, Clone)]
pub struct Bytes {
    pub shape: Shape,
    pub zero: u8,
    pub data: Vec<u8>,
}

impl Bytes {
    pub fn random(shape: Shape, zero: u8, random: &mut Random) -> Self {
        let data = (0..shape.elements()).map(|_| random.next() as u8).collect();
        Self { shape, zero, data }
    }

    /// An element less the zero; 0 outside the picture.
    pub fn at(&self, channel: usize, y: isize, x: isize) -> i32 {
        let Shape { height, width, .. } = self.shape;
        if y < 0 || x < 0 || y as usize >= height || x as usize >= width {
            return 0;
        }
        let byte = self.data[(channel * height + y as usize) * width + x as usize];
        i32::from(byte) - i32::from(self.zero)
    }

    pub fn from_elements(shape: Shape, zero: u8, element: impl Fn(usize, usize, usize) -> u8) -> Self {
        let Shape { channels, height, width } = shape;
        let places = (0..channels).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x))));
        Self { shape, zero, data: places.map(|(c, y, x)| element(c, y, x)).collect() }
    }
}

/// The byte of a whole number of steps.
pub fn saturated(steps: f32, zero: u8, [low, high]: [u8; 2]) -> u8 {
    (i64::from(steps.round_ties_even() as i32) + i64::from(zero)).clamp(i64::from(low), i64::from(high)) as u8
}

/// A convolution's parameters.
#[derive(Debug, Clone)]
pub struct ByteLayer {
    pub outputs: usize,
    pub groups: usize,
    pub window: Window,
    pub weights: Vec<i16>,
    pub bias: Vec<i32>,
    pub factors: Vec<f32>,
    /// The output's zero, and its least and greatest byte.
    pub zero: u8,
    pub limits: [u8; 2],
}

impl ByteLayer {
    /// Weights of up to `largest`, whose sums fill about the range of a byte.
    pub fn random([inputs, outputs, groups]: [usize; 3], window: Window, largest: i16, random: &mut Random) -> Self {
        let of_filter = inputs / groups * window.kernel[0] * window.kernel[1];
        let span = 2 * largest as u32 + 1;
        let weights = (0..outputs * of_filter).map(|_| (random.next() % span) as i16 - largest).collect();
        let spread = 128.0 * f32::from(largest) * 0.58 * (of_filter as f32).sqrt();
        let bias = (0..outputs).map(|_| (random.next() % (spread as u32 + 1)) as i32 - spread as i32 / 2).collect();
        let factors = random.numbers(outputs).iter().map(|number| (1.2 + number) * 40.0 / spread).collect();
        Self { outputs, groups, window, weights, bias, factors, zero: 120, limits: [0, 255] }
    }

    /// The sums, in the output's order.
    fn sum(&self, input: &Bytes, [output, y, x]: [usize; 3]) -> i32 {
        let Self { window, groups, weights, bias, .. } = self;
        let (of_group, to_group) = (input.shape.channels / groups, self.outputs / groups);
        let mut sum = bias[output];
        for channel in 0..of_group {
            for row in 0..window.kernel[0] {
                for column in 0..window.kernel[1] {
                    let weight = ((output * of_group + channel) * window.kernel[0] + row) * window.kernel[1] + column;
                    let place = |axis: usize, at: usize, element: usize| {
                        (at * window.stride[axis] + element * window.dilation[axis]) as isize
                            - window.padding[axis] as isize
                    };
                    let from = output / to_group * of_group + channel;
                    sum += i32::from(weights[weight]) * input.at(from, place(0, y, row), place(1, x, column));
                }
            }
        }
        sum
    }

    pub fn shape(&self, input: Shape) -> Shape {
        let (height, width) = outputs(&self.window, input);
        shape(self.outputs, height, width)
    }

    /// What comes out as bytes.
    pub fn bytes(&self, input: &Bytes) -> Bytes {
        Bytes::from_elements(self.shape(input.shape), self.zero, |output, y, x| {
            saturated(self.sum(input, [output, y, x]) as f32 * self.factors[output], self.zero, self.limits)
        })
    }

    /// What comes out as floats.
    pub fn floats(&self, input: &Bytes, addends: &[f32]) -> Vec<f32> {
        let Shape { height, width, .. } = self.shape(input.shape);
        let places = (0..self.outputs).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| [c, y, x])));
        places.map(|place| self.sum(input, place) as f32 * self.factors[place[0]] + addends[place[0]]).collect()
    }

    /// The step that computes it.
    pub fn step<'a>(&'a self, input: View, output: View, finish: ByteFinish<'a>) -> ByteConvolution<'a> {
        let (weights, bias, factors) = (&self.weights, &self.bias, &self.factors);
        ByteConvolution { input, output, weights, bias, factors, window: self.window, groups: self.groups, finish }
    }

    /// Adds the step and its output to a program.
    pub fn add(&self, builder: &mut ProgramBuilder, input: View) -> Result<View, PlanError> {
        let output = builder.byte_tensor(self.shape(builder.shape(input)), self.zero)?;
        let output = builder.whole(output);
        builder.byte_convolution(&self.step(input, output, ByteFinish::Bytes(self.limits)))?;
        Ok(output)
    }
}

/// The sum of two tensors of bytes.
pub fn sum(inputs: [&Bytes; 2], zero: u8, ratios: [f32; 2], limits: [u8; 2]) -> Bytes {
    Bytes::from_elements(inputs[0].shape, zero, |c, y, x| {
        let [a, b] = inputs.map(|input| input.at(c, y as isize, x as isize) as f32);
        saturated(a * ratios[0] + b * ratios[1], zero, limits)
    })
}

/// A table that changes nothing.
pub fn same() -> [u8; 256] {
    std::array::from_fn(|byte| byte as u8)
}

/// Runs a program of one picture of bytes on every instruction set, with one thread and two, with poisoned memory and, as it
/// is used, without, and compares the bytes that come out; then of a batch, of which nothing of one picture may be left for
/// the next.
pub fn check(
    name: &str,
    input: &Bytes,
    is_planar: bool,
    expected: &Bytes,
    network: impl Fn(&mut ProgramBuilder, View) -> Result<View, PlanError>,
) {
    let floats: Vec<f32> = expected.data.iter().map(|&byte| f32::from(byte)).collect();
    check_floats(name, input, is_planar, &floats, |builder, view| {
        let bytes = network(builder, view)?;
        let floats = builder.tensor(builder.shape(bytes))?;
        let floats = builder.whole(floats);
        builder.dequantise(bytes, floats, Quantised { scale: 1.0, zero: 0 })?;
        Ok(floats)
    });
}

/// As [`check`], of a program whose output are floats.
pub fn check_floats(
    name: &str,
    input: &Bytes,
    is_planar: bool,
    expected: &[f32],
    network: impl Fn(&mut ProgramBuilder, View) -> Result<View, PlanError>,
) {
    let build = |options| build(name, input, is_planar, options, &network);
    let mut batch = Vec::new();
    // Any machine can do it.
    if !is_emulated() {
        // As planned for every instruction set, with every access checked.
        for byte_isa in ALL {
            let mut program = build(Options { byte_isa, checks: true, poisons: true, ..Options::default() });
            let name = format!("{name}, interpreted for {byte_isa}");
            compare(&name, &mut program, &input.data, expected);
            batch = pictures(input).map(|picture| run(&mut program, &picture)).collect();
        }
    }
    for byte_isa in sets(ByteIsa::available()) {
        for (threads, poisons) in [(1, true), (1, false), (2, true), (2, false)] {
            let mut program = build(Options { byte_isa, threads, poisons, ..Options::default() });
            let name = format!("{name}, {byte_isa}, {threads} threads");
            compare(&name, &mut program, &input.data, expected);
            for (picture, expected) in pictures(input).zip(&batch) {
                compare(&format!("{name}, of a batch"), &mut program, &picture, expected);
            }
        }
    }
}

/// The pictures of a batch, which an engine runs through its program one after the other.
fn pictures(input: &Bytes) -> impl Iterator<Item = Vec<u8>> {
    (0..BATCH).map(|number| picture_of_batch(&input.data, number))
}

fn build(
    name: &str,
    input: &Bytes,
    is_planar: bool,
    options: Options,
    network: impl Fn(&mut ProgramBuilder, View) -> Result<View, PlanError>,
) -> Program {
    let mut builder = ProgramBuilder::new(options);
    let (shape, zero, order) = (input.shape, input.zero, InputOrder::ChannelsFirst);
    let arrival = Arrival::Bytes(vec![same()]);
    let view = builder.picture(ByteInput { shape, order, is_planar, zero, arrival }).unwrap();
    let output = network(&mut builder, view).unwrap_or_else(|error| panic!("{name}: {error}"));
    builder.build(output).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn run(program: &mut Program, picture: &[u8]) -> Vec<f32> {
    let mut found = Vec::new();
    program.run(picture, &mut found).unwrap();
    found
}

/// Every instruction set over bytes: the interpreter needs none.
pub const ALL: [ByteIsa; 9] = [
    ByteIsa::Portable,
    ByteIsa::Avx2,
    ByteIsa::AvxVnni,
    ByteIsa::Avx512Vnni,
    ByteIsa::Avx512Vbmi,
    ByteIsa::Amx,
    ByteIsa::Neon,
    ByteIsa::NeonDot,
    ByteIsa::NeonI8mm,
];

/// What comes out, bit by bit.
fn compare(name: &str, program: &mut Program, picture: &[u8], expected: &[f32]) {
    let found = run(program, picture);
    assert_eq!(found.len(), expected.len(), "{name}");
    let differs = found.iter().zip(expected).position(|(found, expected)| found.to_bits() != expected.to_bits());
    if let Some(place) = differs {
        let (found, expected) = (found[place], expected[place]);
        panic!("{name}, element {place}: {found} is not {expected}");
    }
}
