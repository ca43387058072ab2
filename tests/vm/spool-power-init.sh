#!/bin/sh
# What the machine of spool_power.sh runs: finds the spool on its disk, says what is in it, and accepts messages until the
# power is cut.
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in /mod/*; do insmod "$module" || echo "FAILED: loading $module"; done
ip link set lo up
mkdir -p /data
mount -t ext4 /dev/vda /data || echo "FAILED: mounting the disk"
first=$(sed 's/.*life=\([0-9]*\).*/\1/' /proc/cmdline)000000
MARGAY_TEST_SPOOL_MACHINE="/data/spool $first" machine --exact mqtt::against_kills::machine --nocapture --test-threads=1
echo "FAILED: the publisher ended"
poweroff -f
