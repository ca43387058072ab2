//! V1's model folders: which resource each belongs to, what lies in it, and a package of it where the files say enough.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::group_form::text;
use super::report::{Finding, quoted};
use super::tree::{Listed, Tree, TreeError};
use crate::classifier::model_directory::{ModelDirectory, ModelDirectoryError};
use crate::classifier::one_shot::{OneShot, OneShotError};
use crate::classifier::{Running, WorkerIdentity};
use crate::name::ResourceId;
use crate::package::{Manifest, PackageError, PackagePath, Sha256Digest};
use crate::packing::{self, Order, Preset, TRIAL_MEMORY, Words};
use crate::store;
use margay_inference::ModelSummary;
use margay_inference::engine::onnx::MAX_MODEL_BYTES;

/// Where V1 keeps models, below its write directory (A-16, B-13).
pub(super) const FOLDER: &str = "deployment/mlmodel";
/// The version that a package made here carries: V1's models have none.
const VERSION: &str = "v1";
/// Width and height for which V1's rule of ImageNet's normalisation holds (docs/package-format.md).
const V1_SIDE: usize = 224;

/// A finished package.
#[derive(Debug)]
pub(super) struct Package {
    /// The archive.
    pub(super) archive: PathBuf,
    /// `.tar.gz` or `.zip`.
    pub(super) suffix: &'static str,
    /// Name and version of the model.
    pub(super) name: String,
    /// Bytes of the archive.
    pub(super) bytes: u64,
    /// Digest of the archive.
    pub(super) digest: Sha256Digest,
    /// What was taken for granted in making it.
    pub(super) assumed: Option<&'static str>,
}

/// What became of a resource's model.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It can run.
    Package(Package),
    /// Its owner has to say something.
    Decide { why: String, command: Option<String> },
    /// This version cannot run it.
    Cannot { why: String },
}

/// The folders of models in V1's write directory, by name, and a row for each link there that cannot be followed. None
/// where there are none.
pub(super) fn folders(tree: &Tree) -> Result<(Vec<String>, Vec<Finding>), TreeError> {
    let below = Path::new(FOLDER);
    let names = tree.names(below)?;
    // Margay's own store lies there on a device on which it ran before; it is no part of V1's deployment.
    if names.iter().any(|name| name == "format") && names.iter().any(|name| name == "resources") {
        return Ok((Vec::new(), Vec::new()));
    }
    let (mut folders, mut rows) = (Vec::new(), Vec::new());
    for name in names {
        match tree.resolve(&below.join(&name)) {
            Ok(path) if path.is_dir() => folders.push(name),
            Ok(_) => {}
            Err(error) => rows.push(Finding::will_not(format!("{FOLDER}/{name}"), spoken(&error))),
        }
    }
    Ok((folders, rows))
}

/// Which folder each of `resources` has: one that carries its id or any other name that the resource's entry mentions, or
/// the only folder for the only resource.
pub(super) fn matched<'f>(
    resources: &[(ResourceId, &Value)],
    folders: &'f [String],
) -> Vec<(ResourceId, Option<&'f str>)> {
    let named: Vec<Option<&str>> = resources
        .iter()
        .map(|(id, entry)| {
            let is_its = |folder: &&String| *folder == id.as_str() || mentions(entry, folder);
            folders.iter().find(is_its).map(String::as_str)
        })
        .collect();
    let left: Vec<&String> = folders.iter().filter(|folder| !named.contains(&Some(folder.as_str()))).collect();
    let without = named.iter().filter(|named| named.is_none()).count();
    let only = if left.len() == 1 && without == 1 { left.first().map(|folder| folder.as_str()) } else { None };
    resources.iter().zip(named).map(|((id, _), named)| (id.clone(), named.or(only))).collect()
}

/// Whether a string in `value` is `name`, or ends in it after a slash or colon, as ARNs do.
fn mentions(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => {
            text.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with(['/', ':']))
        }
        Value::Array(items) => items.iter().any(|item| mentions(item, name)),
        Value::Object(entries) => entries.values().any(|entry| mentions(entry, name)),
        _ => false,
    }
}

/// Where packages are made, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bench<'b> {
    /// A folder for finished archives.
    pub(super) scratch: &'b Path,
    /// The resource.
    pub(super) resource: &'b ResourceId,
}

impl Bench<'_> {
    fn archive(&self) -> PathBuf {
        self.scratch.join(format!("{}.tar.gz", self.file_stem()))
    }

    /// The resource's id as a file's name.
    fn file_stem(&self) -> String {
        self.resource.as_str().replace(':', "-")
    }

    /// A package of the V1 folder `folder` of `tree`.
    pub(super) async fn package(&self, tree: &Tree, folder: &Path) -> Outcome {
        let files = match tree.files_below(folder) {
            Ok(files) => files,
            Err(error) => return Outcome::Cannot { why: spoken(&error) },
        };
        match self.look(&files) {
            Ok((model, labels)) => self.pack(model, labels, &files).await,
            Err(outcome) => outcome,
        }
    }

    /// The model and, if one file can be it, its labels.
    fn look<'f>(&self, files: &'f [Listed]) -> Result<(&'f Listed, Option<&'f Listed>), Outcome> {
        let ending = |suffix: &'static str| files.iter().filter(move |file| file.name.ends_with(suffix));
        let mut models = ending(".onnx");
        let (Some(model), None) = (models.next(), models.next()) else {
            let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
            let why = match Manifest::for_v1(&names) {
                Err(PackageError::V1(error)) => error.to_string(),
                _ => "the files are no model that this version knows".to_owned(),
            };
            return Err(Outcome::Cannot { why });
        };
        let folder = |file: &Listed| file.path.parent().map(Path::to_path_buf);
        let beside: Vec<&Listed> = ending(".txt").filter(|file| folder(file) == folder(model)).collect();
        let named = |name: &str| beside.iter().find(|file| file.name.rsplit('/').next() == Some(name)).copied();
        let only = if beside.len() == 1 { beside.first().copied() } else { None };
        Ok((model, named("synset.txt").or_else(|| named("labels.txt")).or(only)))
    }

    async fn pack(&self, model: &Listed, labels: Option<&Listed>, files: &[Listed]) -> Outcome {
        if files.iter().any(|file| file.name.rsplit('/').next() == Some("model.toml")) {
            let folder = model.path.parent().unwrap_or(Path::new("/")).display().to_string();
            let archive = format!("{}.tar.gz", self.file_stem());
            let why = "the folder is a package of Margay's already, unpacked: pack it, and import with it".to_owned();
            let command = format!("tar -C {} -czf {archive} .", quoted(&folder));
            return Outcome::Decide { why, command: Some(command) };
        }
        let Some(labels) = labels else {
            let why = format!("{} has no label file beside it: write one, a line a class", model.name);
            return Outcome::Decide { why, command: Some(self.command(model, None)) };
        };
        if model.bytes > MAX_MODEL_BYTES {
            let why = format!("{} has {} bytes, more than the limit of {MAX_MODEL_BYTES}", model.name, model.bytes);
            return Outcome::Cannot { why };
        }
        let summary = match packing::inspect(&model.path).await {
            Ok(summary) => summary,
            Err(error) => return Outcome::Cannot { why: format!("{}: {}", model.name, spoken(&error)) },
        };
        let decide = |why: String| Outcome::Decide { why, command: Some(self.command(model, Some(labels))) };
        let Some((words, assumed)) = words(&summary, labels) else {
            let why = format!("{} takes {}, and nothing says how pixels become them", model.name, inputs(&summary));
            return decide(why);
        };
        let order = Order {
            model: model.path.clone(),
            labels: labels.path.clone(),
            name: stem(model),
            version: VERSION.to_owned(),
            words,
            threshold: None,
            latency_ceiling: None,
            samples: Vec::new(),
            output: self.archive(),
        };
        match packing::pack(&order, &mut |_| ()).await {
            Ok(packed) => Outcome::Package(Package {
                archive: order.output,
                suffix: ".tar.gz",
                name: format!("{} {}", packed.manifest.name(), packed.manifest.version()),
                bytes: packed.bytes,
                digest: packed.digest,
                assumed,
            }),
            Err(error) => decide(spoken(&error)),
        }
    }

    /// The command that makes the package, with what only its owner knows left to write.
    fn command(&self, model: &Listed, labels: Option<&Listed>) -> String {
        let labels = labels.map_or("LABELS.txt".to_owned(), |labels| quoted(&labels.path.display().to_string()));
        format!(
            "margay model pack {} --labels {labels} --preset imagenet --golden PICTURE=LABEL --output {}.tar.gz",
            quoted(&model.path.display().to_string()),
            self.file_stem(),
        )
    }

    /// The finished package `archive`, which its owner has made, tried as a device tries it.
    pub(super) async fn given(archive: &Path) -> Outcome {
        match open_given(archive).await {
            Ok(package) => Outcome::Package(package),
            Err(error) => Outcome::Cannot { why: format!("{}: {}", archive.display(), spoken(&error)) },
        }
    }
}

/// Why a package that its owner gives is not taken.
#[derive(Debug, thiserror::Error)]
enum GivenError {
    #[error(transparent)]
    Archive(#[from] store::StoreError),
    #[error(transparent)]
    Contents(#[from] ModelDirectoryError),
    #[error(transparent)]
    Read(#[from] std::io::Error),
    #[error("{file} is not what model.toml says: pack it again")]
    Digest { file: PackagePath },
    #[error(transparent)]
    Trial(#[from] OneShotError),
}

async fn open_given(archive: &Path) -> Result<Package, GivenError> {
    let unpacked = store::unpack_for_a_look(archive)?;
    let contents = ModelDirectory::open(unpacked.path())?;
    for (path, expected) in contents.manifest.files() {
        let found = Sha256Digest::of_reader(File::open(unpacked.path().join(path.as_str()))?)?;
        if found != *expected {
            return Err(GivenError::Digest { file: path.clone() });
        }
    }
    OneShot::load(unpacked.path(), TRIAL_MEMORY, WorkerIdentity::default(), &Running::default()).await?;
    Ok(Package {
        archive: archive.to_owned(),
        suffix: if archive.extension().is_some_and(|extension| extension == "zip") { ".zip" } else { ".tar.gz" },
        name: format!("{} {}", contents.manifest.name(), contents.manifest.version()),
        bytes: archive.metadata()?.len(),
        digest: Sha256Digest::of_reader(File::open(archive)?)?,
        assumed: None,
    })
}

/// What is said to the packer for the owner: nothing where bytes go in as they are, V1's own rule where it holds.
fn words(summary: &ModelSummary, labels: &Listed) -> Option<(Words, Option<&'static str>)> {
    let input = summary.inputs.first()?;
    if input.element == "uint8" {
        return Some((Words::default(), None));
    }
    let sides: Vec<Option<usize>> = input.shape.as_deref()?.iter().skip(1).map(|axis| axis.fixed()).collect();
    let is_v1 = sides == [Some(3), Some(V1_SIDE), Some(V1_SIDE)] && labels.name.ends_with("synset.txt");
    let assumed = "its pictures are taken to be normalised as ImageNet's, which is V1's rule for 224 x 224 floats beside \
                   a synset.txt: try it with margay classify";
    is_v1.then(|| (Words { preset: Some(Preset::Imagenet), ..Words::default() }, Some(assumed)))
}

fn inputs(summary: &ModelSummary) -> String {
    summary.inputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn stem(model: &Listed) -> String {
    let name = model.name.rsplit('/').next().unwrap_or_default().trim_end_matches(".onnx");
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}

/// An error with its causes, in one line.
pub(super) fn spoken(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line.replace('\n', " ")
}

/// The resources of a group document that are models, with their entries.
pub(super) fn resources(document: &Value) -> Vec<(ResourceId, &Value)> {
    let listed = document.pointer("/ResourceDefinitionVersion/Resources").and_then(Value::as_array);
    let is_model = |entry: &&Value| {
        let container = entry.get("ResourceDataContainer").and_then(Value::as_object);
        container.is_some_and(|container| container.keys().any(|key| key.ends_with("MachineLearningModelResourceData")))
    };
    let listed = listed.into_iter().flatten().filter(is_model);
    listed.filter_map(|entry| Some((text(entry, "Id").parse().ok()?, entry))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource(id: &str, entry: &Value) -> (ResourceId, Value) {
        (id.parse().unwrap(), entry.clone())
    }

    fn found(resources: &[(ResourceId, Value)], folders: &[&str]) -> Vec<Option<String>> {
        let resources: Vec<_> = resources.iter().map(|(id, entry)| (id.clone(), entry)).collect();
        let folders: Vec<String> = folders.iter().map(ToString::to_string).collect();
        matched(&resources, &folders).into_iter().map(|(_, folder)| folder.map(str::to_owned)).collect()
    }

    #[test]
    fn a_folder_belongs_to_the_resource_that_mentions_it_or_to_the_only_one_left() {
        let signs = resource("signs", &json!({ "Id": "signs" }));
        let cars = resource("cars", &json!({ "Id": "cars", "Data": { "Artifact": "arn:x:y/77-aa" } }));
        let both = [signs.clone(), cars];
        assert_eq!(found(&both, &["77-aa", "signs"]), [Some("signs".into()), Some("77-aa".into())]);
        assert_eq!(found(&both, &["77-aa", "0b"]), [Some("0b".into()), Some("77-aa".into())]);
        assert_eq!(found(std::slice::from_ref(&signs), &["0b", "0c"]), [None], "two folders, and nothing says which");
        assert_eq!(found(&[signs], &[]), [None]);
    }
}
