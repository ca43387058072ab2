//! An event of the core as a line of a log file.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level};

use crate::group::LogLevel;

/// What the crates of this program are called; the events of others are not the core's.
pub(super) const OURS: &str = "margay";

/// The fields that say which connector an event is of, and which of its services.
pub(super) const CONNECTOR: &str = "connector";
const SERVICE: &str = "service";

/// An event: the message, then the fields.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) level: LogLevel,
    /// The value of the field `connector`.
    pub(super) connector: Option<String>,
    /// The value of the field `service`.
    pub(super) service: Option<String>,
    message: String,
    fields: String,
}

impl Line {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let level = match *event.metadata().level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            Level::DEBUG | Level::TRACE => LogLevel::Debug,
        };
        let mut line = Self { level, connector: None, service: None, message: String::new(), fields: String::new() };
        event.record(&mut line);
        line
    }

    pub(super) fn text(self) -> String {
        self.message + &self.fields
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            CONNECTOR => self.connector = Some(value.to_owned()),
            SERVICE => self.service = Some(value.to_owned()),
            _ => {}
        }
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// The events that a log of this level takes.
pub(super) fn as_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Fatal => LevelFilter::ERROR,
    }
}
