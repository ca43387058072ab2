//! `margay check`: every problem of the documents at once; with `--online`, every step of the main job in turn.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::exit::{Code, Failed, OrFail};
use super::output;
use super::progress::Progress;
use crate::app::trial;
use crate::config::{self, Config};
use crate::document::LoadError;
use crate::documents::{self, Deployable, Report};
use crate::problem::{Accepted, Problem, Problems};
use crate::s3;

/// Check config.json and the group document; list every problem with its path, the value and the rule.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay check\n          margay check --online     # and try certificate, credentials, package, model and broker"
)]
pub(super) struct Arguments {
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Check this group document instead of the one that config.json names
    #[arg(long, value_name = "FILE")]
    group: Option<PathBuf>,
    /// Try each step of the main job: certificate, credentials, package, model, camera, broker
    #[arg(long)]
    online: bool,
    /// Print the effective configuration, with every default and without secrets
    #[arg(long)]
    effective: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let report = documents::load(&arguments.config, arguments.group.as_deref()).or_fail(Code::Configuration)?;
    show(arguments, &report).or_fail(Code::Failure)?;
    let (Some(config), Some(deployable)) = (report.config, report.deployable) else {
        return Err(Failed::said(Code::Configuration));
    };
    if arguments.online {
        return try_online(&config, &deployable);
    }
    Ok(())
}

/// The accepted configuration, for commands that need no group.
pub(super) fn load(path: &Path) -> Result<Config, Failed> {
    Ok(config::load(path).or_fail(Code::Configuration)?.document)
}

/// The accepted configuration with its warnings, or a failure that lists what is wrong with it.
pub(super) fn load_accepted(path: &Path) -> Result<Accepted<Config>, Failed> {
    match config::load(path) {
        Ok(accepted) => Ok(accepted),
        Err(LoadError::Refused { source, .. }) => {
            complain_of(&source);
            Err(Failed::said(Code::Configuration))
        }
        Err(error) => Err(Failed::new(Code::Configuration, error)),
    }
}

/// Both documents, or a failure that lists what is wrong with them.
pub(super) fn load_documents(path: &Path) -> Result<(Config, Deployable), Failed> {
    let Report { config, deployable, problems } = documents::load(path, None).or_fail(Code::Configuration)?;
    config.zip(deployable).ok_or_else(|| {
        complain_of(&problems);
        Failed::said(Code::Configuration)
    })
}

/// Lists what is wrong on standard error.
pub(super) fn complain_of(problems: &Problems) {
    for problem in problems.iter() {
        output::complain(&problem.to_string());
    }
}

fn show(arguments: &Arguments, report: &Report) -> std::io::Result<()> {
    let effective = report.config.as_ref().map(Config::effective);
    if arguments.json {
        let problems: Vec<_> = report.problems.iter().map(document).collect();
        let accepted = report.config.is_some() && report.deployable.is_some();
        return output::json(&json!({ "accepted": accepted, "problems": problems, "effective": effective }));
    }
    for problem in report.problems.iter() {
        output::line(&problem.to_string())?;
    }
    if arguments.effective
        && let Some(effective) = effective
    {
        output::line(&serde_json::to_string_pretty(&effective)?)?;
    }
    let errors = report.problems.errors().count();
    let warnings = report.problems.warnings().count();
    output::line(&format!("{errors} errors, {warnings} warnings"))
}

fn document(problem: &Problem) -> serde_json::Value {
    json!({
        "severity": problem.severity.to_string(),
        "document": problem.document.to_string(),
        "path": problem.path,
        "value": problem.value,
        "rule": problem.rule,
        "hint": problem.hint,
    })
}

/// Tries the steps and tells each; ends at the first that fails, since those after it rest on it.
fn try_online(config: &Config, deployable: &Deployable) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_fail(Code::Failure)?;
    runtime.block_on(async {
        let mut told = Ok(());
        let mut progress = Progress::new();
        let outcome = trial::run(config, deployable, |news| match news {
            trial::Told::Receiving(received) => progress.show(&received_text(received)),
            trial::Told::Passed(step) => {
                progress.clear();
                if told.is_ok() {
                    told = output::line(&format!("ok  {:<12} {}", step.name, step.detail));
                }
            }
        })
        .await;
        drop(progress);
        told.or_fail(Code::Failure)?;
        outcome.map_err(|failure| {
            let code = match failure.step {
                trial::Step::Identity => Code::Identity,
                trial::Step::Credentials => Code::Credentials,
                trial::Step::Download => Code::Download,
                trial::Step::Model => Code::Model,
                trial::Step::Source => Code::Source,
                trial::Step::Broker => Code::Broker,
                trial::Step::Sandbox => Code::Sandbox,
            };
            Failed::new(code, failure)
        })
    })
}

fn received_text(received: s3::Progress) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    match received.total {
        Some(total) => format!("package: {:.1} of {:.1} MiB", mib(received.received), mib(total)),
        None => format!("package: {:.1} MiB", mib(received.received)),
    }
}
