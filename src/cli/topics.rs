//! `margay topics`: what the group's subscriptions let through, with counters where the core runs, and who of those they
//! name does not take messages.

use std::path::PathBuf;

use serde::Serialize;

use super::exit::{Code, Failed, OrFail};
use super::output;
use crate::app::status::{self, RouterStatus};
use crate::config;
use crate::documents::Deployable;
use crate::group::Party;

/// List the group's topics: who sends what to whom, and how much went through since the core started.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  margay topics\n          margay topics --json | jq 'select(.messages == 0)'")]
pub(super) struct Arguments {
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Print one JSON document a subscription
    #[arg(long)]
    json: bool,
}

/// One subscription.
#[derive(Debug, Serialize)]
struct Row {
    subscription: String,
    source: String,
    subject: String,
    target: String,
    /// Messages since the core started; `None` where none runs, or where it runs with another group document.
    messages: Option<u64>,
    /// Of these, messages that the target did not get.
    missed: Option<u64>,
    /// Whether a local target takes messages; `None` for the cloud, and as for `messages`.
    target_runs: Option<bool>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let (config, deployable) = super::check::load_documents(&arguments.config)?;
    let core = status::ask(&config.directories.status_socket).ok();
    let router = core.as_ref().map(|core| &core.router);
    if arguments.json {
        for row in rows(&deployable, router, ToString::to_string) {
            output::json(&row).or_fail(Code::Failure)?;
        }
        return Ok(());
    }
    let rows = rows(&deployable, router, short);
    for line in table(&rows) {
        output::line(&line).or_fail(Code::Failure)?;
    }
    let not_routed = router.and_then(super::status::not_routed).map(|said| format!("not routed: {said}"));
    for line in not_routed.into_iter().chain(unheard(&deployable)).chain(unserved(&rows)) {
        output::line(&line).or_fail(Code::Failure)?;
    }
    if router.is_none() {
        output::complain("no core runs with this configuration: there are no counters");
    }
    Ok(())
}

fn rows(deployable: &Deployable, router: Option<&RouterStatus>, name: impl Fn(&Party) -> String) -> Vec<Row> {
    let row = |subscription: &crate::group::Subscription| {
        let id = subscription.id.as_str();
        let messages = router.and_then(|router| router.subscriptions.get(id).copied());
        let known = router.filter(|_| messages.is_some());
        let local = known.filter(|_| subscription.target != Party::Cloud);
        Row {
            subscription: id.to_owned(),
            source: name(&subscription.source),
            subject: subscription.subject.to_string(),
            target: name(&subscription.target),
            messages,
            missed: known.map(|router| router.missed_by_subscription.get(id).copied().unwrap_or(0)),
            target_runs: local.map(|router| router.targets.contains_key(&subscription.target.to_string())),
        }
    };
    deployable.group.subscriptions.iter().map(row).collect()
}

/// Who it is without what all ARNs of a group share.
fn short(party: &Party) -> String {
    match party {
        Party::Cloud | Party::ShadowService => party.to_string(),
        Party::Device(arn) => format!("device {}", arn.thing()),
        Party::Function(arn) => format!("function {}:{}", arn.name(), arn.qualifier()),
        Party::Connector(arn) => format!("connector {}", arn.name()),
    }
}

fn table(rows: &[Row]) -> Vec<String> {
    let mut cells = vec![["SUBSCRIPTION", "SOURCE", "SUBJECT", "TARGET", "MESSAGES", "MISSED"].map(str::to_owned)];
    for Row { subscription, source, subject, target, messages, missed, .. } in rows {
        let [messages, missed] =
            [messages, missed].map(|count| count.map_or("-".to_owned(), |count| count.to_string()));
        cells.push([subscription.clone(), source.clone(), subject.clone(), target.clone(), messages, missed]);
    }
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let pad = |row: &[String; 6]| {
        let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(pad).collect()
}

/// Local targets that take no messages: what is for them is missed.
fn unserved(rows: &[Row]) -> Vec<String> {
    let idle = rows.iter().filter(|row| row.target_runs == Some(false));
    let mut targets: Vec<&str> = idle.map(|row| row.target.as_str()).collect();
    targets.sort_unstable();
    targets.dedup();
    targets.into_iter().map(|target| format!("takes no messages: {target}")).collect()
}

/// Connectors whose topic no subscription selects: what they publish goes nowhere.
fn unheard(deployable: &Deployable) -> Vec<String> {
    let subscriptions = &deployable.group.subscriptions;
    let heard = |topic| {
        move |source: &Party| subscriptions.iter().any(|one| one.source == *source && one.subject.matches(topic))
    };
    let connectors = deployable.image_classifiers.iter();
    let unheard = connectors.filter(|one| !heard(&one.topic)(&Party::Connector(one.arn.clone())));
    unheard
        .map(|one| {
            format!("goes nowhere: {} publishes on {}, which no subscription selects", one.arn.name(), one.topic)
        })
        .collect()
}
