//! Packed weights that are kept between starts: used in their order and in their sizes or not at all, and packed in the same
//! way for as long as the version of packing is the same.

use std::ops::Range;

use margay_kernels::{
    Activation, Arrival, ByteConvolution, ByteFinish, ByteInput, ByteIsa, Convolution, InputOrder, Isa, KEPT_ALIGNMENT,
    KeptWeights, Mapping, Options, PackedWeights, PlanError, Program, ProgramBuilder, Quantised, Shape, Window,
};

/// Numbers without a pattern, below 1000.
fn number(place: usize) -> usize {
    place.wrapping_mul(2_654_435_761) / 7 % 1000
}

fn floats(count: usize) -> Vec<f32> {
    (0..count).map(|place| number(place) as f32 / 500.0 - 1.0).collect()
}

/// Every kind of convolution: planar, dense, by all kinds of Winograd's patches, depthwise, in groups, tall. Without weights
/// where they are kept.
fn build(mut builder: ProgramBuilder, is_kept: bool) -> Result<Program, PlanError> {
    let mut last = builder.input(Shape { channels: 3, height: 65, width: 65 }, InputOrder::ChannelsFirst, true)?;
    let layers = [
        (40, Window::square(3, 2, 1), 1),
        (40, Window::square(1, 1, 0), 1),
        (40, Window::square(3, 1, 1), 40),
        (32, Window::square(1, 1, 0), 1),
        (48, Window::square(3, 2, 1), 1),
        (48, Window::square(3, 1, 1), 1),
        (48, Window::square(3, 2, 1), 1),
        (144, Window::square(1, 2, 0), 1),
        (48, Window::square(3, 1, 1), 1),
        (48, Window::square(3, 1, 1), 4),
        (70, Window::square(5, 1, 0), 1),
    ];
    for (channels, window, groups) in layers {
        let input = builder.shape(last);
        let side =
            |length: usize, axis| (length + 2 * window.padding[axis] - window.span(axis)) / window.stride[axis] + 1;
        let shape = Shape { channels, height: side(input.height, 0), width: side(input.width, 1) };
        let tensor = builder.tensor(shape)?;
        let output = builder.whole(tensor);
        let count = channels * input.channels / groups * window.kernel[0] * window.kernel[1];
        let weights = if is_kept { Vec::new() } else { floats(count) };
        let (bias, activation) = (floats(channels), Activation::RELU);
        let (input, residual) = (last, None);
        builder.convolution(&Convolution {
            input,
            output,
            residual,
            weights: &weights,
            bias: &bias,
            window,
            groups,
            activation,
        })?;
        last = output;
    }
    builder.build(last)
}

/// The same over bytes, by either kind of Winograd's patches, and depthwise by rows and not; the small weights of two layers
/// have a form of their own on some sets.
fn build_bytes(mut builder: ProgramBuilder, is_kept: bool) -> Result<Program, PlanError> {
    let shape = Shape { channels: 3, height: 11, width: 11 };
    let arrival = Arrival::Floats(Quantised { scale: 0.01, zero: 128 });
    let order = InputOrder::ChannelsFirst;
    let mut last = builder.picture(ByteInput { shape, order, is_planar: true, zero: 128, arrival })?;
    let layers = [
        (24, Window::square(3, 2, 1), 1, 127),
        (40, Window::square(1, 1, 0), 1, 40),
        (40, Window::square(3, 1, 1), 40, 255),
        (40, Window::square(3, 1, 1), 40, 30),
        (40, Window::square(5, 1, 2), 40, 255),
        (40, Window::square(5, 1, 2), 40, 30),
        (48, Window::square(3, 1, 1), 1, 127),
        (144, Window::square(1, 1, 0), 1, 127),
        (48, Window::square(3, 1, 1), 1, 127),
        (48, Window::square(3, 1, 1), 4, 127),
        (33, Window::square(6, 1, 0), 1, 127),
    ];
    let last_number = layers.len() - 1;
    for (number_of, (channels, window, groups, largest)) in layers.into_iter().enumerate() {
        let input = builder.shape(last);
        let side =
            |length: usize, axis| (length + 2 * window.padding[axis] - window.span(axis)) / window.stride[axis] + 1;
        let shape = Shape { channels, height: side(input.height, 0), width: side(input.width, 1) };
        let is_last = number_of == last_number;
        let tensor = if is_last { builder.tensor(shape)? } else { builder.byte_tensor(shape, 100)? };
        let output = builder.whole(tensor);
        let count = channels * input.channels / groups * window.kernel[0] * window.kernel[1];
        let weight = |place: usize| (number(place) as i32 % (2 * largest + 1) - largest) as i16;
        let weights: Vec<i16> = if is_kept { Vec::new() } else { (0..count).map(weight).collect() };
        let bias: Vec<i32> = (0..channels).map(|channel| number(channel) as i32 - 500).collect();
        let bias = if is_kept { Vec::new() } else { bias };
        let finish = if is_last { ByteFinish::Floats(&[]) } else { ByteFinish::Bytes([0, 255]) };
        builder.byte_convolution(&ByteConvolution {
            input: last,
            output,
            weights: &weights,
            bias: &bias,
            factors: &vec![1e-3; channels],
            window,
            groups,
            finish,
        })?;
        last = output;
    }
    builder.build(last)
}

type Build = fn(ProgramBuilder, bool) -> Result<Program, PlanError>;

fn remembered(options: Options, build: Build) -> (Program, PackedWeights) {
    let mut builder = ProgramBuilder::new(options);
    builder.remember_packed();
    let mut program = build(builder, false).unwrap();
    let packed = program.take_packed().unwrap();
    assert!(program.take_packed().is_none());
    (program, packed)
}

/// Sections one behind the other, and where each lies.
fn laid_out(packed: &PackedWeights) -> (Vec<u8>, Vec<Range<usize>>) {
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    for section in packed.sections() {
        assert_eq!(section.len() % KEPT_ALIGNMENT, 0);
        places.push(bytes.len()..bytes.len() + section.len());
        bytes.extend_from_slice(section);
    }
    (bytes, places)
}

fn scores(program: &mut Program) -> Vec<u32> {
    let mut scores = Vec::new();
    let input = program.input();
    program.run(&floats(input.channels * input.pixels()), &mut scores).unwrap();
    scores.into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_program_of_kept_weights_computes_the_same_bits() {
    let isas = Isa::available().into_iter().map(|isa| (Options { isa, ..Options::default() }, build as Build));
    let of_bytes = |byte_isa| (Options { byte_isa, ..Options::default() }, build_bytes as Build);
    for (options, build) in isas.chain(ByteIsa::available().into_iter().map(of_bytes)) {
        let (mut program, packed) = remembered(options, build);
        let (bytes, places) = laid_out(&packed);
        let kept = KeptWeights::new(Mapping::of_bytes(&bytes), places.clone()).unwrap();
        let mut again = build(ProgramBuilder::with_kept(options, kept), true).unwrap();
        assert_eq!(scores(&mut again), scores(&mut program), "{}, {}", options.isa, options.byte_isa);
    }
}

#[test]
fn kept_weights_of_other_sizes_or_another_number_are_refused() {
    let options = Options::default();
    let (bytes, places) = laid_out(&remembered(options, build).1);
    let attempt = |places: Vec<Range<usize>>| {
        let kept = KeptWeights::new(Mapping::of_bytes(&bytes), places)?;
        build(ProgramBuilder::with_kept(options, kept), true)
    };
    assert!(attempt(places.clone()).is_ok());
    for number in 0..places.len() {
        for change in [
            0..64,
            places[number].start..places[number].end - 64,
            0..bytes.len() + 64,
            4..68,
            Range { start: 64, end: 0 },
        ] {
            let mut other = places.clone();
            other[number] = change;
            assert!(attempt(other).is_err(), "section {number}");
        }
        let mut fewer = places.clone();
        fewer.remove(number);
        assert!(attempt(fewer).is_err());
    }
    assert!(attempt([places.as_slice(), std::slice::from_ref(&places[0])].concat()).is_err());
}

/// What is noted of how bytes were packed decides over sizes: whatever it says, nothing but what those allow is read.
#[test]
fn a_forged_note_of_how_bytes_were_packed_is_refused_or_harmless() {
    for byte_isa in ByteIsa::available() {
        let options = Options { byte_isa, ..Options::default() };
        let (bytes, places) = laid_out(&remembered(options, build_bytes).1);
        let forged = |place: usize, number: i32| {
            let mut bytes = bytes.clone();
            bytes[place..place + 4].copy_from_slice(&number.to_ne_bytes());
            let kept = KeptWeights::new(Mapping::of_bytes(&bytes), places.clone()).unwrap();
            let program = build_bytes(ProgramBuilder::with_kept(options, kept), true);
            program.map(|mut program| assert_eq!(scores(&mut program).len(), 33))
        };
        let notes: Vec<usize> = places.iter().filter(|place| place.len() == 64).map(|place| place.start).collect();
        assert!(notes.len() >= 11, "{byte_isa}");
        for note in notes {
            for number in [-1, 5, i32::MIN, i32::MAX, 1 << 16] {
                assert!(forged(note, number).is_err(), "{byte_isa}: {number} at {note}");
            }
            for (place, number) in (0..2).flat_map(|place| (-1..5).map(move |number| (place, number))) {
                let _is_harmless = forged(note + 4 * place, number);
            }
        }
    }
}

/// What is packed by version 9 of packing (`program/shelf.rs`).
const KNOWN: [(&str, u64); 13] = [
    ("portable", 0x6981_207c_78dc_35f8),
    ("avx2", 0xab5f_083d_638c_1e92),
    ("avx512", 0xb8db_c4b4_0095_e59c),
    ("neon", 0x8074_2cbb_c9a6_3e18),
    ("bytes, portable", 0xc358_c9d6_19f6_b244),
    ("bytes, avx2", 0x9cd0_71f8_7b3f_abca),
    ("bytes, avx-vnni", 0xb6d2_28d1_a0ce_d9c0),
    ("bytes, avx512-vnni", 0x90a8_8234_92cd_ddb4),
    ("bytes, avx512-vbmi", 0x90a8_8234_92cd_ddb4),
    ("bytes, amx", 0x574a_63b7_dda0_7a80),
    ("bytes, neon", 0xf897_b129_e3a0_0ff1),
    ("bytes, neon-dotprod", 0x1ea7_0ad9_c297_4132),
    ("bytes, neon-i8mm", 0x46a4_256d_0f79_2c3e),
];

/// FNV-1a.
fn hash(packed: &PackedWeights) -> u64 {
    let bytes = packed.sections().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A change of packing without another version would have a program run on weights that an earlier one packed otherwise.
#[test]
fn whoever_changes_how_weights_are_packed_raises_the_version() {
    // Planned for the interpreter: whatever of its architecture's instruction sets the machine has.
    let (of_architecture, bytes_of_architecture): (&[Isa], &[ByteIsa]) = if cfg!(target_arch = "x86_64") {
        let bytes = &[ByteIsa::Avx2, ByteIsa::AvxVnni, ByteIsa::Avx512Vnni, ByteIsa::Avx512Vbmi, ByteIsa::Amx];
        (&[Isa::Avx2, Isa::Avx512], bytes)
    } else if cfg!(target_arch = "aarch64") {
        (&[Isa::Neon], &[ByteIsa::Neon, ByteIsa::NeonDot, ByteIsa::NeonI8mm])
    } else {
        (&[], &[])
    };
    let of_floats = [Isa::Portable].iter().chain(of_architecture).map(|&isa| {
        let options = Options { isa, checks: true, ..Options::default() };
        (format!("{isa}"), hash(&remembered(options, build).1))
    });
    let of_bytes = [ByteIsa::Portable].iter().chain(bytes_of_architecture).map(|&byte_isa| {
        let options = Options { byte_isa, checks: true, ..Options::default() };
        (format!("bytes, {byte_isa}"), hash(&remembered(options, build_bytes).1))
    });
    let found: Vec<_> = of_floats.chain(of_bytes).collect();
    let is_known = |(set, hash): &(String, u64)| KNOWN.contains(&(set.as_str(), *hash));
    let other: Vec<_> = found.iter().filter(|found| !is_known(found)).collect();
    assert!(
        other.is_empty(),
        "weights are packed otherwise: raise PACKING, and write the new hashes to KNOWN: {other:#x?}"
    );
}
