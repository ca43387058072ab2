"""Tries to get out of a function's sandbox, in every way that its author could think of.

Each attempt says how it was refused: an error by name, or what became of it. An attempt that succeeds says ``allowed``
with what it got. Nothing here would harm a host that let it: arguments beyond the gate are wrong on purpose.
"""

import base64
import ctypes
import errno
import json
import mmap
import os
import platform
import signal
import socket
import struct
import sys

from greengrass_common.env_vars import MY_FUNCTION_ARN, ROUTER_FUNCTION_ARN
from greengrass_ipc_python_sdk.ipc_client import IPCClient

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"

# Numbers of system calls without a wrapper in the C library: x86_64, the others (asm-generic/unistd.h).
NUMBERS = {
    "pivot_root": (155, 41), "mknodat": (259, 33), "clone": (56, 220), "ptrace": (101, 117), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "open_by_handle_at": (304, 265), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "kcmp": (312, 272), "mount_setattr": (442, 442), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "clone3": (435, 435), "init_module": (175, 105),
    "kexec_load": (246, 104), "reboot": (169, 142), "syslog": (103, 116), "capset": (126, 91),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "setuid": (105, 146), "setgid": (106, 144),
    "setgroups": (116, 159), "personality": (135, 92), "sethostname": (170, 161), "clock_settime": (227, 112),
    "seccomp": (317, 277), "memfd_secret": (447, 447), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "unshare": (272, 97), "chroot": (161, 51), "swapon": (167, 224), "acct": (163, 89), "quotactl": (179, 60),
}

AT_FDCWD = -100
NEW_USER, NEW_NETWORK, NEW_MOUNTS = 0x10000000, 0x40000000, 0x00020000


def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def call(name, *arguments):
    """A system call by its number, so that nothing in the C library stands in the way."""
    number = NUMBERS[name][0 if X86 else 1] if isinstance(name, str) else name
    plain = [argument.encode() if isinstance(argument, str) else argument for argument in arguments]
    passed = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in plain]
    LIBC.syscall.restype = ctypes.c_long
    return checked(LIBC.syscall(ctypes.c_long(number), *passed))


def in_child(action):
    """What becomes of a process of its own that does this."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
        except BaseException:
            os._exit(255)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    if os.WEXITSTATUS(status):
        raise OSError(os.WEXITSTATUS(status), "in the child")
    return None


def read(path):
    with open(path, "rb") as file:
        return file.read(64)


def write(path, data=b"1"):
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def machine_code(code):
    """Runs bytes as code; they end with a return."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return ctypes.CFUNCTYPE(ctypes.c_long)(address)()


def thirty_two_bits():
    # mov eax, 20 (getpid of i386); int 0x80; ret
    in_child_result = in_child(lambda: machine_code(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"))
    return in_child_result


def as_another_user(path):
    """Whether a set-user-ID program of root makes its process root."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 1)
        os.execv(path, [path, "-I", "-S", "-c", "import os; print(os.geteuid() == 0 and os.getuid() != 0)"])
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as output:
        became = output.read().strip()
    return None if became == "True" else "runs as before" if became == "False" else "does not run"


def strange_descriptors():
    """Descriptors that are neither the standard three nor opened by this program."""
    own = []
    for number in range(3, 1024):
        try:
            target = os.readlink("/proc/self/fd/%d" % number)
        except OSError:
            continue
        if not target.startswith(("socket:", "/proc/%d/fd" % os.getpid())):
            own.append(target)
    standard = [os.readlink("/proc/self/fd/%d" % number) for number in range(3)]
    for number, target in enumerate(standard):
        if target != "/dev/null" and not target.startswith("pipe:"):
            own.append(target)
        del number
    return ("allowed: %s" % own) if own else "none"


def strange_sockets():
    """Sockets beyond the connections that this program made itself."""
    count = sum(os.readlink("/proc/self/fd/" + name).startswith("socket:") for name in os.listdir("/proc/self/fd") if
                os.path.lexists("/proc/self/fd/" + name))
    return "none" if count <= 1 else "allowed: %d" % count


def processes():
    """Processes in /proc that are not this one's."""
    own = {str(os.getpid())}
    others = [name for name in os.listdir("/proc") if name.isdigit() and name not in own]
    # Its own PID 1 can be seen by a user whose group is root's.
    return "none" if set(others) <= {"1"} else "allowed: %s" % others


def kill_init():
    """PID 1 holds the sandbox together."""
    os.kill(1, signal.SIGKILL)
    os.kill(1, signal.SIGSTOP)
    # Had it ended, this process would not get here.
    return "without effect"


def netlink_interface():
    """Takes the loopback interface down."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.bind((0, 0))
        link.send(struct.pack("=IHHIIBxHiII", 32, 16, 5, 1, 0, 0, 0, 1, 0, 1))
        answer = link.recv(1024)
        code = struct.unpack_from("=i", answer, 16)[0]
        if code:
            raise OSError(-code, "netlink")


def neighbours_work(address, path):
    """Takes what the core has for another function."""
    with socket.create_connection(tuple(address), timeout=3) as connection:
        connection.sendall(("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path).encode())
        answer = connection.recv(64)
        if not answer:
            raise ConnectionResetError(errno.ECONNRESET, "cut off")
        return "allowed: %r" % answer


def made_set_user_id(path):
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o755)
    os.close(descriptor)
    os.chmod(path, 0o4755)
    return None


def born_set_user_id(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o6755))


def hard_link(source, target):
    os.link(source, target)


def fill(path, bytes_):
    with open(path, "wb") as file:
        for _ in range(bytes_ >> 20):
            file.write(bytes(1 << 20))


def forked(count):
    children = []
    try:
        for _ in range(count):
            child = os.fork()
            if child == 0:
                signal.pause()
                os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)


def x32():
    # getpid by the x32 numbers.
    return call(0x40000000 | 39)


def attempts(at):
    """Every attempt with its name; `at` says where things are on this host."""
    model, key, core, neighbour = at["model"], at["key"], at["core"], at["neighbour"]
    buffer = ctypes.create_string_buffer(64)
    vector = struct.pack("PN", ctypes.addressof(buffer), 8)
    vector = ctypes.create_string_buffer(vector)
    remount = 0x20 | 0x1000  # MS_REMOUNT | MS_BIND
    yield "the model: remounting it read-write", lambda: call("mount", None, model, None, remount, None)
    yield "the model: mount_setattr", lambda: call("mount_setattr", AT_FDCWD, model, 0, buffer, 32)
    yield "the model: unmounting it", lambda: call("umount2", model, 2)
    yield "the model: mounting over it", lambda: call("mount", "/tmp", model, None, 0x1000, None)
    yield "the model: opening a file for writing", lambda: write(model + "/model.toml")
    yield "the model: a new file", lambda: os.close(os.open(model + "/new", os.O_CREAT | os.O_WRONLY))
    yield "the model: removing a file", lambda: os.unlink(model + "/model.toml")
    yield "the model: chmod", lambda: os.chmod(model + "/model.toml", 0o777)
    yield "its code: opening it for writing", lambda: write("/lambda/app.py")
    yield "mounts: open_tree", lambda: call("open_tree", AT_FDCWD, "/", 1)
    yield "mounts: move_mount", lambda: call("move_mount", AT_FDCWD, "/tmp", AT_FDCWD, "/mnt", 0)
    yield "mounts: fsopen", lambda: call("fsopen", "proc", 0)
    yield "mounts: pivot_root", lambda: call("pivot_root", "/", "/")
    yield "mounts: chroot", lambda: call("chroot", "/tmp")
    yield "mounts: a cgroup file system", lambda: call("mount", "c", "/tmp", "cgroup2", 0, None)
    memory = os.makedev(1, 1)
    yield "devices: mknod of /dev/mem", lambda: os.mknod("/tmp/mem", 0o20666, memory)
    yield "devices: mknod of a disk", lambda: os.mknod("/tmp/disk", 0o60666, os.makedev(8, 0))
    yield "devices: mknod on a volume", lambda: os.mknod("/volumes/open/mem", 0o20666, memory)
    yield "devices: a node that the volume has", lambda: read("/volumes/open/zero")
    for name in ["/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda", "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/loop-control"]:
        yield "devices: opening %s" % name, lambda name=name: read(name)
    yield "devices: writing to one granted for reading", lambda: write("/dev/zero")
    yield "devices: truncating /dev", lambda: os.close(os.open("/dev/new", os.O_CREAT | os.O_WRONLY))
    yield "keys: the core's private key", lambda: read(key)
    yield "keys: by way of PID 1's root", lambda: read("/proc/1/root" + key)
    yield "keys: by way of its own root and ..", lambda: read("/proc/self/root/.." + key)
    yield "keys: the configuration", lambda: read(at["config"])
    yield "keys: open_by_handle_at", lambda: call("open_by_handle_at", AT_FDCWD, buffer, 0)
    yield "keys: the core's socket", lambda: socket.socket(socket.AF_UNIX).connect(at["socket"])
    yield "keys: another function's code", lambda: read(at["other_code"])
    yield "keys: the host's shadow file for writing", lambda: os.close(os.open("/etc/shadow", os.O_WRONLY | os.O_APPEND))
    yield "others: processes in /proc", processes
    yield "others: the core's environment", lambda: read("/proc/%d/environ" % core)
    yield "others: the core's memory", lambda: read("/proc/%d/mem" % core)
    yield "others: a function's environment", lambda: read("/proc/%d/environ" % neighbour)
    yield "others: a function's memory", lambda: read("/proc/%d/mem" % neighbour)
    yield "others: PID 1's environment", lambda: read("/proc/1/environ")
    yield "others: PID 1's memory", lambda: read("/proc/1/mem")
    yield "others: writing to PID 1's memory", lambda: write("/proc/1/mem")
    yield "others: PID 1's descriptors", lambda: [read("/proc/1/fd/" + name) for name in os.listdir("/proc/1/fd")]
    yield "others: process_vm_readv", lambda: call("process_vm_readv", 1, vector, 1, vector, 1, 0)
    yield "others: process_vm_writev", lambda: call("process_vm_writev", 1, vector, 1, vector, 1, 0)
    yield "others: ptrace of PID 1", lambda: call("ptrace", 16, 1, 0, 0)
    yield "others: ptrace of itself", lambda: in_child(lambda: call("ptrace", 0, 0, 0, 0))
    yield "others: pidfd_getfd", lambda: call("pidfd_getfd", 0, 0, 0)
    yield "others: kcmp", lambda: call("kcmp", 1, os.getpid(), 0, 0, 0)
    yield "others: a function's work over loopback", lambda: neighbours_work(at["interface"], "/2018-06-01/runtime/invocation/next")
    yield "others: a message in a function's name", lambda: neighbours_work(at["interface"], "/2016-11-01/functions/x")
    yield "others: an abstract socket of the host", lambda: socket.socket(socket.AF_UNIX).connect("\0" + at["abstract"])
    yield "signals: to the core", lambda: os.kill(core, 0)
    yield "signals: to another function", lambda: os.kill(neighbour, 0)
    yield "signals: SIGKILL and SIGSTOP to PID 1", kill_init
    yield "signals: pidfd_open of the core", lambda: call("pidfd_open", core, 0)
    yield "users: a set-user-ID program of a volume", lambda: as_another_user("/volumes/open/root-python")
    yield "users: a set-user-ID program of the host", lambda: as_another_user(at["set_user_id"])
    yield "users: making a program set-user-ID", lambda: made_set_user_id("/volumes/open/made")
    yield "users: creating a set-user-ID file", lambda: born_set_user_id("/volumes/open/born")
    yield "users: setuid", lambda: call("setuid", 0)
    yield "users: setgid", lambda: call("setgid", 0)
    yield "users: setgroups", lambda: call("setgroups", 0, None)
    yield "users: capset", lambda: call("capset", buffer, buffer)
    yield "users: chown to root", lambda: os.chown("/volumes/open/note", 0, 42)
    yield "namespaces: unshare of users", lambda: call("unshare", NEW_USER)
    yield "namespaces: unshare of mounts", lambda: call("unshare", NEW_MOUNTS)
    yield "namespaces: clone with users", lambda: call("clone", NEW_USER | signal.SIGCHLD, 0, 0, 0, 0)
    yield "namespaces: clone with a network", lambda: call("clone", NEW_NETWORK | signal.SIGCHLD, 0, 0, 0, 0)
    yield "namespaces: clone3", lambda: call("clone3", buffer, 64)
    yield "namespaces: setns", lambda: call("setns", 0, 0)
    yield "network: a raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
    yield "network: a raw IPv6 socket", lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)
    yield "network: packets of an interface", lambda: socket.socket(17, socket.SOCK_RAW, 0)
    yield "network: netfilter", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    yield "network: the audit log", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)
    yield "network: kernel cryptography", lambda: socket.socket(38, socket.SOCK_SEQPACKET, 0)
    yield "network: the hypervisor", lambda: socket.socket(40, socket.SOCK_STREAM, 0)
    yield "network: taking an interface down", netlink_interface
    yield "keyring: keyctl", lambda: call("keyctl", 0, -3, 0)
    yield "keyring: add_key", lambda: call("add_key", "user", "margay", buffer, 4, -3)
    yield "keyring: request_key", lambda: call("request_key", "user", "margay", None, 0)
    for name in ["kernel/core_pattern", "kernel/hostname", "kernel/modprobe", "vm/overcommit_memory", "net/ipv4/ip_forward"]:
        yield "kernel: writing /proc/sys/%s" % name, lambda name=name: write("/proc/sys/" + name)
    yield "kernel: /proc/sysrq-trigger", lambda: write("/proc/sysrq-trigger")
    yield "kernel: its own OOM score", lambda: write("/proc/self/oom_score_adj", b"-1000")
    yield "kernel: /proc/kcore", lambda: read("/proc/kcore")
    yield "kernel: /proc/kmsg", lambda: read("/proc/kmsg")
    yield "kernel: its messages", lambda: call("syslog", 3, buffer, 64)
    yield "kernel: sethostname", lambda: call("sethostname", "mine", 4)
    yield "kernel: setting the clock", lambda: call("clock_settime", 0, buffer)
    yield "kernel: reboot", lambda: call("reboot", 0, 0, 0, 0)
    yield "kernel: a module", lambda: call("init_module", buffer, 0, "")
    yield "kernel: kexec", lambda: call("kexec_load", 0, 0, 0, 0)
    yield "kernel: bpf", lambda: call("bpf", 0, 0, 0)
    yield "kernel: perf_event_open", lambda: call("perf_event_open", 0, 0, -1, -1, 0)
    yield "kernel: userfaultfd", lambda: call("userfaultfd", 0)
    yield "kernel: io_uring", lambda: call("io_uring_setup", 1, buffer)
    yield "kernel: swapon", lambda: call("swapon", "/tmp/x", 0)
    yield "kernel: acct", lambda: call("acct", 0)
    yield "kernel: quotactl", lambda: call("quotactl", 0, 0, 0, 0)
    yield "kernel: personality", lambda: call("personality", 0x0400000)
    yield "kernel: another filter of calls", lambda: call("seccomp", 0, 0, 0)
    yield "kernel: secret memory", lambda: call("memfd_secret", 0)
    yield "kernel: writing to /sys", lambda: write("/sys/kernel/uevent_helper", b"/tmp/x")
    yield "kernel: /sys/power", lambda: write("/sys/power/state", b"x")
    for name in at["groups"]:
        yield "cgroups: writing %s" % name, lambda name=name: write(name)
    yield "cgroups: a new one", lambda: os.mkdir("/sys/fs/cgroup/margay-escape")
    yield "links: a symbolic link of the volume to the key", lambda: read("/volumes/open/key-link")
    yield "links: one with .. to the key", lambda: read("/volumes/open/up-link")
    yield "links: one to PID 1's root", lambda: os.listdir("/volumes/open/root-link")
    yield "links: a hard link to the key", lambda: hard_link(key, "/volumes/open/hard")
    yield "links: a hard link between two volumes", lambda: hard_link("/volumes/closed/note", "/volumes/open/hard")
    yield "links: a hard link to the host's passwd", lambda: hard_link("/etc/passwd", "/volumes/open/hard")
    yield "links: moving a file out of a read-only volume", lambda: os.rename("/volumes/closed/note", "/volumes/open/moved")
    yield "links: .. out of a volume", lambda: read("/volumes/open/../../.." + at["outside"])
    yield "links: writing to a read-only volume", lambda: write("/volumes/closed/note")
    yield "links: a file of the host beside the volume", lambda: write(at["beside"])
    if X86:
        yield "calls: 32-bit ones", thirty_two_bits
        yield "calls: x32 ones", x32
        yield "calls: iopl", lambda: call(172, 3)
        yield "calls: modify_ldt", lambda: call(154, 0, buffer, 64)
    yield "descriptors: files that were left open", strange_descriptors
    yield "descriptors: sockets that were left open", strange_sockets
    yield "descriptors: typing into a terminal", lambda: checked(LIBC.ioctl(0, ctypes.c_ulong(0x5412), buffer))
    yield "program: PID 1's executable for writing", lambda: write("/proc/1/exe")
    yield "program: PID 1's executable for reading", lambda: read("/proc/1/exe")
    yield "program: its own executable for writing", lambda: write("/proc/self/exe")
    yield "program: margay itself for writing", lambda: write(at["program"])
    yield "limits: more descriptors than given", lambda: limit(7, 1 << 20)
    yield "limits: real-time scheduling", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    yield "limits: a higher priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20)
    yield "limits: more than 256 processes", lambda: forked(300)
    yield "limits: more than its /tmp", lambda: fill("/tmp/fill", 80 << 20)
    yield "limits: more than its layer", lambda: fill("/var/tmp/fill", 80 << 20)


def limit(which, value):
    import resource

    resource.setrlimit(which, (value, value))


def outcome(attempt):
    try:
        said = attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__) if error.errno else type(error).__name__
    except BaseException as error:
        return "%s: %s" % (type(error).__name__, error)
    if isinstance(said, str):
        return said
    return "allowed"


def handler(event, context):
    found = []
    for name, attempt in attempts(event):
        found.append([name, outcome(attempt)])
        for path in ["/tmp/fill", "/var/tmp/fill"]:
            if os.path.exists(path):
                os.unlink(path)
        sys.stdout.flush()
    custom = {"custom": {"source": MY_FUNCTION_ARN, "subject": context.client_context.custom["subject"].replace("/in", "/out")}}
    IPCClient().post_work(ROUTER_FUNCTION_ARN, json.dumps(found), base64.b64encode(json.dumps(custom).encode()), "Event")
