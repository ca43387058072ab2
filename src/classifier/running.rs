//! How a model is run on this device: which engine, how many threads, where ONNX Runtime is. What was measured by
//! `margay model tune` goes before what the package says, and what an operator says goes before both.

use std::path::{Path, PathBuf};

use margay_inference::{EngineChoice, Execution, MAX_THREADS};
use serde::{Deserialize, Serialize};

use super::onnx_library;
use super::processor::Processor;
use super::tuning::{self, Tuning};
use crate::causes::explain;
use crate::config::Config;

/// Threads beyond this many bring small networks little, and take the time of whoever captures and publishes.
const MOST_DEFAULT_THREADS: usize = 3;

/// What a worker is told about running its model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The engine; [`EngineChoice::Auto`] leaves it to the package.
    pub engine: EngineChoice,
    /// Threads, at least 1.
    pub threads: usize,
    /// ONNX Runtime's library, a path of the host that appears unchanged inside the sandbox.
    pub library: Option<PathBuf>,
    /// Whether the package's own choice runs the model where this engine does not: a choice that was measured must not
    /// keep a model from running.
    pub may_fall_back: bool,
}

impl Default for Running {
    /// What the package says, on as many threads as leave a core for the rest.
    fn default() -> Self {
        Self { engine: EngineChoice::Auto, threads: default_threads(cores()), library: None, may_fall_back: false }
    }
}

impl Running {
    /// The worker's part of it, with the package's engine where this leaves it to the package.
    pub(super) fn execution(&self, package: EngineChoice) -> Execution {
        let engine = if self.engine == EngineChoice::Auto { package } else { self.engine };
        Execution { engine, threads: self.threads.clamp(1, MAX_THREADS), library: self.library.clone() }
    }

    /// Whether the sandbox has to show the library.
    pub(super) fn needs_library(&self) -> Option<&Path> {
        self.library.as_deref()
    }
}

/// The cores that this process may run on.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many threads a model gets where nobody says: one core is left for capture and uplink.
pub fn default_threads(cores: usize) -> usize {
    cores.saturating_sub(1).clamp(1, MOST_DEFAULT_THREADS)
}

/// Who knows how models are run on this device: its processor, where choices are kept, where ONNX Runtime is.
#[derive(Debug, Clone, Default)]
pub struct Engines {
    /// Where choices are kept; without it there are none.
    pub tunings: Option<PathBuf>,
    /// ONNX Runtime's library, where the device's configuration names one.
    pub library: Option<PathBuf>,
    /// The processor that choices have to have been measured on.
    pub processor: Processor,
}

impl Engines {
    /// This device's, as its configuration and the environment say.
    pub fn configured(config: &Config) -> Self {
        let library = onnx_library::asked_for(config.onnx_runtime.as_deref()).unwrap_or_else(|error| {
            let error = explain(&error);
            tracing::warn!(
                error,
                "models run without ONNX Runtime: margay.onnxRuntime or MARGAY_ONNXRUNTIME leads nowhere"
            );
            None
        });
        Self { tunings: Some(config.directories.tunings()), library, processor: Processor::here() }
    }

    /// How to run the package with this digest; `threads` is what the operator says.
    pub fn running(&self, digest: &str, threads: Option<usize>) -> Running {
        let chosen = self.tunings.as_deref().and_then(|folder| self.chosen(folder, digest));
        let mut running = chosen.unwrap_or_else(|| Running { library: self.library.clone(), ..Running::default() });
        running.threads = threads.unwrap_or(running.threads);
        running
    }

    /// The stored choice, if it is for this processor and can be carried out.
    fn chosen(&self, folder: &Path, digest: &str) -> Option<Running> {
        let tuning = match tuning::read(folder, digest) {
            Ok(tuning) => tuning?,
            Err(error) => {
                let error = explain(&error);
                tracing::warn!(digest, error, "a stored choice of engine is passed over");
                return None;
            }
        };
        if tuning.processor != self.processor {
            tracing::warn!(
                digest,
                measured = %tuning.processor,
                here = %self.processor,
                "the stored choice of engine was measured on another processor and is passed over; run `margay model tune` here"
            );
            return None;
        }
        self.carry_out(tuning, digest)
    }

    fn carry_out(&self, tuning: Tuning, digest: &str) -> Option<Running> {
        let choice = tuning.choice;
        let library = self.library.clone().or(choice.library);
        if let EngineChoice::OnnxRuntime(_) = choice.engine
            && !library.as_deref().is_some_and(Path::is_file)
        {
            let library = library.unwrap_or_default();
            tracing::warn!(digest, library = %library.display(), "the library of the stored choice is gone; run `margay model tune` again");
            return None;
        }
        tracing::info!(digest, engine = %choice.engine, threads = choice.threads, "the engine was chosen by measurement");
        Some(Running { engine: choice.engine, threads: choice.threads, library, may_fall_back: true })
    }
}

#[cfg(test)]
mod tests {
    use margay_inference::Provider;

    use super::super::tuning::{Choice, write};
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn processor(name: &str) -> Processor {
        Processor { name: name.to_owned(), ..Processor::default() }
    }

    /// A folder with a stored choice, and who reads it on the processor `here`.
    fn stored(choice: Choice, here: &str) -> (tempfile::TempDir, Engines) {
        let folder = tempfile::tempdir().unwrap();
        let tuning = Tuning::new(DIGEST, processor("a board"), choice, "fastest".to_owned(), Vec::new());
        write(folder.path(), &tuning).unwrap();
        let engines = Engines { tunings: Some(folder.path().to_owned()), library: None, processor: processor(here) };
        (folder, engines)
    }

    #[test]
    fn one_core_is_left_for_the_rest() {
        let threads = [1, 2, 3, 4, 5, 64].map(default_threads);
        assert_eq!(threads, [1, 1, 2, 3, 3, 3]);
    }

    #[test]
    fn a_stored_choice_runs_on_its_own_processor_only() {
        let choice = Choice { engine: EngineChoice::Tract, threads: 2, library: None };
        let (_folder, engines) = stored(choice.clone(), "a board");
        let running = engines.running(DIGEST, None);
        assert_eq!((running.engine, running.threads, running.may_fall_back), (EngineChoice::Tract, 2, true));
        assert_eq!(engines.running(DIGEST, Some(1)).threads, 1, "what the operator says goes first");
        let other = DIGEST.replace('0', "1");
        assert_eq!(engines.running(&other, None), Running::default(), "another package");
        let (_folder, engines) = stored(choice, "another board");
        assert_eq!(engines.running(DIGEST, None), Running::default());
    }

    #[test]
    fn a_choice_whose_library_is_gone_is_passed_over() {
        let library = Some(PathBuf::from("/nowhere/libonnxruntime.so"));
        let choice = Choice { engine: EngineChoice::OnnxRuntime(Provider::Cpu), threads: 1, library };
        let (folder, mut engines) = stored(choice.clone(), "a board");
        assert_eq!(engines.running(DIGEST, None), Running::default());
        let here = folder.path().join("libonnxruntime.so");
        std::fs::write(&here, "").unwrap();
        engines.library = Some(here.clone());
        let running = engines.running(DIGEST, None);
        assert_eq!((running.engine, running.library), (choice.engine, Some(here)));
    }

    #[test]
    fn a_damaged_choice_changes_nothing() {
        let choice = Choice { engine: EngineChoice::Tract, threads: 1, library: None };
        let (folder, engines) = stored(choice, "a board");
        let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        for damage in ["", "{}", "{\"format\": 2}"] {
            std::fs::write(&file, damage).unwrap();
            assert_eq!(engines.running(DIGEST, None), Running::default(), "{damage}");
        }
    }

    #[test]
    fn the_package_says_where_nobody_else_does() {
        let running = Running::default();
        assert_eq!(running.execution(EngineChoice::Tract).engine, EngineChoice::Tract);
        let running = Running { engine: EngineChoice::Compiled, threads: 99, ..running };
        let execution = running.execution(EngineChoice::Tract);
        assert_eq!((execution.engine, execution.threads), (EngineChoice::Compiled, MAX_THREADS));
    }
}
