//! `margay enter-namespace …`: a short-lived child of the core that binds in a function's namespaces. A person has no use
//! for it.

use std::os::fd::AsFd;

use super::exit::{Code, Failed, OrFail};
use crate::credentials::namespace::entrant;

/// Bind in the network namespace of a process and pass the socket to standard input.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    pid: u32,
    port: u16,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    entrant::enter(arguments.pid, arguments.port, std::io::stdin().as_fd()).or_fail(Code::Failure)
}
