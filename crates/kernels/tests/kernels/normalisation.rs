//! Layer normalisation over channels.

use margay_kernels::{Activation, Combination, PlanError, ProgramBuilder, View, Window};

use crate::reference::{Dense, Layer, Random, check, convolve, shape};

/// By the definition, in double precision.
fn normalise(input: &Dense, [scale, shift]: [&[f32]; 2], epsilon: f32) -> Dense {
    let (pixels, channels) = (input.shape.pixels(), input.shape.channels);
    let mut data = vec![0.0; input.data.len()];
    for pixel in 0..pixels {
        let of_pixel: Vec<f64> = (0..channels).map(|channel| f64::from(input.data[channel * pixels + pixel])).collect();
        let mean = of_pixel.iter().sum::<f64>() / channels as f64;
        let variance = of_pixel.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / channels as f64;
        for (channel, x) in of_pixel.iter().enumerate() {
            let unit = (x - mean) / (variance + f64::from(epsilon)).sqrt();
            data[channel * pixels + pixel] = (unit * f64::from(scale[channel]) + f64::from(shift[channel])) as f32;
        }
    }
    Dense { shape: input.shape, data }
}

/// A step from a view to a tensor of its shape.
fn step(builder: &mut ProgramBuilder, view: View, by: [&[f32]; 2], epsilon: f32) -> Result<View, PlanError> {
    let output = builder.tensor(builder.shape(view))?;
    let output = builder.whole(output);
    builder.normalise(view, output, by, epsilon)?;
    Ok(output)
}

#[test]
fn every_pixel_is_normalised_by_its_own_channels() {
    for (seed, (channels, height, width)) in
        [(96, 3, 9), (16, 2, 4), (40, 5, 7), (1, 2, 3), (5, 1, 6), (33, 1, 1), (768, 1, 2)].into_iter().enumerate()
    {
        let mut random = Random::new(seed as u64);
        let mut input = Dense::random(shape(channels, height, width), &mut random);
        // A mean that is large beside the deviation is where one pass over the channels would fail.
        input.data.iter_mut().for_each(|x| *x = *x * 2.0 + 3.0);
        let (scale, shift) = (random.numbers(channels), random.numbers(channels));
        let expected = normalise(&input, [&scale, &shift], 1e-6);
        check(&format!("{channels} channels"), &input, false, &expected, |builder, view| {
            step(builder, view, [&scale, &shift], 1e-6)
        });
    }
}

/// The lanes past the last channel hold what convolutions leave there, and the next convolution finds zeros around the picture.
#[test]
fn convolutions_before_and_after_are_as_without() {
    let mut random = Random::new(40);
    let input = Dense::random(shape(7, 6, 5), &mut random);
    let first = Layer::random(7, 21, 1, Window::square(3, 1, 1), &mut random);
    let last = Layer::random(21, 9, 1, Window::square(3, 1, 1), &mut random);
    let (scale, shift) = (random.numbers(21), random.numbers(21));
    let between = convolve(&input, &first, None);
    let expected = convolve(&normalise(&between, [&scale, &shift], 1e-5), &last, None);
    check("between convolutions", &input, false, &expected, |builder, view| {
        let (before, after) = (builder.tensor(between.shape)?, builder.tensor(expected.shape)?);
        let (before, after) = (builder.whole(before), builder.whole(after));
        builder.convolution(&first.step(view, before, None))?;
        let unit = step(builder, before, [&scale, &shift], 1e-5)?;
        builder.convolution(&last.step(unit, after, None))?;
        Ok(after)
    });
}

#[test]
fn parts_of_a_tensor_are_normalised_by_themselves() {
    let mut random = Random::new(41);
    let input = Dense::random(shape(20, 4, 3), &mut random);
    let (scale, shift) = (random.numbers(20), random.numbers(20));
    let unit = normalise(&input, [&scale, &shift], 1e-3);
    let sums = unit.data.iter().zip(&input.data).map(|(a, b)| a + b);
    let data = input.data[..0].iter().copied().chain(sums).collect();
    check("part", &input, false, &Dense { shape: input.shape, data }, |builder, view| {
        let (both, output) = (builder.tensor(shape(52, 4, 3))?, builder.tensor(input.shape)?);
        let (part, output) = (builder.part(both, 32, 20)?, builder.whole(output));
        builder.normalise(view, part, [&scale, &shift], 1e-3)?;
        builder.combine([part, view], output, Combination::Sum, Activation::Identity)?;
        Ok(output)
    });
}
