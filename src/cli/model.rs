//! `margay model …`: packages made, looked at and tried, without a core or a cloud.

mod inspect;
mod key;
mod list;
mod pack;
mod quantize;
mod sign;
mod transfer;
mod tune;
mod verify;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::exit::{Code, Failed, OrFail};
use super::{output, progress};
use crate::classifier::model_directory::ModelDirectory;
use crate::classifier::one_shot::{OneShot, OneShotError};
use crate::classifier::{Running, WorkerIdentity};
use crate::package::Sha256Digest;
use crate::packing::TRIAL_MEMORY;
use crate::secret::Secret;
use crate::{serving, store};

/// The longest password file that is read, in bytes.
const MAX_PASSWORD_BYTES: u64 = 1024;

/// Make, look at and try model packages.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Pack(Box<pack::Arguments>),
    Inspect(inspect::Arguments),
    #[command(visible_alias = "test")]
    Verify(verify::Arguments),
    Quantize(Box<quantize::Arguments>),
    Tune(tune::Arguments),
    Key(key::Arguments),
    Sign(sign::Arguments),
    List(list::Arguments),
    Gc(list::Collect),
    Push(transfer::Push),
    Pull(transfer::Pull),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_fail(Code::Failure)?;
    match &arguments.command {
        Command::Pack(arguments) => runtime.block_on(pack::run(arguments)),
        Command::Inspect(arguments) => runtime.block_on(inspect::run(arguments)),
        Command::Verify(arguments) => runtime.block_on(verify::run(arguments)),
        Command::Quantize(arguments) => runtime.block_on(quantize::run(arguments)),
        Command::Tune(arguments) => runtime.block_on(tune::run(arguments)),
        Command::Key(arguments) => key::run(arguments),
        Command::Sign(arguments) => sign::run(arguments),
        Command::List(arguments) => list::run(arguments),
        Command::Gc(arguments) => list::collect(arguments),
        Command::Push(arguments) => runtime.block_on(transfer::push(arguments)),
        Command::Pull(arguments) => runtime.block_on(transfer::pull(arguments)),
    }
}

/// A package on disk, unpacked for as long as this lives.
#[derive(Debug)]
pub(super) struct Package {
    directory: PathBuf,
    /// Removes the unpacked files when dropped.
    _unpacked: Option<store::Unpacked>,
    digest: Option<String>,
    contents: ModelDirectory,
}

impl Package {
    /// Unpacks `path` where it is an archive, and checks the manifest.
    pub(super) fn open(path: &Path) -> Result<Self, Failed> {
        let (directory, unpacked, digest) = if path.is_dir() {
            (path.canonicalize().or_fail(Code::Model)?, None, None)
        } else {
            let unpacked = store::unpack_for_a_look(path).or_fail(Code::Model)?;
            let digest = File::open(path).and_then(Sha256Digest::of_reader);
            let digest = digest.with_context(|| format!("reading {}", path.display())).or_fail(Code::Model)?;
            (unpacked.path().to_owned(), Some(unpacked), Some(digest.to_string()))
        };
        let contents = ModelDirectory::open(&directory).or_fail(Code::Model)?;
        Ok(Self { directory, _unpacked: unpacked, digest, contents })
    }

    /// The archive's digest, `sha256:…`, by which a core knows the package; `None` for a directory.
    pub(super) fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Name and version of the model.
    pub(super) fn name_and_version(&self) -> (&str, &str) {
        (self.contents.manifest.name(), self.contents.manifest.version())
    }

    /// The pictures of the golden samples.
    pub(super) fn golden_pictures(&self) -> Vec<PathBuf> {
        self.contents.manifest.golden().iter().map(|golden| self.directory.join(golden.image.as_str())).collect()
    }

    /// The package's two forms for other programs, with its worker started. The package must outlive them: the worker
    /// may have to be started again.
    pub(super) async fn serve(&self, running: Running) -> Result<[serving::Model; 2], Failed> {
        let contents = ModelDirectory::open(&self.directory).or_fail(Code::Model)?;
        let forms = serving::Model::load(&self.directory, contents, TRIAL_MEMORY, running).await;
        forms.map_err(|error| Failed::new(code_of(&error), error))
    }

    /// Bytes of the model file.
    fn model_bytes(&self) -> u64 {
        self.contents.model.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Compares every file with the digest that the manifest has for it.
    fn check_digests(&self) -> Result<(), Failed> {
        for (path, expected) in self.contents.manifest.files() {
            let file = self.directory.join(path.as_str());
            let found = File::open(&file).and_then(Sha256Digest::of_reader);
            let found = found.with_context(|| format!("reading {path}")).or_fail(Code::Model)?;
            if found != *expected {
                let error =
                    anyhow::anyhow!("{path} has the digest {found}, but model.toml says {expected}: pack it again");
                return Err(Failed::new(Code::Model, error));
            }
        }
        Ok(())
    }

    /// Loads the model in a sandbox, to run as `running` says.
    pub(super) async fn load(&self, running: &Running) -> Result<OneShot, Failed> {
        OneShot::load(&self.directory, TRIAL_MEMORY, WorkerIdentity::default(), running)
            .await
            .map_err(|error| Failed::new(code_of(&error), error))
    }

    /// The same; that the model runs otherwise than was to be expected is said on standard error.
    pub(super) async fn load_aloud(&self, running: &Running) -> Result<OneShot, Failed> {
        let worker = self.load(running).await?;
        worker.remark.as_deref().into_iter().for_each(output::complain);
        Ok(worker)
    }
}

/// Whether the host or the model is at fault.
fn code_of(error: &OneShotError) -> Code {
    match error {
        OneShotError::Launch(_) | OneShotError::Plan(_) | OneShotError::Channel(_) => Code::Sandbox,
        _ => Code::Model,
    }
}

/// The first line of a password file; it is on no command line, where every user of the machine could read it.
fn read_password(file: Option<&Path>) -> Result<Option<Secret>, Failed> {
    let Some(file) = file else { return Ok(None) };
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(MAX_PASSWORD_BYTES).read_to_string(&mut text));
    read.with_context(|| format!("reading the password in {}", file.display())).or_fail(Code::Failure)?;
    Ok(Some(Secret::new(text.lines().next().unwrap_or_default())))
}
