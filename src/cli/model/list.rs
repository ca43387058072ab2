//! `margay model list` and `margay model gc`: the models that a core keeps.

use std::path::PathBuf;

use super::super::exit::{Code, Failed, OrFail};
use super::super::{check, output};
use crate::config::{self, Config};
use crate::store::{Kept, Store, Use, inventory, space};

/// Show the models that the core on this device keeps: which run, which it would go back to, how large they are,
/// and how much room they may take.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  margay model list --check")]
pub(super) struct Arguments {
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Read every file and compare it with what was unpacked
    #[arg(long)]
    check: bool,
    /// Print one JSON document a model
    #[arg(long)]
    json: bool,
}

/// Remove the models that nothing runs or would go back to. A core does this by itself after every deployment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  systemctl stop margay && margay model gc && systemctl start margay")]
pub(super) struct Collect {
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let config = check::load(&arguments.config)?;
    let kept = inventory(&config.directories.models(), arguments.check).or_fail(Code::Failure)?;
    for model in &kept {
        if arguments.json { output::json(model) } else { show(model) }.or_fail(Code::Failure)?;
    }
    if !arguments.json {
        output::line(&total(&kept, &config)).or_fail(Code::Failure)?;
    }
    let damaged = kept.iter().filter(|model| model.damage.is_some()).count();
    if damaged > 0 {
        output::complain(&format!(
            "{damaged} damaged: deploy again (kill -HUP) and they are fetched anew; look at the disk"
        ));
        return Err(Failed::said(Code::Model));
    }
    if kept.is_empty() {
        output::complain("no model is kept yet");
    }
    Ok(())
}

pub(super) fn collect(arguments: &Collect) -> Result<(), Failed> {
    let config = check::load(&arguments.config)?;
    let store = Store::open(&config.directories.models()).or_fail(Code::Failure)?;
    let pruned = store.prune().or_fail(Code::Failure)?;
    output::line(&format!("removed {} models, {} bytes", pruned.models, pruned.bytes)).or_fail(Code::Failure)
}

/// How much room the models take, and how much they may.
fn total(kept: &[Kept], config: &Config) -> String {
    let bytes = kept.iter().map(|model| model.bytes).sum();
    let models = if kept.len() == 1 { "1 model".to_owned() } else { format!("{} models", kept.len()) };
    let bound = match (config.packages.quota, space::free(&config.directories.models())) {
        (Some(quota), _) => format!("of the {} that margay.packages.quotaBytes allows", space::mebibytes(quota)),
        (None, Some(free)) => format!("{} free on their disk, no quota", space::mebibytes(free)),
        (None, None) => "no quota".to_owned(),
    };
    format!("{models}, {}, {bound}", space::mebibytes(bytes))
}

fn show(model: &Kept) -> std::io::Result<()> {
    output::line(&format!("{}  {} bytes", model.digest, model.bytes))?;
    for used in &model.uses {
        output::line(&match used {
            Use::Current(resource) => format!("  runs for {resource}"),
            Use::Previous(resource) => format!("  ran before for {resource}"),
        })?;
    }
    if model.uses.is_empty() {
        output::line("  nobody needs it: the next collection removes it")?;
    }
    if let Some(origin) = &model.origin {
        output::line(&format!("  from {origin}"))?;
    }
    if let Some(key) = &model.signed_by {
        output::line(&format!("  signed by {key}"))?;
    }
    match &model.damage {
        Some(damage) => output::line(&format!("  DAMAGED: {damage}")),
        None => Ok(()),
    }
}
