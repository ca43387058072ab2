#!/bin/sh
# What the machine of functions.sh runs: the promises of functions, on control groups of version 2 only.
export PATH=/bin:/usr/bin
[ -e /moved ] || {
    # The kernel cannot exchange the initramfs as a root, which sandboxes need: the system moves to a tmpfs first.
    mount -t proc proc /proc
    mkdir /new && mount -t tmpfs -o size=1500m,mode=755 tmpfs /new
    for folder in /*; do
        case $folder in /new | /proc | /sys | /dev) ;; *) cp -a "$folder" /new/ ;; esac
    done
    mkdir -p /new/dev /new/proc /new/sys /new/tmp /new/run
    chmod 1777 /new/tmp /new/var/tmp
    touch /new/moved
    exec switch_root /new /init
}
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup /sys/fs/cgroup
# As systemd does: every service's group may have them.
echo '+memory +pids +cpu' >/sys/fs/cgroup/cgroup.subtree_control
for module in /mod/*; do insmod "$module" || echo "FAILED: loading $module"; done
ip link set lo up
echo # The firmware leaves its line unfinished.
# The processor is emulated: waits may be longer. What counts is scaled, too, so that the thousand cycles stay outside.
export MARGAY_TEST_SCALE=4
cd /repository || exit 1
failed=0
# The sandbox by itself: limits, the kernel's counts of what it ended for them, the tree, what is refused.
mkdir /sys/fs/cgroup/sandbox
(echo 0 >/sys/fs/cgroup/sandbox/cgroup.procs && exec sandbox-promises) || failed=1
# One after the other: the processor is emulated.
promises --test-threads=1 --nocapture escape:: escape_links:: hostile:: functions_contained:: functions_inspected:: || failed=1
grep -H . /sys/fs/cgroup/cgroup.controllers
[ $failed = 0 ] && echo "FUNCTION MACHINE: every promise holds"
poweroff -f
