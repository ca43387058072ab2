//! Deployments and plans as people read them.

use crate::deployment::plan::{Change, Effect, EntityChange, PackageAction, PackageChange, Plan};
use crate::deployment::{Fetching, Report, Step};

/// What is going on now.
pub(super) fn step_line(report: &Report) -> String {
    let doing = match report.step {
        Some(Step::Fetching) => "fetching packages",
        Some(Step::Testing) => "testing models",
        Some(Step::Activating) => "activating the group",
        Some(Step::Confirming) => "watching the group",
        Some(Step::RollingBack) => "going back to what ran",
        Some(Step::Waiting) => "waiting for another attempt",
        None => "checking the document",
    };
    match &report.failure {
        Some(failure) => format!("{doing}: {}", failure.message),
        None => doing.to_owned(),
    }
}

/// How far a package has come.
pub(super) fn fetching_text(fetching: &Fetching) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let Fetching { resource, received, total } = fetching;
    match total {
        Some(total) if *total > 0 => {
            format!("{resource}: {:.1} of {:.1} MiB, {} %", mib(*received), mib(*total), received * 100 / total)
        }
        _ => format!("{resource}: {:.1} MiB", mib(*received)),
    }
}

/// How a deployment ended, or that it began.
pub(super) fn end_line(report: &Report) -> String {
    let mut line = format!("{:?} {}", report.status, report.id);
    for (resource, package) in &report.packages {
        line.push_str(&format!("\n  {resource}: {} {} {}", package.name, package.version, package.digest));
    }
    if let Some(failure) = &report.failure {
        line.push_str(&format!("\n  {:?}: {}", failure.kind, failure.message));
    }
    line
}

/// A deployment in a list.
pub(super) fn list_line(report: &Report, confirmed: bool) -> String {
    let mark = if confirmed { "*" } else { " " };
    let Report { id, kind, source, status, created, .. } = report;
    let mut line = format!("{mark} {created}  {id}  {:<10} {kind:?}, {source}", format!("{status:?}"));
    if let Some(failure) = &report.failure {
        line.push_str(&format!("\n    {:?}: {}", failure.kind, failure.message));
    }
    line
}

/// A plan, a change a line.
pub(super) fn plan_lines(plan: &Plan) -> Vec<String> {
    let mut lines: Vec<String> = plan.entities.iter().map(entity_line).collect();
    if lines.is_empty() {
        lines.push("the document changes nothing".to_owned());
    }
    lines.extend(plan.packages.iter().map(package_line));
    for classifier in &plan.classifiers {
        let effect = match classifier.effect {
            Effect::Start => "starts",
            Effect::GoOn => "goes on; a new model takes over between two frames",
            Effect::Restart => "is restarted: frames meanwhile are not captured",
            Effect::Stop => "stops",
        };
        lines.push(format!("classifier   {} {effect}", classifier.camera));
    }
    lines
}

fn entity_line(change: &EntityChange) -> String {
    let EntityChange { entity, id, change, fields } = change;
    let sign = match change {
        Change::Added => '+',
        Change::Changed => '~',
        Change::Removed => '-',
    };
    let name = if id.is_empty() { entity.clone() } else { format!("{entity} {id}") };
    if fields.is_empty() { format!("{sign} {name}") } else { format!("{sign} {name}: {}", fields.join(", ")) }
}

fn package_line(change: &PackageChange) -> String {
    let PackageChange { resource, source, running, action } = change;
    let running = running.as_deref().unwrap_or("nothing");
    let source = source.as_deref().unwrap_or("nowhere");
    match action {
        PackageAction::Fetch => format!("package      {resource}: {running} runs; {source} is fetched"),
        PackageAction::LookAgain => {
            format!("package      {resource}: {running} runs; {source} is fetched if it changed")
        }
        PackageAction::Retire => format!("package      {resource}: {running} is kept until the deployment after this"),
    }
}
