//! Where the time of the compiled engine goes, stage by stage:
//!
//!     stages MODEL.onnx SIDE [INSTRUCTION SET] [RUNS] [direct]
//!
//! The instruction set is one of floats or of bytes, or both where they have one name. With `direct`, Winograd's method is
//! left out. Printed are the least times over all runs, in microseconds, longest first, and the sum.

#![allow(clippy::print_stdout, reason = "its output is all that it is for")]

use std::error::Error;
use std::path::Path;

use margay_inference::engine::compiled::CompiledEngine;
use margay_inference::{InputSpec, ModelSpec, OutputSpec};
use margay_kernels::{ByteIsa, Isa, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, side, rest @ ..] = arguments.as_slice() else {
        return Err("usage: stages MODEL.onnx SIDE [INSTRUCTION SET] [RUNS]".into());
    };
    let side = side.parse()?;
    let spec = ModelSpec {
        input: InputSpec { height: side, width: side, ..InputSpec::imagenet(1) },
        output: OutputSpec::logits(),
    };
    let isa = rest.first().and_then(|name| Isa::available().into_iter().find(|isa| isa.to_string() == *name));
    let runs = rest.get(1).map_or(Ok(50), |runs| runs.parse::<usize>())?;
    let byte_isa = rest.first().and_then(|name| ByteIsa::available().into_iter().find(|isa| isa.to_string() == *name));
    let options = Options {
        isa: isa.unwrap_or_else(Isa::best),
        byte_isa: byte_isa.unwrap_or_else(ByteIsa::best),
        winograd: rest.get(2).is_none_or(|word| word != "direct"),
        poisons: false,
        ..Options::default()
    };
    let mut engine = CompiledEngine::load_with(Path::new(model), &spec, options)??;
    let length = spec.input.shape().iter().product();
    let picture: Vec<f32> = (0..length).map(|place: usize| (place * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    let mut least = engine.profile(&picture)?;
    for _ in 0..runs {
        for (stage, (_, time)) in least.iter_mut().zip(engine.profile(&picture)?) {
            stage.1 = stage.1.min(time);
        }
    }
    let sum: f64 = least.iter().map(|(_, time)| time.as_secs_f64()).sum();
    least.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    for (name, time) in &least {
        println!("{:8.1} {name}", time.as_secs_f64() * 1e6);
    }
    println!("{:8.1} in all", sum * 1e6);
    Ok(())
}
