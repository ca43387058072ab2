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
export MARGAY_TEST_SCALE=4 MARGAY_TEST_EMULATED=1
cd /repository || exit 1
failed=0
# part WHAT COMMAND…: says when it begins, and keeps in mind whether it failed.
part() {
    read -r seconds _ </proc/uptime
    echo "== $1, after $seconds s"
    shift
    "$@" || failed=1
}
in_its_group() {
    mkdir -p /sys/fs/cgroup/sandbox
    (echo 0 >/sys/fs/cgroup/sandbox/cgroup.procs && exec "$@")
}
# One after the other: the processor is emulated.
promises_of() {
    promises --test-threads=1 --nocapture "$@"
}
part "functions that take all they can" promises_of hostile::
part "the sandbox by itself: limits, what the kernel counts, the tree, what is refused" in_its_group sandbox-promises
# Left out: functions_that_misbehave_are_named_and_limited_while_the_classifier_goes_on. One of its functions is to end five
# times after the deployment is confirmed, and an emulated processor takes longer to confirm it; `hostile` reaches the same
# limits.
part "what functions see" promises_of functions_contained:: functions_inspected:: --skip functions_that_misbehave
part "ways out" promises_of escape:: escape_links::
grep -H . /sys/fs/cgroup/cgroup.controllers
read -r seconds _ </proc/uptime
echo "after $seconds s"
[ $failed = 0 ] && echo "FUNCTION MACHINE: every promise holds"
poweroff -f
