//! `margay demo`: the main job from end to end on this machine, with no camera, no cloud and no account.
//!
//! A local cloud starts in this process; a device is provisioned against it and the bundled package uploaded; the core
//! runs as a process of its own, as it would on a device; and a viewer with a certificate of its own receives the
//! predictions, as a user's program would. Nothing is taken on a short way round.

mod assets;
mod core_process;
mod narration;
mod provision;
mod truth;

pub(super) use assets::{PACKAGE, PACKAGE_NAME};

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use margay_localcloud::{LocalCloud, Settings};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use self::core_process::CoreProcess;
use self::narration::Narration;
use self::provision::Provisioned;
use self::truth::Truth;
use super::exit::{Code, Failed, OrFail};
use super::output;
use super::progress::Progress;
use crate::mqtt::viewer::Viewer;
use crate::payload::Prediction;

/// How long the first prediction may take: a cold start on a slow card is minutes, not more.
const FIRST_PREDICTION: Duration = Duration::from_secs(180);

/// How long the stream may pause once it runs.
const PAUSE: Duration = Duration::from_secs(60);

/// Show the whole chain at work on this machine: no camera, no cloud, no account.
///
/// Starts a local cloud (credentials provider, S3, MQTT broker), provisions a device, runs the core against it with the
/// bundled road-sign model on pictures that the model has never seen, and prints what a subscriber receives.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay demo --frames 40\n          margay demo --json | jq -c '{truth, predictions}'"
)]
pub(super) struct Arguments {
    /// Stop after this many predictions; without it, run until Ctrl-C
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// Pictures a second from the folder that plays the camera
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    fps: f64,
    /// Keep the demo's directory, with its certificates, configuration and logs
    #[arg(long)]
    keep: bool,
    /// Work in this directory instead of a temporary one (it must not exist yet)
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Serve no page for browsers
    #[arg(long)]
    no_page: bool,
    /// Print each payload as a line of JSON, with the truth added
    #[arg(long)]
    json: bool,
}

/// A payload with what the picture really shows.
#[derive(Debug, Serialize)]
struct Judged<'a> {
    #[serde(flatten)]
    prediction: &'a Prediction,
    truth: &'a str,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failed> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().or_fail(Code::Failure)?;
    runtime.block_on(async {
        let folder = provision::Folder::make(arguments.dir.clone(), arguments.keep).or_fail(Code::Failure)?;
        let outcome = show(&arguments, &folder).await;
        if outcome.is_err() {
            narration::tail_of_log(&folder.path().join(core_process::LOG));
        }
        outcome
    })
}

async fn show(arguments: &Arguments, folder: &provision::Folder) -> Result<(), Failed> {
    let narration = Narration::new(arguments.json);
    let mut terminate = signal(SignalKind::terminate()).or_fail(Code::Failure)?;
    let mut settings = Settings::new(folder.path().join("cloud"));
    // So that `margay model push` and `margay deploy` can be tried against a demo that runs.
    settings.writable = vec![format!("{}/*", provision::BUCKET)];
    let cloud = LocalCloud::start(settings).await.context("starting the local cloud").or_fail(Code::Failure)?;
    let provisioned =
        provision::provision(&cloud, folder.path(), arguments.fps, !arguments.no_page).or_fail(Code::Failure)?;
    narration.cloud(&cloud, &provisioned);
    let mut viewer = provisioned.viewer(&cloud).await.or_fail(Code::Broker)?;
    let core = CoreProcess::start(&provisioned, folder.path()).or_fail(Code::Failure)?;
    let outcome = tokio::select! {
        outcome = watch(arguments, &narration, &provisioned, &mut viewer) => outcome,
        exit = core.exited() => Err(Failed::new(Code::Failure, anyhow::anyhow!("the core ended early: {exit}"))),
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    core.stop().await;
    cloud.shutdown().await;
    narration.end(folder);
    outcome
}

/// Prints predictions as they arrive, and the chain behind them when the first one does.
async fn watch(
    arguments: &Arguments,
    narration: &Narration,
    provisioned: &Provisioned,
    viewer: &mut Viewer,
) -> Result<(), Failed> {
    let truth = Truth::of_assets().or_fail(Code::Failure)?;
    let mut seen = 0;
    let mut right = 0;
    let mut progress = Progress::new();
    progress.show("waiting for the first prediction …");
    while arguments.frames.is_none_or(|frames| seen < frames) {
        let limit = if seen == 0 { FIRST_PREDICTION } else { PAUSE };
        let message = tokio::time::timeout(limit, viewer.next())
            .await
            .with_context(|| format!("no prediction came within {} s", limit.as_secs()))
            .or_fail(Code::Failure)?
            .or_fail(Code::Broker)?;
        let prediction: Prediction = serde_json::from_slice(&message.payload)
            .context("a payload that is no prediction")
            .or_fail(Code::Failure)?;
        if seen == 0 {
            progress.clear();
            narration.chain(provisioned).or_fail(Code::Failure)?;
        }
        seen += 1;
        let truth = truth.of(prediction.item);
        right += u64::from(prediction.predictions.first().is_some_and(|best| best.label == truth));
        if arguments.json {
            output::json(&Judged { prediction: &prediction, truth }).or_fail(Code::Failure)?;
        } else {
            output::line(&narration::prediction(&prediction, truth)).or_fail(Code::Failure)?;
        }
    }
    narration.score(right, seen);
    Ok(())
}
