//! Pictures of pixels: the same numbers, bit for bit, as of the floats that the pixels stand for.

use margay_kernels::pixels::Scaling;
use margay_kernels::{
    Arrival, ByteInput, ByteIsa, InputOrder, Isa, Options, Picture, PlanError, PoolKind, Program, ProgramBuilder,
    Quantised, RunError, Shape, View, Window,
};

use crate::reference::{Layer, Random, is_emulated, sets, shape};

/// What each channel's bytes stand for.
fn scalings(channels: usize) -> Vec<Scaling> {
    let deviation = |channel| 0.229 + 0.01 * channel as f32;
    let scaling =
        |channel| Scaling { scale: 1.0 / 255.0, mean: 0.485 - 0.1 * channel as f32, deviation: deviation(channel) };
    (0..channels).map(scaling).collect()
}

/// Pixels of every value, and the floats that they stand for.
fn picture(shape: Shape, order: InputOrder, seed: u64) -> (Vec<u8>, Vec<f32>) {
    let mut random = Random::new(seed);
    let pixels: Vec<u8> = (0..shape.elements()).map(|_| random.next() as u8).collect();
    let scalings = scalings(shape.channels);
    let channel = |place: usize| match order {
        InputOrder::ChannelsFirst => place / shape.pixels(),
        InputOrder::ChannelsLast => place % shape.channels,
    };
    let floats = pixels.iter().enumerate().map(|(place, &pixel)| scalings[channel(place)].apply(pixel)).collect();
    (pixels, floats)
}

fn bits(program: &mut Program, picture: Picture<'_>) -> Vec<u32> {
    let mut found = Vec::new();
    program.run(picture, &mut found).unwrap();
    found.into_iter().map(f32::to_bits).collect()
}

/// Every instruction set of floats and of bytes, on one thread and on three, and the interpreter of the fastest. Memory is
/// poisoned, and each program sees pixels and floats by turns.
fn check(
    name: &str,
    shape: Shape,
    order: InputOrder,
    network: impl Fn(&mut ProgramBuilder) -> Result<View, PlanError>,
) {
    let build = |options| {
        let mut builder = ProgramBuilder::new(options);
        let output = network(&mut builder).unwrap_or_else(|error| panic!("{name}: {error}"));
        builder.take_pixels(&scalings(shape.channels)).unwrap_or_else(|error| panic!("{name}: {error}"));
        builder.build(output).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let all = sets(Isa::available()).into_iter().map(|isa| (isa, ByteIsa::best()));
    let all = all.chain(sets(ByteIsa::available()).into_iter().map(|byte_isa| (Isa::best(), byte_isa)));
    // Emulated, threads that spin are not to be more than processors.
    let threads = [1, if is_emulated() { 2 } else { 3 }];
    let all = all.flat_map(|(isa, byte_isa)| threads.map(|threads| Options { isa, byte_isa, threads, ..options() }));
    let interpreted = [ByteIsa::best(), ByteIsa::Neon].map(|byte_isa| Options { checks: true, byte_isa, ..options() });
    let interpreted = interpreted.into_iter().take(if is_emulated() && shape.pixels() > 1000 { 0 } else { 2 });
    for options in all.chain(interpreted) {
        let mut program = build(options);
        assert!(program.takes_pixels());
        for seed in 0..2 {
            let (pixels, floats) = picture(shape, order, seed);
            let found = bits(&mut program, Picture::Pixels(&pixels));
            assert_eq!(found, bits(&mut program, Picture::Floats(&floats)), "{name}, {options:?}");
        }
    }
}

fn options() -> Options {
    Options { poisons: true, ..Options::default() }
}

/// A picture that only a convolution reads is held by strips; one that others read, in blocks of channels.
#[test]
fn pixels_are_the_floats_that_they_stand_for() {
    let mut random = Random::new(5);
    for (order, window, is_planar, sides) in [
        (InputOrder::ChannelsFirst, Window::square(3, 2, 1), true, (37, 41)),
        (InputOrder::ChannelsFirst, Window::square(7, 2, 3), true, (16, 19)),
        (InputOrder::ChannelsFirst, Window::square(3, 1, 1), false, (9, 7)),
        (InputOrder::ChannelsLast, Window::square(3, 2, 0), true, (15, 22)),
        (InputOrder::ChannelsLast, Window::square(5, 1, 2), false, (6, 5)),
    ] {
        let input = shape(3, sides.0, sides.1);
        let layer = Layer::random(3, 24, 1, window, &mut random);
        let side = |place: usize, length: usize| {
            (length + 2 * window.padding[place] - window.kernel[place]) / window.stride[place] + 1
        };
        check(&format!("{order:?} {window:?} {is_planar}"), input, order, |builder| {
            let view = builder.input(input, order, is_planar)?;
            let output = builder.tensor(shape(24, side(0, input.height), side(1, input.width)))?;
            let output = builder.whole(output);
            builder.convolution(&layer.step(view, output, None))?;
            Ok(output)
        });
    }
}

#[test]
fn pixels_go_through_a_convolution_and_the_pooling_behind_it() {
    let mut random = Random::new(6);
    let input = shape(3, 101, 99);
    let layer = Layer::random(3, 64, 1, Window::square(3, 2, 1), &mut random);
    check("expansion", input, InputOrder::ChannelsFirst, |builder| {
        let view = builder.input(input, InputOrder::ChannelsFirst, true)?;
        let (between, output) = (builder.tensor(shape(64, 51, 50))?, builder.tensor(shape(64, 25, 24))?);
        let (between, output) = (builder.whole(between), builder.whole(output));
        builder.convolution(&layer.step(view, between, None))?;
        builder.pool(between, output, PoolKind::Maximum, Window::square(3, 2, 0))?;
        Ok(output)
    });
}

/// As words of three channels, one byte after the other, and in blocks; with quantisations whose bytes lie on a line, and with
/// one that rounds what lies in the middle between two bytes.
#[test]
fn pixels_become_the_bytes_that_their_floats_become() {
    for (channels, order, is_planar) in [
        (3, InputOrder::ChannelsFirst, true),
        (3, InputOrder::ChannelsLast, true),
        (3, InputOrder::ChannelsFirst, false),
        (2, InputOrder::ChannelsFirst, true),
        (1, InputOrder::ChannelsFirst, false),
        (20, InputOrder::ChannelsLast, false),
    ] {
        for (scale, zero) in [(0.018_658_44, 114), (0.002, 0), (2.0 / 255.0 / 0.229, 7), (0.01, 255)] {
            let input = shape(channels, 7, 39);
            let as_bytes = Quantised { scale, zero };
            check(&format!("{channels} {order:?} {is_planar} {as_bytes:?}"), input, order, |builder| {
                let arrival = Arrival::Floats(as_bytes);
                let view = builder.picture(ByteInput { shape: input, order, is_planar, zero, arrival })?;
                let bytes = if is_planar { copied(builder, view, input, zero)? } else { view };
                let floats = builder.tensor(input)?;
                let floats = builder.whole(floats);
                builder.dequantise(bytes, floats, as_bytes)?;
                Ok(floats)
            });
        }
    }
}

/// A convolution of bytes that hands on each channel's.
fn copied(builder: &mut ProgramBuilder, view: View, shape: Shape, zero: u8) -> Result<View, PlanError> {
    let output = builder.byte_tensor(shape, zero)?;
    let output = builder.whole(output);
    let channels = shape.channels;
    let weights: Vec<i16> = (0..channels * channels).map(|at| i16::from(at / channels == at % channels)).collect();
    builder.byte_convolution(&margay_kernels::ByteConvolution {
        input: view,
        output,
        weights: &weights,
        bias: &[],
        factors: &vec![1.0; channels],
        window: Window::square(1, 1, 0),
        groups: 1,
        finish: margay_kernels::ByteFinish::Bytes([0, 255]),
    })?;
    Ok(output)
}

#[test]
fn pixels_are_refused_where_nobody_said_what_they_stand_for() {
    let input = shape(3, 2, 2);
    let mut builder = ProgramBuilder::new(options());
    assert!(builder.take_pixels(&scalings(3)).is_err(), "there is no input yet");
    let view = builder.input(input, InputOrder::ChannelsFirst, false).unwrap();
    assert!(builder.take_pixels(&scalings(2)).is_err(), "a channel is missing");
    let mut program = builder.build(view).unwrap();
    assert!(!program.takes_pixels());
    let mut found = Vec::new();
    assert_eq!(program.run(Picture::Pixels(&[0; 12]), &mut found), Err(RunError::Pixels));
    let wrong = program.run(Picture::Bytes(&[0; 12]), &mut found);
    assert_eq!(wrong, Err(RunError::Kind { takes_bytes: false }));

    let mut builder = ProgramBuilder::new(options());
    let arrival = Arrival::Bytes(vec![[0; 256]]);
    let order = InputOrder::ChannelsFirst;
    builder.picture(ByteInput { shape: input, order, is_planar: false, zero: 0, arrival }).unwrap();
    assert!(builder.take_pixels(&scalings(3)).is_err(), "its input are bytes of its own");

    let mut builder = ProgramBuilder::new(options());
    let view = builder.input(input, order, false).unwrap();
    builder.take_pixels(&scalings(3)).unwrap();
    let mut program = builder.build(view).unwrap();
    let wrong = program.run(Picture::Pixels(&[0; 11]), &mut found);
    assert_eq!(wrong, Err(RunError::Count { expected: 12, found: 11 }));
    let wrong = program.run(Picture::Bytes(&[0; 12]), &mut found);
    assert_eq!(wrong, Err(RunError::Kind { takes_bytes: false }), "bytes are no pixels");
}
