//! Times one inference of a model on an engine, for benches/engines.py:
//!
//!     engines ENGINE MODEL.onnx HEIGHT WIDTH RUNS [THREADS]
//!
//! ENGINE is `tract`, or `compiled` with or without an instruction set (`compiled:avx2`). Prints in milliseconds: the
//! least and the median time of a run, as spent on the processor by the calling thread (wall time with more threads than
//! one), and the wall time to load the model and run it first. Pictures are noise: these networks take the same time for
//! all.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is all that it is for")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use margay_inference::engine::compiled::CompiledEngine;
use margay_inference::engine::onnx::OnnxFile;
use margay_inference::engine::tract::TractEngine;
use margay_inference::{Engine, InputSpec, InputTensor, ModelSpec, OutputSpec};
use margay_kernels::{Isa, Options};
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [engine, model, height, width, runs, threads @ ..] = arguments.as_slice() else {
        return Err("usage: engines ENGINE MODEL.onnx HEIGHT WIDTH RUNS [THREADS]".into());
    };
    let input = InputSpec { height: height.parse()?, width: width.parse()?, ..InputSpec::imagenet(1) };
    let spec = ModelSpec { input, output: OutputSpec::logits() };
    let threads = threads.first().map_or(Ok(1), |threads| threads.parse())?;
    let started = Instant::now();
    let mut engine = load(engine, Path::new(model), &spec, threads)?;
    let shape = spec.input.shape();
    let noise = (0..shape.iter().product()).map(|place: usize| (place * 7919 % 1000) as f32 / 500.0 - 1.0);
    let picture = InputTensor::from_f32(shape, noise.collect()).ok_or("the picture has another size")?;
    let mut scores = Vec::new();
    engine.run(&picture, &mut scores)?;
    let load = started.elapsed();
    let mut times = Vec::new();
    for _ in 0..runs.parse::<usize>()?.max(1) {
        let (started, on_processor) = (Instant::now(), processor_time());
        engine.run(&picture, &mut scores)?;
        let spent = if threads == 1 { processor_time() - on_processor } else { started.elapsed().as_secs_f64() * 1e3 };
        times.push(spent);
    }
    times.sort_by(f64::total_cmp);
    println!("{:.3} {:.3} {:.1}", times[0], times[times.len() / 2], load.as_secs_f64() * 1e3);
    Ok(())
}

/// Milliseconds that this thread has spent on a processor.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

fn load(engine: &str, model: &Path, spec: &ModelSpec, threads: usize) -> Result<Box<dyn Engine>, Box<dyn Error>> {
    let (name, isa) = engine.split_once(':').unwrap_or((engine, ""));
    match name {
        "tract" => Ok(Box::new(TractEngine::load(model, spec)?)),
        "compiled" => {
            let isa = Isa::available().into_iter().find(|found| isa.is_empty() || found.to_string() == isa);
            let isa = isa.ok_or("this machine has no such instruction set")?;
            let options = Options { isa, threads, winograd: true, poisons: false };
            Ok(Box::new(CompiledEngine::compile(&OnnxFile::read(model)?, spec, options)?))
        }
        other => Err(format!("there is no engine {other}").into()),
    }
}
