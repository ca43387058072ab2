//! Making a package of a model file: what the packer says is held against the graph, the golden samples are measured,
//! and the finished package proves itself in a sandbox before its archive takes its name. Until then nothing is
//! written where the user looks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::classifier::one_shot::{OneShot, OneShotError};
use crate::classifier::{Running, WorkerIdentity};
use crate::package::{
    Draft, EngineHint, LabelFileError, MANIFEST_FILE, MAX_LABEL_FILE_BYTES, Manifest, PackageError, PackagePath,
    PathError, Sha256Digest, parse_labels,
};
use crate::units::Probability;
use margay_inference::{Labels, ModelSummary};

mod archive;
mod choice;
pub mod quantising;
mod samples;

pub use choice::{NEWEST_OPSET, Preset, Words};
pub use samples::{Measured, Sample, SampleError};

/// Memory of the worker that tries a package, in bytes: a hundred times the largest mobile network.
pub const TRIAL_MEMORY: u64 = 2 << 30;

/// Name of the label file in a package that is packed here.
const LABELS: &str = "labels.txt";

/// What is to be packed.
#[derive(Debug, Clone)]
pub struct Order {
    /// The ONNX file.
    pub model: PathBuf,
    /// The label file.
    pub labels: PathBuf,
    /// Name of the model; it travels in every prediction.
    pub name: String,
    /// Version of the model.
    pub version: String,
    /// How it is fed, as far as the packer says.
    pub words: Words,
    /// The least probability that is reported.
    pub threshold: Option<Probability>,
    /// The longest that a frame may take on the device.
    pub latency_ceiling: Option<Duration>,
    /// Pictures on which the model has to prove itself.
    pub samples: Vec<Sample>,
    /// Where the archive goes, a `.tar.gz`.
    pub output: PathBuf,
}

/// A finished package.
#[derive(Debug)]
pub struct Packed {
    /// What was packed.
    pub manifest: Manifest,
    /// What the model holds.
    pub summary: ModelSummary,
    /// That the model runs otherwise than was to be expected, and why.
    pub remark: Option<String>,
    /// How the golden samples did.
    pub samples: Vec<Measured>,
    /// Bytes of the archive.
    pub bytes: u64,
    /// Digest of the archive.
    pub digest: Sha256Digest,
}

/// Why there is no package. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("writing {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file's name is no path in a package.
    #[error("a package's file {name:?}")]
    Place {
        /// The name.
        name: String,
        /// The rule that it breaks.
        #[source]
        source: PathError,
    },
    /// The label file cannot be used.
    #[error("the labels in {} cannot be used", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: LabelFileError,
    },
    /// What was asked contradicts the graph, or leaves out what the graph does not say.
    #[error("{} cannot be packed like this:\n{}", model.display(), listed(problems))]
    Refused {
        /// The model file.
        model: PathBuf,
        /// A sentence a problem.
        problems: Vec<String>,
    },
    /// A golden sample cannot be one.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The manifest breaks a rule.
    #[error("the package's manifest")]
    Manifest(#[source] PackageError),
    /// The worker refused the model or a picture, or could not be started.
    #[error(transparent)]
    Trial(#[from] OneShotError),
}

impl PackError {
    fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }

    fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Write { path: path.to_owned(), source }
    }
}

fn listed(problems: &[String]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// What a bare model file holds, read in a sandbox.
///
/// # Errors
/// [`PackError`] when the file cannot be read or is no model.
pub async fn inspect(model: &Path) -> Result<ModelSummary, PackError> {
    let mut stage = Stage::new()?;
    let place = stage.add_file(&place("model.onnx")?, model)?;
    Ok(OneShot::inspect(stage.path(), place.as_str(), TRIAL_MEMORY, WorkerIdentity::default()).await?)
}

/// Packs a model. `tell` hears what is being done.
///
/// # Errors
/// [`PackError`]; then nothing was written.
pub async fn pack(order: &Order, tell: &mut (dyn FnMut(&str) + Send)) -> Result<Packed, PackError> {
    let labels = read_labels(&order.labels)?;
    let mut stage = Stage::new()?;
    let model = stage.add_file(&model_place(&order.model)?, &order.model)?;
    let label_file = stage.add_file(&place(LABELS)?, &order.labels)?;

    tell("looking at the model");
    let identity = WorkerIdentity::default();
    let summary = OneShot::inspect(stage.path(), model.as_str(), TRIAL_MEMORY, identity).await?;
    let spec = choice::choose(&order.words, &summary, labels.count())
        .map_err(|problems| PackError::Refused { model: order.model.clone(), problems })?;
    let mut draft = Draft {
        name: order.name.clone(),
        version: order.version.clone(),
        model,
        engine: EngineHint::Auto,
        spec,
        labels: label_file,
        threshold: order.threshold,
        latency_ceiling: order.latency_ceiling,
        files: stage.files.clone(),
        golden: Vec::new(),
    };
    stage.write_manifest(&draft)?;

    tell("trying the model in its sandbox");
    let worker = OneShot::load(stage.path(), TRIAL_MEMORY, identity, &Running::default()).await?;
    let mut measured = Vec::new();
    for sample in &order.samples {
        tell(&format!("measuring {}", sample.picture.display()));
        let class = sample.class(&labels)?;
        let image = stage.add_file(&sample.place(measured.len())?, &sample.picture)?;
        measured.push(samples::measure(&worker, sample, class, image, &stage).await?);
    }
    drop(worker);

    tell("trying the finished package");
    draft.files = stage.files.clone();
    draft.golden = measured.iter().map(|sample: &Measured| sample.golden.clone()).collect();
    let manifest = stage.write_manifest(&draft)?;
    let worker = OneShot::load(stage.path(), TRIAL_MEMORY, identity, &Running::default()).await?;
    let (bytes, digest) = archive::write(stage.path(), &top_directory(&manifest), &order.output)?;
    let (summary, remark) = (worker.summary.clone(), worker.remark.clone());
    Ok(Packed { manifest, summary, remark, samples: measured, bytes, digest })
}

/// The archive's one parent directory (B-12), from the model's name.
fn top_directory(manifest: &Manifest) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = manifest.name().chars().map(plain).collect();
    format!("{}-package", name.trim_start_matches('.'))
}

fn read_labels(path: &Path) -> Result<Labels, PackError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(PackError::read(path))?;
    file.take(MAX_LABEL_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(PackError::read(path))?;
    let text = String::from_utf8(bytes).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error));
    let text = text.map_err(PackError::read(path))?;
    let unusable = |source| PackError::Labels { path: path.to_owned(), source };
    parse_labels(&text).map_err(unusable)
}

/// The model's own file name where a package may have it, so that people find it again.
fn model_place(model: &Path) -> Result<PackagePath, PackError> {
    let named = model.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".onnx"));
    place(named.unwrap_or("model.onnx"))
}

fn place(name: &str) -> Result<PackagePath, PackError> {
    name.parse().map_err(|source| PackError::Place { name: name.to_owned(), source })
}

/// The package's directory while it is being made; gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    directory: TempDir,
    files: BTreeMap<PackagePath, Sha256Digest>,
}

impl Stage {
    fn new() -> Result<Self, PackError> {
        let parent = std::env::temp_dir();
        let directory = TempDir::with_prefix("margay-pack-").map_err(PackError::write(&parent))?;
        // The sandbox's user must be able to read.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
            .map_err(PackError::write(directory.path()))?;
        Ok(Self { directory, files: BTreeMap::new() })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Copies a file into the package.
    fn add_file(&mut self, to: &PackagePath, from: &Path) -> Result<PackagePath, PackError> {
        let path = self.path().join(to.as_str());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(PackError::write(parent))?;
        }
        fs::copy(from, &path).map_err(PackError::read(from))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).map_err(PackError::write(&path))?;
        let digest = Sha256Digest::of_reader(File::open(&path).map_err(PackError::read(&path))?);
        self.files.insert(to.clone(), digest.map_err(PackError::read(&path))?);
        Ok(to.clone())
    }

    /// Writes a file of the package.
    fn add_bytes(&mut self, to: &PackagePath, bytes: &[u8]) -> Result<PackagePath, PackError> {
        let path = self.path().join(to.as_str());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(PackError::write(parent))?;
        }
        fs::write(&path, bytes).map_err(PackError::write(&path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).map_err(PackError::write(&path))?;
        self.files.insert(to.clone(), Sha256Digest::of(bytes));
        Ok(to.clone())
    }

    /// Writes `model.toml`, and reads it back by the rules for everybody's.
    fn write_manifest(&self, draft: &Draft) -> Result<Manifest, PackError> {
        let text = draft.text();
        let manifest = Manifest::parse(&text).map_err(PackError::Manifest)?;
        let path = self.path().join(MANIFEST_FILE);
        fs::write(&path, text).map_err(PackError::write(&path))?;
        Ok(manifest)
    }
}
