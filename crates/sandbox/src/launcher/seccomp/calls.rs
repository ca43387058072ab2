//! The lists: which system calls, and why.
//!
//! Written for synchronous programs that decode, compute, and talk over descriptors they were given. Numbers come from
//! `libc`; calls that only x86_64 still has are listed apart, under the same reasons.

use libc::*;

use super::list::{Group, Restricted, Test};

/// `clone(2)` flags that make a namespace.
const NAMESPACES: u32 =
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET) as u32;

/// What the worker's program may call with any arguments.
pub(super) const WORKER: &[Group] = &[
    Group {
        reason: "memory of its own: allocation, mapped files, the ring",
        calls: &[
            SYS_brk,
            SYS_mmap,
            SYS_munmap,
            SYS_mremap,
            SYS_mprotect,
            SYS_madvise,
            SYS_mincore,
            SYS_msync,
            SYS_mlock,
            SYS_mlock2,
            SYS_munlock,
            SYS_membarrier,
            SYS_memfd_create,
            SYS_get_mempolicy,
        ],
    },
    Group {
        reason: "threads and their synchronisation",
        calls: &[
            SYS_futex,
            SYS_set_robust_list,
            SYS_get_robust_list,
            SYS_set_tid_address,
            SYS_rseq,
            SYS_gettid,
            SYS_sched_yield,
            SYS_sched_getaffinity,
            SYS_sched_setaffinity,
            SYS_sched_getparam,
            SYS_sched_getscheduler,
            SYS_sched_getattr,
            SYS_getcpu,
            SYS_getpriority,
            SYS_setpriority,
        ],
    },
    Group {
        reason: "its own processes: the program itself, and a helper that it reads from (a camera's command)",
        calls: &[
            SYS_execve,
            SYS_exit,
            SYS_exit_group,
            SYS_wait4,
            SYS_waitid,
            SYS_getpid,
            SYS_getppid,
            SYS_getpgid,
            SYS_getsid,
            SYS_kill,
            SYS_tkill,
            SYS_tgkill,
            SYS_pidfd_open,
            SYS_pidfd_send_signal,
        ],
    },
    Group {
        reason: "signals to itself, and returning from their handlers",
        calls: &[
            SYS_rt_sigaction,
            SYS_rt_sigprocmask,
            SYS_rt_sigreturn,
            SYS_rt_sigpending,
            SYS_rt_sigsuspend,
            SYS_rt_sigtimedwait,
            SYS_rt_sigqueueinfo,
            SYS_sigaltstack,
            SYS_signalfd4,
            SYS_restart_syscall,
        ],
    },
    Group {
        reason: "time: reading clocks and sleeping, never setting",
        calls: &[
            SYS_clock_gettime,
            SYS_clock_getres,
            SYS_clock_nanosleep,
            SYS_nanosleep,
            SYS_gettimeofday,
            SYS_times,
            SYS_getitimer,
            SYS_setitimer,
            SYS_timerfd_create,
            SYS_timerfd_settime,
            SYS_timerfd_gettime,
        ],
    },
    Group {
        reason: "reading and writing descriptors it has",
        calls: &[
            SYS_read,
            SYS_write,
            SYS_readv,
            SYS_writev,
            SYS_pread64,
            SYS_pwrite64,
            SYS_preadv,
            SYS_pwritev,
            SYS_preadv2,
            SYS_pwritev2,
            SYS_lseek,
            SYS_close,
            SYS_dup,
            SYS_dup3,
            SYS_pipe2,
            SYS_fcntl,
            SYS_flock,
            SYS_sendfile,
            SYS_splice,
            SYS_tee,
            SYS_copy_file_range,
            SYS_readahead,
            SYS_fadvise64,
            SYS_eventfd2,
        ],
    },
    Group {
        reason: "waiting for descriptors and for files to appear",
        calls: &[
            SYS_ppoll,
            SYS_pselect6,
            SYS_epoll_create1,
            SYS_epoll_ctl,
            SYS_epoll_pwait,
            SYS_inotify_init1,
            SYS_inotify_add_watch,
            SYS_inotify_rm_watch,
        ],
    },
    Group {
        reason: "files that the mounts and landlock let it reach; ownership, modes, links and nodes are left out",
        calls: &[
            SYS_fstat,
            SYS_newfstatat,
            SYS_statx,
            SYS_statfs,
            SYS_fstatfs,
            SYS_faccessat,
            SYS_readlinkat,
            SYS_getdents64,
            SYS_getcwd,
            SYS_chdir,
            SYS_fchdir,
            SYS_umask,
            SYS_ftruncate,
            SYS_truncate,
            SYS_fallocate,
            SYS_fsync,
            SYS_fdatasync,
            SYS_sync_file_range,
            SYS_unlinkat,
            SYS_mkdirat,
            SYS_renameat2,
        ],
    },
    Group {
        reason: "sockets that it was given, or connects to as a Unix socket; it cannot listen",
        calls: &[
            SYS_connect,
            SYS_sendto,
            SYS_recvfrom,
            SYS_sendmsg,
            SYS_recvmsg,
            SYS_sendmmsg,
            SYS_recvmmsg,
            SYS_shutdown,
            SYS_getsockopt,
            SYS_setsockopt,
            SYS_getsockname,
            SYS_getpeername,
        ],
    },
    Group {
        reason: "who and where it is, and randomness",
        calls: &[
            SYS_getuid,
            SYS_geteuid,
            SYS_getgid,
            SYS_getegid,
            SYS_getresuid,
            SYS_getresgid,
            SYS_getgroups,
            SYS_capget,
            SYS_uname,
            SYS_sysinfo,
            SYS_getrusage,
            SYS_getrandom,
        ],
    },
    #[cfg(target_arch = "x86_64")]
    Group {
        reason: "older forms of the above that programs for x86_64 still use, and thread-local storage",
        calls: &[
            SYS_arch_prctl,
            SYS_stat,
            SYS_lstat,
            SYS_access,
            SYS_readlink,
            SYS_getdents,
            SYS_unlink,
            SYS_mkdir,
            SYS_rmdir,
            SYS_rename,
            SYS_renameat,
            SYS_poll,
            SYS_select,
            SYS_epoll_create,
            SYS_epoll_wait,
            SYS_dup2,
            SYS_pipe,
            SYS_eventfd,
            SYS_signalfd,
            SYS_inotify_init,
            SYS_fork,
            SYS_vfork,
            SYS_getpgrp,
            SYS_alarm,
            SYS_pause,
            SYS_time,
            SYS_getrlimit,
        ],
    },
    #[cfg(target_arch = "aarch64")]
    Group {
        reason: "older forms of the above that libraries for aarch64 still use",
        calls: &[SYS_renameat, SYS_getrlimit],
    },
];

/// Opening files, which a user's function may do with some modes only.
pub(super) const OPENING: &[Group] = &[
    Group { reason: "opening files that the mounts and landlock let it reach", calls: &[SYS_openat] },
    #[cfg(target_arch = "x86_64")]
    Group { reason: "an older form of opening", calls: &[SYS_open] },
];

/// What the worker's program may call besides, when its plan lets it take connections.
pub(super) const ACCEPT: &[Group] =
    &[Group { reason: "taking connections from a listening socket that it was given", calls: &[SYS_accept4] }];

/// What a user's function may call besides: what programs do that were written for a whole machine, and that the
/// namespaces, the missing capabilities and the control groups bound.
pub(super) const FUNCTION: &[Group] = &[
    Group {
        reason: "sockets that it listens on, in a network of its own or under the host's rules",
        calls: &[SYS_bind, SYS_listen, SYS_accept, SYS_accept4],
    },
    Group {
        reason: "ownership, modes, times, links and attributes of files in its own layer and on its volumes",
        calls: &[
            SYS_fchown,
            SYS_fchownat,
            SYS_utimensat,
            SYS_linkat,
            SYS_symlinkat,
            SYS_getxattr,
            SYS_lgetxattr,
            SYS_fgetxattr,
            SYS_listxattr,
            SYS_llistxattr,
            SYS_flistxattr,
            SYS_setxattr,
            SYS_lsetxattr,
            SYS_fsetxattr,
            SYS_removexattr,
            SYS_sync,
            SYS_syncfs,
        ],
    },
    Group {
        reason: "sessions and groups of its own processes, which end with its PID namespace",
        calls: &[SYS_setsid, SYS_setpgid, SYS_execveat],
    },
    Group {
        reason: "limits and scheduling of its own processes, within those that hold it",
        calls: &[
            SYS_prlimit64,
            SYS_sched_setscheduler,
            SYS_sched_setparam,
            SYS_sched_get_priority_max,
            SYS_sched_get_priority_min,
            SYS_sched_rr_get_interval,
            SYS_ioprio_get,
            SYS_mlockall,
            SYS_munlockall,
        ],
    },
    Group {
        reason: "timers, and queues and shared memory in its IPC namespace",
        calls: &[
            SYS_timer_create,
            SYS_timer_settime,
            SYS_timer_gettime,
            SYS_timer_getoverrun,
            SYS_timer_delete,
            SYS_shmget,
            SYS_shmat,
            SYS_shmctl,
            SYS_shmdt,
            SYS_semget,
            SYS_semop,
            SYS_semtimedop,
            SYS_semctl,
            SYS_msgget,
            SYS_msgsnd,
            SYS_msgrcv,
            SYS_msgctl,
            SYS_mq_open,
            SYS_mq_unlink,
            SYS_mq_timedsend,
            SYS_mq_timedreceive,
            SYS_mq_notify,
            SYS_mq_getsetattr,
        ],
    },
    #[cfg(target_arch = "x86_64")]
    Group {
        reason: "older forms of the above that programs for x86_64 still use",
        calls: &[SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat, SYS_link, SYS_symlink, SYS_setrlimit],
    },
    #[cfg(target_arch = "aarch64")]
    Group { reason: "an older form of setting limits", calls: &[SYS_setrlimit] },
];

/// Threads and processes, but no namespaces.
const CLONE: Restricted = Restricted {
    reason: "threads and processes, but no namespaces, in which it would have capabilities",
    call: SYS_clone,
    alternatives: &[&[Test::HasNone { argument: 0, bits: NAMESPACES }]],
};

/// The mode bits by which a program takes its file's user or group. Inside the sandbox they mean nothing, but on a volume the
/// host would honour them.
const SET_ID: u32 = S_ISUID | S_ISGID;

/// The flags with which opening uses its mode.
const MAKING: u32 = (O_CREAT | (O_TMPFILE & !O_DIRECTORY)) as u32;

/// Changing modes, by the argument that has them.
const fn changing_mode(call: c_long, alternatives: &'static [&'static [Test]]) -> Restricted {
    Restricted { reason: "modes, but no program that takes its file's user or group", call, alternatives }
}

/// Opening and making files, by the arguments that have flags and mode.
const fn opening(call: c_long, alternatives: &'static [&'static [Test]]) -> Restricted {
    Restricted { reason: "files, but none made that takes its own user or group", call, alternatives }
}

/// Device control.
const IOCTL: Restricted = Restricted {
    reason: "device control (cameras), but no typing into a terminal",
    call: SYS_ioctl,
    alternatives: &[&[
        Test::IsNot { argument: 1, value: TIOCSTI as u32 },
        Test::IsNot { argument: 1, value: TIOCLINUX as u32 },
    ]],
};

/// What a user's function may call with some arguments only.
pub(super) const FUNCTION_ARGUMENTS: &[Restricted] = &[
    CLONE,
    opening(
        SYS_openat,
        &[&[Test::HasNone { argument: 2, bits: MAKING }], &[Test::HasNone { argument: 3, bits: SET_ID }]],
    ),
    changing_mode(SYS_fchmod, &[&[Test::HasNone { argument: 1, bits: SET_ID }]]),
    changing_mode(SYS_fchmodat, &[&[Test::HasNone { argument: 2, bits: SET_ID }]]),
    #[cfg(target_arch = "x86_64")]
    opening(
        SYS_open,
        &[&[Test::HasNone { argument: 1, bits: MAKING }], &[Test::HasNone { argument: 2, bits: SET_ID }]],
    ),
    #[cfg(target_arch = "x86_64")]
    opening(SYS_creat, &[&[Test::HasNone { argument: 1, bits: SET_ID }]]),
    #[cfg(target_arch = "x86_64")]
    changing_mode(SYS_chmod, &[&[Test::HasNone { argument: 1, bits: SET_ID }]]),
    Restricted {
        reason: "the internet, Unix sockets, and questions about interfaces and routes; no raw packets, no odd protocols",
        call: SYS_socket,
        alternatives: &[
            &[Test::Is { argument: 0, value: AF_UNIX as u32 }],
            &[Test::Is { argument: 0, value: AF_INET as u32 }],
            &[Test::Is { argument: 0, value: AF_INET6 as u32 }],
            &[
                Test::Is { argument: 0, value: AF_NETLINK as u32 },
                Test::Is { argument: 2, value: NETLINK_ROUTE as u32 },
            ],
        ],
    },
    Restricted {
        reason: "Unix sockets only",
        call: SYS_socketpair,
        alternatives: &[&[Test::Is { argument: 0, value: AF_UNIX as u32 }]],
    },
    IOCTL,
    Restricted {
        reason: "named pipes; no device nodes",
        call: SYS_mknodat,
        alternatives: &[&[Test::HasOnly { argument: 2, mask: S_IFMT, value: S_IFIFO }]],
    },
    Restricted {
        reason: "names, the signal at a parent's end, reaping orphans, and what it is allowed to know of itself",
        call: SYS_prctl,
        alternatives: &[
            &[Test::Is { argument: 0, value: PR_SET_NAME as u32 }],
            &[Test::Is { argument: 0, value: PR_GET_NAME as u32 }],
            &[Test::Is { argument: 0, value: PR_SET_VMA as u32 }],
            &[Test::Is { argument: 0, value: PR_SET_PDEATHSIG as u32 }],
            &[Test::Is { argument: 0, value: PR_GET_PDEATHSIG as u32 }],
            &[Test::Is { argument: 0, value: PR_SET_CHILD_SUBREAPER as u32 }],
            &[Test::Is { argument: 0, value: PR_SET_TIMERSLACK as u32 }],
            &[Test::Is { argument: 0, value: PR_CAPBSET_READ as u32 }],
            &[Test::Is { argument: 0, value: PR_GET_DUMPABLE as u32 }],
            &[Test::Is { argument: 0, value: PR_GET_NO_NEW_PRIVS as u32 }],
        ],
    },
];

/// What the worker's program may call with some arguments only.
pub(super) const ARGUMENTS: &[Restricted] = &[
    CLONE,
    Restricted {
        reason: "Unix sockets only; even where the network is the host's",
        call: SYS_socket,
        alternatives: &[&[Test::Is { argument: 0, value: AF_UNIX as u32 }]],
    },
    Restricted {
        reason: "Unix sockets only",
        call: SYS_socketpair,
        alternatives: &[&[Test::Is { argument: 0, value: AF_UNIX as u32 }]],
    },
    IOCTL,
    Restricted {
        reason: "reading limits, its own or another process's; setting none",
        call: SYS_prlimit64,
        alternatives: &[&[Test::IsNull { argument: 2 }]],
    },
    Restricted {
        reason: "names for threads and for memory in /proc, and what it is allowed to know of itself",
        call: SYS_prctl,
        alternatives: &[
            &[Test::Is { argument: 0, value: PR_SET_NAME as u32 }],
            &[Test::Is { argument: 0, value: PR_GET_NAME as u32 }],
            &[Test::Is { argument: 0, value: PR_SET_VMA as u32 }],
            &[Test::Is { argument: 0, value: PR_CAPBSET_READ as u32 }],
            &[Test::Is { argument: 0, value: PR_GET_DUMPABLE as u32 }],
            &[Test::Is { argument: 0, value: PR_GET_NO_NEW_PRIVS as u32 }],
        ],
    },
];

/// What a C library tries first and replaces by something listed above. `clone3` passes its flags in memory, where no
/// filter can see them.
pub(super) const PRETEND_MISSING: &[c_long] =
    &[SYS_clone3, SYS_close_range, SYS_openat2, SYS_faccessat2, SYS_epoll_pwait2, SYS_futex_waitv];

/// What PID 1 calls while it watches.
pub(super) const INIT: &[Group] = &[
    Group { reason: "waiting for the core, for signals and for children", calls: &[SYS_ppoll, SYS_wait4, SYS_waitid] },
    Group {
        reason: "messages from and to the core; signals from their descriptor",
        calls: &[SYS_recvmsg, SYS_sendmsg, SYS_read],
    },
    Group { reason: "passing signals on", calls: &[SYS_kill] },
    Group { reason: "which of its pages it may let go of", calls: &[SYS_pread64] },
    Group {
        reason: "the memory of a message, and ending",
        calls: &[
            SYS_brk,
            SYS_mmap,
            SYS_munmap,
            SYS_mremap,
            SYS_madvise,
            SYS_futex,
            SYS_exit,
            SYS_exit_group,
            SYS_rt_sigreturn,
            SYS_rt_sigprocmask,
            SYS_restart_syscall,
            SYS_close,
            SYS_sigaltstack,
        ],
    },
    #[cfg(target_arch = "x86_64")]
    Group { reason: "an older form of waiting", calls: &[SYS_poll] },
];

/// What PID 1 calls besides where it has no PID namespace, and has to find what the worker left behind.
pub(super) const INIT_AMONG_OTHERS: &[Group] = &[
    Group {
        reason: "looking for its children in /proc",
        calls: &[SYS_getpid, SYS_openat, SYS_getdents64, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_lseek],
    },
    Group { reason: "lowering the limit on processes to none", calls: &[SYS_write] },
];
