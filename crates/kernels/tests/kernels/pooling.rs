//! Poolings of windows and of planes.

use margay_kernels::{PoolKind, Window};

use crate::reference::{Dense, Random, check, outputs, pool, shape};

#[test]
fn windows_are_clipped_at_the_edges() {
    let mut random = Random::new(3);
    let kinds =
        [PoolKind::Maximum, PoolKind::Average { counts_padding: false }, PoolKind::Average { counts_padding: true }];
    for (channels, height, width) in [(16, 7, 7), (20, 5, 12), (3, 9, 4)] {
        let input = Dense::random(shape(channels, height, width), &mut random);
        for (kernel, stride, padding) in [(2, 2, 0), (3, 2, 1), (3, 1, 1), (3, 2, 0), (4, 3, 2)] {
            let window = Window::square(kernel, stride, padding);
            for kind in kinds {
                let expected = pool(&input, &window, kind, outputs(&window, input.shape));
                check(&format!("{kind:?} of {window:?}"), &input, false, &expected, |builder, view| {
                    let output = builder.tensor(expected.shape)?;
                    let output = builder.whole(output);
                    builder.pool(view, output, kind, window)?;
                    Ok(output)
                });
            }
        }
    }
}

/// ONNX's `ceil_mode` lets the last window reach beyond the picture.
#[test]
fn the_last_window_may_reach_beyond_the_picture() {
    let input = Dense::random(shape(20, 6, 8), &mut Random::new(4));
    let window = Window::square(3, 2, 0);
    for kind in [PoolKind::Maximum, PoolKind::Average { counts_padding: false }] {
        let expected = pool(&input, &window, kind, (3, 4));
        check("ceiling", &input, false, &expected, |builder, view| {
            let output = builder.tensor(expected.shape)?;
            let output = builder.whole(output);
            builder.pool(view, output, kind, window)?;
            Ok(output)
        });
    }
}

#[test]
fn the_mean_of_a_plane() {
    for (channels, height, width) in [(16, 1, 1), (33, 7, 7), (5, 3, 10)] {
        let input = Dense::random(shape(channels, height, width), &mut Random::new(5));
        let window = Window { kernel: [height, width], ..Window::square(1, 1, 0) };
        let expected = pool(&input, &window, PoolKind::Average { counts_padding: true }, (1, 1));
        check("mean", &input, false, &expected, |builder, view| {
            let output = builder.tensor(expected.shape)?;
            let output = builder.whole(output);
            builder.average(view, output)?;
            Ok(output)
        });
    }
}
