//! The options that say how a model is run: engine, threads, where ONNX Runtime is.

use std::path::{Path, PathBuf};

use margay_inference::{EngineChoice, MAX_THREADS};

use super::exit::{Code, Failed, OrFail};
use crate::classifier::processor::Processor;
use crate::classifier::{Engines, Running, onnx_library};
use crate::config;

/// How a model is run.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct EngineArguments {
    /// Engine: tract, compiled, onnxruntime, onnxruntime-xnnpack, -acl, -cuda or -tensorrt [default: what `margay model
    /// tune` chose for the package, or what the package says]
    #[arg(long, value_name = "ENGINE")]
    engine: Option<EngineChoice>,
    /// Threads of the model [default: what leaves a core for the rest]
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<usize>,
    #[command(flatten)]
    library: LibraryArguments,
}

/// Where ONNX Runtime is.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct LibraryArguments {
    /// ONNX Runtime's library, or the folder that holds it [default: MARGAY_ONNXRUNTIME, or the usual folders]
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
}

/// A number of threads.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    let threads = text.parse().ok().filter(|threads| (1..=MAX_THREADS).contains(threads));
    threads.ok_or_else(|| format!("'{text}' is no number of threads from 1 to {MAX_THREADS}"))
}

impl EngineArguments {
    pub(super) fn new(engine: Option<EngineChoice>, threads: Option<usize>, library: LibraryArguments) -> Self {
        Self { engine, threads, library }
    }

    /// How to run the package with this digest.
    pub(super) fn running(&self, digest: Option<&str>) -> Result<Running, Failed> {
        let Some(engine) = self.engine else {
            let asked = self.library.asked_for()?;
            let mut engines = of_the_core(Path::new(config::DEFAULT_PATH));
            engines.library = asked.or(engines.library);
            return Ok(engines.running(digest.unwrap_or_default(), self.threads));
        };
        let default = Running::default();
        let library = match engine {
            EngineChoice::OnnxRuntime(_) => Some(self.library.find()?),
            _ => self.library.asked_for()?,
        };
        Ok(Running { engine, threads: self.threads.unwrap_or(default.threads), library, may_fall_back: false })
    }
}

impl LibraryArguments {
    /// The library that was named, by option or environment.
    pub(super) fn asked_for(&self) -> Result<Option<PathBuf>, Failed> {
        onnx_library::asked_for(self.onnxruntime.as_deref()).or_fail(Code::Usage)
    }

    /// The library that was named, or the one of the usual folders.
    pub(super) fn find(&self) -> Result<PathBuf, Failed> {
        match self.asked_for()? {
            Some(library) => Ok(library),
            None => onnx_library::find(None).or_fail(Code::Model),
        }
    }
}

/// What the core with this configuration knows of its engines; nothing, where there is no core.
pub(super) fn of_the_core(config: &Path) -> Engines {
    match config::load(config) {
        Ok(accepted) => Engines::configured(&accepted.document),
        Err(_) => Engines { processor: Processor::here(), ..Engines::default() },
    }
}
