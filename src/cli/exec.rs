//! `margay exec`: a command inside a running function's sandbox, as the guide did with `nsenter` (B-26).

use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use margay_sandbox::{Visit, VisitError, Visitor};

use super::exit::{Code, Failed, OrFail};
use crate::app::status;
use crate::config;
use crate::function::FunctionStatus;

/// Run a command inside a function's sandbox: what the function sees, with its user and its environment
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:  margay exec count -- ls -l /greengrass-machine-learning\n           \
    margay exec count --root -- /bin/bash\n\
    Takes root. Ends with the code of the command; the command ends with the function's process at the latest.")]
pub(super) struct Arguments {
    /// The function: its name, or its ARN where the group has several versions
    function: String,
    /// Stay root, with all privileges, as nsenter does
    #[arg(long)]
    root: bool,
    /// Which of the function's processes, where several run
    #[arg(long, value_name = "PID")]
    pid: Option<i32>,
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the group that runs has no function {name}; it has {}", list(known))]
    Unknown { name: String, known: Vec<String> },
    #[error("{name} is ambiguous: write the ARN of one of {}", list(known))]
    Ambiguous { name: String, known: Vec<String> },
    #[error("{arn} is not running ({state}){}", reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    NotRunning { arn: String, state: &'static str, reason: Option<String> },
    #[error("process {pid} is none of {arn}, which has {}", list(known))]
    NoProcess { pid: i32, arn: String, known: Vec<String> },
    #[error(transparent)]
    Visit(#[from] VisitError),
    #[error("running {command} in the sandbox of {arn}")]
    Command {
        command: String,
        arn: String,
        #[source]
        source: std::io::Error,
    },
}

fn list(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

/// The command's end, as the end of this program.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let config = super::check::load(&arguments.config)?;
    let core = status::ask(&config.directories.status_socket).or_fail(Code::NoCore)?;
    let ended = visit(arguments, &core.functions).or_fail(Code::Failure)?;
    // The command has said what there was to say.
    std::process::exit(code(ended))
}

fn visit(arguments: &Arguments, functions: &[FunctionStatus]) -> Result<ExitStatus, Refused> {
    let (arn, pid) = choose(arguments, functions)?;
    let visit = Visit::to(pid)?;
    visit.enter(if arguments.root { Visitor::Own } else { Visitor::Worker })?;
    let (program, rest) = arguments.command.split_first().expect("clap requires a command");
    let mut command = Command::new(program);
    command.args(rest).env_clear().envs(visit.environment().iter().map(|(name, value)| (name, value)));
    command.envs(std::env::vars_os().filter(|(name, _)| name == "TERM"));
    command.status().map_err(|source| Refused::Command { command: program.clone(), arn, source })
}

fn choose(arguments: &Arguments, functions: &[FunctionStatus]) -> Result<(String, i32), Refused> {
    let name = &arguments.function;
    let is_meant = |arn: &str| arn == name || arn.split(':').nth(6) == Some(name);
    let found: Vec<&FunctionStatus> = functions.iter().filter(|function| is_meant(&function.arn)).collect();
    let arns = |functions: &[&FunctionStatus]| functions.iter().map(|function| function.arn.clone()).collect();
    let function = match found[..] {
        [function] => function,
        [] => {
            return Err(Refused::Unknown { name: name.clone(), known: arns(&functions.iter().collect::<Vec<_>>()) });
        }
        _ => return Err(Refused::Ambiguous { name: name.clone(), known: arns(&found) }),
    };
    let arn = function.arn.clone();
    let pids: Vec<i32> = function.workers.iter().map(|worker| worker.pid).collect();
    match (arguments.pid, pids.first()) {
        (Some(pid), Some(_)) if !pids.contains(&pid) => {
            Err(Refused::NoProcess { pid, arn, known: pids.iter().map(i32::to_string).collect() })
        }
        (Some(pid), Some(_)) | (None, Some(&pid)) => Ok((arn, pid)),
        (_, None) => {
            Err(Refused::NotRunning { arn, state: function.state.name(), reason: function.last_error.clone() })
        }
    }
}

/// As shells have it: the code, or 128 and the signal.
fn code(ended: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    ended.code().unwrap_or_else(|| 128 + ended.signal().unwrap_or_default())
}
