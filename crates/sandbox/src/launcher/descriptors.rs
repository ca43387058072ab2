//! Puts the worker's descriptors at their numbers and closes all others.

use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;

use super::init::Task;
use super::program::Executable;
use crate::channel::Channel;
use crate::order::{During, Failure, Step};
use crate::raw;

/// The standard three.
const STANDARD: [RawFd; 3] = [0, 1, 2];

/// What connects the worker to the others until it executes its program.
#[derive(Debug)]
pub(super) struct Links {
    pub channel: Channel,
    /// Its closing tells PID 1 that the program runs.
    pub executing: OwnedFd,
}

impl Links {
    /// Moves both out of the way of the worker's own numbers.
    pub fn lift(channel: &Channel, executing: &OwnedFd, targets: &[RawFd]) -> Result<Self, Failure> {
        let channel = Channel::from_descriptor(lift(channel, targets)?);
        Ok(Self { channel, executing: lift(executing, targets)? })
    }
}

/// A copy of a descriptor above all numbers that the worker's will have; it closes on exec.
fn lift(descriptor: &impl AsFd, targets: &[RawFd]) -> Result<OwnedFd, Failure> {
    let above = targets.iter().chain(&STANDARD).max().map_or(0, |highest| highest + 1);
    fcntl_dupfd_cloexec(descriptor.as_fd(), above).during(Step::Descriptors)
}

/// Arranges the descriptors, and returns the path by which the program is executed. Of what is not the worker's only
/// the lifted links and a nameless executable stay open, until exec closes them.
pub(super) fn arrange(links: &Links, task: &Task, executable: &Executable) -> Result<PathBuf, Failure> {
    let targets = &task.order.targets;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let null = null.during(Step::Descriptors)?;
    let mut placements = Vec::new();
    for number in STANDARD.into_iter().filter(|number| !targets.contains(number)) {
        placements.push((lift(&null, targets)?, number));
    }
    // All are lifted before any is placed: a target may be the present number of another.
    for (descriptor, target) in task.descriptors.iter().zip(targets) {
        placements.push((lift(descriptor, targets)?, *target));
    }
    let nameless = executable.nameless.as_ref().map(|file| lift(file, targets)).transpose()?;
    let mut keep: Vec<RawFd> = placements.iter().map(|(_, number)| *number).collect();
    keep.extend([links.channel.as_fd().as_raw_fd(), links.executing.as_raw_fd()]);
    keep.extend(nameless.iter().map(AsRawFd::as_raw_fd));
    let path = match &nameless {
        Some(file) => PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())),
        None => executable.inside.clone(),
    };
    for (descriptor, number) in placements {
        raw::place(descriptor, number).during(Step::Descriptors)?;
    }
    // Their numbers are taken or closed now; dropping them as well would close what has these numbers by then.
    mem::forget((null, nameless));
    raw::close_all_except(&keep).during(Step::Descriptors)?;
    Ok(path)
}
