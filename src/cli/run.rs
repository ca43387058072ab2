//! `margay run`: the core, until it is told to stop.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::check;
use super::exit::{Code, Failed, OrFail};
use crate::app::{self, AppError};
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
    start_log(arguments.log_json);
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
    let outcome = runtime.block_on(app::run(&arguments.config, config, opening, warnings));
    outcome.map_err(|error| Failed::new(code(&error), error))
}

/// What the core begins with, or a failure that lists what is wrong with the group document.
fn find_opening(config: &Config) -> Result<Opening, Failed> {
    Opening::find(config).map_err(|error| match error {
        OpeningError::Refused(problems) => {
            check::complain_of(&problems);
            Failed::said(Code::Configuration)
        }
        OpeningError::Load(error) => Failed::new(Code::Configuration, error),
        OpeningError::Shelf(error) => Failed::new(Code::Failure, error),
    })
}

/// The log goes to standard error, level by `RUST_LOG`; `info` by default.
fn start_log(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if json {
        log.json().init();
    } else {
        log.with_ansi(super::output::is_watched()).init();
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
