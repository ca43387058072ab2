//! The programs against a published generator's, in an interpreter of classic BPF; and the lists.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::super::calls;
use super::super::filters::{FUNCTION, INIT, INIT_AMONG_OTHERS, WORKER, WORKER_THAT_ACCEPTS};
use super::*;

/// What a program answers to a call with `arguments`, and after how many instructions.
fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> (u32, usize) {
    let word = |at: u32| match at {
        NUMBER_AT => number,
        ARCHITECTURE_AT => architecture,
        _ => {
            let argument = arguments[((at - ARGUMENTS_AT) / 8) as usize];
            (if at.is_multiple_of(8) { argument } else { argument >> 32 }) as u32
        }
    };
    let (mut accumulator, mut next, mut steps) = (0, 0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[next];
        next += 1;
        steps += 1;
        let code = u32::from(code);
        let mut jump = |taken: bool| next += usize::from(if taken { jt } else { jf });
        match code & 0x07 {
            BPF_LD => accumulator = word(k),
            BPF_ALU if code & 0xF0 == BPF_AND => accumulator &= k,
            BPF_RET => return (k, steps),
            BPF_JMP => match code & 0xF0 {
                BPF_JA => next += k as usize,
                BPF_JEQ => jump(accumulator == k),
                BPF_JGE => jump(accumulator >= k),
                BPF_JGT => jump(accumulator > k),
                BPF_JSET => jump(accumulator & k != 0),
                _ => panic!("jump {code:#x}"),
            },
            _ => panic!("instruction {code:#x}"),
        }
    }
}

/// The same lists by the generator, whose programs have one answer besides "allowed": one makes calls seem missing and
/// one refuses. Of two answers the kernel takes the stricter, so that the second has to let the missing ones pass.
fn by_the_generator(lists: &[&[Group]], restricted: &[Restricted], missing: &[c_long]) -> [BpfProgram; 2] {
    let architecture = || TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let plain = lists.iter().copied().flatten().flat_map(|group| group.calls).chain(missing);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = plain.map(|call| (*call, Vec::new())).collect();
    for each in restricted {
        let rule = |tests: &&[Test]| SeccompRule::new(tests.iter().map(|test| condition(*test)).collect()).unwrap();
        rules.insert(each.call, each.alternatives.iter().map(rule).collect());
    }
    let refused = SeccompAction::Errno(EPERM as u32);
    let allowed = SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture()).unwrap();
    let rules = missing.iter().map(|call| (*call, Vec::new())).collect();
    let unknown = SeccompAction::Errno(ENOSYS as u32);
    let unknown = SeccompFilter::new(rules, SeccompAction::Allow, unknown, architecture()).unwrap();
    [unknown.try_into().unwrap(), allowed.try_into().unwrap()]
}

fn condition(test: Test) -> SeccompCondition {
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
    SeccompCondition::new(argument, length, operator, u64::from(value)).unwrap()
}

/// Every value that a test asks for, its neighbours, and each bit by itself, in both halves.
fn interesting(restricted: &[Restricted]) -> Vec<u64> {
    let asked = restricted.iter().flat_map(|each| each.alternatives).copied().flatten().flat_map(|test| match *test {
        Test::Is { value, .. } | Test::IsNot { value, .. } => vec![value, value.wrapping_add(1), value.wrapping_sub(1)],
        Test::HasNone { bits, .. } => vec![bits, !bits],
        Test::HasOnly { mask, value, .. } => vec![value, mask, !mask, value | !mask],
        Test::IsNull { .. } => vec![0],
    });
    let mut values: Vec<u64> = asked.map(u64::from).flat_map(|value| [value, value | 1 << 40]).collect();
    values.extend((0..64).map(|bit| 1 << bit));
    values.sort_unstable();
    values.dedup();
    values
}

#[test]
fn the_programs_answer_as_a_published_generators_do_and_sooner() {
    for (program, lists, restricted, missing) in [
        (&WORKER, &[calls::WORKER, calls::OPENING][..], calls::ARGUMENTS, calls::PRETEND_MISSING),
        (
            &WORKER_THAT_ACCEPTS,
            &[calls::WORKER, calls::OPENING, calls::ACCEPT],
            calls::ARGUMENTS,
            calls::PRETEND_MISSING,
        ),
        (&FUNCTION, &[calls::WORKER, calls::FUNCTION], calls::FUNCTION_ARGUMENTS, calls::PRETEND_MISSING),
        (&INIT, &[calls::INIT], &[], &[]),
        (&INIT_AMONG_OTHERS, &[calls::INIT, calls::INIT_AMONG_OTHERS], &[], &[]),
    ] {
        let program = program.instructions();
        let [unknown, allowed] = by_the_generator(lists, restricted, missing);
        let (mut own, mut generators) = (0, 0);
        let mut compare = |architecture, number, arguments| {
            let (answer, steps) = run(program, architecture, number, arguments);
            let (of_unknown, first) = run(&unknown, architecture, number, arguments);
            let (of_allowed, second) = run(&allowed, architecture, number, arguments);
            // As the kernel orders actions: the lowest, as a signed number, is the strictest.
            let expected = of_unknown.cast_signed().min(of_allowed.cast_signed()).cast_unsigned();
            assert_eq!(answer, expected, "call {number} with {arguments:x?}");
            own += steps;
            generators += first + second;
        };
        for number in (0..1100).chain([0x4000_0000, 0x4000_003B, u32::MAX]) {
            compare(ARCHITECTURE, number, [0; 6]);
        }
        for each in restricted {
            let values = interesting(restricted);
            for (argument, value) in (0..4).flat_map(|argument| values.iter().map(move |value| (argument, *value))) {
                for other in [0, u64::MAX] {
                    let mut arguments = [other; 6];
                    arguments[argument] = value;
                    compare(ARCHITECTURE, each.call as u32, arguments);
                }
            }
        }
        assert_eq!(run(program, 0x4000_0003, 1, [0; 6]).0, SECCOMP_RET_KILL_PROCESS, "32-bit calls");
        assert!(own < generators, "{own} instructions, the generator's {generators}");
        assert!(program.len() < allowed.len(), "{} instructions, the generator's {}", program.len(), allowed.len());
    }
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
