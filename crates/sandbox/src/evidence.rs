//! Looks at a worker from outside and writes down what really holds it.
//!
//! The worker is held at its last step before it executes its program, with everything in place that the program inherits;
//! all is read from its `/proc/<pid>` and the control group. The one exception is landlock, which shows nowhere, so that
//! the kernel's answer to the worker has to do. What cannot be read counts as absent.

mod descriptors;
mod mounts;
mod status;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::cgroup::{Controller, Group, Groups, Seat};
use crate::containment::{Aspect, Containment, Finding};
use crate::exit::mebibytes;
use crate::order::Confinement;
use crate::plan::{Cpu, Network, Plan};
use status::ProcessStatus;

/// What was asked for, to compare with what is found.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    pub plan: &'a Plan,
    pub confinement: Confinement,
    /// Why a stronger confinement was refused, if one was.
    pub refusal: Option<&'a str>,
    pub supplementary: &'a [u32],
    pub targets: &'a [RawFd],
    pub groups: &'a Groups,
    /// What the worker-to-be reported.
    pub statements: &'a [(Aspect, Finding)],
}

impl Expected<'_> {
    fn stated(&self, aspect: Aspect) -> Option<&Finding> {
        self.statements.iter().find(|(row, _)| *row == aspect).map(|(_, finding)| finding)
    }
}

/// The containment of the worker with this process id.
pub(crate) fn gather(pid: i32, expected: &Expected<'_>) -> Containment {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .map_err(|error| format!("/proc/{pid}/status could not be read: {error}"))
        .map(|text| ProcessStatus::parse(&text));
    let of_status = |judge: fn(&ProcessStatus) -> Finding| match &status {
        Ok(status) => judge(status),
        Err(why) => Finding::Absent(why.clone()),
    };
    let user = match &status {
        Ok(status) => status.user(pid, expected),
        Err(why) => Finding::Absent(why.clone()),
    };
    let landlock = expected.stated(Aspect::Landlock).cloned();
    let cpu = expected.groups.cpu.as_ref().map(|seat| (Aspect::Cpu, cpu(pid, expected.plan.cpu, seat)));
    let rows = vec![
        (Aspect::Mount, mount(pid, expected)),
        (Aspect::Pid, namespace(pid, "pid", expected)),
        (Aspect::Ipc, namespace(pid, "ipc", expected)),
        (Aspect::Uts, namespace(pid, "uts", expected)),
        (Aspect::Net, net(pid, expected)),
        (Aspect::User, user),
        (Aspect::Capabilities, of_status(ProcessStatus::capabilities)),
        (Aspect::NoNewPrivs, of_status(ProcessStatus::no_new_privs)),
        (Aspect::Seccomp, seccomp(&status, expected)),
        (Aspect::Landlock, landlock.unwrap_or_else(|| Finding::Absent("the worker said nothing of it".to_owned()))),
        (Aspect::Memory, limit(pid, Controller::Memory, &expected.groups.memory)),
        (Aspect::Pids, limit(pid, Controller::Pids, &expected.groups.pids)),
        (Aspect::Descriptors, descriptors::judge(pid, expected.targets)),
    ];
    let place = rows.iter().position(|(aspect, _)| *aspect > Aspect::Cpu).unwrap_or(rows.len());
    let (before, after) = rows.split_at(place);
    Containment::new(before.iter().cloned().chain(cpu).chain(after.iter().cloned()).collect())
}

/// Whether the worker stands in another namespace than the core.
fn differs(pid: i32, kind: &'static str) -> Result<bool, String> {
    Ok(namespace_of(&pid.to_string(), kind)? != own_namespace(kind)?)
}

/// The core's own, in which it stays.
fn own_namespace(kind: &'static str) -> Result<PathBuf, String> {
    static OWN: Mutex<BTreeMap<&'static str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = own.get(kind) {
        return Ok(known.clone());
    }
    let found = namespace_of("self", kind)?;
    own.insert(kind, found.clone());
    Ok(found)
}

fn namespace_of(process: &str, kind: &str) -> Result<PathBuf, String> {
    let path = format!("/proc/{process}/ns/{kind}");
    fs::read_link(&path).map_err(|error| format!("{path} could not be read: {error}"))
}

fn namespace(pid: i32, kind: &'static str, expected: &Expected<'_>) -> Finding {
    match differs(pid, kind) {
        Ok(true) => Finding::Holds("a namespace of its own".to_owned()),
        Ok(false) => Finding::Absent(shared(kind, expected)),
        Err(why) => Finding::Absent(why),
    }
}

fn shared(kind: &str, expected: &Expected<'_>) -> String {
    match expected.refusal {
        Some(why) => format!("shares the core's {kind} namespace: {why}"),
        None => format!("shares the core's {kind} namespace"),
    }
}

fn net(pid: i32, expected: &Expected<'_>) -> Finding {
    match (expected.plan.network, namespace(pid, "net", expected)) {
        (Network::Host, Finding::Absent(_)) => Finding::Absent("the plan gives it the host's network".to_owned()),
        (_, finding) => finding,
    }
}

fn mount(pid: i32, expected: &Expected<'_>) -> Finding {
    match differs(pid, "mnt") {
        Ok(true) => mounts::judge(pid, expected.plan),
        Ok(false) => Finding::Absent(shared("mount", expected)),
        Err(why) => Finding::Absent(why),
    }
}

/// The mode that the kernel shows; when that is none, what the worker was told on trying tells more.
fn seccomp(status: &Result<ProcessStatus, String>, expected: &Expected<'_>) -> Finding {
    let found = match status {
        Ok(status) => status.seccomp(),
        Err(why) => return Finding::Absent(why.clone()),
    };
    match expected.stated(Aspect::Seccomp) {
        Some(refused @ Finding::Absent(_)) if !found.holds() => refused.clone(),
        _ => found,
    }
}

fn limit(pid: i32, controller: Controller, seat: &Seat) -> Finding {
    let name = controller.name();
    match seat {
        Seat::NotAsked => Finding::Absent("the plan sets no limit".to_owned()),
        Seat::Refused { limit, why } => {
            let (file_name, amount) = match controller {
                Controller::Memory => ("Max data size", mebibytes(*limit)),
                Controller::Pids | Controller::Cpu => ("Max processes", limit.to_string()),
            };
            process_limit(pid, file_name, *limit)
                .map(|()| format!("{amount}, only by setrlimit ({file_name}), because {why}"))
                .map_or_else(|problem| Finding::Absent(format!("{problem}; {why}")), Finding::Holds)
        }
        Seat::Taken { group, .. } => match (group.contains(pid), group.limit_in_force(controller)) {
            (Ok(true), Ok(limit)) => {
                let amount = match (controller, limit.parse()) {
                    (Controller::Memory, Ok(bytes)) => mebibytes(bytes),
                    _ => limit,
                };
                Finding::Holds(format!("{amount}, by {}", group.directory().display()))
            }
            (Ok(false), _) => Finding::Absent(format!("not a member of {}", group.directory().display())),
            (Err(error), _) | (_, Err(error)) => Finding::Absent(format!("{name} group could not be read: {error}")),
        },
    }
}

fn cpu(pid: i32, asked: Cpu, seat: &Result<Group, String>) -> Finding {
    let group = match seat {
        Ok(group) => group,
        Err(why) => return Finding::Absent(why.clone()),
    };
    match (group.contains(pid), group.cpu_in_force(asked)) {
        (Ok(true), Ok(found)) => {
            let found: Vec<String> = found.iter().map(|(name, value)| format!("{name} {value}")).collect();
            Finding::Holds(format!("{}, by {}", found.join(", "), group.directory().display()))
        }
        (Ok(false), _) => Finding::Absent(format!("not a member of {}", group.directory().display())),
        (Err(error), _) | (_, Err(error)) => Finding::Absent(format!("cpu group could not be read: {error}")),
    }
}

/// Confirms a limit in `/proc/<pid>/limits`, whose columns are at least two spaces apart.
fn process_limit(pid: i32, name: &str, limit: u64) -> Result<(), String> {
    let path = format!("/proc/{pid}/limits");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path} could not be read: {error}"))?;
    let soft = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    match soft.and_then(|value| value.parse::<u64>().ok()) {
        Some(actual) if actual <= limit => Ok(()),
        _ => Err(format!("{name} is {}", soft.unwrap_or("not shown"))),
    }
}
