//! Where the time of the compiled engine goes, stage by stage, on the pixels of a picture:
//!
//!     stages MODEL.onnx SIDE [INSTRUCTION SET] [RUNS] [THREADS] [direct]
//!
//! The instruction set is one of floats or of bytes, or both where they have one name. With `direct`, Winograd's method is
//! left out. Printed are the medians over all runs, in microseconds, longest first: how long the stage took, how long its
//! threads waited for one another together, and which one of the network's it is; and the sums.

#![allow(clippy::print_stdout, reason = "its output is all that it is for")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use margay_inference::engine::compiled::CompiledEngine;
use margay_inference::{InputSpec, ModelSpec, OutputSpec};
use margay_kernels::{ByteIsa, Isa, Options, Picture, StageTime};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, side, rest @ ..] = arguments.as_slice() else {
        return Err("usage: stages MODEL.onnx SIDE [INSTRUCTION SET] [RUNS] [THREADS] [direct]".into());
    };
    let side = side.parse()?;
    let spec = ModelSpec {
        input: InputSpec { height: side, width: side, ..InputSpec::imagenet(1) },
        output: OutputSpec::logits(),
    };
    let isa = rest.first().and_then(|name| Isa::available().into_iter().find(|isa| isa.to_string() == *name));
    let byte_isa = rest.first().and_then(|name| ByteIsa::available().into_iter().find(|isa| isa.to_string() == *name));
    let runs = rest.get(1).map_or(Ok(50), |runs| runs.parse::<usize>())?;
    let options = Options {
        isa: isa.unwrap_or_else(Isa::best),
        byte_isa: byte_isa.unwrap_or_else(ByteIsa::best),
        threads: rest.get(2).map_or(Ok(1), |threads| threads.parse())?,
        winograd: rest.get(3).is_none_or(|word| word != "direct"),
        poisons: false,
        ..Options::default()
    };
    let mut engine = CompiledEngine::load_with(Path::new(model), &spec, options)??;
    let length = spec.input.shape().iter().product();
    let pixels: Vec<u8> = (0..length).map(|place: usize| (place * 7919 % 251) as u8).collect();
    engine.profile(Picture::Pixels(&pixels))?;
    let profiles = (0..runs.max(1)).map(|_| engine.profile(Picture::Pixels(&pixels))).collect::<Result<Vec<_>, _>>()?;
    let median = |stage: usize, of: fn(&StageTime) -> Duration| {
        let mut times: Vec<Duration> = profiles.iter().map(|profile| of(&profile[stage])).collect();
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    };
    let of_stage = |(stage, of_first): (usize, &StageTime)| {
        let name = format!("{stage:3} {}", of_first.name);
        (median(stage, |time| time.took), median(stage, |time| time.waited), name)
    };
    let mut stages: Vec<(f64, f64, String)> = profiles[0].iter().enumerate().map(of_stage).collect();
    let (took, waited) = stages.iter().fold((0.0, 0.0), |sums, stage| (sums.0 + stage.0, sums.1 + stage.1));
    stages.sort_by(|one, other| other.0.total_cmp(&one.0));
    stages.push((took, waited, format!("in all, {} stages", profiles[0].len())));
    println!("    took   waited");
    for (took, waited, name) in &stages {
        println!("{took:8.1} {waited:8.1} {name}");
    }
    Ok(())
}
