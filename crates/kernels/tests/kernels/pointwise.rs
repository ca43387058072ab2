//! Sums, products, scales, orders of channels, softmax, and the order of the input.

use margay_kernels::{Activation, Combination, InputOrder, Isa, Options, ProgramBuilder, Shape, Window};

use crate::reference::{Dense, Layer, Random, check, check_with_reciprocals, convolve, shape};

#[test]
fn tensors_are_added_and_multiplied() {
    let input = Dense::random(shape(20, 5, 7), &mut Random::new(1));
    for how in [Combination::Sum, Combination::Product] {
        let combined = |x: f32| if how == Combination::Sum { x + x } else { x * x };
        let data = input.data.iter().map(|&x| Activation::RELU.of(combined(x))).collect();
        check("two tensors", &input, false, &Dense { shape: input.shape, data }, |builder, view| {
            let output = builder.tensor(input.shape)?;
            let output = builder.whole(output);
            builder.combine([view, view], output, how, Activation::RELU)?;
            Ok(output)
        });
    }
}

#[test]
fn a_vector_gates_every_channel() {
    let input = Dense::random(shape(37, 6, 5), &mut Random::new(2));
    let means: Vec<f32> = input.data.chunks(30).map(|plane| plane.iter().sum::<f32>() / 30.0).collect();
    let data = input.data.iter().enumerate().map(|(place, x)| x * means[place / 30]).collect();
    check("gate", &input, false, &Dense { shape: input.shape, data }, |builder, view| {
        let (means, output) = (builder.tensor(Shape::vector(37))?, builder.tensor(input.shape)?);
        let (means, output) = (builder.whole(means), builder.whole(output));
        builder.average(view, means)?;
        builder.by_channel([view, means], output, Combination::Product, Activation::Identity)?;
        Ok(output)
    });
}

#[test]
fn constants_scale_and_shift_every_channel_before_any_activation() {
    let mut random = Random::new(3);
    let input = Dense::random(shape(18, 3, 4), &mut random);
    let (factors, addends) = (random.numbers(18), random.numbers(18));
    let activations = [
        Activation::Identity,
        Activation::Clamp { low: -0.25, high: 0.5 },
        Activation::LeakyRelu { slope: 0.2 },
        Activation::HardSwish { alpha: 1.0 / 6.0, beta: 0.5 },
        Activation::Sigmoid,
        Activation::Swish,
        Activation::Gelu,
        Activation::GeluByTanh,
    ];
    for activation in activations {
        let scaled = input.data.iter().enumerate().map(|(place, x)| x * factors[place / 12] + addends[place / 12]);
        let data = scaled.map(|x| activation.of(x)).collect();
        check_with_reciprocals(
            &format!("{activation:?}"),
            &input,
            false,
            &Dense { shape: input.shape, data },
            |builder, view| {
                let output = builder.tensor(input.shape)?;
                let output = builder.whole(output);
                builder.affine(view, output, [&factors, &addends], activation)?;
                Ok(output)
            },
        );
    }
}

/// The exponential's range: far from 0, near it, and beyond what a float holds.
#[test]
fn sigmoid_holds_over_the_whole_range() {
    let data: Vec<f32> = (-600..=600).map(|x| x as f32 / 5.0).collect();
    let input = Dense { shape: shape(1, 1, data.len()), data };
    let data = input.data.iter().map(|&x| (1.0 / (1.0 + f64::from(-x).exp())) as f32).collect();
    check_with_reciprocals("sigmoid", &input, false, &Dense { shape: input.shape, data }, |builder, view| {
        let output = builder.tensor(input.shape)?;
        let output = builder.whole(output);
        builder.affine(view, output, [&[1.0], &[0.0]], Activation::Sigmoid)?;
        Ok(output)
    });
}

/// Near 0, in the tails, and beyond both.
#[test]
fn gelu_holds_over_the_whole_range() {
    let data: Vec<f32> = (-1200..=1200).map(|x| x as f32 / 100.0).collect();
    let input = Dense { shape: shape(1, 1, data.len()), data };
    for activation in [Activation::Gelu, Activation::GeluByTanh] {
        let data = input.data.iter().map(|&x| activation.of(x)).collect();
        let expected = Dense { shape: input.shape, data };
        check_with_reciprocals(&format!("{activation:?}"), &input, false, &expected, |builder, view| {
            let output = builder.tensor(input.shape)?;
            let output = builder.whole(output);
            builder.affine(view, output, [&[1.0], &[0.0]], activation)?;
            Ok(output)
        });
    }
    // By tables of the normal distribution: x, and the part of it below x.
    for (x, part) in [(0.0, 0.5), (1.0, 0.841_344_8), (-1.0, 0.158_655_25), (2.5, 0.993_790_3), (-3.0, 0.001_349_9)] {
        assert!((Activation::Gelu.of(x) - x * part).abs() < 1e-6, "{x}");
        assert!((Activation::GeluByTanh.of(x) - x * part).abs() < 1e-3, "{x}");
    }
}

#[test]
fn channels_are_put_in_another_order() {
    let input = Dense::random(shape(21, 4, 3), &mut Random::new(6));
    let order: Vec<(usize, usize)> = (0..30).map(|channel| (channel % 2, channel * 8 % 21)).collect();
    let data = order.iter().flat_map(|&(_, channel)| input.data[channel * 12..][..12].to_vec()).collect();
    check("order", &input, false, &Dense { shape: shape(30, 4, 3), data }, |builder, view| {
        let output = builder.tensor(shape(30, 4, 3))?;
        let output = builder.whole(output);
        builder.gather(&[view, view], output, &order)?;
        Ok(output)
    });
}

#[test]
fn tensors_are_concatenated_by_writing_parts_of_one() {
    let mut random = Random::new(8);
    let input = Dense::random(shape(5, 6, 6), &mut random);
    let layers = [
        Layer::random(5, 32, 1, Window::square(1, 1, 0), &mut random),
        Layer::random(5, 20, 1, Window::square(3, 1, 1), &mut random),
    ];
    let last = Layer::random(52, 9, 1, Window::square(3, 1, 1), &mut random);
    let data = layers.iter().flat_map(|layer| convolve(&input, layer, None).data).collect();
    let expected = convolve(&Dense { shape: shape(52, 6, 6), data }, &last, None);
    check("concatenation", &input, true, &expected, |builder, view| {
        let (both, output) = (builder.tensor(shape(52, 6, 6))?, builder.tensor(expected.shape)?);
        for (layer, first) in layers.iter().zip([0, 32]) {
            let part = builder.part(both, first, layer.outputs)?;
            builder.convolution(&layer.step(view, part, None))?;
        }
        let output = builder.whole(output);
        builder.convolution(&last.step(builder.whole(both), output, None))?;
        Ok(output)
    });
}

#[test]
fn softmax_of_large_numbers() {
    let input = Dense { shape: Shape::vector(3), data: vec![1000.0, 1001.0, 999.0] };
    let expected = Dense { shape: Shape::vector(3), data: vec![0.244_728_48, 0.665_240_94, 0.090_030_57] };
    check("softmax", &input, false, &expected, |builder, view| {
        let output = builder.tensor(Shape::vector(3))?;
        let output = builder.whole(output);
        builder.softmax(view, output)?;
        Ok(output)
    });
}

#[test]
fn a_picture_may_come_pixel_by_pixel() {
    let input = Dense::random(shape(3, 5, 4), &mut Random::new(9));
    let by_pixel: Vec<f32> = (0..60).map(|place| input.data[place % 3 * 20 + place / 3]).collect();
    for isa in Isa::available() {
        for is_planar in [false, true] {
            let mut builder =
                ProgramBuilder::new(Options { isa, threads: 2, winograd: false, poisons: true, ..Options::default() });
            let view = builder.input(input.shape, InputOrder::ChannelsLast, is_planar).unwrap();
            let mut program = builder.build(view).unwrap();
            let mut found = Vec::new();
            program.run(&by_pixel, &mut found).unwrap();
            assert_eq!(found, input.data);
        }
    }
}
