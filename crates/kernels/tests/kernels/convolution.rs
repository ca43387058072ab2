//! Convolutions of every kind.

use margay_kernels::{Activation, InputOrder, Isa, Options, PoolKind, ProgramBuilder, Shape, Window};

use crate::reference::{
    Case, Dense, Layer, Random, check, check_with_reciprocals, convolve, outputs, pool, sets, shape,
};

/// Checks one convolution, from a blocked input and, where it is dense, from a planar one.
fn convolution(inputs: Shape, channels: usize, groups: usize, window: Window, activation: Activation) {
    let name = format!("{inputs:?} to {channels} in {groups} groups, {window:?}, {activation:?}");
    let mut random = Random::new((inputs.elements() * channels) as u64);
    let input = Dense::random(inputs, &mut random);
    let layer = Layer { activation, ..Layer::random(inputs.channels, channels, groups, window, &mut random) };
    let expected = convolve(&input, &layer, None);
    for is_planar in [false, true] {
        let network = |builder: &mut ProgramBuilder, view| {
            let output = builder.tensor(expected.shape)?;
            let output = builder.whole(output);
            builder.convolution(&layer.step(view, output, None))?;
            Ok(output)
        };
        match activation {
            Activation::Sigmoid | Activation::Swish => {
                check_with_reciprocals(&name, &input, is_planar, &expected, network);
            }
            _ => check(&name, &input, is_planar, &expected, network),
        }
    }
}

#[test]
fn one_by_one_convolutions_of_odd_sizes() {
    for (height, width) in [(1, 1), (3, 5), (7, 7), (2, 13), (1, 27), (4, 29)] {
        for (inputs, outputs) in [(1, 1), (16, 16), (24, 40), (17, 33)] {
            let input = shape(inputs, height, width);
            convolution(input, outputs, 1, Window::square(1, 1, 0), Activation::Identity);
        }
    }
}

#[test]
fn windows_strides_and_paddings() {
    for kernel in [2, 3, 5] {
        for stride in [1, 2, 3] {
            for padding in 0..kernel {
                let window = Window::square(kernel, stride, padding);
                convolution(shape(3, 9, 11), 20, 1, window, Activation::RELU);
                convolution(shape(18, 8, 7), 16, 1, window, Activation::Clamp { low: -0.5, high: 6.0 });
            }
        }
    }
}

/// Pictures that are read with a stride of two, in tiles of every size, with and without room behind the last window.
#[test]
fn first_layers() {
    for kernel in [3, 5, 7] {
        for (width, padding) in [(27, kernel / 2), (28, kernel / 2), (kernel + 18, 0), (kernel + 2, 0), (kernel, 0)] {
            for channels in [24, 32] {
                convolution(
                    shape(3, kernel + 4, width),
                    channels,
                    1,
                    Window::square(kernel, 2, padding),
                    Activation::RELU,
                );
            }
        }
    }
}

#[test]
fn windows_that_are_no_squares_and_dilated_ones() {
    for (kernel, padding) in [([1, 3], [0, 1]), ([3, 1], [1, 0]), ([1, 7], [0, 3]), ([4, 2], [2, 1])] {
        let window = Window { kernel, stride: [1, 1], padding, dilation: [1, 1] };
        convolution(shape(17, 6, 9), 32, 1, window, Activation::Identity);
        convolution(shape(17, 6, 9), 32, 1, Window { stride: [2, 1], ..window }, Activation::Identity);
    }
    let dilated = Window { kernel: [3, 3], stride: [1, 1], padding: [2, 3], dilation: [2, 3] };
    convolution(shape(5, 9, 9), 16, 1, dilated, Activation::Identity);
}

#[test]
fn groups_of_channels() {
    for (inputs, outputs, groups) in [(32, 32, 2), (32, 64, 8), (12, 18, 3), (40, 20, 4), (64, 64, 2), (6, 12, 6)] {
        convolution(shape(inputs, 5, 6), outputs, groups, Window::square(3, 1, 1), Activation::Identity);
        convolution(shape(inputs, 4, 4), outputs, groups, Window::square(1, 1, 0), Activation::RELU);
    }
}

#[test]
fn depthwise_convolutions() {
    for (channels, height, width) in [(16, 7, 7), (20, 9, 17), (33, 5, 4), (1, 3, 30)] {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (2, 2), (3, 3)] {
            let window = Window::square(kernel, stride, kernel / 2);
            convolution(shape(channels, height, width), channels, channels, window, Activation::RELU);
        }
    }
    let dilated = Window { kernel: [3, 3], stride: [1, 2], padding: [2, 1], dilation: [2, 1] };
    convolution(shape(24, 9, 9), 24, 24, dilated, Activation::Swish);
}

#[test]
fn every_activation_follows_a_convolution() {
    let activations = [
        Activation::LeakyRelu { slope: 0.1 },
        Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Activation::HardSwish { alpha: 1.0 / 6.0, beta: 0.5 },
        Activation::Sigmoid,
        Activation::Swish,
    ];
    for activation in activations {
        convolution(shape(19, 7, 7), 35, 1, Window::square(1, 1, 0), activation);
        convolution(shape(20, 6, 15), 20, 20, Window::square(3, 1, 1), activation);
    }
}

#[test]
fn fully_connected_layers_are_windows_of_the_whole_picture() {
    for (channels, side, classes) in [(1280, 1, 1000), (40, 1, 7), (24, 5, 33), (512, 1, 130)] {
        convolution(shape(channels, side, side), classes, 1, Window::square(side, 1, 0), Activation::Identity);
    }
}

#[test]
fn a_residual_is_added_before_the_activation() {
    let mut random = Random::new(7);
    for (channels, height, width) in [(16, 7, 7), (40, 5, 19), (33, 3, 3)] {
        let input = Dense::random(shape(channels, height, width), &mut random);
        let window = Window::square(3, 1, 1);
        let layer = Layer { activation: Activation::RELU, ..Layer::random(channels, channels, 1, window, &mut random) };
        check("residual", &input, false, &convolve(&input, &layer, Some(&input)), |builder, view| {
            let output = builder.tensor(input.shape)?;
            let output = builder.whole(output);
            builder.convolution(&layer.step(view, output, Some(view)))?;
            Ok(output)
        });
    }
}

/// Halos, shared memory and bands of weights too large for the cache come together in a chain.
#[test]
fn a_chain_of_layers_reuses_memory_without_leaving_traces() {
    let mut random = Random::new(11);
    let input = Dense::random(shape(3, 19, 23), &mut random);
    let layers = [
        Layer::random(3, 24, 1, Window::square(3, 2, 1), &mut random),
        Layer::random(24, 24, 24, Window::square(5, 1, 2), &mut random),
        Layer::random(24, 200, 1, Window::square(1, 1, 0), &mut random),
        Layer::random(200, 130, 1, Window::square(3, 1, 1), &mut random),
        Layer::random(130, 10, 1, Window::square(3, 1, 0), &mut random),
    ];
    let mut expected = input.clone();
    for layer in &layers {
        expected = convolve(&expected, layer, None);
    }
    check("chain", &input, true, &expected, |builder, mut view| {
        for layer in &layers {
            let (height, width) = outputs(&layer.window, builder.shape(view));
            let output = builder.tensor(shape(layer.outputs, height, width))?;
            let output = builder.whole(output);
            builder.convolution(&layer.step(view, output, None))?;
            view = output;
        }
        Ok(view)
    });
}

/// Large enough that the builder makes one step of both.
#[test]
fn a_dense_convolution_and_the_depthwise_one_behind_it_are_one_step() {
    let mut random = Random::new(17);
    for (inputs, between, dense, depthwise) in [
        (shape(16, 56, 58), 40, Window::square(1, 1, 0), Window::square(3, 1, 1)),
        (shape(24, 57, 55), 56, Window::square(1, 1, 0), Window::square(5, 2, 2)),
        (shape(3, 101, 99), 64, Window::square(3, 2, 1), Window::square(3, 1, 1)),
        // Two bands of channels, each of which begins with the picture's first rows again.
        (shape(3, 131, 150), 80, Window::square(3, 2, 1), Window::square(3, 2, 1)),
        (shape(20, 70, 69), 33, Window::square(3, 1, 1), Window::square(3, 2, 0)),
        (shape(5, 60, 61), 48, Window::square(1, 1, 0), Window::square(2, 3, 0)),
        (shape(7, 60, 64), 48, Window::square(1, 1, 0), Window { dilation: [2, 1], ..Window::square(3, 1, 2) }),
    ] {
        let input = Dense::random(inputs, &mut random);
        let activations = [Activation::Swish, Activation::RELU];
        let first = Layer {
            activation: activations[between % 3 % 2],
            ..Layer::random(inputs.channels, between, 1, dense, &mut random)
        };
        let second = Layer {
            activation: activations[between % 5 % 2],
            ..Layer::random(between, between, between, depthwise, &mut random)
        };
        let expected = convolve(&convolve(&input, &first, None), &second, None);
        check_with_reciprocals(
            &format!("{inputs:?} {dense:?} {depthwise:?}"),
            &input,
            inputs.channels == 3,
            &expected,
            |builder, view| {
                let (height, width) = outputs(&dense, inputs);
                let (middle, output) =
                    (builder.tensor(shape(between, height, width))?, builder.tensor(expected.shape)?);
                let (middle, output) = (builder.whole(middle), builder.whole(output));
                builder.convolution(&first.step(view, middle, None))?;
                builder.convolution(&second.step(middle, output, None))?;
                Ok(output)
            },
        );
    }
}

/// Large enough, too. Numbers of either sign: what lies beside the picture is no zero to a maximum.
#[test]
fn a_dense_convolution_and_the_pooling_behind_it_are_one_step() {
    let mut random = Random::new(19);
    let mean = |counts_padding| PoolKind::Average { counts_padding };
    for (inputs, between, dense, kind, window, beyond) in [
        (shape(3, 101, 99), 64, Window::square(3, 2, 1), PoolKind::Maximum, Window::square(3, 2, 0), 1),
        (shape(3, 120, 122), 72, Window::square(7, 2, 3), PoolKind::Maximum, Window::square(3, 2, 1), 0),
        (shape(20, 60, 58), 48, Window::square(1, 1, 0), mean(false), Window::square(4, 3, 2), 0),
        (shape(16, 61, 57), 48, Window::square(3, 1, 1), mean(true), Window::square(3, 1, 1), 0),
    ] {
        let input = Dense::random(inputs, &mut random);
        let first = Layer::random(inputs.channels, between, 1, dense, &mut random);
        let middle = convolve(&input, &first, None);
        let (height, width) = outputs(&window, middle.shape);
        let expected = pool(&middle, &window, kind, (height + beyond, width));
        let name = format!("{inputs:?} {dense:?} {kind:?} {window:?}");
        let network = |builder: &mut ProgramBuilder, view| {
            let (between, output) = (builder.tensor(middle.shape)?, builder.tensor(expected.shape)?);
            let (between, output) = (builder.whole(between), builder.whole(output));
            builder.convolution(&first.step(view, between, None))?;
            builder.pool(between, output, kind, window)?;
            Ok(output)
        };
        check(&name, &input, inputs.channels == 3, &expected, network);
        let mut builder = ProgramBuilder::new(Options { winograd: false, ..Options::default() });
        let view = builder.input(inputs, InputOrder::ChannelsFirst, inputs.channels == 3).unwrap();
        let output = network(&mut builder, view).unwrap();
        let stages = builder.build(output).unwrap().profile(&input.data).unwrap();
        let names: Vec<String> = stages.into_iter().map(|stage| stage.name).collect();
        assert!(names.last().unwrap().contains("and pooling"), "{names:?}");
        assert_eq!(names.len(), if inputs.channels == 3 { 1 } else { 2 }, "{names:?}");
    }
}

#[test]
fn winograd_convolutions_of_all_edges() {
    let mut random = Random::new(13);
    let options = Options { winograd: true, poisons: true, ..Options::default() };
    for (inputs, outputs, height, width, padding, stride) in [
        // By patches of 4 × 4.
        (16, 16, 15, 14, 1, 1),
        (32, 40, 17, 19, 1, 1),
        (48, 32, 23, 16, 0, 1),
        (64, 64, 17, 21, 1, 1),
        (16, 100, 30, 29, 2, 1),
        // By patches of 2 × 2: small pictures, many channels.
        (16, 16, 4, 4, 1, 1),
        (32, 40, 7, 9, 1, 1),
        (48, 32, 13, 6, 0, 1),
        (160, 72, 14, 13, 1, 1),
        (256, 16, 7, 10, 0, 1),
        (144, 48, 31, 33, 2, 1),
        // With stride 2, by patches of 4 × 4.
        (16, 16, 31, 30, 1, 2),
        (32, 40, 33, 37, 1, 2),
        (64, 32, 45, 32, 0, 2),
        (16, 100, 38, 30, 2, 2),
        // And of 2 × 2.
        (16, 16, 9, 8, 1, 2),
        (32, 40, 14, 17, 1, 2),
        (160, 72, 27, 26, 1, 2),
        (144, 48, 61, 63, 2, 2),
        // Where filters are transformed in every run: in one part, in two and in four, and with short patches of every kind.
        (128, 48, 7, 7, 1, 1),
        (96, 70, 5, 14, 1, 1),
        (240, 16, 6, 4, 1, 1),
        (80, 64, 40, 33, 1, 1),
        (176, 32, 32, 33, 1, 1),
        (128, 40, 14, 13, 1, 2),
        (96, 52, 9, 19, 2, 2),
        (64, 64, 57, 56, 0, 2),
    ] {
        let input = Dense::random(shape(inputs, height, width), &mut random);
        let window = Window::square(3, stride, padding);
        let layer = Layer { activation: Activation::RELU, ..Layer::random(inputs, outputs, 1, window, &mut random) };
        let other = Layer::random(inputs, outputs, 1, window, &mut random);
        let residual = convolve(&input, &other, None);
        let expected = convolve(&input, &layer, Some(&residual));
        Case {
            name: &format!("{input:?}"),
            input: &input,
            is_planar: false,
            expected: &expected,
            tolerance: 1e-5,
            apart: 0.0,
            options,
        }
        .check(|builder, view| {
            let (between, output) = (builder.tensor(expected.shape)?, builder.tensor(expected.shape)?);
            let (between, output) = (builder.whole(between), builder.whole(output));
            builder.convolution(&other.step(view, between, None))?;
            builder.convolution(&layer.step(view, output, Some(between)))?;
            Ok(output)
        });
    }
}

/// However many threads share the bands, the sums are the same.
#[test]
fn winograd_convolutions_by_bands_on_several_threads() {
    let mut random = Random::new(14);
    for (side, stride) in [(14, 1), (30, 1), (27, 2)] {
        let input = Dense::random(shape(128, side, side), &mut random);
        let layer = Layer::random(128, 72, 1, Window::square(3, stride, 1), &mut random);
        let expected = convolve(&input, &layer, None);
        for isa in sets(Isa::available()) {
            let run = |threads| {
                let mut builder = ProgramBuilder::new(Options { isa, threads, poisons: true, ..Options::default() });
                let view = builder.input(input.shape, InputOrder::ChannelsFirst, false).unwrap();
                let output = builder.tensor(expected.shape).unwrap();
                let output = builder.whole(output);
                builder.convolution(&layer.step(view, output, None)).unwrap();
                let mut found = Vec::new();
                builder.build(output).unwrap().run(&input.data, &mut found).unwrap();
                found.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
            };
            let alone = run(1);
            assert!((2..=4).all(|threads| run(threads) == alone), "{side} by {stride}, {isa}");
        }
    }
}
