//! What the builder refuses, so that no program can reach beyond its memory.

use margay_kernels::{
    Activation, Convolution, InputOrder, MAX_FLOATS, Options, PlanError, PoolKind, ProgramBuilder, Shape, View, Window,
};

use crate::reference::{Layer, Random, shape};

fn started() -> (ProgramBuilder, View) {
    let mut builder = ProgramBuilder::new(Options::default());
    let view = builder.input(shape(20, 6, 6), InputOrder::ChannelsFirst, false).unwrap();
    (builder, view)
}

fn reason(result: Result<(), PlanError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn tensors_without_elements_or_beyond_the_limits() {
    let mut builder = ProgramBuilder::new(Options::default());
    let huge = 1 << 20;
    for wrong in
        [shape(0, 1, 1), shape(1, 0, 9), shape(huge, huge, huge), shape(1, huge, MAX_FLOATS), shape(usize::MAX, 2, 2)]
    {
        assert!(matches!(builder.tensor(wrong), Err(PlanError::Shape(_))), "{wrong:?}");
    }
}

#[test]
fn padding_that_would_fill_the_memory() {
    let (mut builder, view) = started();
    let output = builder.tensor(shape(16, 6, 6)).unwrap();
    let output = builder.whole(output);
    let layer = Layer::random(20, 16, 1, Window::square(1, 1, 1 << 20), &mut Random::new(1));
    assert!(matches!(builder.convolution(&layer.step(view, output, None)), Err(PlanError::Shape(_))));
}

#[test]
fn weights_windows_and_groups_that_do_not_fit() {
    let (mut builder, view) = started();
    let output = builder.tensor(shape(16, 6, 6)).unwrap();
    let output = builder.whole(output);
    let layer = Layer::random(20, 16, 1, Window::square(3, 1, 1), &mut Random::new(1));
    let whole = layer.step(view, output, None);
    let wrong = [
        (Convolution { weights: &layer.weights[1..], ..whole }, "2879 weights"),
        (Convolution { bias: &layer.bias[1..], ..whole }, "15 biases"),
        (Convolution { groups: 0, ..whole }, "0 groups"),
        (Convolution { groups: 3, ..whole }, "3 groups"),
        (Convolution { window: Window { stride: [0, 1], ..layer.window }, ..whole }, "window"),
        (Convolution { residual: Some(view), ..whole }, "residual"),
    ];
    for (step, part) in wrong {
        let text = reason(builder.convolution(&step));
        assert!(text.contains(part), "{part}: {text}");
    }
    builder.convolution(&whole).unwrap();
}

#[test]
fn pooling_windows_that_see_nothing() {
    for window in [Window::square(2, 1, 2), Window::square(2, 5, 0)] {
        let (mut builder, view) = started();
        let output = builder.tensor(shape(20, 6, 6)).unwrap();
        let output = builder.whole(output);
        builder.pool(view, output, PoolKind::Maximum, window).unwrap();
        assert!(matches!(builder.build(output), Err(PlanError::Extent { .. })));
    }
}

#[test]
fn steps_out_of_order() {
    let (mut builder, view) = started();
    let (one, two) = (builder.tensor(shape(20, 6, 6)).unwrap(), builder.tensor(shape(20, 6, 6)).unwrap());
    let (one, two) = (builder.whole(one), builder.whole(two));
    let ones = [1.0; 20];
    let text = reason(builder.affine(one, two, [&ones, &ones], Activation::Identity));
    assert!(text.contains("nothing writes"), "{text}");
    builder.affine(view, one, [&ones, &ones], Activation::Identity).unwrap();
    let text = reason(builder.affine(view, one, [&ones, &ones], Activation::Identity));
    assert!(text.contains("written already"), "{text}");
    assert!(builder.input(shape(1, 1, 1), InputOrder::ChannelsFirst, false).is_err());
    assert!(builder.build(two).is_err());
    assert!(ProgramBuilder::new(Options::default()).tensor(shape(1, 1, 1)).is_ok());
}

#[test]
fn views_that_are_no_whole_blocks() {
    let (mut builder, _) = started();
    let tensor = builder.tensor(shape(40, 2, 2)).unwrap();
    assert!(builder.part(tensor, 16, 24).is_ok() && builder.part(tensor, 0, 16).is_ok());
    for (first, channels) in [(8, 16), (0, 20), (32, 16), (0, 0), (16, usize::MAX)] {
        assert!(builder.part(tensor, first, channels).is_err(), "{first} {channels}");
    }
}

#[test]
fn a_picture_of_another_size() {
    let (builder, view) = started();
    let mut program = builder.build(view).unwrap();
    let error = program.run([0.0; 7].as_slice(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the program takes 720 numbers, and 7 were given");
    assert_eq!(program.input(), Shape { channels: 20, height: 6, width: 6 });
}
