//! `margay run`: the core, until it is told to stop.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::check;
use super::exit::{Code, Failed, OrFail};
use crate::app::system_log::{self, SystemLog};
use crate::app::{self, AppError};
use crate::causes::explain;
use crate::config::{self, Config};
use crate::deployment::{Opening, OpeningError};
use crate::problem::Accepted;

/// The core's threads beside the main one: one for the link, one for everything else. More would only cost memory.
const THREADS: usize = 2;

/// Run the core: get credentials and models, classify, publish, until SIGTERM.
///
/// SIGHUP deploys again: the group document is read anew, packages that changed are fetched, and the group is exchanged
/// as a whole, or not at all. `margay deploy` does the same and says how it goes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  margay run --config /greengrass/config/config.json")]
pub(super) struct Arguments {
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Write the log as JSON, a document a line
    #[arg(long)]
    log_json: bool,
    /// End when the process that started this one does; for the demo
    #[arg(long, hide = true)]
    end_with_parent: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failed> {
    if arguments.end_with_parent {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM)).or_fail(Code::Failure)?;
    }
    let log = SystemLog::default();
    start_log(arguments.log_json, &log);
    let Accepted { document: config, warnings } = check::load_accepted(&arguments.config)?;
    for warning in warnings.iter() {
        tracing::warn!("{warning}");
    }
    let opening = find_opening(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_stack_size(1024 * 1024)
        .enable_all()
        .build()
        .or_fail(Code::Failure)?;
    let logs = config.directories.logs();
    let outcome = runtime.block_on(app::run(&arguments.config, config, (opening, log), warnings));
    outcome.map_err(|error| {
        system_log::note_crash(&logs, &explain(&error));
        Failed::new(code(&error), error)
    })
}

/// What the core begins with, or a failure that lists what is wrong with the group document.
fn find_opening(config: &Config) -> Result<Opening, Failed> {
    let note = |why: &str| system_log::note_crash(&config.directories.logs(), why);
    Opening::find(config).inspect_err(|error| note(&explain(error))).map_err(|error| match error {
        OpeningError::Refused(problems) => {
            problems.errors().for_each(|problem| note(&problem.to_string()));
            check::complain_of(&problems);
            Failed::said(Code::Configuration)
        }
        OpeningError::Load(error) => Failed::new(Code::Configuration, error),
        OpeningError::Shelf(error) => Failed::new(Code::Failure, error),
    })
}

/// The log goes to standard error, level by `RUST_LOG`, `info` by default; and to V1's file, by the group's logger.
fn start_log(json: bool, log: &SystemLog) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::registry().with(log.layer());
    let shown = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    if json {
        subscriber.with(shown.json().with_filter(filter)).init();
    } else {
        subscriber.with(shown.with_ansi(super::output::is_watched()).with_filter(filter)).init();
    }
}

fn code(error: &AppError) -> Code {
    match error {
        AppError::Services(error) => error.into(),
        AppError::Spool(_) => Code::Configuration,
        AppError::Status(_)
        | AppError::Store(_)
        | AppError::State(_)
        | AppError::TokenExchange(_)
        | AppError::Modules(_)
        | AppError::Signals(_) => Code::Failure,
    }
}
