#!/usr/bin/env bash
# The aarch64 program without a device: started by qemu-user, then at its whole work on Debian's own kernel in an emulated
# machine, where it classifies a held-out picture and shows five frames of its demo.
#
#   tests/artefacts/aarch64.sh TARBALL
#
# Workers cannot run under qemu-user (7.2): it answers clone(2) with CLONE_PARENT or a namespace with EINVAL, has neither
# seccomp nor landlock, and executes /proc/self/exe only where the host knows the format. The machine has all of it.
# Needs qemu-user-static, qemu-system-arm, cpio; fetches kernel, busybox and glibc for arm64 from Debian's mirror.
set -euo pipefail
tarball=$(realpath "$1")
cd "$(dirname "$0")/../.."
. tests/artefacts/debian.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
step() { printf -- '-- %s\n' "$*"; }
fail() { printf 'aarch64.sh: %s\n' "$*" >&2; exit 1; }
for tool in qemu-aarch64-static qemu-system-aarch64 cpio; do
    command -v $tool >/dev/null || {
        echo "skipped: aarch64: apt install qemu-user-static qemu-system-arm cpio"
        exit "${MARGAY_TEST_REQUIRE:-0}"
    }
done

step "Debian's arm64 kernel, busybox and glibc"
download arm64 "$work/debs" linux-image busybox-static libc6
mkdir "$work/system"
for package in "$work"/debs/busybox-static* "$work"/debs/libc6*; do dpkg-deb -x "$package" "$work/system"; done
dpkg-deb --fsys-tarfile "$work"/debs/linux-image* | tar -C "$work" -xf - --wildcards './boot/vmlinuz-*'

step "the tarball"
mkdir "$work/margay"
tar -C "$work/margay" --strip-components=1 -xzf "$tarball"
emulated() { qemu-aarch64-static -L "$work/system" "$work/margay/bin/margay" "$@"; }
emulated --version
emulated check --config deploy/examples/config.json >"$work/check" 2>&1 && fail "the examples lack a group, and check is silent"
grep -q group "$work/check" || fail "check under qemu-user: $(cat "$work/check")"

step "the machine"
root=$work/root
mkdir -p "$root"/{bin,proc,sys,dev,tmp,etc,pictures}
cp -a "$work/system/lib" "$root/lib"
cp "$work/system/bin/busybox" "$root/bin"
cp "$work/margay/bin/margay" "$root/bin"
cp models/signs/road-signs-1.0.0.tar.gz models/signs/frames/frame-000.jpg "$root/pictures"
printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
# The kernel cannot exchange the initramfs as a root, which sandboxes need: the system moves to a tmpfs first.
cat >"$root/init" <<'EOF'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mkdir /new && mount -t tmpfs -o size=600m tmpfs /new
cp -a /bin /lib /etc /pictures /main /new/
mkdir -p /new/dev /new/proc /new/sys /new/tmp
exec switch_root /new /main
EOF
cat >"$root/main" <<'EOF'
#!/bin/sh
export PATH=/bin
mount -t devtmpfs dev /dev && mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup && ip link set lo up
uname -a
margay --version
margay classify --model /pictures/road-signs-1.0.0.tar.gz /pictures/frame-000.jpg
echo "classify ended with $?"
margay demo --frames 5 --fps 2 --dir /tmp/demo
echo "demo ended with $?"
poweroff -f
EOF
chmod 755 "$root/init" "$root/main"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd"
timeout "${MARGAY_VM_TIMEOUT:-900}" qemu-system-aarch64 -M virt -cpu cortex-a72 -smp 2 -m 1536 -nographic -no-reboot -nodefaults \
    -serial stdio -kernel "$work"/boot/vmlinuz-* -initrd "$work/initrd" -append "console=ttyAMA0 panic=-1 quiet" \
    </dev/null | tr -d '\r' | tee "$work/log"

expect() { grep -q -- "$1" "$work/log" || fail "the machine did not say: $1"; }
expect 'no entry$'
expect 'classify ended with 0'
expect '^frame .* right '
expect 'demo ended with 0'
[ "$(grep -c '^worker .*holds:' "$work/log")" = 2 ] || fail "the demo did not show both workers"
! grep '^worker .*; not:' "$work/log" || fail "a worker is not contained as Debian's kernel allows"
step "aarch64: everything holds"
