//! The command line: one file a subcommand, what they share in [`exit`], `output` and `progress`.
//!
//! Only this module prints. What a command finds goes to standard output, as text or, with `--json`, as one JSON
//! document a line; what it says about its work goes to standard error.

mod bench;
mod camera;
mod check;
mod classify;
mod credentials;
#[cfg(feature = "demo")]
mod demo;
mod deploy;
mod engine;
mod enter_namespace;
mod exec;
pub mod exit;
mod functions;
mod import;
mod learning;
mod logs;
mod model;
mod output;
mod progress;
mod publish;
mod run;
mod serve;
mod spool;
mod status;
mod subscribe;
mod topic_argument;
mod topics;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Image classification at the edge: device certificate, temporary credentials, models from S3, sandboxed inference,
/// predictions over MQTT.
#[derive(Debug, Parser)]
#[command(name = "margay", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Try it without a camera, a cloud or an account:  margay demo\nExit codes: docs/exit-codes.md")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "demo")]
    Demo(demo::Arguments),
    Run(run::Arguments),
    Check(check::Arguments),
    Deploy(deploy::Arguments),
    Deployments(deploy::List),
    Status(status::Arguments),
    Functions(functions::Arguments),
    Exec(exec::Arguments),
    Logs(logs::Arguments),
    Credentials(credentials::Arguments),
    Publish(publish::Arguments),
    Subscribe(subscribe::Arguments),
    Spool(spool::Arguments),
    Topics(topics::Arguments),
    Classify(classify::Arguments),
    Model(model::Arguments),
    Serve(serve::Arguments),
    Bench(bench::Arguments),
    Camera(camera::Arguments),
    Import(import::Arguments),
    #[command(hide = true)]
    Worker(worker::Arguments),
    #[command(hide = true)]
    EnterNamespace(enter_namespace::Arguments),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors, and clap knows which stream each belongs to.
            let code = if error.use_stderr() { exit::Code::Usage } else { exit::Code::Ok };
            let _ = error.print();
            return code.into();
        }
    };
    let outcome = match arguments.command {
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => demo::run(arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Deploy(arguments) => deploy::run(&arguments),
        Command::Deployments(arguments) => deploy::list(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Functions(arguments) => functions::run(&arguments),
        Command::Exec(arguments) => exec::run(&arguments),
        Command::Logs(arguments) => logs::run(&arguments),
        Command::Credentials(arguments) => credentials::run(&arguments),
        Command::Publish(arguments) => publish::run(arguments),
        Command::Subscribe(arguments) => subscribe::run(arguments),
        Command::Spool(arguments) => spool::run(&arguments),
        Command::Topics(arguments) => topics::run(&arguments),
        Command::Classify(arguments) => classify::run(&arguments),
        Command::Model(arguments) => model::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Camera(arguments) => camera::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Worker(arguments) => worker::run(&arguments),
        Command::EnterNamespace(arguments) => enter_namespace::run(&arguments),
    };
    exit::report(outcome)
}
