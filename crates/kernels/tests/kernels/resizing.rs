//! Pictures of other rows and columns.

use margay_kernels::{InputOrder, Options, PlanError, ProgramBuilder, Sample, Samples, Shape, View, Window};

use crate::byte_reference::{self, ByteLayer, Bytes};
use crate::reference::{Dense, Layer, Random, check, convolve, shape};

/// A side of any length from one of another: every place between two of the input, or one of them.
fn samples(from: usize, to: usize, are_copies: bool, random: &mut Random) -> Vec<Sample> {
    let place = |random: &mut Random| random.next() % from as u32;
    let sample = |random: &mut Random| match are_copies || random.next().is_multiple_of(4) {
        true => Sample::copy_of(place(random)),
        false => {
            let weight = (random.next() % 1001) as f32 / 1000.0;
            Sample { first: place(random), second: place(random), weight }
        }
    };
    (0..to).map(|_| sample(random)).collect()
}

/// Random samples, of which the last see the last row and column.
fn pair(input: Shape, output: Shape, are_copies: [bool; 2], random: &mut Random) -> Samples {
    let mut rows = samples(input.height, output.height, are_copies[0], random);
    let mut columns = samples(input.width, output.width, are_copies[1], random);
    *rows.last_mut().unwrap() = Sample::copy_of(input.height as u32 - 1);
    *columns.last_mut().unwrap() = Sample::copy_of(input.width as u32 - 1);
    Samples { rows, columns }
}

/// By the definition, in double precision.
fn resized(input: &Dense, samples: &Samples) -> Dense {
    let Samples { rows, columns } = samples;
    let output = Shape { height: rows.len(), width: columns.len(), ..input.shape };
    let ends = |sample: &Sample| {
        let weight = f64::from(sample.weight);
        [(sample.first, 1.0 - weight), (sample.second, weight)]
    };
    let mut data = Vec::with_capacity(output.elements());
    for channel in 0..output.channels {
        for row in rows {
            for column in columns {
                let mut sum = 0.0;
                for (y, down) in ends(row) {
                    for (x, across) in ends(column) {
                        sum += f64::from(input.at(channel, y as isize, x as isize)) * down * across;
                    }
                }
                data.push(sum as f32);
            }
        }
    }
    Dense { shape: output, data }
}

fn step(builder: &mut ProgramBuilder, view: View, samples: &Samples) -> Result<View, PlanError> {
    let output = Shape { height: samples.rows.len(), width: samples.columns.len(), ..builder.shape(view) };
    let output = builder.tensor(output)?;
    let output = builder.whole(output);
    builder.resize(view, output, samples)?;
    Ok(output)
}

#[test]
fn pixels_are_copied_or_blended() {
    let mut random = Random::new(31);
    for (channels, [height, width], sides) in
        [(16, [7, 5], [14, 10]), (20, [9, 12], [3, 4]), (3, [1, 1], [6, 2]), (33, [4, 9], [5, 9])]
    {
        let input = Dense::random(shape(channels, height, width), &mut random);
        for are_copies in [[true, true], [false, false], [true, false], [false, true]] {
            let samples = pair(input.shape, shape(channels, sides[0], sides[1]), are_copies, &mut random);
            let expected = resized(&input, &samples);
            let name = format!("{:?} to {sides:?}, copies {are_copies:?}", input.shape);
            check(&name, &input, false, &expected, |builder, view| step(builder, view, &samples));
        }
    }
}

/// A halo lies around what is read and around what is written, and what is written is a part of another tensor.
#[test]
fn a_part_of_a_padded_tensor_is_resized_into_a_part() {
    let mut random = Random::new(32);
    let input = Dense::random(shape(32, 5, 6), &mut random);
    let samples = pair(input.shape, shape(32, 9, 11), [false, false], &mut random);
    let layer = Layer::random(48, 10, 1, Window::square(3, 1, 1), &mut random);
    let large = resized(&input, &samples);
    let [once, twice] = [&large.data[..], &large.data[16 * 99..]];
    let joined = Dense { shape: shape(48, 9, 11), data: [once, twice].concat() };
    let expected = convolve(&joined, &layer, None);
    let other = Layer::random(32, 16, 1, Window::square(3, 1, 1), &mut random);
    check("parts", &input, false, &expected, |builder, view| {
        // Somebody pads what is resized.
        let padded = builder.tensor(shape(16, 5, 6))?;
        builder.convolution(&other.step(view, builder.whole(padded), None))?;
        let whole = builder.tensor(joined.shape)?;
        builder.resize(view, builder.part(whole, 0, 32)?, &samples)?;
        builder.resize(builder.part_of(view, 16, 16)?, builder.part(whole, 32, 16)?, &samples)?;
        let output = builder.tensor(expected.shape)?;
        let output = builder.whole(output);
        builder.convolution(&layer.step(builder.whole(whole), output, None))?;
        Ok(output)
    });
}

#[test]
fn bytes_are_copied() {
    let mut random = Random::new(33);
    for (channels, [height, width], sides) in
        [(16, [7, 5], [14, 10]), (37, [9, 12], [3, 4]), (3, [1, 1], [6, 2]), (33, [4, 9], [5, 9])]
    {
        let input = Bytes::random(shape(channels, height, width), 40, &mut random);
        let output = shape(channels, sides[0], sides[1]);
        let samples = pair(input.shape, output, [true, true], &mut random);
        let large = Bytes::from_elements(output, 40, |c, y, x| {
            let (y, x) = (samples.rows[y].first as usize, samples.columns[x].first as usize);
            input.data[(c * height + y) * width + x]
        });
        // The halo of what comes out is read, too.
        let layer = ByteLayer::random([channels, 20, 1], Window::square(3, 1, 1), 127, &mut random);
        let expected = layer.bytes(&large);
        byte_reference::check("copies", &input, false, &expected, |builder, view| {
            let between = builder.byte_tensor(output, 40)?;
            let between = builder.whole(between);
            builder.byte_resize(view, between, &samples)?;
            layer.add(builder, between)
        });
    }
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let mut builder = ProgramBuilder::new(Options::default());
    let input = builder.input(shape(16, 4, 5), InputOrder::ChannelsFirst, false).unwrap();
    let output = builder.tensor(shape(16, 2, 3)).unwrap();
    let output = builder.whole(output);
    let good = Samples { rows: vec![Sample::copy_of(3); 2], columns: vec![Sample::copy_of(4); 3] };
    let with_row = |row: Sample| Samples { rows: vec![row; 2], ..good.clone() };
    let between = Sample { first: 0, second: 1, weight: 0.5 };
    let beyond = [
        Samples { rows: vec![Sample::copy_of(0); 3], ..good.clone() },
        Samples { columns: Vec::new(), ..good.clone() },
        Samples { columns: vec![Sample::copy_of(5); 3], ..good.clone() },
        with_row(Sample::copy_of(4)),
        with_row(Sample { second: 4, ..between }),
        with_row(Sample { first: u32::MAX, ..between }),
        with_row(Sample { weight: f32::NAN, ..between }),
        with_row(Sample { weight: -0.1, ..between }),
        with_row(Sample { weight: 1.1, ..between }),
    ];
    for samples in &beyond {
        let text = builder.resize(input, output, samples).unwrap_err().to_string();
        assert!(text.contains("do not make 16 × 2 × 3 of 16 × 4 × 5"), "{text}");
    }
    let other = builder.tensor(shape(17, 2, 3)).unwrap();
    assert!(builder.resize(input, builder.whole(other), &good).is_err());
    let text = builder.byte_resize(input, output, &with_row(between)).unwrap_err().to_string();
    assert!(text.contains("only copied"), "{text}");
    let text = builder.byte_resize(input, output, &good).unwrap_err().to_string();
    assert!(text.contains("a tensor of bytes is wanted"), "{text}");
    let [one, two] = [1, 2].map(|zero| builder.byte_tensor(shape(16, 4, 5), zero).unwrap());
    let same = Samples { rows: vec![Sample::copy_of(0); 4], columns: vec![Sample::copy_of(0); 5] };
    let text = builder.byte_resize(builder.whole(one), builder.whole(two), &same).unwrap_err().to_string();
    assert!(text.contains("bytes that stand for 0 differ"), "{text}");
    builder.resize(input, output, &good).unwrap();
}
