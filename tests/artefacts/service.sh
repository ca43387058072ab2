#!/usr/bin/env bash
# The service under a real systemd, in an emulated machine with Debian's kernel: it starts under all its hardening, its
# workers are contained in every row, reload and stop work, a core that stands still is started again by the watchdog.
#
#   tests/artefacts/service.sh PACKAGE_amd64.deb
#
# Needs root, debootstrap, qemu-system-x86, cpio, busybox-static; takes some minutes. Prints what systemctl and margay say.
set -euo pipefail
package=$(realpath "$1")
cd "$(dirname "$0")/../.."
. tests/artefacts/debian.sh
work=$(mktemp -d)
trap 'umount "$work/root/proc" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
step() { printf -- '-- %s\n' "$*"; }
fail() { printf 'service.sh: %s\n' "$*" >&2; exit 1; }
for tool in debootstrap qemu-system-x86_64 cpio busybox mke2fs; do
    command -v $tool >/dev/null || {
        echo "skipped: service: apt install debootstrap qemu-system-x86 cpio busybox-static e2fsprogs"
        exit "${MARGAY_TEST_REQUIRE:-0}"
    }
done

step "Debian with systemd, its kernel, the package"
root=$work/root
debootstrap --variant=minbase --include=systemd,systemd-sysv $suite "$root" "$mirror" >"$work/debootstrap.log" ||
    { tail "$work/debootstrap.log" >&2; fail "debootstrap failed"; }
download amd64 "$work/debs" linux-image
dpkg-deb -x "$work"/debs/linux-image*.deb "$work/kernel"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
cp "$package" "$root/margay.deb"
chroot "$root" dpkg -i /margay.deb
rm "$root/margay.deb"

step "a device with its model: what a demo leaves"
dpkg-deb --fsys-tarfile "$package" | tar -C "$work" -xf - ./usr/bin/margay
"$work/usr/bin/margay" demo --frames 3 --keep --dir "$work/demo" >/dev/null
mkdir "$root/demo" && cp -r "$work/demo/." "$root/demo"
sed -i "s#$work/demo#/demo#g" "$root/demo/greengrass/config/config.json" \
    "$root/demo/greengrass/ggc/deployment/group/group.json"
on_paths_of_v1 /demo "$root"
rm -rf "$root/demo"

cat >"$root/probe" <<'EOF'
#!/bin/sh
export SYSTEMD_COLORS=0
wait_up() {
    i=0
    while [ $i -lt 90 ] && ! margay status 2>/dev/null | grep -q ' [1-9][0-9]* classified'; do
        sleep 1
        i=$((i + 1))
    done
}
value() { systemctl show -p "$1" --value margay; }
wait_up
sleep 12 # a sign of life carries the line
systemctl --no-pager -n 0 status margay
margay status --containment
systemctl reload margay && echo "reload: $(systemctl is-active margay)"
systemctl stop margay && echo "stopped: $(value Result)"
mkdir -p /run/systemd/system/margay.service.d
printf '[Service]\nWatchdogSec=8\n' >/run/systemd/system/margay.service.d/watchdog.conf
systemctl daemon-reload && systemctl start margay
wait_up
sleep 20
echo "fed: $(value NRestarts) restarts"
kill -STOP "$(value MainPID)"
sleep 30
wait_up
echo "starved: $(value NRestarts) restarts, $(systemctl is-active margay)"
systemd-analyze --no-pager security margay | tail -n 1
poweroff -f
EOF
chmod 755 "$root/probe"
cat >"$root/etc/systemd/system/probe.service" <<'EOF'
[Service]
ExecStart=/probe
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
EOF
ln -s ../probe.service "$root/etc/systemd/system/multi-user.target.wants/probe.service"
mke2fs -q -t ext4 -d "$root" "$work/disk" 1200M

step "the machine"
mkdir -p "$work/initrd"/{bin,modules,root,dev,proc}
cp "$(command -v busybox)" "$work/initrd/bin"
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk crc16 crc32c_generic \
    libcrc32c mbcache jbd2 ext4; do
    find "$work/kernel/lib/modules" -name "$module.ko" -exec cp {} "$work/initrd/modules" \;
done
cat >"$work/initrd/init" <<'EOF'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
# Each pass loads what the one before has made possible.
for pass in 1 2 3 4; do
    for module in /modules/*.ko; do /bin/busybox insmod "$module" 2>/dev/null; done
done
/bin/busybox sleep 1
/bin/busybox mount -t ext4 /dev/vda /root && exec /bin/busybox switch_root /root /sbin/init
/bin/busybox poweroff -f
EOF
chmod 755 "$work/initrd/init"
(cd "$work/initrd" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd.gz"
timeout "${MARGAY_VM_TIMEOUT:-900}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1200 -nographic -no-reboot \
    -nodefaults -serial stdio -drive "file=$work/disk,format=raw,if=virtio" -kernel "$work"/kernel/boot/vmlinuz-* \
    -initrd "$work/initrd.gz" -append "console=ttyS0 panic=-1 quiet systemd.show_status=0" </dev/null |
    tr -d '\r' | tee "$work/log"

expect() { grep -q -- "$1" "$work/log" || fail "the machine did not say: $1"; }
expect 'Active: active (running)'
expect 'Status: "camera road: [1-9][0-9]* frames, [1-9]'
[ "$(grep -c '^worker .*holds:' "$work/log")" = 2 ] || fail "both workers should be shown"
! grep '^worker .*; not:' "$work/log" || fail "the unit keeps a worker from being contained"
expect '^reload: active'
expect '^fed: 0 restarts'
expect '^starved: 1 restarts, active'
expect '^stopped: success'
step "service: everything holds"
