//! Which engine runs a model, and how that is settled where nobody says.

use std::path::Path;

use margay_kernels::Options;

use super::agreement::{self, Disagreement};
use super::compiled::CompiledEngine;
use super::compiled::artefact::{ArtefactKey, KeptArtefact, Unusable};
use super::execution::{EngineChoice, Execution};
use super::onnx_runtime::OnnxRuntimeEngine;
use super::tract::TractEngine;
use super::{Engine, LoadError};
use crate::spec::ModelSpec;

/// A model that was loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) engine: Box<dyn Engine>,
    /// Why what was kept of it at an earlier start was not used.
    pub(crate) passed_over: Option<Unusable>,
    /// That the engine was chosen otherwise than was to be expected, why, and what to do, in one line.
    pub(crate) remark: Option<String>,
}

impl<E: Engine + 'static> From<E> for Loaded {
    fn from(engine: E) -> Self {
        Self { engine: Box::new(engine), passed_over: None, remark: None }
    }
}

/// What is kept of a model between starts.
#[derive(Debug)]
pub struct Keeping {
    /// The digest of the package.
    pub key: ArtefactKey,
    /// What an earlier start kept.
    pub kept: Option<KeptArtefact>,
}

/// Loads a model on the engine of choice; on the compiled one from what was kept of it, where that is usable.
///
/// # Errors
/// [`LoadError`], as for the engine's own `load`; [`LoadError::Declined`] where the compiled engine was asked for and
/// does not cover the model.
pub(crate) fn load(
    path: &Path,
    spec: &ModelSpec,
    execution: &Execution,
    keeping: Option<&Keeping>,
) -> Result<Loaded, LoadError> {
    let may_be_compiled = matches!(execution.engine, EngineChoice::Auto | EngineChoice::Compiled);
    let kept = keeping.and_then(|keeping| Some((keeping.kept.as_ref()?, &keeping.key)));
    let passed_over = match kept.filter(|_| may_be_compiled) {
        Some((kept, key)) => match load_kept(kept, key, spec, execution) {
            Ok(engine) => return Ok(engine.into()),
            Err(unusable) => Some(unusable),
        },
        None => None,
    };
    Ok(Loaded { passed_over, ..load_anew(path, spec, execution, keeping.is_some())? })
}

fn options(execution: &Execution) -> Options {
    Options { threads: execution.threads, ..Options::default() }
}

fn load_kept(
    kept: &KeptArtefact,
    key: &ArtefactKey,
    spec: &ModelSpec,
    execution: &Execution,
) -> Result<CompiledEngine, Unusable> {
    let load =
        if execution.engine == EngineChoice::Auto { CompiledEngine::load_agreed } else { CompiledEngine::load_kept };
    load(kept, key, spec, options(execution))
}

fn load_anew(path: &Path, spec: &ModelSpec, execution: &Execution, is_to_keep: bool) -> Result<Loaded, LoadError> {
    let compile = || {
        let load = if is_to_keep { CompiledEngine::load_to_keep } else { CompiledEngine::load_with };
        load(path, spec, options(execution))
    };
    match execution.engine {
        EngineChoice::Tract => Ok(TractEngine::load(path, spec)?.into()),
        EngineChoice::Compiled => match compile()? {
            Ok(engine) => Ok(engine.into()),
            Err(declined) => Err(LoadError::Declined { path: path.to_owned(), declined }),
        },
        EngineChoice::OnnxRuntime(provider) => Ok(OnnxRuntimeEngine::load(path, spec, provider, execution)?.into()),
        EngineChoice::Auto => {
            let mut tract = TractEngine::load(path, spec)?;
            let Ok(mut compiled) = compile()? else { return Ok(tract.into()) };
            let is_quantised = compiled.is_quantised();
            match agreement::check(&mut tract, &mut compiled, is_quantised, &spec.input) {
                Ok(()) => {
                    compiled.set_agreed();
                    Ok(compiled.into())
                }
                Err(apart) => Ok(Loaded { remark: Some(stays_with_tract(apart)), ..tract.into() }),
            }
        }
    }
}

fn stays_with_tract(apart: Disagreement) -> String {
    format!(
        "tract runs the model although the compiled engine covers it: {apart}; set [model] engine = \"compiled\" or \
         \"tract\" after checking with `margay model verify` which of them names the golden samples"
    )
}
