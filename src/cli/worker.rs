//! `margay worker …`: the programs inside the sandboxes. The core starts them; a person has no use for them.

use std::os::fd::OwnedFd;

use super::exit::{Code, Failed, OrFail};
use crate::classifier::{CHANNEL_FD, capture_worker, inference_worker, one_shot};
use crate::clock::SystemClock;
use crate::ipc::WorkerChannel;
use crate::page::viewer;

/// One of the core's workers, started by the core.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(value_enum)]
    program: Program,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Program {
    Capture,
    Inference,
    OneShot,
    Viewer,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let channel = margay_sandbox::inherited_descriptor(CHANNEL_FD)
        .map(|channel: OwnedFd| WorkerChannel::new(channel))
        .or_fail(Code::Usage)?;
    match arguments.program {
        Program::Capture => capture_worker::run(&channel).or_fail(Code::Source),
        Program::Inference => inference_worker::run(&channel, &SystemClock::new()).or_fail(Code::Model),
        Program::OneShot => one_shot::run(&channel).or_fail(Code::Model),
        Program::Viewer => viewer::run(channel).or_fail(Code::Failure),
    }
}
