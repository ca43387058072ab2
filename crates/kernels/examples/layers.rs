//! Runs one convolution of bytes, so that whoever counts its instructions (`benches/arm/caches.c`, perf) sees little else.
//!
//!     cargo run -p margay-kernels --example layers -- neon-i8mm 64 28 128 3 1 2 10
//!
//! An instruction set, input channels, rows and columns, output channels, rows and columns of the window, stride, how often
//! the convolution stands in the program, and how often that runs: the difference between two numbers of runs is free of
//! what it takes to start, and of that, the difference between two numbers of convolutions is free of what surrounds them.
//! Up to four channels are a picture.

#![allow(clippy::print_stdout, reason = "an example says what it found")]

use std::error::Error;

use margay_kernels::{
    Arrival, ByteConvolution, ByteFinish, ByteInput, ByteIsa, InputOrder, Options, Program, ProgramBuilder, Quantised,
    Shape, Window,
};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [isa, numbers @ ..] = words.as_slice() else { return Err("which instruction set?".into()) };
    let byte_isa = ByteIsa::available().into_iter().find(|found| found.to_string() == *isa).ok_or("it is not there")?;
    let numbers = numbers.iter().map(|word| word.parse()).collect::<Result<Vec<usize>, _>>()?;
    let &[inputs, side, outputs, kernel, stride, copies, runs] = numbers.as_slice() else {
        return Err("seven numbers are wanted".into());
    };
    let shape = Shape { channels: inputs, height: side, width: side };
    let mut program = program(byte_isa, shape, outputs, (Window::square(kernel, stride, kernel / 2), copies))?;
    let (picture, mut scores) = (vec![0.5_f32; shape.elements()], Vec::new());
    for _ in 0..runs {
        program.run(&picture, &mut scores)?;
    }
    println!("{isa}: {} scores, the first {:?}", scores.len(), scores.first());
    Ok(())
}

/// A picture, the convolution so many times, and the mean of what comes out.
fn program(
    byte_isa: ByteIsa,
    shape: Shape,
    outputs: usize,
    (window, copies): (Window, usize),
) -> Result<Program, Box<dyn Error>> {
    let mut builder = ProgramBuilder::new(Options { byte_isa, threads: 1, ..Options::default() });
    let order = InputOrder::ChannelsFirst;
    let arrival = Arrival::Floats(Quantised { scale: 0.01, zero: 128 });
    let input = builder.picture(ByteInput { shape, order, is_planar: shape.channels <= 4, zero: 128, arrival })?;
    let count = outputs * shape.channels * window.kernel[0] * window.kernel[1];
    let weights: Vec<i16> = (0..count).map(|place| (place % 255) as i16 - 127).collect();
    let side = |length: usize| (length + 2 * window.padding[0] - window.span(0)) / window.stride[0] + 1;
    let shape = Shape { channels: outputs, height: side(shape.height), width: side(shape.width) };
    let factors = vec![1e-3; outputs];
    let mut layer = ByteConvolution {
        input,
        output: input,
        weights: &weights,
        bias: &[],
        factors: &factors,
        window,
        groups: 1,
        finish: ByteFinish::Bytes([0, 255]),
    };
    for _ in 0..copies {
        let tensor = builder.byte_tensor(shape, 128)?;
        layer.output = builder.whole(tensor);
        builder.byte_convolution(&layer)?;
    }
    let mean = builder.byte_tensor(Shape::vector(outputs), 128)?;
    let mean = builder.whole(mean);
    builder.byte_mean(layer.output, mean, [0.01, 0.01])?;
    let floats = builder.tensor(Shape::vector(outputs))?;
    let floats = builder.whole(floats);
    builder.dequantise(mean, floats, Quantised { scale: 0.01, zero: 128 })?;
    Ok(builder.build(floats)?)
}
