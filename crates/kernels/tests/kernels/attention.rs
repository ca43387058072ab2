//! Attention, and the rows of tokens that it reads.

use margay_kernels::{
    Activation, Combination, InputOrder, Isa, MAX_TOKENS, Options, PlanError, ProgramBuilder, Sample, Samples, Shape,
    View, Window,
};

use crate::reference::{Dense, Layer, Random, check, convolve, shape};

/// The sizes of an attention whose queries, keys and values are channels of one tensor; queries are its first tokens.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    heads: usize,
    channels: usize,
    keys: usize,
    queries: usize,
}

impl Sizes {
    fn input(&self) -> Shape {
        shape(3 * self.heads * self.channels, 1, self.keys)
    }

    fn output(&self) -> Shape {
        shape(self.heads * self.channels, 1, self.queries)
    }
}

/// By the definition, in double precision.
fn attention(input: &Dense, sizes: Sizes, scale: f32) -> Dense {
    let Sizes { heads, channels, keys, queries } = sizes;
    let all = heads * channels;
    let at = |channel: usize, token: usize| f64::from(input.data[channel * keys + token]);
    let mut data = vec![0.0; all * queries];
    for (head, query) in (0..heads).flat_map(|head| (0..queries).map(move |query| (head, query))) {
        let of_head = head * channels..(head + 1) * channels;
        let score = |key| {
            let products = of_head.clone().map(|channel| at(channel, query) * at(all + channel, key));
            products.sum::<f64>() * f64::from(scale)
        };
        let scores: Vec<f64> = (0..keys).map(score).collect();
        let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = scores.iter().map(|score| (score - greatest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        for channel in of_head.clone() {
            let values = powers.iter().enumerate().map(|(key, power)| power * at(2 * all + channel, key));
            data[channel * queries + query] = (values.sum::<f64>() / sum) as f32;
        }
    }
    Dense { shape: sizes.output(), data }
}

/// A step that reads thirds of a view's channels.
fn step(builder: &mut ProgramBuilder, view: View, sizes: Sizes, scale: f32) -> Result<View, PlanError> {
    let all = sizes.heads * sizes.channels;
    let parts = [0, 1, 2].map(|part| builder.part_of(view, part * all, all));
    let [mut queries, keys, values] = [parts[0].clone()?, parts[1].clone()?, parts[2].clone()?];
    if sizes.queries < sizes.keys {
        let few = builder.tensor(sizes.output())?;
        let few = builder.whole(few);
        let columns = (0..sizes.queries).map(|token| Sample::copy_of(token as u32)).collect();
        builder.resize(queries, few, &Samples { rows: vec![Sample::copy_of(0)], columns })?;
        queries = few;
    }
    let output = builder.tensor(sizes.output())?;
    let output = builder.whole(output);
    builder.attention([queries, keys, values], output, sizes.heads, scale)?;
    Ok(output)
}

#[test]
fn every_query_gets_the_mean_of_the_values_by_its_scores() {
    for (seed, [heads, channels, keys, queries]) in [
        [1, 16, 1, 1],
        [2, 32, 10, 10],
        [1, 16, 16, 16],
        [3, 64, 50, 50],
        [2, 48, 33, 33],
        [1, 64, 85, 85],
        [4, 16, 197, 3],
        [2, 32, 42, 42],
        [1, 128, 30, 29],
    ]
    .into_iter()
    .enumerate()
    {
        let sizes = Sizes { heads, channels, keys, queries };
        let input = Dense::random(sizes.input(), &mut Random::new(seed as u64));
        let scale = 1.0 / (channels as f32).sqrt();
        let expected = attention(&input, sizes, scale);
        check(&format!("{sizes:?}"), &input, false, &expected, |builder, view| step(builder, view, sizes, scale));
    }
}

/// Scores beyond what the exponential holds, and all but one of them next to nothing.
#[test]
fn scores_of_any_size_become_parts_of_one() {
    let sizes = Sizes { heads: 2, channels: 16, keys: 21, queries: 21 };
    let mut input = Dense::random(sizes.input(), &mut Random::new(30));
    let all = sizes.heads * sizes.channels * sizes.keys;
    input.data[..2 * all].iter_mut().for_each(|x| *x *= 30.0);
    let expected = attention(&input, sizes, 1.0);
    check("large scores", &input, false, &expected, |builder, view| step(builder, view, sizes, 1.0));
}

/// Around convolutions, which leave anything in the lanes past the last channel, and of a tensor with zeros around it.
#[test]
fn convolutions_before_and_after_are_as_without() {
    let mut random = Random::new(31);
    let sizes = Sizes { heads: 2, channels: 16, keys: 19, queries: 19 };
    let input = Dense::random(shape(5, 1, 19), &mut random);
    let first = Layer::random(5, 96, 1, Window::square(3, 1, 1), &mut random);
    let last = Layer::random(32, 7, 1, Window::square(3, 1, 1), &mut random);
    let between = convolve(&input, &first, None);
    let expected = convolve(&attention(&between, sizes, 0.25), &last, None);
    check("between convolutions", &input, false, &expected, |builder, view| {
        let (before, after) = (builder.tensor(between.shape)?, builder.tensor(expected.shape)?);
        let (before, after) = (builder.whole(before), builder.whole(after));
        builder.convolution(&first.step(view, before, None))?;
        let mixed = step(builder, before, sizes, 0.25)?;
        builder.convolution(&last.step(mixed, after, None))?;
        Ok(after)
    });
}

#[test]
fn pixels_become_a_row_of_tokens_behind_constant_ones() {
    for (first, [channels, height, width]) in [(0, [21, 3, 4]), (1, [16, 5, 5]), (2, [40, 1, 9]), (3, [1, 2, 1])] {
        let mut random = Random::new(first as u64);
        let input = Dense::random(shape(channels, height, width), &mut random);
        let tokens = first + height * width;
        let addends = random.numbers(tokens * channels);
        let mut data = Vec::new();
        for channel in 0..channels {
            let of_picture = |token: usize| input.data[channel * height * width + token];
            let numbers = (0..tokens)
                .map(|token| addends[token * channels + channel] + token.checked_sub(first).map_or(0.0, of_picture));
            data.extend(numbers);
        }
        let expected = Dense { shape: shape(channels, 1, tokens), data };
        check(&format!("{first} tokens"), &input, false, &expected, |builder, view| {
            let output = builder.tensor(expected.shape)?;
            let output = builder.whole(output);
            builder.tokens(view, output, first, &addends)?;
            Ok(output)
        });
    }
}

#[test]
fn rows_of_tokens_are_kept_between_starts() {
    let mut random = Random::new(33);
    let input = Dense::random(shape(20, 2, 3), &mut random);
    let addends = random.numbers(7 * 20);
    let build = |mut builder: ProgramBuilder, addends: &[f32]| {
        let view = builder.input(input.shape, InputOrder::ChannelsFirst, false).unwrap();
        let output = builder.tensor(shape(20, 1, 7)).unwrap();
        let output = builder.whole(output);
        builder.tokens(view, output, 1, addends).unwrap();
        builder.build(output).unwrap()
    };
    let mut builder = ProgramBuilder::new(Options::default());
    builder.remember_packed();
    let mut program = build(builder, &addends);
    let packed = program.take_packed().unwrap();
    let bytes = packed.sections().flatten().copied().collect::<Vec<u8>>();
    let sections = std::iter::once(0..bytes.len()).collect();
    let kept = margay_kernels::KeptWeights::new(margay_kernels::Mapping::of_bytes(&bytes), sections).unwrap();
    let mut again = build(ProgramBuilder::with_kept(Options::default(), kept), &[]);
    let scores = |program: &mut margay_kernels::Program| {
        let mut scores = Vec::new();
        program.run(&input.data, &mut scores).unwrap();
        scores
    };
    assert_eq!(scores(&mut program), scores(&mut again));
}

#[test]
fn attention_that_does_not_fit_its_tensors_is_refused() {
    let attempt = |input: Shape, output: Shape, heads: usize| {
        let mut builder = ProgramBuilder::new(Options::default());
        let view = builder.input(input, InputOrder::ChannelsFirst, false)?;
        let output = builder.tensor(output)?;
        let output = builder.whole(output);
        builder.attention([view; 3], output, heads, 1.0)
    };
    let tokens = shape(32, 1, 9);
    assert!(attempt(tokens, tokens, 2).is_ok());
    for heads in [0, 3, 4, 32, usize::MAX] {
        assert!(attempt(tokens, tokens, heads).is_err(), "{heads} heads");
    }
    for other in [shape(32, 1, 8), shape(16, 1, 9), shape(32, 9, 1)] {
        assert!(attempt(tokens, other, 2).is_err(), "to {other}");
    }
    assert!(attempt(shape(32, 3, 3), shape(32, 3, 3), 2).is_err());
    let many = shape(16, 1, MAX_TOKENS + 1);
    assert!(attempt(many, many, 1).unwrap_err().to_string().contains("4096"));
    let most = shape(16, 1, MAX_TOKENS);
    assert!(attempt(most, most, 1).is_ok());
}

#[test]
fn rows_of_tokens_that_do_not_fit_are_refused() {
    let attempt = |output: Shape, first: usize, addends: usize| {
        let mut builder = ProgramBuilder::new(Options::default());
        let view = builder.input(shape(20, 2, 3), InputOrder::ChannelsFirst, false)?;
        let output = builder.tensor(output)?;
        let output = builder.whole(output);
        builder.tokens(view, output, first, &vec![1.0; addends])
    };
    assert!(attempt(shape(20, 1, 7), 1, 140).is_ok());
    for (output, first, addends) in [
        (shape(20, 1, 7), 0, 140),
        (shape(20, 1, 7), usize::MAX, 140),
        (shape(20, 7, 1), 1, 140),
        (shape(21, 1, 7), 1, 147),
        (shape(20, 1, 7), 1, 139),
    ] {
        assert!(attempt(output, first, addends).is_err(), "{first} before {output}, {addends} addends");
    }
}

/// Threads share a row's pixels, whatever their number.
#[test]
fn a_row_of_tokens_is_normalised_like_a_picture() {
    let mut random = Random::new(35);
    let input = Dense::random(shape(24, 1, 37), &mut random);
    let (ones, zeros) = (vec![1.0; 24], vec![0.0; 24]);
    let mut data = vec![0.0; 24 * 37];
    for token in 0..37 {
        let of_token: Vec<f64> = (0..24).map(|channel| f64::from(input.data[channel * 37 + token])).collect();
        let mean = of_token.iter().sum::<f64>() / 24.0;
        let variance = of_token.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 24.0;
        for (channel, x) in of_token.iter().enumerate() {
            data[channel * 37 + token] = (2.0 * (x - mean) / (variance + 1e-6).sqrt()) as f32;
        }
    }
    check("tokens", &input, false, &Dense { shape: input.shape, data }, |builder, view| {
        let (unit, output) = (builder.tensor(input.shape)?, builder.tensor(input.shape)?);
        let (unit, output) = (builder.whole(unit), builder.whole(output));
        builder.normalise(view, unit, [&ones, &zeros], 1e-6)?;
        builder.combine([unit, unit], output, Combination::Sum, Activation::Identity)?;
        Ok(output)
    });
}

/// Planned for every instruction set, also those that this machine lacks, with their tiles, and interpreted.
#[test]
fn every_set_plans_tiles_that_stay_inside() {
    for isa in [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable] {
        for [heads, channels, keys, queries] in [[2, 64, 42, 42], [1, 32, 43, 43], [1, 80, 17, 5]] {
            let sizes = Sizes { heads, channels, keys, queries };
            let input = Dense::random(sizes.input(), &mut Random::new(50));
            let mut builder = ProgramBuilder::new(Options { isa, checks: true, ..Options::default() });
            let view = builder.input(input.shape, InputOrder::ChannelsFirst, false).unwrap();
            let output = step(&mut builder, view, sizes, 0.2).unwrap();
            let mut found = Vec::new();
            builder.build(output).unwrap().run(&input.data, &mut found).unwrap();
            let expected = attention(&input, sizes, 0.2);
            let is_near = |(found, expected): (&f32, &f32)| (found - expected).abs() <= 2e-6;
            assert!(found.iter().zip(&expected.data).all(is_near), "{isa}, {sizes:?}");
        }
    }
}
