//! The contract between whoever packs a model and whoever runs it: the manifest `model.toml`, format 1, and the V1
//! packages that have none (B-23, B-24). docs/package-format.md is its reference.
//!
//! Pure: it is given texts and names of files, opens nothing, and parses no model and no picture. What it accepts is
//! valid throughout; [`Manifest::model_spec`] is what the inference worker loads the model with.

use std::collections::BTreeMap;
use std::time::Duration;

use margay_inference::{Labels, ModelSpec};

use crate::problem::Problems;
use crate::units::Probability;

mod digest;
mod draft;
mod golden;
mod input;
mod labels;
mod manifest;
mod output;
mod path;
mod signature;
mod v1;

pub use digest::{DigestError, Sha256Digest};
pub use draft::Draft;
pub use golden::Golden;
pub use labels::{LabelFileError, LabelSource, parse_labels};
pub use path::{PackagePath, PathError};
pub use signature::{
    KeyError, MAX_SIGNATURE_BYTES, MAX_TRUSTED_KEYS, SIGNATURE_SUFFIX, SignatureError, SignaturePolicy, Signed,
    TrustedKey, generate as generate_keys, sign, verify as verify_signature,
};
pub use v1::V1Error;

/// Name of the manifest's file, in the package's top directory.
pub const MANIFEST_FILE: &str = "model.toml";
/// Name of the label file of a V1 package, a line a class (B-23).
pub const SYNSET_FILE: &str = "synset.txt";
/// The one format of manifest that this version reads.
pub const FORMAT: u64 = 1;
/// Version that a V1 package, which has none, is given.
pub const V1_VERSION: &str = "v1";

/// Largest manifest, in bytes; a thousand labels written into it take 30 kB.
pub const MAX_MANIFEST_BYTES: usize = 256 << 10;
/// Largest label file, in bytes.
pub const MAX_LABEL_FILE_BYTES: usize = 1 << 20;
/// Most labels of a model.
pub const MAX_LABELS: usize = 65_536;
/// Longest label, in characters: it travels in every prediction.
pub const MAX_LABEL_CHARS: usize = 256;
/// Longest model name, in characters: it travels in every prediction.
pub const MAX_NAME_CHARS: usize = 128;
/// Longest model version, in characters.
pub const MAX_VERSION_CHARS: usize = 64;
/// Most files that a manifest lists.
pub const MAX_FILES: usize = 256;
/// Largest latency ceiling, in milliseconds: a minute a frame.
pub const MAX_LATENCY_MS: f64 = 60_000.0;
/// Most golden samples; each is classified before the model takes over.
pub const MAX_GOLDEN: usize = 16;

/// Which engine the packer wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EngineHint {
    /// Whichever the device finds best.
    #[default]
    Auto,
    /// tract, always.
    Tract,
    /// The compiled engine, always.
    Compiled,
    /// ONNX Runtime, always: a device without its library refuses the package.
    OnnxRuntime,
}

/// Why a package is refused.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The manifest breaks rules of the format; all of them are listed.
    #[error("model.toml is refused")]
    Manifest(#[source] Problems),
    /// There is no manifest, and what is there is no V1 package that can be run.
    #[error("there is no model.toml, and the files are no V1 package that can be run")]
    V1(#[source] V1Error),
    /// The label file cannot be used.
    #[error("the labels in {file} cannot be used")]
    Labels {
        /// The label file, as the manifest names it.
        file: String,
        /// What is wrong with it.
        #[source]
        source: LabelFileError,
    },
    /// A golden sample's class is labelled otherwise than it says.
    #[error(
        "the golden sample {image} shows class {class}{}, but the labels call it {}: the labels are in another order \
         than the model's outputs",
        expected.as_deref().map(|label| format!(", {label:?}")).unwrap_or_default(),
        found.as_deref().unwrap_or("nothing at all")
    )]
    GoldenLabel {
        /// The picture.
        image: String,
        /// Its class.
        class: u32,
        /// The label that the manifest expects there.
        expected: Option<String>,
        /// The label that is there.
        found: Option<String>,
    },
}

impl Manifest {
    /// Holds the golden samples against the labels, once those are known.
    ///
    /// # Errors
    /// [`PackageError::GoldenLabel`] for a class that the labels do not have, or name otherwise.
    pub fn check_golden_labels(&self, labels: &Labels) -> Result<(), PackageError> {
        for Golden { image, class, label, .. } in &self.golden {
            let found = labels.get(*class);
            if found.is_none() || label.as_deref().is_some_and(|label| found.map(|found| &**found) != Some(label)) {
                return Err(PackageError::GoldenLabel {
                    image: image.to_string(),
                    class: *class,
                    expected: label.clone(),
                    found: found.map(ToString::to_string),
                });
            }
        }
        Ok(())
    }
}

/// What a package says about its model.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    name: String,
    version: String,
    model: PackagePath,
    engine: EngineHint,
    spec: ModelSpec,
    labels: LabelSource,
    threshold: Option<Probability>,
    latency_ceiling: Option<Duration>,
    files: BTreeMap<PackagePath, Sha256Digest>,
    golden: Vec<Golden>,
}

impl Manifest {
    /// Reads `model.toml`.
    ///
    /// # Errors
    /// [`PackageError::Manifest`] with every problem found.
    pub fn parse(text: &str) -> Result<Self, PackageError> {
        manifest::parse(text).map_err(PackageError::Manifest)
    }

    /// Derives the manifest of a V1 package from the names of its files, `/`-separated and relative to the package:
    /// one ONNX model beside a `synset.txt`, preprocessed as ImageNet models are. The name is the model file's.
    ///
    /// # Errors
    /// [`PackageError::V1`], which says what to convert where the weights are MXNet's, TensorFlow's or Neo's.
    pub fn for_v1<T: AsRef<str>>(files: &[T]) -> Result<Self, PackageError> {
        v1::derive(files).map_err(PackageError::V1)
    }

    /// Name of the model, 1 to [`MAX_NAME_CHARS`] characters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Version of the model, 1 to [`MAX_VERSION_CHARS`] characters; [`V1_VERSION`] for a V1 package.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The model file, relative to the package.
    pub fn model_file(&self) -> &str {
        self.model.as_str()
    }

    /// The engine that the packer wants.
    pub fn engine(&self) -> EngineHint {
        self.engine
    }

    /// What the model's tensors look like; valid.
    pub fn model_spec(&self) -> ModelSpec {
        self.spec.clone()
    }

    /// Where the labels are.
    pub fn labels(&self) -> &LabelSource {
        &self.labels
    }

    /// The label file, relative to the package; `None` when the labels stand in the manifest.
    pub fn labels_file(&self) -> Option<&str> {
        match &self.labels {
            LabelSource::File(path) => Some(path.as_str()),
            LabelSource::Inline(_) => None,
        }
    }

    /// Reads the labels from the text of [`Manifest::labels_file`]; labels in the manifest are returned as they are.
    ///
    /// # Errors
    /// [`PackageError::Labels`], with the line at fault.
    pub fn parse_labels(&self, text: &str) -> Result<Labels, PackageError> {
        match &self.labels {
            LabelSource::Inline(labels) => Ok(labels.clone()),
            LabelSource::File(file) => {
                parse_labels(text).map_err(|source| PackageError::Labels { file: file.to_string(), source })
            }
        }
    }

    /// The least probability that the packer wants reported; the group's own threshold goes before it.
    pub fn threshold(&self) -> Option<Probability> {
        self.threshold
    }

    /// The longest that a frame of 640 × 480 may take on the device, from RGB to ranked classes.
    pub fn latency_ceiling(&self) -> Option<Duration> {
        self.latency_ceiling
    }

    /// The package's files and their digests; empty for a V1 package.
    pub fn files(&self) -> &BTreeMap<PackagePath, Sha256Digest> {
        &self.files
    }

    /// The pictures on which the model has to prove itself.
    pub fn golden(&self) -> &[Golden] {
        &self.golden
    }
}
