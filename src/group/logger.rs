//! Loggers: what is logged where (contract E1). Those that write to files hold; nothing goes to CloudWatch.

use crate::document::{Object, Unknown};
use crate::name::EntityId;
use crate::units::ByteSize;

use super::placed::{entities, read_list, refuse_repeated};

/// V1's default of `Space`, in KB.
const SPACE_KB: u64 = 128;

/// What is logged where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logger {
    /// Where it is stored.
    pub target: LogTarget,
    /// Whose events.
    pub component: LogComponent,
    /// Events below this level are dropped.
    pub level: LogLevel,
}

/// Where log events are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTarget {
    /// Files on the core, using at most this much of the disk.
    FileSystem(ByteSize),
    /// CloudWatch Logs.
    CloudWatch,
}

/// Whose events are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogComponent {
    /// The core's own.
    GreengrassSystem,
    /// Functions' and connectors'.
    Lambda,
}

/// How grave an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For whoever looks for a fault.
    Debug,
    /// V1's default.
    Info,
    /// Something that may become a fault.
    Warn,
    /// A fault.
    Error,
    /// A fault that ends the component.
    Fatal,
}

/// The types of `Type`, before `Space` is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    FileSystem,
    CloudWatch,
}

const KINDS: [(&str, Kind); 2] = [("FileSystem", Kind::FileSystem), ("AWSCloudWatch", Kind::CloudWatch)];
const COMPONENTS: [(&str, LogComponent); 2] =
    [("GreengrassSystem", LogComponent::GreengrassSystem), ("Lambda", LogComponent::Lambda)];
const LEVELS: [(&str, LogLevel); 5] = [
    ("DEBUG", LogLevel::Debug),
    ("INFO", LogLevel::Info),
    ("WARN", LogLevel::Warn),
    ("ERROR", LogLevel::Error),
    ("FATAL", LogLevel::Fatal),
];

/// The loggers, or V1's defaults where the document has none.
pub(super) fn read(top: &mut Object<'_>) -> Vec<Logger> {
    let field = top.field("LoggerDefinitionVersion");
    let is_present = field.is_present();
    let mut definition = field.section();
    let loggers = read_list(&mut definition, "Loggers", |object| {
        let id = object.field("Id").required("write an id").parsed::<EntityId>();
        let logger = read_logger(object);
        Some((id?, logger?))
    });
    definition.finish(Unknown::Warn);
    refuse_repeated(&loggers, ("Id", |(id, _): &(EntityId, Logger)| Some(id)), top.notes());
    if is_present {
        entities(loggers).into_iter().map(|(_, logger)| logger).collect()
    } else {
        COMPONENTS.map(|(_, component)| Logger::default_of(component)).to_vec()
    }
}

impl Logger {
    /// V1's default for `component` (contract E1).
    pub fn default_of(component: LogComponent) -> Self {
        Self { target: LogTarget::FileSystem(ByteSize::from_kib(SPACE_KB)), component, level: LogLevel::Info }
    }
}

fn read_logger(object: &mut Object<'_>) -> Option<Logger> {
    let kind = object.field("Type").required("write FileSystem").choice(&KINDS);
    let component = object.field("Component").required("write GreengrassSystem or Lambda").choice(&COMPONENTS);
    let level = object.field("Level").required("write a level, such as INFO").choice(&LEVELS);
    let space = object.field("Space").integer(1..=u64::from(u32::MAX), "KB").unwrap_or(SPACE_KB);
    let target = match kind? {
        Kind::FileSystem => LogTarget::FileSystem(ByteSize::from_kib(space)),
        Kind::CloudWatch => LogTarget::CloudWatch,
    };
    if target == LogTarget::CloudWatch {
        object.field("Type").warn("has no effect: no logs leave the device", "write FileSystem");
    }
    Some(Logger { target, component: component?, level: level? })
}
