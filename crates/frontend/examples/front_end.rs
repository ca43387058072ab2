//! The front-end by itself, for whoever measures it or looks at what comes out (benches/peers/front_end.py).
//!
//! ```text
//! front_end FILE FORMAT WIDTH HEIGHT SIDE [PART [SET]]
//!     FORMAT: MJPG for a JPEG file, else a fourcc with tight rows; SIDE: of the tensor of the preset imagenet
//!     PART: reduced (default) or full: how much of a JPEG is decoded; SET: portable, avx2, avx512
//! ```
//!
//! A line with a number on standard input: the frame goes to the tensor that many times, and the median time of one is
//! printed in nanoseconds. A line with a path: the tensor's floats go there, little-endian.

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::Instant;

use margay_frontend::{Decoder, FrameView, InputSpec, Jpeg, PixelFormat, Preparer, TensorData};
use margay_kernels::Isa;
use margay_kernels::pixels::Pixels;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, format, width, height, side, rest @ ..] = arguments.as_slice() else {
        return Err("front_end FILE FORMAT WIDTH HEIGHT SIDE [PART [SET]]".into());
    };
    let bytes = std::fs::read(file)?;
    let fourcc = format.as_bytes().try_into().map_err(|_| "a fourcc has four characters")?;
    let format = PixelFormat::from_fourcc(fourcc).ok_or("no such format")?;
    let (width, height) = (width.parse()?, height.parse()?);
    let stride = u32::try_from(format.smallest_stride(width))?;
    let frame = FrameView { format, width, height, stride, region: None, bytes: &bytes };
    let jpeg = if rest.first().is_some_and(|part| part == "full") { Jpeg::Full } else { Jpeg::Reduced };
    let spec = InputSpec { jpeg, ..InputSpec::imagenet(side.parse()?) };
    let pixels = match rest.get(1) {
        Some(set) => Isa::available().into_iter().find(|isa| isa.to_string() == *set).ok_or("not on this machine")?,
        None => Isa::best(),
    };
    let (mut decoder, mut preparer) = (Decoder::new(), Preparer::with_pixels(&spec, Pixels::new(pixels)));
    let need = preparer.need();
    for line in stdin().lock().lines() {
        let line = line?;
        if let Ok(runs) = line.parse::<usize>() {
            let mut times = Vec::with_capacity(runs);
            for _ in 0..runs {
                let start = Instant::now();
                preparer.prepare(decoder.open(&frame, &need)?)?;
                times.push(start.elapsed().as_nanos());
            }
            times.sort_unstable();
            writeln!(stdout(), "{}", times.get(runs / 2).copied().unwrap_or_default())?;
        } else if let TensorData::F32(elements) = preparer.prepare(decoder.open(&frame, &need)?)?.data() {
            std::fs::write(&line, elements.iter().flat_map(|element| element.to_le_bytes()).collect::<Vec<u8>>())?;
            writeln!(stdout(), "{line}")?;
        }
        stdout().flush()?;
    }
    Ok(())
}
