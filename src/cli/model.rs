//! `margay model …`: packages, looked at from the outside.

use std::path::{Path, PathBuf};

use super::exit::{Code, Failed, OrFail};
use super::output;
use crate::classifier::WorkerIdentity;
use crate::classifier::model_directory::ModelDirectory;
use crate::classifier::one_shot::{OneShot, OneShotError};
use crate::store;

/// Memory of the worker that looks at a package, in bytes: a hundred times the largest mobile network.
const MEMORY_LIMIT: u64 = 2 * 1024 * 1024 * 1024;

/// Look at model packages.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Inspect(Inspect),
}

/// Show what a package and its model hold: inputs, outputs, operators, parameters, labels.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  margay model inspect road-signs-1.0.0.tar.gz")]
struct Inspect {
    /// The package: a .tar.gz or .zip, or the directory that it unpacks to
    package: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let Command::Inspect(inspect) = &arguments.command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_fail(Code::Failure)?;
    runtime.block_on(async {
        let package = Package::open(&inspect.package)?;
        let worker = package.load().await?;
        if inspect.json {
            return output::json(&package.document(&worker)).or_fail(Code::Failure);
        }
        for line in package.lines(&worker) {
            output::line(&line).or_fail(Code::Failure)?;
        }
        Ok(())
    })
}

/// A package on disk, unpacked for as long as this lives.
#[derive(Debug)]
pub(super) struct Package {
    directory: PathBuf,
    /// Removes the unpacked files when dropped.
    _unpacked: Option<store::Unpacked>,
    contents: ModelDirectory,
}

impl Package {
    /// Unpacks `path` where it is an archive, and checks the manifest.
    pub(super) fn open(path: &Path) -> Result<Self, Failed> {
        let (directory, unpacked) = if path.is_dir() {
            (path.canonicalize().or_fail(Code::Model)?, None)
        } else {
            let unpacked = store::unpack_for_a_look(path).or_fail(Code::Model)?;
            (unpacked.path().to_owned(), Some(unpacked))
        };
        let contents = ModelDirectory::open(&directory).or_fail(Code::Model)?;
        Ok(Self { directory, _unpacked: unpacked, contents })
    }

    /// Loads the model in a sandbox.
    pub(super) async fn load(&self) -> Result<OneShot, Failed> {
        OneShot::load(&self.directory, MEMORY_LIMIT, WorkerIdentity::default()).await.map_err(|error| {
            let code = match error {
                OneShotError::Launch(_) | OneShotError::Plan(_) | OneShotError::Channel(_) => Code::Sandbox,
                _ => Code::Model,
            };
            Failed::new(code, error)
        })
    }

    fn document(&self, worker: &OneShot) -> serde_json::Value {
        let manifest = &self.contents.manifest;
        serde_json::json!({
            "name": manifest.name(),
            "version": manifest.version(),
            "model": manifest.model_file(),
            "engine": worker.engine,
            "labels": self.contents.labels.count(),
            "summary": worker.summary,
        })
    }

    fn lines(&self, worker: &OneShot) -> Vec<String> {
        let manifest = &self.contents.manifest;
        let mut lines = vec![
            format!("package     {} {}", manifest.name(), manifest.version()),
            format!("model       {}, runs on {}", manifest.model_file(), worker.engine),
            format!("labels      {}", self.contents.labels.count()),
        ];
        lines.extend(worker.summary.to_string().lines().map(str::to_owned));
        lines
    }
}
