//! Steps over bytes of every kind.

use margay_kernels::{
    Arrival, ByteFinish, ByteInput, InputOrder, Options, PlanError, ProgramBuilder, Quantised, Shape, Window, byte_of,
};

use crate::byte_reference::{ByteLayer, Bytes, check, check_floats, same, saturated, sum};
use crate::reference::{Random, shape};

/// Weights within which two products fit sixteen bits, those of a byte, and those with a zero of their own.
const LARGEST: [i16; 3] = [64, 127, 255];

/// Checks one convolution, from blocks and, where it is dense and of few channels, from a picture.
fn convolution(inputs: Shape, channels: usize, groups: usize, window: Window, largest: i16) {
    let name = format!("{inputs:?} to {channels} in {groups} groups, {window:?}, weights to {largest}");
    let mut random = Random::new((inputs.elements() * channels) as u64);
    for zero in [0, 131] {
        let input = Bytes::random(inputs, zero, &mut random);
        let layer = ByteLayer::random([inputs.channels, channels, groups], window, largest, &mut random);
        let expected = layer.bytes(&input);
        for is_planar in [false, true] {
            if !is_planar || inputs.channels <= 4 {
                check(&name, &input, is_planar, &expected, |builder, view| layer.add(builder, view));
            }
        }
    }
}

#[test]
fn one_by_one_convolutions_of_odd_sizes() {
    for (height, width) in [(1, 1), (3, 5), (7, 7), (2, 13), (1, 27), (4, 29)] {
        for (inputs, outputs) in [(1, 1), (16, 16), (24, 40), (17, 33)] {
            for largest in LARGEST {
                convolution(shape(inputs, height, width), outputs, 1, Window::square(1, 1, 0), largest);
            }
        }
    }
}

#[test]
fn windows_strides_and_paddings() {
    for kernel in [2, 3, 5] {
        for stride in [1, 2, 3] {
            for padding in 0..kernel {
                let window = Window::square(kernel, stride, padding);
                convolution(shape(3, 9, 11), 20, 1, window, 127);
                convolution(shape(18, 8, 7), 16, 1, window, 64);
            }
        }
    }
}

/// Three by three with a stride of one is computed by Winograd's method, where that can be exact: in one batch of patches
/// and in several, with whole patches and parts of them, and with the largest weights and bytes.
#[test]
fn three_by_three_of_many_channels_and_pixels() {
    let sizes = [
        (16, 16, 4, 4, 1),
        (17, 40, 9, 30, 1),
        (48, 33, 13, 14, 0),
        (64, 64, 37, 41, 2),
        (200, 16, 6, 5, 1),
        (512, 20, 7, 7, 1),
    ];
    for (inputs, outputs, height, width, padding) in sizes {
        for largest in [127, 255] {
            convolution(shape(inputs, height, width), outputs, 1, Window::square(3, 1, padding), largest);
        }
    }
    let input = Bytes::from_elements(shape(24, 8, 8), 0, |_, y, x| if (x + y) % 2 == 0 { 255 } else { 0 });
    let weights = (0..24 * 24 * 9).map(|place| if place % 2 == 0 { 127 } else { -128 }).collect();
    let (bias, factors, window) = (vec![0; 24], vec![3e-4; 24], Window::square(3, 1, 1));
    let layer = ByteLayer { outputs: 24, groups: 1, window, weights, bias, factors, zero: 128, limits: [0, 255] };
    check("extremes", &input, false, &layer.bytes(&input), |builder, view| layer.add(builder, view));
}

/// Winograd's sums are whole up to a bound that depends on the input's zero: those just below it are exact, and so are those
/// above, by smaller patches.
#[test]
fn three_by_three_sums_at_the_bound_of_large_patches_are_exact() {
    let (channels, window) = (512, Window::square(3, 1, 1));
    // 2304 weights of a sign, times 57, times 255 are below 2²⁵, and times 58 above.
    for (zero, weight) in [(0, 57), (0, 58), (128, 57), (128, 58), (255, 57), (255, 58)] {
        for sign in [1, -1] {
            let input = Bytes::from_elements(shape(channels, 7, 7), zero, |channel, _, _| 255 * (channel % 2) as u8);
            let weights = (0..16 * channels * 9).map(|place| if place / 9 % 2 == 0 { -sign } else { sign } * weight);
            let (weights, bias, factors) = (weights.collect(), vec![0; 16], vec![3e-6; 16]);
            let layer =
                ByteLayer { outputs: 16, groups: 1, window, weights, bias, factors, zero: 128, limits: [0, 255] };
            let name = format!("{sign} · {weight} less {zero}");
            check(&name, &input, false, &layer.bytes(&input), |builder, view| layer.add(builder, view));
        }
    }
}

#[test]
fn windows_that_are_no_squares_and_dilated_ones() {
    for (kernel, padding) in [([1, 3], [0, 1]), ([3, 1], [1, 0]), ([1, 7], [0, 3]), ([4, 2], [2, 1])] {
        let window = Window { kernel, stride: [1, 1], padding, dilation: [1, 1] };
        convolution(shape(17, 6, 9), 32, 1, window, 127);
        convolution(shape(4, 6, 9), 32, 1, Window { stride: [2, 1], ..window }, 255);
    }
    let dilated = Window { kernel: [3, 3], stride: [1, 1], padding: [2, 3], dilation: [2, 3] };
    convolution(shape(3, 9, 9), 16, 1, dilated, 127);
    convolution(shape(21, 9, 9), 16, 1, dilated, 127);
}

#[test]
fn groups_of_channels() {
    for (inputs, outputs, groups) in [(32, 32, 2), (32, 64, 8), (12, 18, 3), (40, 20, 4), (64, 64, 2), (6, 12, 6)] {
        convolution(shape(inputs, 5, 6), outputs, groups, Window::square(3, 1, 1), 127);
        convolution(shape(inputs, 4, 4), outputs, groups, Window::square(1, 1, 0), 64);
    }
}

#[test]
fn depthwise_convolutions() {
    for (channels, height, width) in [(16, 7, 7), (20, 9, 17), (33, 5, 4), (1, 3, 30)] {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (2, 2), (3, 3)] {
            for largest in LARGEST {
                let window = Window::square(kernel, stride, kernel / 2);
                convolution(shape(channels, height, width), channels, channels, window, largest);
            }
        }
    }
    let tall = Window { kernel: [3, 3], stride: [1, 2], padding: [2, 1], dilation: [2, 1] };
    convolution(shape(24, 9, 9), 24, 24, tall, 127);
    convolution(shape(24, 9, 9), 24, 24, Window { dilation: [1, 2], ..tall }, 127);
}

#[test]
fn fully_connected_layers_are_windows_of_the_whole_picture() {
    for (channels, side, classes) in [(1280, 1, 1000), (40, 1, 7), (24, 5, 33), (512, 1, 130)] {
        convolution(shape(channels, side, side), classes, 1, Window::square(side, 1, 0), 127);
    }
}

#[test]
fn bytes_are_held_between_limits() {
    let mut random = Random::new(3);
    for (channels, groups, window) in [(24, 1, Window::square(1, 1, 0)), (24, 24, Window::square(3, 1, 1))] {
        let input = Bytes::random(shape(24, 6, 9), 7, &mut random);
        let layer = ByteLayer::random([24, channels, groups], window, 127, &mut random);
        let layer = ByteLayer { limits: [120, 201], ..layer };
        check("limits", &input, false, &layer.bytes(&input), |builder, view| layer.add(builder, view));
    }
}

/// Halves are common where scales are powers of two: they go to the even byte, seen without the zero.
#[test]
fn halves_are_rounded_to_even() {
    let input = Bytes::from_elements(shape(16, 1, 15), 128, |channel, _, x| (channel * 15 + x) as u8);
    let weights = (0..256).map(|place| i16::from(place % 17 == 0)).collect();
    let (bias, factors, window) = (vec![0; 16], vec![0.5; 16], Window::square(1, 1, 0));
    let layer = ByteLayer { outputs: 16, groups: 1, window, weights, bias, factors, zero: 77, limits: [0, 255] };
    check("halves", &input, false, &layer.bytes(&input), |builder, view| layer.add(builder, view));
}

#[test]
fn sums_far_beyond_a_byte_are_saturated() {
    let mut random = Random::new(5);
    let input = Bytes::random(shape(64, 3, 3), 128, &mut random);
    let mut layer = ByteLayer::random([64, 32, 1], Window::square(1, 1, 0), 127, &mut random);
    for factor in &mut layer.factors {
        *factor = 90.0;
    }
    check("saturated", &input, false, &layer.bytes(&input), |builder, view| layer.add(builder, view));
}

/// Where products are added in sixteen bits, those of the bytes and weights furthest from zero fill them.
#[test]
fn products_of_extreme_bytes_and_weights_are_exact() {
    for (groups, kernel) in [(1, 1), (1, 3), (32, 3)] {
        let window = Window::square(kernel, 1, kernel / 2);
        let of_filter = 32 / groups * kernel * kernel;
        for (byte, weight) in [(0, 127), (0, -127), (0, -128), (255, 127), (255, -127), (255, -128)] {
            let input = Bytes::from_elements(shape(32, 5, 7), 128, |_, _, _| byte);
            let (weights, bias) = (vec![weight; 32 * of_filter], vec![0; 32]);
            let factors = vec![100.0 / (128 * 128 * of_filter) as f32; 32];
            let layer = ByteLayer { outputs: 32, groups, window, weights, bias, factors, zero: 128, limits: [0, 255] };
            check("extremes", &input, false, &layer.bytes(&input), |builder, view| layer.add(builder, view));
        }
    }
}

#[test]
fn a_residual_is_added_to_the_rounded_sums() {
    let mut random = Random::new(7);
    for (channels, height, width) in [(16, 7, 7), (40, 5, 19), (33, 3, 3), (64, 1, 1)] {
        let input = Bytes::random(shape(channels, height, width), 100, &mut random);
        let layer = ByteLayer::random([channels, channels, 1], Window::square(3, 1, 1), 127, &mut random);
        let scales = [0.037, 0.041];
        let between = Quantised { scale: 0.029, zero: layer.zero };
        let ratios = [between.scale / scales[1], scales[0] / scales[1]];
        for limits in [[0, 255], [90, 255]] {
            let expected = sum([&layer.bytes(&input), &input], 90, ratios, limits);
            check("residual", &input, false, &expected, |builder, view| {
                let output = builder.byte_tensor(input.shape, 90)?;
                let output = builder.whole(output);
                let finish = ByteFinish::Sum { between, residual: view, scales, limits };
                builder.byte_convolution(&layer.step(view, output, finish))?;
                Ok(output)
            });
            check("sum", &input, false, &expected, |builder, view| {
                let between = layer.add(builder, view)?;
                let output = builder.byte_tensor(input.shape, 90)?;
                let output = builder.whole(output);
                builder.byte_sum([between, view], output, [0.029, scales[0], scales[1]], limits)?;
                Ok(output)
            });
        }
    }
}

#[test]
fn products_of_tensors_and_with_vectors() {
    let mut random = Random::new(23);
    let input = Bytes::random(shape(37, 5, 9), 100, &mut random);
    let layer = ByteLayer::random([37, 37, 1], Window::square(3, 1, 1), 127, &mut random);
    let ratio = 0.02_f32 * 0.015 / 0.03;
    let product = |other: &Bytes, by_channel: bool| {
        Bytes::from_elements(input.shape, 90, |c, y, x| {
            let (a, at) = (input.at(c, y as isize, x as isize), if by_channel { (0, 0) } else { (y, x) });
            saturated((a * other.at(c, at.0 as isize, at.1 as isize)) as f32 * ratio, 90, [60, 255])
        })
    };
    let whole = layer.bytes(&input);
    let mean = Bytes::from_elements(shape(37, 1, 1), 11, |c, _, _| {
        let steps: i32 = (0..45).map(|place| i32::from(input.data[c * 45 + place]) - 100).sum();
        saturated(steps as f32 * (0.02 / (0.03_f32 * 45.0)), 11, [0, 255])
    });
    for (other, by_channel) in [(&whole, false), (&mean, true)] {
        check("product", &input, false, &product(other, by_channel), |builder, view| {
            let second = if by_channel {
                let vector = builder.byte_tensor(shape(37, 1, 1), 11)?;
                builder.byte_mean(view, builder.whole(vector), [0.02, 0.03])?;
                builder.whole(vector)
            } else {
                layer.add(builder, view)?
            };
            let output = builder.byte_tensor(input.shape, 90)?;
            let output = builder.whole(output);
            builder.byte_product([view, second], output, [0.02, 0.015, 0.03], [60, 255])?;
            Ok(output)
        });
    }
}

#[test]
fn scores_come_out_as_floats() {
    let mut random = Random::new(9);
    for (channels, classes) in [(64, 33), (24, 1000), (3, 5)] {
        let input = Bytes::random(shape(channels, 1, 1), 100, &mut random);
        let layer = ByteLayer::random([channels, classes, 1], Window::square(1, 1, 0), 127, &mut random);
        let addends = random.numbers(classes);
        check_floats("scores", &input, false, &layer.floats(&input, &addends), |builder, view| {
            let output = builder.tensor(shape(classes, 1, 1))?;
            let output = builder.whole(output);
            builder.byte_convolution(&layer.step(view, output, ByteFinish::Floats(&addends)))?;
            Ok(output)
        });
    }
}

#[test]
fn tables_poolings_and_means() {
    let mut random = Random::new(15);
    let input = Bytes::random(shape(37, 7, 9), 40, &mut random);
    let table: [u8; 256] = std::array::from_fn(|byte| (byte * 7 + 3) as u8);
    let at = |c: usize, y: usize, x: usize| input.data[(c * 7 + y) * 9 + x];
    let expected = Bytes::from_elements(input.shape, 40, |c, y, x| table[usize::from(at(c, y, x))]);
    check("table", &input, false, &expected, |builder, view| {
        let output = builder.byte_tensor(input.shape, 40)?;
        let output = builder.whole(output);
        builder.table(view, output, &table)?;
        Ok(output)
    });
    let pooled = Bytes::from_elements(shape(37, 4, 5), 40, |c, y, x| {
        let inside = |at: usize, side: usize| (2 * at).saturating_sub(1)..(2 * at + 2).min(side);
        inside(y, 7).flat_map(|y| inside(x, 9).map(move |x| at(c, y, x))).max().unwrap()
    });
    check("pool", &input, false, &pooled, |builder, view| {
        let output = builder.byte_tensor(pooled.shape, 40)?;
        let output = builder.whole(output);
        builder.byte_pool(view, output, Window::square(3, 2, 1))?;
        Ok(output)
    });
    let factor = 0.02 / (0.03_f32 * 63.0);
    let means = Bytes::from_elements(shape(37, 1, 1), 11, |c, _, _| {
        let steps: i32 = (0..63).map(|place| i32::from(input.data[c * 63 + place]) - 40).sum();
        saturated(steps as f32 * factor, 11, [0, 255])
    });
    check("mean", &input, false, &means, |builder, view| {
        let output = builder.byte_tensor(means.shape, 11)?;
        let output = builder.whole(output);
        builder.byte_mean(view, output, [0.02, 0.03])?;
        Ok(output)
    });
}

#[test]
fn means_of_long_rows_of_the_greatest_byte() {
    let rising = |x: usize| (x % 256) as u8;
    let input = Bytes::from_elements(shape(17, 2, 600), 0, |c, _, x| if c % 2 == 0 { 255 } else { rising(x) });
    let means = Bytes::from_elements(shape(17, 1, 1), 0, |c, _, _| {
        let steps: i32 = (0..1200).map(|place| i32::from(input.data[c * 1200 + place])).sum();
        saturated(steps as f32 * (0.02 / (0.02_f32 * 1200.0)), 0, [0, 255])
    });
    check("mean", &input, false, &means, |builder, view| {
        let output = builder.byte_tensor(means.shape, 0)?;
        let output = builder.whole(output);
        builder.byte_mean(view, output, [0.02, 0.02])?;
        Ok(output)
    });
}

#[test]
fn channels_in_another_order() {
    let mut random = Random::new(17);
    let input = Bytes::random(shape(37, 3, 4), 40, &mut random);
    let order: Vec<(usize, usize)> = (0..50).map(|channel| (0, (channel * 11) % 37)).collect();
    let expected = Bytes::from_elements(shape(50, 3, 4), 40, |c, y, x| input.data[(order[c].1 * 3 + y) * 4 + x]);
    check("channels", &input, false, &expected, |builder, view| {
        let output = builder.byte_tensor(expected.shape, 40)?;
        let output = builder.whole(output);
        builder.byte_gather(&[view], output, &order)?;
        Ok(output)
    });
}

#[test]
fn floats_become_bytes_and_bytes_floats() {
    let mut random = Random::new(19);
    let shape = shape(21, 5, 3);
    let picture: Vec<f32> = random.numbers(shape.elements()).iter().map(|number| number * 3.0).collect();
    let as_bytes = Quantised { scale: 0.0125, zero: 90 };
    let expected = |number: &f32| {
        let byte = saturated(number / as_bytes.scale, as_bytes.zero, [0, 255]);
        assert_eq!(byte, byte_of(*number, as_bytes));
        (i32::from(byte) - 90) as f32 * as_bytes.scale
    };
    let expected: Vec<f32> = picture.iter().map(expected).collect();
    for arrives_as_floats in [true, false] {
        let mut builder = ProgramBuilder::new(Options::default());
        let bytes = if arrives_as_floats {
            let floats = builder.input(shape, InputOrder::ChannelsFirst, false).unwrap();
            let bytes = builder.byte_tensor(shape, 90).unwrap();
            builder.quantise(floats, builder.whole(bytes), as_bytes.scale).unwrap();
            builder.whole(bytes)
        } else {
            builder
                .picture(ByteInput {
                    shape,
                    order: InputOrder::ChannelsFirst,
                    is_planar: false,
                    zero: 90,
                    arrival: Arrival::Floats(as_bytes),
                })
                .unwrap()
        };
        let floats = builder.tensor(shape).unwrap();
        let floats = builder.whole(floats);
        builder.dequantise(bytes, floats, as_bytes).unwrap();
        let mut found = Vec::new();
        builder.build(floats).unwrap().run(picture.as_slice(), &mut found).unwrap();
        assert_eq!(found, expected);
    }
}

/// Halos of zeros that are no 0, shared memory, and bands of weights too large for the cache come together in a chain.
#[test]
fn a_chain_of_layers_reuses_memory_without_leaving_traces() {
    let mut random = Random::new(11);
    let input = Bytes::random(shape(3, 39, 43), 131, &mut random);
    let layers = [
        ByteLayer::random([3, 24, 1], Window::square(3, 2, 1), 127, &mut random),
        ByteLayer::random([24, 24, 24], Window::square(5, 1, 2), 127, &mut random),
        ByteLayer::random([24, 200, 1], Window::square(1, 1, 0), 127, &mut random),
        ByteLayer::random([200, 450, 1], Window::square(3, 2, 1), 127, &mut random),
        ByteLayer::random([450, 450, 450], Window::square(3, 1, 1), 255, &mut random),
        ByteLayer::random([450, 10, 1], Window::square(3, 1, 0), 127, &mut random),
    ];
    let expected = layers.iter().fold(input.clone(), |input, layer| layer.bytes(&input));
    check("chain", &input, true, &expected, |builder, view| {
        layers.iter().try_fold(view, |view, layer| layer.add(builder, view))
    });
}

#[test]
fn what_could_overflow_or_does_not_fit_is_refused() {
    let mut random = Random::new(21);
    let started = || {
        let mut builder = ProgramBuilder::new(Options::default());
        let arrival = Arrival::Bytes(vec![same()]);
        let view = builder
            .picture(ByteInput {
                shape: shape(16, 4, 4),
                order: InputOrder::ChannelsFirst,
                is_planar: false,
                zero: 0,
                arrival,
            })
            .unwrap();
        (builder, view)
    };
    let reason = |layer: &ByteLayer| {
        let (mut builder, view) = started();
        match layer.add(&mut builder, view).unwrap_err() {
            PlanError::Step { reason, .. } => reason,
            other => panic!("{other}"),
        }
    };
    let layer = ByteLayer::random([16, 16, 1], Window::square(1, 1, 0), 127, &mut random);
    assert!(reason(&ByteLayer { bias: vec![i32::MAX; 16], ..layer.clone() }).contains("can sum up to"));
    assert!(reason(&ByteLayer { factors: vec![1e9; 16], ..layer.clone() }).contains("can sum up to"));
    assert!(reason(&ByteLayer { factors: vec![f32::NAN; 16], ..layer.clone() }).contains("can sum up to"));
    assert!(reason(&ByteLayer { weights: vec![256; 256], ..layer.clone() }).contains("beyond -255 to 255"));
    assert!(reason(&ByteLayer { weights: vec![1; 255], ..layer.clone() }).contains("255 weights"));
    let (mut builder, view) = started();
    let floats = builder.tensor(shape(16, 4, 4)).unwrap();
    let floats = builder.whole(floats);
    let text = builder.affine(view, floats, [&[1.0; 16]; 2], Default::default()).unwrap_err().to_string();
    assert!(text.contains("floats for bytes"), "{text}");
    assert!(builder.table(view, floats, &same()).is_err());
    assert!(builder.quantise(view, view, 1.0).is_err());
    let text = builder.build(view).unwrap_err().to_string();
    assert!(text.contains("its output are bytes"), "{text}");
}
