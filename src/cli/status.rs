//! `margay status`: what a running core is doing, for people or as JSON.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::exit::{Code, Failed, OrFail};
use super::output;
use crate::app::status::{self, CameraStatus, CoreStatus, RouterStatus};
use crate::classifier::policy::PolicyCounters;
use crate::classifier::{ClassifierStatus, Role, WorkerStatus};
use crate::config;
use crate::deployment::Status;
use crate::page::{PageStatus, token};
use crate::payload::DeviceState;

/// Show what the core on this device is doing: credentials, link, models, workers and their containment, frames.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay status --config /greengrass/config/config.json\n          margay status --json | jq .link"
)]
pub(super) struct Arguments {
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Print the whole status as JSON
    #[arg(long)]
    json: bool,
    /// Show the containment of each worker row by row
    #[arg(long)]
    containment: bool,
    /// Print only the address of the page for browsers, with the token that opens it
    #[arg(long)]
    page: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let config = super::check::load(&arguments.config)?;
    let core = status::ask(&config.directories.status_socket).or_fail(Code::NoCore)?;
    if arguments.page {
        let address = page_address(&core, &config.directories.state).or_fail(Code::Failure)?;
        return output::line(&address).or_fail(Code::Failure);
    }
    if arguments.json {
        return output::json(&core).or_fail(Code::Failure);
    }
    for line in lines(&core, arguments.containment) {
        output::line(&line).or_fail(Code::Failure)?;
    }
    Ok(())
}

/// The page's address with the token that opens it, which only the core's own user may read.
pub(super) fn page_address(core: &CoreStatus, state: &Path) -> anyhow::Result<String> {
    let page = core.page.as_ref().context("this core has no page: write \"page\": {} under margay in config.json")?;
    Ok(format!("{}?token={}", page.url, token::read(state)?.expose()))
}

fn page_lines(page: &PageStatus, containment: bool) -> Vec<String> {
    let mut lines = vec![format!("page         {}; `margay status --page` adds the token that opens it", page.url)];
    if let Some(worker) = &page.worker {
        lines.extend(worker_lines(worker, containment));
    }
    if page.restarts > 0 {
        let reason = page.restart_reason.as_deref().unwrap_or("unknown");
        lines.push(format!("restarts     viewer: {}, the last because: {reason}", page.restarts));
    }
    lines
}

fn lines(core: &CoreStatus, containment: bool) -> Vec<String> {
    let mut lines = vec![
        format!("core         {}, margay {}, pid {}, up {}", core.thing, core.version, core.pid, age(core.uptime_s)),
        clock_line(core),
        credentials_line(core),
        link_line(core),
    ];
    lines.extend(core.device.as_ref().map(device_line));
    lines.extend(super::spool::state_lines(&core.link.spool));
    lines.extend(core.router.subscriptions.iter().map(|(id, count)| subscription_line(&core.router, id, *count)));
    lines.extend(not_routed(&core.router).map(|said| format!("not routed   {said}")));
    if let Some(jobs) = &core.jobs {
        let current = jobs.current.as_deref().unwrap_or("none");
        lines.push(format!("jobs         at work: {current}, taken on since the start: {}", jobs.taken_on));
    }
    lines.extend(group_lines(core));
    lines.extend(core.functions.iter().flat_map(|function| super::functions::lines(function, containment)));
    lines.extend(core.services.iter().flat_map(super::learning::service_lines));
    lines.extend(core.feedback.iter().flat_map(super::learning::feedback_lines));
    for camera in &core.cameras {
        lines.extend(camera_lines(camera, containment));
    }
    lines.extend(core.page.iter().flat_map(|page| page_lines(page, containment)));
    lines.extend(core.metrics.iter().map(|url| format!("metrics      {url}")));
    lines.extend(core.warnings.iter().map(|warning| format!("warning      {warning}")));
    lines
}

/// What did not reach whom it was for, if anything.
pub(super) fn not_routed(router: &RouterStatus) -> Option<String> {
    let counts = [
        (router.no_route, "without a subscription"),
        (router.refused, "refused"),
        (router.put_off, "put off"),
        (router.missed, "for targets that did not take them"),
    ];
    let said: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}")).collect();
    (!said.is_empty()).then(|| said.join(", "))
}

fn group_lines(core: &CoreStatus) -> Vec<String> {
    let confirmed = core
        .group
        .as_ref()
        .map(|group| format!("group        {} from {}, confirmed {}", group.deployment, group.source, group.confirmed));
    // A finished deployment that is the group says nothing new.
    let news = core.deployment.as_ref().filter(|report| report.status != Status::Success);
    let deployment = news.map(|report| {
        let step = report.step.map(|step| format!(", {step:?}")).unwrap_or_default();
        let failure = report.failure.as_ref().map(|failure| format!("\n             {}", failure.message));
        format!(
            "deploying    {} from {}: {:?}{step}{}",
            report.id,
            report.source,
            report.status,
            failure.unwrap_or_default()
        )
    });
    confirmed.into_iter().chain(deployment).collect()
}

fn clock_line(core: &CoreStatus) -> String {
    let clock = &core.clock;
    let source = if clock.confirmed_by_server {
        format!("confirmed by a server, correction {} ms", clock.correction_ms)
    } else {
        "not confirmed by a server yet".to_owned()
    };
    format!("clock        {}, {source}", clock.now)
}

fn credentials_line(core: &CoreStatus) -> String {
    let credentials = &core.credentials.core;
    let mut line = format!("credentials  {} at {}", credentials.role_alias, credentials.endpoint);
    match &credentials.valid_until {
        Some(until) => line.push_str(&format!(", until {until}")),
        None => line.push_str(", none yet"),
    }
    if let Some(failure) = &credentials.failure {
        line.push_str(&format!("\n             {failure}"));
    }
    line
}

fn link_line(core: &CoreStatus) -> String {
    let link = &core.link;
    let state = if link.connected { "connected to" } else { "not connected to" };
    let mut line = format!(
        "link         {state} {}: {} accepted, {} delivered, {} waiting, {} in flight",
        link.endpoint, link.accepted, link.delivered, link.queued, link.in_flight
    );
    for (reason, count) in link.dropped.iter().filter(|(_, count)| **count > 0) {
        line.push_str(&format!(", {count} dropped ({reason})"));
    }
    if let Some(trouble) = &link.trouble {
        line.push_str(&format!("\n             {trouble}"));
    }
    if !link.failures.is_empty() {
        let failures: Vec<String> = link.failures.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        line.push_str(&format!("\n             ended: {}", failures.join(", ")));
        // What it is about to say again needs no second line.
        if let Some(last) = link.last_failure.as_ref().filter(|_| link.trouble.is_none()) {
            line.push_str(&format!("\n             the last: {last}"));
        }
    }
    for filter in &link.refused_filters {
        line.push_str(&format!("\n             the broker does not grant the subscription to {filter}"));
    }
    line
}

fn camera_lines(camera: &CameraStatus, containment: bool) -> Vec<String> {
    let deployment = &camera.deployment;
    let mut lines = vec![format!("topic        {}", camera.topic)];
    lines.push(format!("deployment   {} from {}: {:?}", deployment.resource, deployment.source, deployment.state));
    if let Some(failure) = &deployment.failure {
        lines.push(format!("             {failure}"));
    }
    let Some(classifier) = &camera.classifier else { return lines };
    lines.extend(ledger_lines(classifier));
    lines.extend(classifier.workers.iter().flat_map(|worker| worker_lines(worker, containment)));
    lines
}

fn worker_lines(worker: &WorkerStatus, containment: bool) -> Vec<String> {
    let mut lines = vec![format!("worker       {}", worker_line(worker))];
    if containment {
        lines.extend(worker.containment.to_string().lines().map(|row| format!("             {row}")));
    }
    lines
}

fn ledger_lines(classifier: &ClassifierStatus) -> Vec<String> {
    let ledger = &classifier.ledger;
    let mut lines = Vec::new();
    if let Some(model) = &classifier.model {
        lines.push(format!("model        {} {} {}", model.name, model.version, model.digest));
    }
    let dropped: Vec<String> = ledger.drops().map(|(reason, count)| format!("{count} {}", reason.name())).collect();
    let dropped = if dropped.is_empty() { "none dropped".to_owned() } else { dropped.join(", ") };
    lines.push(format!(
        "camera       {} ({:?}): {} frames captured, {} classified, {dropped}",
        classifier.camera,
        classifier.capture,
        classifier.captured,
        ledger.inferred()
    ));
    lines.extend(policy_lines(&classifier.policy));
    let conditions = &classifier.health.conditions;
    if !conditions.is_empty() {
        let labels: Vec<String> = conditions.iter().map(|condition| condition.label().replace('_', "-")).collect();
        lines.push(format!("health       {} is {}", classifier.camera, labels.join(", ")));
    }
    let restarts = &classifier.restarts;
    for (what, count, reason) in [
        ("capture worker", restarts.capture, &restarts.capture_reason),
        ("inference worker", restarts.inference, &restarts.inference_reason),
    ] {
        if count > 0 {
            let reason = reason.as_deref().unwrap_or("unknown");
            lines.push(format!("restarts     {what}: {count}, the last because: {reason}"));
        }
    }
    lines
}

fn subscription_line(router: &RouterStatus, id: &str, count: u64) -> String {
    let missed = router.missed_by_subscription.get(id).map(|missed| format!(", {missed} missed by its target"));
    format!("subscription {id}: {count} messages{}", missed.unwrap_or_default())
}

/// What the policy published and withheld; nothing where it publishes every frame and nobody asked.
fn policy_lines(policy: &PolicyCounters) -> Vec<String> {
    let mut lines = Vec::new();
    let withheld: Vec<String> = policy.withheld.iter().map(|(why, count)| format!("{count} {}", why.name())).collect();
    if !withheld.is_empty() {
        lines.push(format!("policy       {} frames published, withheld: {}", policy.published, withheld.join(", ")));
    }
    if policy.triggers_taken + policy.triggers_refused > 0 {
        lines.push(format!(
            "triggers     {} taken, {} answered, {} waiting, {} refused",
            policy.triggers_taken, policy.triggers_answered, policy.triggers_waiting, policy.triggers_refused
        ));
    }
    lines
}

fn device_line(device: &DeviceState) -> String {
    let temperature = device.temperature_c.map(|degrees| format!("{degrees:.1} °C"));
    let throttling = device.throttling.map(|throttling| {
        let mut said = vec![if throttling.now { "slowed down" } else { "at full speed" }];
        said.extend(throttling.under_voltage.filter(|low| *low).map(|_| "the supply's voltage is too low"));
        said.extend(throttling.since_start.filter(|once| *once && !throttling.now).map(|_| "slowed down before"));
        said.join(", ")
    });
    format!("device       {}", temperature.into_iter().chain(throttling).collect::<Vec<_>>().join(", "))
}

/// A worker in one line: what it is, its pid, and what holds it.
pub(super) fn worker_line(worker: &WorkerStatus) -> String {
    let role = match worker.role {
        Role::Capture => "capture",
        Role::Inference => "inference",
        Role::Viewer => "viewer",
    };
    let (holds, absent): (Vec<_>, Vec<_>) = worker.containment.rows().iter().partition(|(_, found)| found.holds());
    let names = |rows: &[&(margay_sandbox::Aspect, margay_sandbox::Finding)]| {
        rows.iter().map(|(aspect, _)| aspect.to_string()).collect::<Vec<_>>().join(" ")
    };
    let mut line = format!("{role}, pid {}, {}; holds: {}", worker.pid, worker.user, names(&holds));
    if !absent.is_empty() {
        line.push_str(&format!("; not: {}", names(&absent)));
    }
    line
}

fn age(seconds: u64) -> String {
    let duration = Duration::from_secs(seconds);
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    if hours > 0 { format!("{hours} h {minutes} min") } else { format!("{minutes} min {} s", seconds % 60) }
}
