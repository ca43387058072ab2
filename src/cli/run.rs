//! `margay run`: the core, until it is told to stop.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::check;
use super::exit::{Code, Failed, OrFail};
use crate::app::{self, AppError, ServicesError};
use crate::config;

/// The core's threads beside the main one: one for the link, one for everything else. More would only cost memory.
const THREADS: usize = 2;

/// Run the core: get credentials and models, classify, publish, until SIGTERM.
///
/// SIGHUP deploys again: the group document is read anew, packages that changed are fetched and swapped in.
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
    let documents = check::load_documents(&arguments.config)?;
    for warning in documents.warnings.iter() {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_stack_size(1024 * 1024)
        .enable_all()
        .build()
        .or_fail(Code::Failure)?;
    let outcome =
        runtime.block_on(app::run(&arguments.config, documents.config, documents.deployable, documents.warnings));
    outcome.map_err(|error| Failed::new(code(&error), error))
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
        AppError::Services(ServicesError::NoCredentials | ServicesError::Proxy(_)) | AppError::Spool(_) => {
            Code::Configuration
        }
        AppError::Services(ServicesError::Identity(_) | ServicesError::Http(_)) => Code::Identity,
        AppError::Plan(_) => Code::Sandbox,
        AppError::Status(_)
        | AppError::Store(_)
        | AppError::State(_)
        | AppError::TokenExchange(_)
        | AppError::Signals(_) => Code::Failure,
    }
}
