//! `margay functions`: the functions of the group that runs, for people or as JSON.

use std::path::PathBuf;

use super::exit::{Code, Failed, OrFail};
use super::output;
use crate::app::status;
use crate::config;
use crate::function::{FunctionStatus, FunctionWorker};

/// Show the functions of the group: state, processes, memory, invocations, the last error.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  margay functions\n          margay functions --json | jq .last_error")]
pub(super) struct Arguments {
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Print a JSON document a function
    #[arg(long)]
    json: bool,
    /// Show what contains each process, row by row
    #[arg(long)]
    containment: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let config = super::check::load(&arguments.config)?;
    let core = status::ask(&config.directories.status_socket).or_fail(Code::NoCore)?;
    for function in &core.functions {
        if arguments.json {
            output::json(function).or_fail(Code::Failure)?;
            continue;
        }
        for line in lines(function, arguments.containment) {
            output::line(&line).or_fail(Code::Failure)?;
        }
    }
    Ok(())
}

/// The lines of one function.
pub(super) fn lines(function: &FunctionStatus, containment: bool) -> Vec<String> {
    let kind = if function.pinned { "pinned" } else { "on-demand" };
    let mut counts = vec![format!("{} succeeded", function.succeeded), format!("{} failed", function.failed)];
    let more = [
        (function.timed_out, "timed out"),
        (function.refused, "refused"),
        (function.crashes, "ends"),
        (function.out_of_memory, "out of memory"),
    ];
    counts.extend(more.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    let mut lines =
        vec![format!("function     {}: {}, {kind}; {}", function.arn, function.state.name(), counts.join(", "))];
    for worker in &function.workers {
        lines.push(format!("process      {}", process(worker)));
        if containment {
            lines.extend(worker.containment.rows().iter().map(|(aspect, finding)| {
                let holds = if finding.holds() { "holds" } else { "absent" };
                format!("             {aspect:<13} {holds:<7} {}", finding.detail())
            }));
        }
    }
    lines.extend(function.last_error.iter().map(|error| format!("last error   {error}")));
    lines
}

fn process(worker: &FunctionWorker) -> String {
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let shown = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), mib);
    let uid = worker.uid.map_or_else(|| "?".to_owned(), |uid| uid.to_string());
    let refused = match worker.refused_processes {
        0 => String::new(),
        count => format!("; {count} processes refused, it has as many as it may"),
    };
    format!(
        "pid {}, uid {uid}, {}, {} MiB now, {} at most, {}{refused}",
        worker.pid,
        if worker.busy { "at work" } else { "waits" },
        shown(worker.memory),
        shown(worker.memory_peak),
        worker.memory_limit.map_or_else(|| "no limit".to_owned(), |limit| format!("of {}", mib(limit)))
    )
}
