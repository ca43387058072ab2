//! From a camera's frame to scores, by way of the tensor's floats and by way of its pixels:
//!
//!     pixels MODEL.onnx SIDE [INSTRUCTION SET] [ROUNDS] [THREADS]
//!     pixels MODEL.onnx SIDE floats|pixels
//!
//! The frame is 640 × 480 in NV12. In each round the same loaded engine gets it once by each way, and the ways take turns in
//! which comes first. Printed for each way: the least and the median time on the processor of the front-end, of the engine, and of
//! both, in microseconds; then the median of the rounds' ratios of both, pixels to floats, with its quartiles. The instruction set is one of floats or of
//! bytes, or both where they have one name. With the name of a way: some frames by that way alone, and the MiB by which the
//! process grew at most, and of what it holds afterwards those that lie in no file.

#![allow(clippy::print_stdout, reason = "its output is all that it is for")]

use std::error::Error;
use std::path::Path;

use margay_inference::engine::compiled::CompiledEngine;
use margay_inference::prepare::Preparer;
use margay_inference::{Engine, FrameView, InputSpec, ModelSpec, OutputSpec, PixelFormat, decode::Decoder};
use margay_kernels::{ByteIsa, Isa, Options};
use rustix::time::{ClockId, clock_gettime};

/// Sides of the frame, in pixels.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;

/// Frames by one way alone.
const FRAMES: usize = 20;

/// Rounds that fill the caches.
const WARMING: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, side, rest @ ..] = arguments.as_slice() else {
        return Err("usage: pixels MODEL.onnx SIDE [INSTRUCTION SET|floats|pixels] [ROUNDS] [THREADS]".into());
    };
    let side = side.parse()?;
    let input = InputSpec { height: side, width: side, ..InputSpec::imagenet(side) };
    let spec = ModelSpec { input, output: OutputSpec::logits() };
    let word = rest.first().map_or("", String::as_str);
    let isa = Isa::available().into_iter().find(|isa| isa.to_string() == word);
    let byte_isa = ByteIsa::available().into_iter().find(|isa| isa.to_string() == word);
    let options = Options {
        isa: isa.unwrap_or_else(Isa::best),
        byte_isa: byte_isa.unwrap_or_else(ByteIsa::best),
        threads: rest.get(2).map_or(Ok(1), |threads| threads.parse())?,
        poisons: false,
        ..Options::default()
    };
    let bytes: Vec<u8> = (0..WIDTH * HEIGHT * 3 / 2).map(|place| (place * 7919 % 251) as u8).collect();
    let (width, height, format) = (WIDTH, HEIGHT, PixelFormat::Nv12);
    let frame = FrameView { format, width, height, stride: WIDTH, region: None, bytes: &bytes };
    let before = memory("VmRSS");
    let mut way =
        Way { engine: CompiledEngine::load_with(Path::new(model), &spec, options)??, frame, scores: Vec::new() };
    let new = |pixels: bool| {
        let preparer = if pixels { Preparer::of_pixels(&spec.input) } else { Preparer::new(&spec.input) };
        (Decoder::new(), preparer)
    };
    if ["floats", "pixels"].contains(&word) {
        let mut front_end = new(word == "pixels");
        for _ in 0..FRAMES {
            way.pass(&mut front_end)?;
        }
        println!("{:.2} {:.2}", memory("VmHWM") - before, memory("RssAnon"));
        return Ok(());
    }
    let rounds = rest.get(1).map_or(Ok(200), |rounds| rounds.parse::<usize>())?;
    report(&in_turns(&mut way, [false, true].map(new), rounds)?);
    Ok(())
}

/// The times of both ways, round by round.
fn in_turns(
    way: &mut Way<'_>,
    mut front_ends: [(Decoder, Preparer); 2],
    rounds: usize,
) -> Result<[Vec<[f64; 2]>; 2], Box<dyn Error>> {
    let (mut times, mut scores) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..rounds + WARMING {
        for turn in 0..2 {
            let at = (round + turn) % 2;
            let time = way.pass(&mut front_ends[at])?;
            scores[at].clone_from(&way.scores);
            if round >= WARMING {
                times[at].push(time);
            }
        }
        if scores[0] != scores[1] {
            return Err("the ways give different scores".into());
        }
    }
    Ok(times)
}

fn report(times: &[Vec<[f64; 2]>; 2]) {
    println!("             front-end              engine                both     (least, median)");
    for (name, times) in ["floats", "pixels"].into_iter().zip(times) {
        let of = |of: fn(&[f64; 2]) -> f64| quarters(times.iter().map(of).collect());
        let parts = [of(|time| time[0]), of(|time| time[1]), of(|time| time[0] + time[1])];
        let parts = parts.map(|[least, _, median, _]| format!("{least:10.1} {median:10.1}"));
        println!("{name:6} {}", parts.join(" "));
    }
    let both = |of: &[[f64; 2]]| of.iter().map(|[front, engine]| front + engine).collect::<Vec<_>>();
    let ratios = both(&times[1]).into_iter().zip(both(&times[0])).map(|(pixels, floats)| pixels / floats);
    let [_, low, median, high] = quarters(ratios.collect());
    println!("ratio {median:.4} ({low:.4} to {high:.4}) in {} rounds", times[0].len());
}

struct Way<'a> {
    engine: CompiledEngine,
    frame: FrameView<'a>,
    scores: Vec<f32>,
}

impl Way<'_> {
    /// Microseconds of the front-end and of the engine.
    fn pass(&mut self, (decoder, preparer): &mut (Decoder, Preparer)) -> Result<[f64; 2], Box<dyn Error>> {
        let started = processor_time();
        let need = preparer.need();
        let tensor = preparer.prepare(decoder.open(&self.frame, &need)?)?;
        let prepared = processor_time();
        self.engine.run(tensor, &mut self.scores)?;
        Ok([prepared - started, processor_time() - prepared])
    }
}

/// The least number, and the three between the quarters of all.
fn quarters(mut numbers: Vec<f64>) -> [f64; 4] {
    numbers.sort_by(f64::total_cmp);
    [0, 1, 2, 3].map(|quarter| numbers.get(numbers.len() * quarter / 4).copied().unwrap_or(f64::NAN))
}

/// Microseconds that this process has spent on processors.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// A field of the process' status, in MiB; 0 where the system does not say.
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
