//! A package with a float model becomes one with a quantised model: calibrated by pictures in a sandbox, compared with the float
//! model on pictures, and only packed where it comes near enough. docs/quantising.md is the user's view.

pub mod comparison;
mod error;
pub mod pictures;
mod speed;

use std::fs;
use std::path::{Path, PathBuf};

use margay_inference::quantise::{LayerError, Method, Pass, Scope};
use serde::Serialize;

use self::comparison::{Answers, Comparison};
pub use self::error::QuantisingError;
pub use self::speed::Speed;
use super::samples::{self, Measured};
use super::{PackError, Stage, TRIAL_MEMORY, archive, top_directory};
use crate::classifier::model_directory::ModelDirectory;
use crate::classifier::one_shot::calibration::{Calibration, Observed};
use crate::classifier::one_shot::scores::Scored;
use crate::classifier::one_shot::{OneShot, OneShotError};
use crate::classifier::{Running, WorkerIdentity};
use crate::package::{Draft, Golden, LabelSource, Manifest, PackagePath, Sha256Digest};

/// The fewest pictures that ranges are taken from.
pub const MIN_PICTURES: usize = 8;

/// Pictures that are taken of a folder where nobody says.
pub const DEFAULT_PICTURES: usize = 200;

/// The most pictures.
pub const MAX_PICTURES: usize = 10_000;

/// The share of pictures on which both models must name the same class, where nobody says.
pub const DEFAULT_AGREEMENT: f64 = 0.98;

/// Of so many pictures, one may be unreadable.
const READABLE: usize = 10;

/// Pictures by which the layers' losses are found.
const LAYER_PICTURES: usize = 32;

/// Where a package says how its model was quantised.
const PROVENANCE: &str = "quantisation.json";

/// Version of that document.
const PROVENANCE_FORMAT: u32 = 1;

/// What is to be quantised, and how.
#[derive(Debug, Clone)]
pub struct Order {
    /// The unpacked package.
    pub directory: PathBuf,
    /// Its archive's digest, if it came as one.
    pub digest: Option<String>,
    /// The folder with the pictures that ranges are taken from.
    pub calibrate: PathBuf,
    /// The folder with the pictures that both models are compared on; the same ones, where there is none.
    pub validate: Option<PathBuf>,
    /// The most pictures of each folder.
    pub pictures: usize,
    /// How ranges are found; the best way where nobody says.
    pub method: Option<Method>,
    /// Nodes that stay floats.
    pub keep: Vec<String>,
    /// The share of pictures on which both must agree.
    pub minimum_agreement: f64,
    /// Whether a package is written all the same.
    pub force: bool,
    /// Name and version of the new model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where the archive goes.
    pub output: PathBuf,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What became bytes.
    pub scope: Scope,
    /// Pictures that ranges were taken from.
    pub calibrated: usize,
    /// Pictures that could not be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
    /// The way that was taken.
    pub method: Method,
    /// Each way that was tried, on the pictures of the calibration.
    pub tried: Vec<(Method, Comparison)>,
    /// Both models on the pictures that count.
    pub comparison: Comparison,
    /// What each layer loses, the one that loses most first.
    pub layers: Vec<LayerError>,
    /// Bytes of the float model and of the quantised one.
    pub model_bytes: [u64; 2],
    /// How fast both are here.
    pub speed: Speed,
    /// The gate.
    pub minimum_agreement: f64,
    /// Whether the model is through it.
    pub passed: bool,
}

/// The finished package.
#[derive(Debug)]
pub struct Packed {
    /// What was packed.
    pub manifest: Manifest,
    /// How the golden samples did.
    pub samples: Vec<Measured>,
    /// Bytes of the archive.
    pub bytes: u64,
    /// Its digest.
    pub digest: Sha256Digest,
}

/// Hears what is being done.
pub type Tell<'a> = &'a mut (dyn FnMut(&str) + Send);

/// Quantises a package. Without a package in the answer, the gate was not passed and nothing was written.
///
/// # Errors
/// [`QuantisingError`]; then nothing was written.
pub async fn quantise(order: &Order, tell: Tell<'_>) -> Result<(Report, Option<Packed>), QuantisingError> {
    let source = ModelDirectory::open(&order.directory)?;
    let mut work = Work { order, source: &source, tell };
    let pictures = work.choose(&order.calibrate)?;
    (work.tell)("reading the model");
    let calibration = Calibration::open(&order.directory, TRIAL_MEMORY, &order.keep).await?;
    let (readable, unreadable) = work.calibrate(&calibration, pictures).await?;
    let float = OneShot::load(&order.directory, TRIAL_MEMORY, WorkerIdentity::default(), &Running::default()).await?;
    let (mut candidate, tried) = work.candidates(&calibration, &float, &readable).await?;
    let comparison = match (&order.validate, tried.iter().find(|(method, _)| *method == candidate.method)) {
        (None, Some((_, comparison))) => comparison.clone(),
        (validate, _) => {
            work.validate(validate.as_deref().unwrap_or(&order.calibrate), [&float, &candidate.worker]).await?
        }
    };
    let layers = work.layers(&calibration, candidate.method, &readable).await?;
    let scope = calibration.scope.clone();
    drop(calibration);
    (work.tell)("measuring both models");
    let speed = Speed::measure([&float, &candidate.worker], &readable).await?;
    drop(float);
    let passed = comparison.agreement >= order.minimum_agreement;
    let report = Report {
        scope,
        calibrated: readable.len(),
        unreadable,
        method: candidate.method,
        tried,
        comparison,
        layers,
        model_bytes: [&source.model, &candidate.model].map(|path| fs::metadata(path).map_or(0, |file| file.len())),
        speed,
        minimum_agreement: order.minimum_agreement,
        passed,
    };
    if !passed && !order.force {
        return Ok((report, None));
    }
    let packed = work.pack(&mut candidate, &report).await?;
    Ok((report, Some(packed)))
}

/// A quantised model as a package in the making, and a worker that runs it.
struct Candidate {
    method: Method,
    stage: Stage,
    draft: Draft,
    model: PathBuf,
    worker: OneShot,
}

/// What all steps know.
struct Work<'a> {
    order: &'a Order,
    source: &'a ModelDirectory,
    tell: Tell<'a>,
}

impl Work<'_> {
    /// The pictures of a folder, enough of them.
    fn choose(&self, folder: &Path) -> Result<Vec<PathBuf>, QuantisingError> {
        let found = pictures::spread(pictures::find(folder)?, self.order.pictures);
        if found.len() < MIN_PICTURES {
            return Err(QuantisingError::TooFew { folder: folder.to_owned(), found: found.len() });
        }
        Ok(found)
    }

    /// Shows the model the pictures, and gives those that could be read and those that could not.
    async fn calibrate(
        &mut self,
        calibration: &Calibration,
        pictures: Vec<PathBuf>,
    ) -> Result<(Vec<PathBuf>, Vec<(PathBuf, String)>), QuantisingError> {
        let all = pictures.len();
        let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
        for picture in pictures {
            (self.tell)(&format!("looking for ranges: picture {} of {all}", readable.len() + unreadable.len() + 1));
            match calibration.observe(Pass::Extremes, &picture).await? {
                Observed::Yes => readable.push(picture),
                Observed::Unreadable(why) => unreadable.push((picture, why)),
            }
        }
        check_readable(&self.order.calibrate, readable.len(), &unreadable)?;
        if self.order.method != Some(Method::MinMax) {
            for (number, picture) in readable.iter().enumerate() {
                (self.tell)(&format!("counting: picture {} of {}", number + 1, readable.len()));
                calibration.observe(Pass::Counts, picture).await?;
            }
        }
        Ok((readable, unreadable))
    }

    /// Tries every way that may be taken, and gives the better one with what all of them did.
    async fn candidates(
        &mut self,
        calibration: &Calibration,
        float: &OneShot,
        pictures: &[PathBuf],
    ) -> Result<(Candidate, Vec<(Method, Comparison)>), QuantisingError> {
        let (reference, _) = self.scores(float, pictures, "the float model").await?;
        let methods = self.order.method.map_or(Method::ALL.to_vec(), |method| vec![method]);
        let mut tried: Vec<(Method, Comparison)> = Vec::new();
        let mut best: Option<(Candidate, Comparison)> = None;
        for method in methods {
            let candidate = self.candidate(calibration, method).await?;
            let (found, _) = self.scores(&candidate.worker, pictures, &format!("the model by {method}")).await?;
            let comparison = self.compare(pictures, &reference, &found);
            tried.push((method, comparison.clone()));
            if best.as_ref().is_none_or(|(_, best)| comparison.is_better_than(best)) {
                best = Some((candidate, comparison));
            }
        }
        let (candidate, _) = best.ok_or(QuantisingError::NoMethod)?;
        Ok((candidate, tried))
    }

    /// The model of a method in a package of its own, without golden samples.
    async fn candidate(&mut self, calibration: &Calibration, method: Method) -> Result<Candidate, QuantisingError> {
        (self.tell)(&format!("writing the model by {method}"));
        let bytes = calibration.model(method).await?;
        let manifest = &self.source.manifest;
        let mut stage = Stage::new()?;
        let model = stage.add_bytes(&int8_place(manifest.model_file())?, &bytes)?;
        let labels = match manifest.labels() {
            LabelSource::File(file) => stage.add_file(file, &self.order.directory.join(file.as_str()))?,
            LabelSource::Inline(labels) => {
                let lines: Vec<&str> = labels.iter().collect();
                stage.add_bytes(&super::place(super::LABELS)?, format!("{}\n", lines.join("\n")).as_bytes())?
            }
        };
        let draft = Draft {
            name: self.order.name.clone(),
            version: self.order.version.clone(),
            engine: manifest.engine(),
            spec: manifest.model_spec(),
            threshold: manifest.threshold(),
            latency_ceiling: None,
            files: stage.files.clone(),
            golden: Vec::new(),
            model: model.clone(),
            labels,
        };
        stage.write_manifest(&draft)?;
        let worker = OneShot::load(stage.path(), TRIAL_MEMORY, WorkerIdentity::default(), &Running::default()).await?;
        Ok(Candidate { method, model: stage.path().join(model.as_str()), stage, draft, worker })
    }

    /// The probabilities that a model gives for pictures; those that cannot be read are left out.
    async fn scores(
        &mut self,
        worker: &OneShot,
        pictures: &[PathBuf],
        what: &str,
    ) -> Result<(Vec<Vec<f32>>, Vec<(PathBuf, String)>), QuantisingError> {
        let (mut all, mut unreadable) = (Vec::new(), Vec::new());
        for (number, picture) in pictures.iter().enumerate() {
            (self.tell)(&format!("asking {what}: picture {} of {}", number + 1, pictures.len()));
            let scored = match pictures::read(picture) {
                Ok(bytes) => worker.scores(Scored::Picture, &bytes).await,
                Err(why) => Err(OneShotError::Refused { why }),
            };
            match scored {
                Ok(scores) => all.push(scores.outputs),
                Err(OneShotError::Refused { why }) => {
                    all.push(Vec::new());
                    unreadable.push((picture.clone(), why));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok((all, unreadable))
    }

    fn compare(&self, pictures: &[PathBuf], float: &[Vec<f32>], int8: &[Vec<f32>]) -> Comparison {
        let offset = self.source.manifest.model_spec().output.index_offset as usize;
        let answers = pictures.iter().zip(float.iter().zip(int8)).filter(|(_, (float, _))| !float.is_empty());
        let answers = answers.map(|(picture, (float, int8))| {
            let truth = pictures::class_of(picture, &self.source.labels).map(|class| class as usize + offset);
            Answers::of(picture.clone(), float, int8, offset, truth)
        });
        Comparison::of(answers.collect())
    }

    /// Compares both models on the pictures of a folder.
    async fn validate(&mut self, folder: &Path, [float, int8]: [&OneShot; 2]) -> Result<Comparison, QuantisingError> {
        let pictures = self.choose(folder)?;
        let (expected, unreadable) = self.scores(float, &pictures, "the float model").await?;
        check_readable(folder, pictures.len() - unreadable.len(), &unreadable)?;
        let (found, _) = self.scores(int8, &pictures, "the quantised model").await?;
        Ok(self.compare(&pictures, &expected, &found))
    }

    /// What each layer loses.
    async fn layers(
        &mut self,
        calibration: &Calibration,
        method: Method,
        pictures: &[PathBuf],
    ) -> Result<Vec<LayerError>, QuantisingError> {
        let some = pictures::spread(pictures.to_vec(), LAYER_PICTURES);
        for (number, picture) in some.iter().enumerate() {
            (self.tell)(&format!("looking at layers: picture {} of {}", number + 1, some.len()));
            calibration.observe(Pass::Layers(method), picture).await?;
        }
        Ok(calibration.layers().await?)
    }

    /// Measures the golden samples, says where the model comes from, and packs.
    async fn pack(&mut self, candidate: &mut Candidate, report: &Report) -> Result<Packed, QuantisingError> {
        let Candidate { stage, draft, worker, .. } = candidate;
        let mut measured = Vec::new();
        for golden in self.source.manifest.golden() {
            (self.tell)(&format!("measuring {}", golden.image));
            let picture = self.order.directory.join(golden.image.as_str());
            stage.add_file(&golden.image, &picture)?;
            let result = worker.classify(&picture, 1).await?;
            let best = result.predictions.into_iter().next().filter(|best| best.class == golden.class);
            let best = best.ok_or_else(|| QuantisingError::Golden { image: golden.image.to_string() })?;
            let least = samples::least_probability(best.probability);
            let golden =
                Golden { label: golden.label.clone(), ..Golden::at_least(golden.image.clone(), golden.class, least) };
            measured.push(Measured { picture, label: best.label, probability: best.probability, golden });
        }
        stage.add_bytes(&super::place(PROVENANCE)?, self.provenance(report).as_bytes())?;
        draft.latency_ceiling = self.source.manifest.latency_ceiling();
        draft.golden = measured.iter().map(|sample: &Measured| sample.golden.clone()).collect();
        draft.files = stage.files.clone();
        (self.tell)("trying the finished package");
        let manifest = stage.write_manifest(draft)?;
        OneShot::load(stage.path(), TRIAL_MEMORY, WorkerIdentity::default(), &Running::default()).await?;
        let (bytes, digest) = archive::write(stage.path(), &top_directory(&manifest), &self.order.output)?;
        Ok(Packed { manifest, samples: measured, bytes, digest })
    }

    /// Where the model comes from; nothing of the machine or of the day.
    fn provenance(&self, report: &Report) -> String {
        let manifest = &self.source.manifest;
        let document = serde_json::json!({
            "format": PROVENANCE_FORMAT,
            "by": concat!("margay ", env!("CARGO_PKG_VERSION")),
            "source": { "name": manifest.name(), "version": manifest.version(), "digest": self.order.digest },
            "method": report.method,
            "pictures": report.calibrated,
            "unreadable": report.unreadable.len(),
            "kept_in_float": self.order.keep,
            "compared_on": report.comparison.pictures,
            "agreement": report.comparison.agreement,
            "minimum_agreement": report.minimum_agreement,
            "forced": !report.passed,
        });
        format!("{document:#}\n")
    }
}

/// The model's file name with `-int8` in it.
fn int8_place(file: &str) -> Result<PackagePath, PackError> {
    let stem = file.strip_suffix(".onnx").unwrap_or(file);
    super::place(&format!("{stem}-int8.onnx"))
}

/// Whether enough pictures could be read.
fn check_readable(folder: &Path, readable: usize, unreadable: &[(PathBuf, String)]) -> Result<(), QuantisingError> {
    let Some((picture, why)) = unreadable.first() else { return Ok(()) };
    if readable >= MIN_PICTURES && unreadable.len() * READABLE <= readable + unreadable.len() {
        return Ok(());
    }
    Err(QuantisingError::Unreadable {
        folder: folder.to_owned(),
        unreadable: unreadable.len(),
        pictures: readable + unreadable.len(),
        picture: picture.clone(),
        why: why.clone(),
    })
}
