//! The core's own log in V1's file, `var/log/system/runtime.log`, beside standard error (A-43, contract E1, E2): level and
//! space are those of the group's logger for `GreengrassSystem`, by default INFO and 128 KB.
//!
//! Standard error goes where the service manager puts it, with the level of `RUST_LOG`; the file is what V1's operators and
//! their scripts look into. A disk that refuses costs the line and nothing else.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::{Layer, registry::LookupSpan};

use super::connector_log::ConnectorLogs;
use super::log_line::{Line, OURS, as_filter};
use crate::clock::{Clock, SystemClock};
use crate::group::{Group, LogComponent, LogLevel, LogTarget, Logger};
use crate::log_file::LogFile;

/// V1's name for the file of the core itself.
const FILE: &str = "runtime.log";

/// V1's file for what keeps a core from running, and its space in bytes (contract E2).
const CRASH_FILE: &str = "crash.log";
const CRASH_SPACE: u64 = 128 << 10;

/// Where the core's events go; nowhere until it is opened. Those of connectors go to the connectors' own files, too.
#[derive(Debug, Clone, Default)]
pub struct SystemLog(Arc<RwLock<Option<Open>>>, ConnectorLogs);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    file: Option<(LogFile, LogLevel)>,
}

impl SystemLog {
    /// Begins to write below `logs`, until a group says otherwise by V1's defaults: before the first deployment only the
    /// system's components log.
    pub(super) fn open(&self, logs: &Path, clock: Arc<dyn Clock>) {
        let path = logs.join("system").join(FILE);
        self.1.open(logs, clock.clone());
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Open { path, clock, file: None });
        self.limit(&[Logger::default_of(LogComponent::GreengrassSystem)]);
    }

    /// Goes on as `group` says: its loggers, its connectors.
    pub(super) fn configure(&self, group: &Group) {
        self.1.configure(group);
        self.limit(&group.loggers);
    }

    /// Takes level and space of the group's loggers.
    fn limit(&self, loggers: &[Logger]) {
        let of_system = loggers.iter().rfind(|logger| {
            logger.component == LogComponent::GreengrassSystem && logger.target != LogTarget::CloudWatch
        });
        let wanted = of_system.and_then(|logger| match logger.target {
            LogTarget::FileSystem(space) => Some((space.bytes(), logger.level)),
            LogTarget::CloudWatch => None,
        });
        if let Some(open) = self.0.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            open.file =
                wanted.map(|(space, level)| (LogFile::new(open.path.clone(), space, level, open.clock.clone()), level));
        }
        // Which events are wanted at all is remembered where they arise.
        tracing::callsite::rebuild_interest_cache();
    }

    /// The layer that writes the files, to be added to a subscriber.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        ToFiles(self.clone()).with_filter(self.clone())
    }

    fn level(&self) -> LevelFilter {
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().and_then(|open| open.file.as_ref()).map_or(LevelFilter::OFF, |(_, level)| as_filter(*level))
    }

    /// Writes a wanted event into the core's file, under the place in the program that it comes from.
    fn write(&self, line: Line, metadata: &Metadata<'_>) {
        let file = metadata.file().and_then(|path| Path::new(path).file_name()?.to_str()).unwrap_or(OURS);
        let source = format!("{file}:{}", metadata.line().unwrap_or(0));
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((file, _)) = open.as_ref().and_then(|open| open.file.as_ref()) {
            // The same event goes to standard error; to say here that the disk refuses would come back to this place.
            let _ = file.write(line.level, &source, &line.text());
        }
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level() && metadata.is_event() && metadata.target().starts_with(OURS)
    }
}

/// Notes below `logs` why a core ends that nobody has told to.
pub fn note_crash(logs: &Path, why: &str) {
    let clock = Arc::new(SystemClock::new());
    let file = LogFile::new(logs.join(CRASH_FILE), CRASH_SPACE, LogLevel::Fatal, clock);
    if let Err(error) = file.write(LogLevel::Fatal, "margay", why) {
        tracing::warn!(path = %file.path().display(), %error, "the reason of the end is not noted");
    }
}

impl<S> Filter<S> for SystemLog {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.wants(metadata) || self.1.wants(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let wanted = self.wants(metadata) || self.1.wants(metadata);
        if wanted { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level().max(self.1.level()))
    }
}

/// Writes events, a line each.
struct ToFiles(SystemLog);

impl<S: Subscriber> Layer<S> for ToFiles {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if self.0.1.wants(metadata) {
            self.0.1.write(Line::of(event));
        }
        if self.0.wants(metadata) {
            self.0.write(Line::of(event), metadata);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ByteSize;
    use tracing_subscriber::layer::SubscriberExt;

    fn logger(level: LogLevel) -> Logger {
        Logger {
            target: LogTarget::FileSystem(ByteSize::from_kib(16)),
            component: LogComponent::GreengrassSystem,
            level,
        }
    }

    #[test]
    fn the_core_logs_to_v1s_file_with_the_level_that_the_group_says() {
        let folder = tempfile::tempdir().unwrap();
        let log = SystemLog::default();
        let subscriber = tracing_subscriber::registry().with(log.layer());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("before it is opened");
            log.open(folder.path(), Arc::new(SystemClock::new()));
            tracing::info!(camera = "road", frames = 3, "two\nlines");
            tracing::debug!("for nobody");
            tracing::error!(target: "rumqttc", "of another crate");
            log.limit(&[logger(LogLevel::Debug)]);
            tracing::debug!("for whoever looks");
            log.limit(&[logger(LogLevel::Error)]);
            tracing::warn!("not grave enough");
            log.limit(&[]);
            tracing::error!("no logger wants this");
        });
        let text = std::fs::read_to_string(folder.path().join("system/runtime.log")).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once("][").unwrap().1).collect();
        let [first, second] = lines.as_slice() else { panic!("{text}") };
        assert!(first.starts_with("INFO]-system_log.rs:"), "{text}");
        assert!(first.ends_with(",two\\nlines camera=road frames=3"), "{text}");
        assert!(second.starts_with("DEBUG]-system_log.rs:") && second.ends_with(",for whoever looks"), "{text}");
    }
}
