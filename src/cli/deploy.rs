//! `margay deploy`: gives the running core another group, or stages it for the next start; `--plan` only says what
//! would change.

mod shown;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::check;
use super::exit::{Code, Failed, OrFail};
use super::output;
use super::progress::Progress;
use crate::app::control::{Answer, Asked, ControlError, Conversation};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::deployment::plan::Plan;
use crate::deployment::{DeploymentId, FailureKind, GroupVersion, Order, Pending, Report, Shelf, Status, Step};
use crate::document::read_file;
use crate::problem::{Document, Problems};
use crate::{group, payload};

/// Deploy a group document: packages are fetched and tested, then everything changes at once, and goes back by itself
/// where the new group is not well.
///
/// Where no core runs, the deployment is staged for the next start.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay deploy group.json --plan\n          margay deploy group.json --wait\n          margay deploy --redeploy 6f1c…    # an earlier one, from `margay deployments`\n          margay deploy --reset --wait      # nothing is deployed any more"
)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct Arguments {
    /// The group document
    #[arg(value_name = "GROUP.json", group = "what")]
    document: Option<PathBuf>,
    /// Deploy again what this earlier deployment deployed, with the same packages
    #[arg(long, value_name = "ID", group = "what")]
    redeploy: Option<DeploymentId>,
    /// Deploy nothing any more; config.json, certificates and the history stay
    #[arg(long, group = "what")]
    reset: bool,
    /// With --reset: break off the deployment that is under way
    #[arg(long, requires = "reset")]
    force: bool,
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Only say what would change
    #[arg(long, requires = "document", conflicts_with = "wait")]
    plan: bool,
    /// Wait until the deployment is confirmed or has failed
    #[arg(long)]
    wait: bool,
    /// The deployment's id; one that was carried out already is not carried out again
    #[arg(long, value_name = "ID", conflicts_with = "plan")]
    id: Option<DeploymentId>,
    /// Print JSON, a document a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let config = check::load(&arguments.config)?;
    let what = order(arguments, &config)?;
    if let (true, Order::New { document }) = (arguments.plan, &what) {
        return plan(arguments, &config, document);
    }
    let asked = Asked::Deploy {
        id: arguments.id.clone(),
        source: "margay deploy".to_owned(),
        what: what.clone(),
        follow: arguments.wait,
    };
    match Conversation::begin(&config.directories.control_socket(), &asked) {
        Ok(conversation) => follow(arguments, conversation),
        Err(error @ ControlError::NoCore { .. }) if arguments.wait => {
            let advice = "leave --wait out to stage the deployment for the next start";
            Err(Failed::new(Code::NoCore, anyhow::Error::new(error).context(advice)))
        }
        Err(ControlError::NoCore { .. }) => stage(arguments, &config, what),
        Err(error) => Err(Failed::new(Code::Failure, error)),
    }
}

fn order(arguments: &Arguments, config: &Config) -> Result<Order, Failed> {
    if let Some(of) = &arguments.redeploy {
        return Ok(Order::Again { of: of.clone() });
    }
    let Some(path) = &arguments.document else {
        return Ok(if arguments.force { Order::ForceReset } else { Order::Reset });
    };
    let document = read_file(Document::Group, path, group::SIZE_LIMIT).or_fail(Code::Configuration)?;
    // Told here, with all problems, rather than by the core.
    read(&document, config)?;
    Ok(Order::New { document })
}

fn read(document: &str, config: &Config) -> Result<GroupVersion, Failed> {
    GroupVersion::read(document, config).map_err(|problems: Problems| {
        check::complain_of(&problems);
        Failed::said(Code::Configuration)
    })
}

/// Asks the core what would change; without a core, compares with what the next start would run.
fn plan(arguments: &Arguments, config: &Config, document: &str) -> Result<(), Failed> {
    let asked = Asked::Plan { document: document.to_owned() };
    let plan = match Conversation::begin(&config.directories.control_socket(), &asked) {
        Ok(mut conversation) => match conversation.next_answer().or_fail(Code::Failure)? {
            Some(Answer::Plan(plan)) => plan,
            Some(other) => return Err(unexpected(other)),
            None => return Err(core_is_gone()),
        },
        Err(ControlError::NoCore { .. }) => plan_without_core(config, document)?,
        Err(error) => return Err(Failed::new(Code::Failure, error)),
    };
    if arguments.json {
        return output::json(&plan).or_fail(Code::Failure);
    }
    shown::plan_lines(&plan).iter().try_for_each(|line| output::line(line)).or_fail(Code::Failure)
}

fn plan_without_core(config: &Config, document: &str) -> Result<Plan, Failed> {
    let active = shelf(config).active().or_fail(Code::Failure)?;
    let (running, packages) = match active.current {
        None => (GroupVersion::empty(config), BTreeMap::new()),
        Some(current) => {
            let digest = |(resource, release): (_, crate::store::Release)| {
                let resource: &crate::name::ResourceId = &resource;
                (resource.to_string(), release.digest.to_string())
            };
            (read(&current.document, config)?, current.packages.into_iter().map(digest).collect())
        }
    };
    Ok(Plan::between(&running, &packages, &read(document, config)?))
}

fn shelf(config: &Config) -> Shelf {
    Shelf::at(config.directories.deployments())
}

/// Keeps the deployment for the next start.
fn stage(arguments: &Arguments, config: &Config, order: Order) -> Result<(), Failed> {
    let shelf = shelf(config);
    shelf.prepare().or_fail(Code::Failure)?;
    let id = arguments.id.clone().unwrap_or_else(DeploymentId::draw);
    let created = payload::timestamp(SystemClock::new().now());
    let pending = Pending { id: id.clone(), source: "margay deploy".to_owned(), order, created, attempts: 0 };
    if let Some(other) = shelf.pending().or_fail(Code::Failure)? {
        output::complain(&format!(
            "the deployment {} was to begin with the next start; this one takes its place",
            other.id
        ));
    }
    shelf.put_pending(&pending).or_fail(Code::Failure)?;
    if arguments.json {
        return output::json(&serde_json::json!({ "staged": id })).or_fail(Code::Failure);
    }
    output::line(&format!("no core runs: the deployment {id} begins with the next start")).or_fail(Code::Failure)
}

/// Shows each report until the last.
fn follow(arguments: &Arguments, mut conversation: Conversation) -> Result<(), Failed> {
    let mut progress = Progress::new();
    let mut step: Option<Step> = None;
    let mut last: Option<Report> = None;
    while let Some(answer) = conversation.next_answer().or_fail(Code::Failure)? {
        let Answer::Report(report) = answer else { return Err(unexpected(answer)) };
        if arguments.json {
            output::json(&report).or_fail(Code::Failure)?;
        } else if report.step.is_some() && report.step != step {
            progress.clear();
            output::complain(&shown::step_line(&report));
        } else if let Some(fetching) = &report.fetching {
            progress.show(&shown::fetching_text(fetching));
        }
        step = report.step;
        last = Some(*report);
    }
    drop(progress);
    let report = last.ok_or_else(core_is_gone)?;
    if arguments.wait && !report.status.is_terminal() {
        return Err(core_is_gone());
    }
    if !arguments.json {
        output::line(&shown::end_line(&report)).or_fail(Code::Failure)?;
    }
    match report.failure {
        Some(failure) if report.status == Status::Failure => Err(Failed::said(code(failure.kind))),
        _ => Ok(()),
    }
}

fn unexpected(answer: Answer) -> Failed {
    let why = match answer {
        Answer::Busy { why } => why,
        Answer::Refused { why } => why.join("\n"),
        Answer::Report(_) | Answer::Plan(_) | Answer::Deployments { .. } => {
            "the core answered something else".to_owned()
        }
    };
    Failed::new(Code::Failure, anyhow::Error::msg(why))
}

fn core_is_gone() -> Failed {
    let why = "the core ended; the deployment goes on with its next start: `margay deployments` shows how it stands";
    Failed::new(Code::NoCore, anyhow::Error::msg(why))
}

fn code(kind: FailureKind) -> Code {
    match kind {
        FailureKind::GroupDocument => Code::Configuration,
        FailureKind::Download => Code::Download,
        FailureKind::Untrusted | FailureKind::Package | FailureKind::Model => Code::Model,
        FailureKind::Sandbox => Code::Sandbox,
        FailureKind::NotRepeatable
        | FailureKind::Storage
        | FailureKind::Unhealthy
        | FailureKind::Superseded
        | FailureKind::Cancelled
        | FailureKind::Interrupted => Code::Failure,
    }
}

/// List the deployments that are remembered.
///
/// Each has a state of V1's: Building, InProgress, Success or Failure.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay deployments\n          margay deployments --json | jq '.deployments[-1].failure'"
)]
pub(super) struct List {
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn list(arguments: &List) -> Result<(), Failed> {
    let (confirmed, deployments) = listed(&arguments.config)?;
    if arguments.json {
        let document = serde_json::json!({ "confirmed": confirmed, "deployments": deployments });
        return output::json(&document).or_fail(Code::Failure);
    }
    for report in &deployments {
        output::line(&shown::list_line(report, confirmed.as_ref() == Some(&report.id))).or_fail(Code::Failure)?;
    }
    Ok(())
}

/// The deployments, from the core or, where none runs, from the disk.
fn listed(config: &Path) -> Result<(Option<DeploymentId>, Vec<Report>), Failed> {
    let config = check::load(config)?;
    match Conversation::begin(&config.directories.control_socket(), &Asked::List) {
        Ok(mut conversation) => match conversation.next_answer().or_fail(Code::Failure)? {
            Some(Answer::Deployments { confirmed, deployments }) => Ok((confirmed, deployments)),
            Some(other) => Err(unexpected(other)),
            None => Err(core_is_gone()),
        },
        Err(ControlError::NoCore { .. }) => {
            let shelf = shelf(&config);
            let confirmed = shelf.active().or_fail(Code::Failure)?.current.map(|current| current.id);
            let past = shelf.history().or_fail(Code::Failure)?;
            Ok((confirmed, past.into_iter().map(|past| past.report).collect()))
        }
        Err(error) => Err(Failed::new(Code::Failure, error)),
    }
}
