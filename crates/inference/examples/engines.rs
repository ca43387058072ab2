//! One engine with one model, for benches/peers/engines.py and whoever measures by hand:
//!
//!     engines ENGINE MODEL.onnx SIDE [THREADS]
//!
//! ENGINE is `tract`, or `compiled` with or without an instruction set and `direct`, which is without Winograd's method
//! (`compiled:avx2`, `compiled:avx512:direct`; quantised networks have instruction sets of their own), or
//! `onnxruntime:LIBRARY`; or `keep:FILE`, the compiled engine, which then writes its artefact to that file, or `kept:FILE`,
//! the compiled engine from that artefact. Printed at once: milliseconds to load the model and run it first, and the
//! MiB by which that let the process grow at most. Then, for each line of its input with a number: that many runs, of
//! which the least and the median wall time and the least time on the processor, in milliseconds. For `scores`: what comes
//! out. For `anonymous`: the MiB of the process that lie in no file. Pictures are noise: these networks take the same time for all.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is all that it is for")]

use std::error::Error;
use std::fs::File;
use std::io::{Write, stdin, stdout};
use std::path::Path;
use std::time::Instant;

use margay_inference::engine::compiled::CompiledEngine;
use margay_inference::engine::onnx_runtime::OnnxRuntimeEngine;
use margay_inference::engine::tract::TractEngine;
use margay_inference::{
    Engine, EngineChoice, Execution, InputSpec, InputTensor, KeptArtefact, ModelSpec, OutputSpec, Provider,
};
use margay_kernels::{ByteIsa, Isa, Options};
use rustix::time::{ClockId, clock_gettime};

/// Whose artefacts are kept: nobody's.
const KEY: [u8; 32] = [0; 32];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [engine, model, side, threads @ ..] = arguments.as_slice() else {
        return Err("usage: engines ENGINE MODEL.onnx SIDE [THREADS]".into());
    };
    let side = side.parse()?;
    let input = InputSpec { height: side, width: side, ..InputSpec::imagenet(1) };
    let spec = ModelSpec { input, output: OutputSpec::logits() };
    let threads = threads.first().map_or(Ok(1), |threads| threads.parse())?;
    let shape = spec.input.shape();
    let noise = (0..shape.iter().product()).map(|place: usize| (place * 7919 % 1000) as f32 / 500.0 - 1.0);
    let picture = InputTensor::from_f32(shape, noise.collect()).ok_or("the picture has another size")?;
    let (resident, started) = (memory("VmRSS"), Instant::now());
    let (words, mut engine) = (engine, load(engine, Path::new(model), &spec, threads)?);
    let mut scores = Vec::new();
    engine.run(&picture, &mut scores)?;
    println!("{:.2} {:.1}", started.elapsed().as_secs_f64() * 1e3, memory("VmHWM") - resident);
    if let (Some(file), Some(artefact)) = (words.strip_prefix("keep:"), engine.take_artefact()) {
        artefact.write(&KEY, &mut File::create(file)?)?;
    }
    stdout().flush()?;
    for line in stdin().lines() {
        let line = line?;
        engine.run(&picture, &mut scores)?;
        if line.trim() == "anonymous" {
            println!("{:.1}", memory("RssAnon"));
        } else if line.trim() == "scores" {
            println!("{}", scores.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        } else {
            let [least, median, processor] = time(engine.as_mut(), &picture, line.trim().parse()?)?;
            println!("{least:.4} {median:.4} {processor:.4}");
        }
        stdout().flush()?;
    }
    Ok(())
}

/// The least and the median wall time and the least time on the processor of `runs` runs.
fn time(engine: &mut dyn Engine, picture: &InputTensor, runs: usize) -> Result<[f64; 3], Box<dyn Error>> {
    let (mut scores, mut walls, mut least) = (Vec::new(), Vec::new(), f64::INFINITY);
    for _ in 0..runs.max(1) {
        let (started, on_processor) = (Instant::now(), processor_time());
        engine.run(picture, &mut scores)?;
        least = least.min(processor_time() - on_processor);
        walls.push(started.elapsed().as_secs_f64() * 1e3);
    }
    walls.sort_by(f64::total_cmp);
    Ok([walls[0], walls[walls.len() / 2], least])
}

/// Milliseconds that this process has spent on processors.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// A field of the process' status, in MiB; 0 where the system does not say.
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn load(engine: &str, model: &Path, spec: &ModelSpec, threads: usize) -> Result<Box<dyn Engine>, Box<dyn Error>> {
    let mut words = engine.split(':');
    match words.next() {
        Some("tract") => Ok(Box::new(TractEngine::load(model, spec)?)),
        Some(word @ ("keep" | "kept")) => {
            let options = Options { threads, poisons: false, ..Options::default() };
            if word == "keep" {
                return Ok(Box::new(CompiledEngine::load_to_keep(model, spec, options)??));
            }
            let file = File::open(words.next().ok_or("kept:FILE")?)?;
            let kept = KeptArtefact::open(&file)?;
            Ok(Box::new(CompiledEngine::load_kept(&kept, &KEY, spec, options)?))
        }
        Some("compiled") => {
            let mut options = Options { threads, poisons: false, ..Options::default() };
            for word in words {
                let isa = Isa::available().into_iter().find(|found| found.to_string() == word);
                let byte_isa = ByteIsa::available().into_iter().find(|found| found.to_string() == word);
                options.winograd &= word != "direct";
                if isa.is_none() && byte_isa.is_none() && word != "direct" {
                    return Err(format!("this machine has no {word}").into());
                }
                options.isa = isa.unwrap_or(options.isa);
                options.byte_isa = byte_isa.unwrap_or(options.byte_isa);
            }
            Ok(Box::new(CompiledEngine::load_with(model, spec, options)??))
        }
        Some("onnxruntime") => {
            let provider = Provider::default();
            let library = words.next().map(Into::into);
            let execution = Execution { engine: EngineChoice::OnnxRuntime(provider), threads, library };
            Ok(Box::new(OnnxRuntimeEngine::load(model, spec, provider, &execution)?))
        }
        _ => Err(format!("there is no engine {engine}").into()),
    }
}
