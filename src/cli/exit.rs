//! Exit codes, and the one place where an error becomes one. `docs/exit-codes.md` lists them; a test compares the two.

use std::io;
use std::process::ExitCode;

use super::output;
use crate::app::ServicesError;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// It did what was asked.
    Ok = 0,
    /// Something failed that has no code of its own.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// config.json or the group document breaks a rule.
    Configuration = 3,
    /// The device's certificate, key or CA cannot be used, or a server refused them.
    Identity = 4,
    /// The credentials provider gave no credentials.
    Credentials = 5,
    /// The package could not be fetched from S3.
    Download = 6,
    /// The package or its model was refused.
    Model = 7,
    /// A frame source or a picture could not be read.
    Source = 8,
    /// The MQTT broker refused, or could not be reached.
    Broker = 9,
    /// A worker could not be started in its sandbox.
    Sandbox = 10,
    /// The core is not running, or does not answer.
    NoCore = 11,
    /// A quantised model is not near enough to the float one.
    Accuracy = 12,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::Failure,
        Self::Usage,
        Self::Configuration,
        Self::Identity,
        Self::Credentials,
        Self::Download,
        Self::Model,
        Self::Source,
        Self::Broker,
        Self::Sandbox,
        Self::NoCore,
        Self::Accuracy,
    ];

    /// The number that the process returns.
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

impl From<ServicesError> for Failed {
    fn from(error: ServicesError) -> Self {
        let code = Code::from(&error);
        Self::new(code, error)
    }
}

impl From<&ServicesError> for Code {
    fn from(error: &ServicesError) -> Self {
        match error {
            ServicesError::NoCredentials | ServicesError::Proxy(_) => Self::Configuration,
            ServicesError::Identity(_) | ServicesError::Http(_) => Self::Identity,
        }
    }
}

/// A command that failed: the code, and the error with its causes.
#[derive(Debug)]
pub struct Failed {
    /// How the program ends.
    pub code: Code,
    /// What is printed; `None` when the command has said everything already.
    pub error: Option<anyhow::Error>,
}

impl Failed {
    /// Fails with `code` because of `error`.
    pub fn new(code: Code, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: Some(error.into()) }
    }

    /// Fails with `code`; the command has printed why.
    pub fn said(code: Code) -> Self {
        Self { code, error: None }
    }
}

/// Gives an error its exit code on the way out of a command.
pub(super) trait OrFail<T> {
    /// The value, or the failure with `code`.
    fn or_fail(self, code: Code) -> Result<T, Failed>;
}

impl<T, E: Into<anyhow::Error>> OrFail<T> for Result<T, E> {
    fn or_fail(self, code: Code) -> Result<T, Failed> {
        self.map_err(|error| Failed::new(code, error))
    }
}

/// Prints a failure, causes and all, and gives its code. A closed standard output (`margay … | head`) is no failure.
pub(super) fn report(outcome: Result<(), Failed>) -> ExitCode {
    let Err(Failed { code, error }) = outcome else { return Code::Ok.into() };
    let Some(error) = error else { return code.into() };
    let broken_pipe = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe);
    if broken_pipe {
        return Code::Ok.into();
    }
    output::complain(&format!("margay: {error:#}"));
    code.into()
}
