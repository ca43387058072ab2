//! From the lists to filters in the kernel.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// A group of system calls with the reason why it is allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers of the list; a test insists on it"))]
    pub reason: &'static str,
    pub calls: &'static [libc::c_long],
}

/// A call that is allowed only with some arguments.
#[derive(Debug)]
pub(super) struct Restricted {
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers of the list; a test insists on it"))]
    pub reason: &'static str,
    pub call: libc::c_long,
    /// Each alternative allows; all of its tests have to pass.
    pub alternatives: &'static [&'static [Test]],
}

/// A test of the lower 32 bits of one argument: flags, commands and address families are that wide in the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) enum Test {
    Is {
        argument: u8,
        value: u32,
    },
    IsNot {
        argument: u8,
        value: u32,
    },
    HasNone {
        argument: u8,
        bits: u32,
    },
    /// Of the bits in `mask`, exactly those of `value` are set.
    HasOnly {
        argument: u8,
        mask: u32,
        value: u32,
    },
    /// All 64 bits are zero.
    IsNull {
        argument: u8,
    },
}

/// Installs the filters. The first makes calls seem missing; of two answers the kernel takes the stricter, so that the
/// second has to let these pass.
pub(super) fn restrict(
    lists: &[&[Group]],
    restricted: &[Restricted],
    pretend_missing: &[libc::c_long],
) -> Result<(), String> {
    if !pretend_missing.is_empty() {
        install(&missing(pretend_missing).map_err(describe)?)?;
    }
    install(&allowed(lists, restricted, pretend_missing).map_err(describe)?)
}

fn install(program: &BpfProgram) -> Result<(), String> {
    apply_filter(program).map_err(|error| format!("the kernel refused the filter: {error}"))
}

fn describe(error: BackendError) -> String {
    format!("the filter could not be built: {error}")
}

fn architecture() -> Result<TargetArch, BackendError> {
    TargetArch::try_from(std::env::consts::ARCH)
}

fn missing(calls: &[libc::c_long]) -> Result<BpfProgram, BackendError> {
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, unknown, architecture()?)?.try_into()
}

fn allowed(
    lists: &[&[Group]],
    restricted: &[Restricted],
    pretend_missing: &[libc::c_long],
) -> Result<BpfProgram, BackendError> {
    let groups = lists.iter().copied().flatten();
    let plain = groups.flat_map(|group| group.calls).chain(pretend_missing);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = plain.map(|call| (*call, Vec::new())).collect();
    for each in restricted {
        let alternatives: Result<Vec<_>, _> = each.alternatives.iter().map(|tests| rule(tests)).collect();
        rules.insert(each.call, alternatives?);
    }
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture()?)?.try_into()
}

fn rule(tests: &[Test]) -> Result<SeccompRule, BackendError> {
    let conditions: Result<Vec<_>, _> = tests.iter().map(|test| condition(*test)).collect();
    SeccompRule::new(conditions?)
}

fn condition(test: Test) -> Result<SeccompCondition, BackendError> {
    let (argument, length, operator, value) = match test {
        Test::Is { argument, value } => (argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value),
        Test::IsNot { argument, value } => (argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value),
        Test::HasNone { argument, bits } => {
            (argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(u64::from(bits)), 0)
        }
        Test::HasOnly { argument, mask, value } => {
            (argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(u64::from(mask)), value)
        }
        Test::IsNull { argument } => (argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
    };
    SeccompCondition::new(argument, length, operator, u64::from(value))
}

#[cfg(test)]
mod tests {
    use super::super::calls;
    use super::*;

    #[test]
    fn the_lists_become_filters_of_a_size_the_kernel_takes() {
        let worker =
            allowed(&[calls::WORKER, calls::OPENING, calls::ACCEPT], calls::ARGUMENTS, calls::PRETEND_MISSING).unwrap();
        assert!((100..4096).contains(&worker.len()), "{} instructions", worker.len());
        let function =
            allowed(&[calls::WORKER, calls::FUNCTION], calls::FUNCTION_ARGUMENTS, calls::PRETEND_MISSING).unwrap();
        assert!((100..4096).contains(&function.len()), "{} instructions", function.len());
        assert!(missing(calls::PRETEND_MISSING).unwrap().len() < 100);
        assert!(allowed(&[calls::INIT], &[], &[]).unwrap().len() < 200);
    }

    #[test]
    fn every_group_gives_its_reason_and_no_call_is_listed_twice() {
        let groups = [calls::WORKER, calls::OPENING, calls::ACCEPT, calls::FUNCTION, calls::INIT].into_iter().flatten();
        let reasons = groups.map(|group| group.reason);
        let restricted = calls::ARGUMENTS.iter().chain(calls::FUNCTION_ARGUMENTS);
        assert!(reasons.chain(restricted.map(|each| each.reason)).all(|reason| !reason.is_empty()));
        let of_workers = [calls::OPENING, calls::ACCEPT].concat();
        for (more, arguments) in [(&of_workers[..], calls::ARGUMENTS), (calls::FUNCTION, calls::FUNCTION_ARGUMENTS)] {
            let mut listed: Vec<_> = calls::WORKER.iter().chain(more).flat_map(|group| group.calls).copied().collect();
            listed.extend(arguments.iter().map(|each| each.call));
            listed.extend(calls::PRETEND_MISSING);
            let count = listed.len();
            listed.sort_unstable();
            listed.dedup();
            assert_eq!(listed.len(), count);
        }
    }

    #[test]
    fn what_leads_out_of_a_sandbox_is_on_no_list() {
        let dangerous = [
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_kexec_load,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_open_by_handle_at,
            libc::SYS_pidfd_getfd,
            libc::SYS_setuid,
            libc::SYS_setgroups,
            libc::SYS_capset,
            libc::SYS_mknodat,
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_accept4,
            libc::SYS_personality,
            libc::SYS_seccomp,
            libc::SYS_setsid,
        ];
        let listed: Vec<_> = calls::WORKER.iter().flat_map(|group| group.calls).collect();
        for call in dangerous {
            assert!(!listed.contains(&&call), "system call {call}");
        }
        let own_affair = [libc::SYS_mknodat, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept4, libc::SYS_setsid];
        let listed: Vec<_> = calls::FUNCTION.iter().flat_map(|group| group.calls).collect();
        for call in dangerous.iter().filter(|call| !own_affair.contains(call)) {
            assert!(!listed.contains(&call), "system call {call} for functions");
        }
    }
}
