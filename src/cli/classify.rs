//! `margay classify`: a package's model on pictures from files, in a sandbox, without a core.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::engine::EngineArguments;
use super::exit::{Code, Failed, OrFail};
use super::{model, output};
use crate::classifier::one_shot::{OneShot, OneShotError, PictureResult};

/// Classify pictures with a model package, without a core or a cloud.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay classify --model road-signs-1.0.0.tar.gz photo.jpg\n          margay classify --model ./package --json *.jpg | jq -r '[.picture, .predictions[0].label] | @tsv'"
)]
pub(super) struct Arguments {
    /// The package: a .tar.gz or .zip, or the directory that it unpacks to
    #[arg(long, value_name = "PACKAGE")]
    model: PathBuf,
    /// Pictures: JPEG, PNG or BMP files
    #[arg(required = true, value_name = "PICTURE")]
    pictures: Vec<PathBuf>,
    /// How many classes to show for a picture
    #[arg(long, value_name = "N", default_value_t = 5)]
    top_k: usize,
    #[command(flatten)]
    engine: EngineArguments,
    /// Print one JSON document a picture
    #[arg(long)]
    json: bool,
}

/// A picture's result as printed.
#[derive(Debug, Serialize)]
struct Line<'a> {
    picture: &'a Path,
    #[serde(flatten)]
    result: &'a PictureResult,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_fail(Code::Failure)?;
    runtime.block_on(async {
        let package = model::Package::open(&arguments.model)?;
        let worker = package.load_aloud(&arguments.engine.running(package.digest())?).await?;
        let mut failed = 0;
        for picture in &arguments.pictures {
            failed += usize::from(!show(arguments, &worker, picture).await?);
        }
        if failed > 0 {
            output::complain(&format!("{failed} of {} pictures could not be classified", arguments.pictures.len()));
            return Err(Failed::said(Code::Source));
        }
        Ok(())
    })
}

/// Shows one picture's result; `false` when the picture is at fault, so that the others still get their turn.
async fn show(arguments: &Arguments, worker: &OneShot, picture: &Path) -> Result<bool, Failed> {
    match worker.classify(picture, arguments.top_k).await {
        Ok(result) if arguments.json => {
            output::json(&Line { picture, result: &result }).or_fail(Code::Failure)?;
        }
        Ok(result) => {
            let milliseconds = result.timings.inference_us as f64 / 1000.0;
            output::line(&format!("{} ({milliseconds:.1} ms inference)", picture.display())).or_fail(Code::Failure)?;
            for class in &result.predictions {
                output::line(&format!("  {:>6.2} %  {}", class.probability * 100.0, class.label))
                    .or_fail(Code::Failure)?;
            }
        }
        Err(error @ (OneShotError::Picture { .. } | OneShotError::Refused { .. })) => {
            output::complain(&format!("{}: {:#}", picture.display(), anyhow::Error::from(error)));
            return Ok(false);
        }
        Err(error) => return Err(Failed::new(Code::Model, error)),
    }
    Ok(true)
}
