//! `margay spool`: the messages that wait for the cloud, of a running core or, where none runs, in its files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde_json::json;

use super::check;
use super::exit::{Code, Failed, OrFail};
use super::output;
use crate::app;
use crate::app::spool_control::{self, Answer, Request};
use crate::app::status;
use crate::clock::SystemClock;
use crate::config::{self, Config};
use crate::mqtt::link::{Link, LinkSettings};
use crate::mqtt::spool::{Journal, Spool, SpoolListing, SpoolSettings, SpoolState, StorageType};

/// How often a core that drains its spool is asked how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Show, send or give up the messages that wait for the cloud.
///
/// Asks the running core; where none runs, works on the files of its spool, which then nobody else may use.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  margay spool show\n          margay spool drain --seconds 300")]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// What waits, by topic, and what was set aside
    Show(Common),
    /// Wait until everything is delivered; where no core runs, connect and deliver it
    Drain {
        #[command(flatten)]
        common: Common,
        /// Give up after this long
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u64,
    },
    /// Give up every message that was not sent yet
    Clear(Common),
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    match &arguments.action {
        Action::Show(common) => show(common),
        Action::Drain { common, seconds } => drain(common, Duration::from_secs(*seconds)),
        Action::Clear(common) => clear(common),
    }
}

fn show(common: &Common) -> Result<(), Failed> {
    let listing = match ask(common, Request::Show)? {
        Some(Answer::Listing(listing)) => listing,
        Some(Answer::Cleared(_)) => {
            return Err(Failed::new(Code::Failure, anyhow!("the core answered something else")));
        }
        None => open(common)?.map(|(mut spool, _)| spool.listing()).unwrap_or_default(),
    };
    if common.json {
        return output::json(&listing).or_fail(Code::Failure);
    }
    listing_lines(&listing).iter().try_for_each(|line| output::line(line)).or_fail(Code::Failure)
}

fn clear(common: &Common) -> Result<(), Failed> {
    let cleared = match ask(common, Request::Clear)? {
        Some(Answer::Cleared(cleared)) => cleared,
        Some(Answer::Listing(_)) => {
            return Err(Failed::new(Code::Failure, anyhow!("the core answered something else")));
        }
        None => clear_files(common)?,
    };
    if common.json {
        return output::json(&json!({ "cleared": cleared })).or_fail(Code::Failure);
    }
    output::line(&format!("{cleared} messages given up")).or_fail(Code::Failure)
}

fn clear_files(common: &Common) -> Result<u64, Failed> {
    let Some((mut spool, mut journal)) = open(common)? else { return Ok(0) };
    let cleared = spool.clear();
    let batch = spool.take_batch(Instant::now(), true);
    journal.commit(&batch, Instant::now()).or_fail(Code::Failure)?;
    journal.sync().or_fail(Code::Failure)?;
    Ok(cleared)
}

fn drain(common: &Common, patience: Duration) -> Result<(), Failed> {
    let config = check::load(&common.config)?;
    let left = match status::ask(&config.directories.status_socket) {
        Ok(_) => watch(&config.directories.status_socket, patience)?,
        Err(_) => deliver(common, patience)?,
    };
    if common.json {
        output::json(&json!({ "left": left })).or_fail(Code::Failure)?;
    } else if left == 0 {
        output::line("everything is delivered").or_fail(Code::Failure)?;
    }
    match left {
        0 => Ok(()),
        left => Err(Failed::new(
            Code::Broker,
            anyhow!("{left} messages still wait; `margay status` says how the link stands"),
        )),
    }
}

/// Waits for a running core, which delivers by itself. Gives what is left.
fn watch(socket: &std::path::Path, patience: Duration) -> Result<u64, Failed> {
    let end = Instant::now() + patience;
    loop {
        let link = status::ask(socket).or_fail(Code::NoCore)?.link;
        let left = link.queued + link.in_flight;
        if left == 0 || Instant::now() >= end {
            return Ok(left);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Connects as the core would, and delivers. Gives what is left.
fn deliver(common: &Common, patience: Duration) -> Result<u64, Failed> {
    let (config, settings) = settings(common)?;
    // Another process that uses the files is found out before anything is sent.
    if open(common)?.is_none() {
        return Ok(0);
    }
    let connection = app::connection_as(&config, config.mqtt.client_id.as_str())?;
    let mut link = LinkSettings::new(connection);
    (link.spool, link.retry_ceiling) = (settings, config.mqtt.max_retry_interval);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_fail(Code::Failure)?;
    let counters = runtime.block_on(async { Link::start(link).drain(patience).await });
    Ok(counters.queued + counters.in_flight)
}

fn ask(common: &Common, request: Request) -> Result<Option<Answer>, Failed> {
    let path = spool_control::path(&check::load(&common.config)?);
    let asked = spool_control::ask(&path, request);
    asked.with_context(|| format!("asking the core on {}", path.display())).or_fail(Code::NoCore)
}

/// The settings of the files, whatever storage the group names now.
fn settings(common: &Common) -> Result<(Config, SpoolSettings), Failed> {
    let (config, deployable) = check::load_documents(&common.config)?;
    let bytes = usize::try_from(deployable.group.spooler.max_size.bytes()).unwrap_or(usize::MAX);
    let storage = StorageType::FileSystem(config.directories.spool());
    let settings = SpoolSettings::new(bytes, storage).or_fail(Code::Configuration)?;
    Ok((config, settings))
}

/// The files; `None` where there are none.
fn open(common: &Common) -> Result<Option<(Spool, Journal)>, Failed> {
    let (config, settings) = settings(common)?;
    if !config.directories.spool().exists() {
        return Ok(None);
    }
    let opened = Spool::open(&settings, Arc::new(SystemClock::new()), Instant::now());
    let (spool, journal) = opened.or_fail(Code::Failure)?;
    Ok(journal.map(|journal| (spool, journal)))
}

fn listing_lines(listing: &SpoolListing) -> Vec<String> {
    let mut lines = state_lines(&listing.state);
    if lines.is_empty() {
        lines.push("spool        in memory".to_owned());
    }
    lines.push(format!("messages     {} waiting, {} in flight", listing.queued, listing.in_flight));
    for topic in &listing.topics {
        let since = topic.oldest_ms.and_then(moment).map(|since| format!(", since {since}")).unwrap_or_default();
        lines.push(format!("topic        {}: {} messages, {} bytes{since}", topic.topic, topic.messages, topic.bytes));
    }
    for entry in &listing.aside {
        let what = entry.topic.as_ref().map_or("damaged bytes".to_owned(), |topic| format!("refused on {topic}"));
        lines.push(format!("set aside    {what}: {} ({} bytes)", entry.path.display(), entry.bytes));
    }
    lines
}

/// The spool on disk in a few lines; none for one in memory with nothing to say.
pub(super) fn state_lines(state: &SpoolState) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(folder) = &state.folder {
        lines.push(format!(
            "spool        {}: {} of {} bytes used, {} bytes in {} files, {} messages in memory only",
            folder.display(),
            state.used_bytes,
            state.limit_bytes,
            state.disk_bytes,
            state.segments,
            state.in_memory
        ));
    }
    lines.extend(state.trouble.iter().map(|trouble| format!("             {trouble}; messages wait in memory")));
    lines.extend(state.notes.iter().map(|note| format!("             {note}")));
    lines
}

fn moment(ms: i64) -> Option<String> {
    let moment = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?;
    Some(crate::payload::timestamp(moment))
}
