//! `margay model inspect`: what a package, or a bare model file, holds.

use std::path::PathBuf;

use super::super::exit::{Code, Failed, OrFail};
use super::{Package, code_of, output};
use crate::classifier::one_shot::OneShot;
use crate::packing;

/// Show what a package and its model hold: inputs, outputs, operators, parameters, work, labels.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:  margay model inspect road-signs-1.0.0.tar.gz\n           margay model inspect squeezenet.onnx"
)]
pub(super) struct Arguments {
    /// The package: a .tar.gz or .zip, or the directory that it unpacks to; or an .onnx file
    package: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failed> {
    if arguments.package.extension().is_some_and(|extension| extension == "onnx") {
        return inspect_model(arguments).await;
    }
    let package = Package::open(&arguments.package)?;
    let worker = package.load_aloud(&crate::classifier::Running::default()).await?;
    if arguments.json {
        return output::json(&document(&package, &worker)).or_fail(Code::Failure);
    }
    show(&lines(&package, &worker))
}

async fn inspect_model(arguments: &Arguments) -> Result<(), Failed> {
    let summary = packing::inspect(&arguments.package).await.map_err(|error| match error {
        packing::PackError::Trial(error) => Failed::new(code_of(&error), error),
        error => Failed::new(Code::Model, error),
    })?;
    if arguments.json {
        return output::json(&serde_json::json!({ "summary": summary })).or_fail(Code::Failure);
    }
    show(&summary.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
}

fn show(lines: &[String]) -> Result<(), Failed> {
    lines.iter().try_for_each(|line| output::line(line)).or_fail(Code::Failure)
}

fn document(package: &Package, worker: &OneShot) -> serde_json::Value {
    let manifest = &package.contents.manifest;
    serde_json::json!({
        "name": manifest.name(),
        "version": manifest.version(),
        "model": manifest.model_file(),
        "engine": worker.engine,
        "remark": worker.remark,
        "labels": package.contents.labels.count(),
        "summary": worker.summary,
    })
}

fn lines(package: &Package, worker: &OneShot) -> Vec<String> {
    let manifest = &package.contents.manifest;
    let mut lines = vec![
        format!("package     {} {}", manifest.name(), manifest.version()),
        format!("model       {}, {} bytes, runs on {}", manifest.model_file(), package.model_bytes(), worker.engine),
        format!("labels      {}", package.contents.labels.count()),
    ];
    lines.extend(worker.summary.to_string().lines().map(str::to_owned));
    lines
}
