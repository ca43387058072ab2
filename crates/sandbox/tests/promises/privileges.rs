//! Who the worker is, what it may ask of the kernel, and that the table tells the truth about it.

use margay_sandbox::{Aspect, Confinement, Host, PlanParts};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

use crate::passes::Promise;
use crate::probe::error_name;
use crate::raw;
use crate::support::{Fixture, Probe};

pub const PROMISES: &[Promise] = &[
    ("calls_that_lead_out_are_refused", calls_that_lead_out_are_refused),
    ("no_capability_is_left", no_capability_is_left),
    ("the_worker_has_its_own_name_and_user", the_worker_has_its_own_name_and_user),
    ("the_table_says_what_the_worker_sees", the_table_says_what_the_worker_sees),
    ("the_probe_of_the_host_promises_no_less_than_a_worker_gets", the_probe_promises_no_less),
];

/// Calls that have to fail, and how.
const REFUSED: [(&str, &str); 12] = [
    ("unshare", "EPERM"),
    ("unshare-user", "EPERM"),
    ("mount", "EPERM"),
    ("ptrace", "EPERM"),
    ("keyctl", "EPERM"),
    ("bpf", "EPERM"),
    ("perf_event_open", "EPERM"),
    ("userfaultfd", "EPERM"),
    ("io_uring_setup", "EPERM"),
    ("process_vm_readv", "EPERM"),
    ("socket-inet", "EPERM"),
    ("clone3", "ENOSYS"),
];

/// Makes a system call with arguments that would be harmless, and names the error.
pub fn call(name: &str) -> String {
    let number = match name {
        "unshare" => return result(unshare(CloneFlags::CLONE_NEWNS)),
        "unshare-user" => return result(unshare(CloneFlags::CLONE_NEWUSER)),
        "mount" => libc::SYS_mount,
        "ptrace" => libc::SYS_ptrace,
        "keyctl" => libc::SYS_keyctl,
        "bpf" => libc::SYS_bpf,
        "perf_event_open" => libc::SYS_perf_event_open,
        "userfaultfd" => libc::SYS_userfaultfd,
        "io_uring_setup" => libc::SYS_io_uring_setup,
        "process_vm_readv" => libc::SYS_process_vm_readv,
        "clone3" => libc::SYS_clone3,
        "socket-inet" => return result(inet_socket()),
        _ => panic!("no such call: {name}"),
    };
    match raw::call_with_zeros(number) {
        Ok(()) => "allowed".to_owned(),
        Err(error) => error_name(error.raw_os_error().unwrap_or_default()),
    }
}

fn inet_socket() -> nix::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).map(drop)
}

fn result(result: nix::Result<()>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |()| "allowed".to_owned())
}

fn calls_that_lead_out_are_refused() {
    let fixture = Fixture::new();
    let questions: Vec<String> = REFUSED.iter().map(|(name, _)| format!("call:{name}")).collect();
    let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
    let probe = Probe::start(fixture.parts(&questions), Vec::new());
    let filtered = probe.sandboxed.containment().holds(Aspect::Seccomp);
    let (answers, exit) = probe.finish();
    assert!(exit.is_success(), "{exit}");
    for (question, (_, refusal)) in questions.iter().zip(REFUSED) {
        if filtered {
            assert_eq!(answers.to(question), refusal, "{question}");
        }
    }
}

fn no_capability_is_left() {
    let fixture = Fixture::new();
    let fields = ["field:CapEff", "field:CapPrm", "field:CapInh", "field:CapAmb", "field:CapBnd", "field:NoNewPrivs"];
    let probe = Probe::start(fixture.parts(&fields), Vec::new());
    if !probe.sandboxed.confinement().has_namespaces() {
        // Its /proc is out of reach there; the core sees it.
        let findings = probe.sandboxed.containment().finding(Aspect::Capabilities).unwrap().detail().to_owned();
        assert!(!findings.contains("CapEff") && !findings.contains("CapPrm"), "{findings}");
        return;
    }
    let (answers, _) = probe.finish();
    for field in &fields[..5] {
        assert_eq!(answers.to(field), "0000000000000000", "{field}");
    }
    assert_eq!(answers.to("field:NoNewPrivs"), "1");
}

fn the_worker_has_its_own_name_and_user() {
    let fixture = Fixture::new();
    let questions = ["hostname", "environment:PATH", "environment:AWS_GG_RESOURCE_PREFIX"];
    let parts = PlanParts { name: "inference-2".to_owned(), ..fixture.parts(&questions) };
    let probe = Probe::start(parts, Vec::new());
    let confinement = probe.sandboxed.confinement();
    let user = probe.sandboxed.containment().finding(Aspect::User).unwrap().clone();
    let (answers, _) = probe.finish();
    assert_eq!(answers.to("environment:PATH"), "unset");
    assert_eq!(answers.to("environment:AWS_GG_RESOURCE_PREFIX") == "/", confinement.has_namespaces());
    if confinement.has_namespaces() {
        assert_eq!(answers.to("hostname"), "inference-2");
    }
    match confinement {
        Confinement::Privileged => {
            assert!(user.holds() && user.detail().starts_with("uid 65534, gid 65534"), "{user:?}")
        }
        Confinement::UserNamespace if geteuid().is_root() => assert!(!user.holds(), "{user:?}"),
        Confinement::UserNamespace => assert!(user.holds() && user.detail().contains(&format!("uid {}", geteuid()))),
        Confinement::Process => assert!(!user.holds(), "{user:?}"),
    }
}

fn the_table_says_what_the_worker_sees() {
    let fixture = Fixture::new();
    let mut probe = Probe::start(fixture.parts(&["sleep"]), Vec::new());
    probe.line();
    let containment = probe.sandboxed.containment();
    let always = [Aspect::NoNewPrivs, Aspect::Descriptors];
    let with_namespaces =
        [Aspect::Mount, Aspect::Pid, Aspect::Ipc, Aspect::Uts, Aspect::Net, Aspect::User, Aspect::Capabilities];
    for aspect in always {
        assert!(containment.holds(aspect), "{containment}");
    }
    let has_namespaces = probe.sandboxed.confinement().has_namespaces();
    // A core that is root without privileges cannot give its worker another user.
    let root_inside = probe.sandboxed.confinement() == Confinement::UserNamespace && geteuid().is_root();
    for aspect in with_namespaces.into_iter().filter(|_| has_namespaces) {
        if root_inside && aspect == Aspect::User {
            continue;
        }
        assert!(containment.holds(aspect), "{aspect}: {containment}");
    }
    for aspect in [Aspect::Mount, Aspect::Pid, Aspect::Net].into_iter().filter(|_| !has_namespaces) {
        let finding = containment.finding(aspect).unwrap();
        assert!(!finding.holds() && finding.detail().starts_with("shares the core's"), "{finding:?}");
        assert!(finding.detail().contains("max_user_namespaces"), "the reason is told: {finding:?}");
    }
    assert!(!containment.holds(Aspect::Memory), "the plan sets no limit");
    assert_eq!(containment.rows().len(), 13);
}

fn the_probe_promises_no_less() {
    let fixture = Fixture::new();
    let foreseen = Host::probe();
    let probe = Probe::start(fixture.parts(&[]), Vec::new());
    assert!(foreseen.confinement <= probe.sandboxed.confinement(), "{foreseen:?}");
    let containment = probe.sandboxed.containment();
    assert_eq!(foreseen.seccomp.holds(), containment.holds(Aspect::Seccomp), "{foreseen:?}");
    assert_eq!(foreseen.landlock.holds(), containment.holds(Aspect::Landlock), "{foreseen:?}");
}
