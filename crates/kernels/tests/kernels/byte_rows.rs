//! What kernels over bytes share between neighbouring pixels, and rows that are longer than what they take at once.

use margay_kernels::{Arrival, ByteFinish, ByteInput, InputOrder, Options, ProgramBuilder, Quantised, Window, byte_of};

use crate::byte_reference::{ByteLayer, Bytes, check, saturated};
use crate::reference::{Random, shape};

/// The rows of a window's columns are loaded once for all pixels that see them: rows of one tile and of several, tiles of all
/// sizes and in two rows, channels that fill blocks and others, and pictures.
#[test]
fn windows_that_overlap_see_their_own_columns() {
    let mut random = Random::new(31);
    let windows = [
        (16, 5, 23, Window::square(3, 1, 1)),
        (40, 4, 7, Window::square(3, 1, 1)),
        (32, 9, 27, Window::square(3, 2, 1)),
        (48, 7, 9, Window::square(3, 2, 0)),
        (33, 6, 11, Window { dilation: [2, 1], ..Window::square(3, 1, 2) }),
        (32, 5, 13, Window { kernel: [1, 3], padding: [0, 1], ..Window::square(3, 1, 1) }),
        (32, 6, 13, Window::square(5, 1, 2)),
        (3, 13, 33, Window::square(7, 2, 3)),
        (3, 9, 33, Window::square(3, 2, 1)),
        (4, 9, 20, Window::square(3, 2, 0)),
        (1, 8, 17, Window::square(7, 2, 3)),
    ];
    for (channels, height, width, window) in windows {
        for outputs in [16, 37] {
            let input = Bytes::random(shape(channels, height, width), 77, &mut random);
            let layer = ByteLayer::random([channels, outputs, 1], window, 127, &mut random);
            let name = format!("{channels} × {height} × {width} to {outputs}, {window:?}");
            check(&name, &input, channels <= 4, &layer.bytes(&input), |builder, view| layer.add(builder, view));
        }
    }
}

#[test]
fn depthwise_windows_that_share_fours_see_their_own() {
    let mut random = Random::new(37);
    for (kernel, stride, padding) in
        [([5, 5], [1, 1], [2, 2]), ([5, 5], [2, 2], [2, 2]), ([3, 5], [1, 2], [1, 0]), ([1, 5], [2, 1], [0, 4])]
    {
        for width in [5, 6, 8, 11, 21] {
            for largest in [127, 255] {
                let window = Window { kernel, stride, padding, dilation: [1, 1] };
                let input = Bytes::random(shape(20, 6, width), 140, &mut random);
                let layer = ByteLayer::random([20, 20, 20], window, largest, &mut random);
                let name = format!("{window:?}, {width} columns, weights to {largest}");
                check(&name, &input, false, &layer.bytes(&input), |builder, view| layer.add(builder, view));
            }
        }
    }
}

#[test]
fn a_picture_of_floats_becomes_the_bytes_that_stand_for_them() {
    let mut random = Random::new(41);
    for (channels, width) in [(3, 5), (3, 16), (3, 37), (1, 19), (4, 19)] {
        let shape = shape(channels, 3, width);
        let mut picture: Vec<f32> = random.numbers(shape.elements()).iter().map(|number| number * 3.0).collect();
        // Halves, and what no byte stands for.
        picture[..5].copy_from_slice(&[0.00625, -0.00625, 0.01875, 1e30, f32::NEG_INFINITY]);
        for zero in [0, 90, 255] {
            let as_bytes = Quantised { scale: 0.0125, zero };
            let expected: Vec<f32> =
                picture.iter().map(|&number| f32::from(byte_of(number, as_bytes)) - f32::from(zero)).collect();
            let mut builder = ProgramBuilder::new(Options::default());
            let (order, arrival) = (InputOrder::ChannelsFirst, Arrival::Floats(as_bytes));
            let bytes = builder.picture(ByteInput { shape, order, is_planar: true, zero, arrival }).unwrap();
            // A convolution that changes nothing.
            let weights: Vec<i16> =
                (0..channels * channels).map(|place| i16::from(place % (channels + 1) == 0)).collect();
            let floats = builder.tensor(shape).unwrap();
            let floats = builder.whole(floats);
            let layer = ByteLayer {
                outputs: channels,
                groups: 1,
                window: Window::square(1, 1, 0),
                weights,
                bias: vec![0; channels],
                factors: vec![1.0; channels],
                zero,
                limits: [0, 255],
            };
            builder.byte_convolution(&layer.step(bytes, floats, ByteFinish::Floats(&[]))).unwrap();
            let mut found = Vec::new();
            builder.build(floats).unwrap().run(picture.as_slice(), &mut found).unwrap();
            assert_eq!(found, expected, "{channels} channels, {width} columns, {zero} for 0");
        }
    }
}

#[test]
fn products_of_the_greatest_steps_are_exact_and_saturated() {
    for (zeros, ratio) in
        [([0, 0, 0], 1.0 / 255.0), ([255, 255, 255], 0.004), ([0, 255, 128], 1e-5), ([7, 0, 9], 300.0)]
    {
        let input = Bytes::from_elements(shape(17, 3, 16), zeros[0], |c, y, x| ((c * 3 + y) * 16 + x) as u8);
        let table: [u8; 256] = std::array::from_fn(|byte| (byte as u8).wrapping_mul(89).wrapping_add(3));
        let expected = Bytes::from_elements(input.shape, zeros[2], |c, y, x| {
            let byte = input.data[(c * 3 + y) * 16 + x];
            let steps =
                [i32::from(byte) - i32::from(zeros[0]), i32::from(table[usize::from(byte)]) - i32::from(zeros[1])];
            saturated((steps[0] * steps[1]) as f32 * ratio, zeros[2], [0, 255])
        });
        check(&format!("{zeros:?} by {ratio}"), &input, false, &expected, |builder, view| {
            let second = builder.byte_tensor(input.shape, zeros[1])?;
            let second = builder.whole(second);
            builder.table(view, second, &table)?;
            let output = builder.byte_tensor(input.shape, zeros[2])?;
            let output = builder.whole(output);
            builder.byte_product([view, second], output, [ratio, 1.0, 1.0], [0, 255])?;
            Ok(output)
        });
    }
}
