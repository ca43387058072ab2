#!/usr/bin/env bash
# Power cuts in the middle of deployments: in a virtual machine two groups are deployed in turns by a core whose write
# directory is on a disk (ext4); qemu is killed at a random moment; at its next start the core must run one of the two as a
# whole, finish what was under way, and leave nothing unfinished. deployment_power.sh [CUTS], about a minute each.
# What this cannot show is a disk that loses what it has acknowledged a flush for: the image is the host's file.
# Needs root on Debian with: qemu-system-x86 seabios busybox-static cpio kmod e2fsprogs, and a mirror for the kernel image.
set -euo pipefail
cd "$(dirname "$0")/../.."
cuts=${1:-10}

tier="deployment machine"
enable="as root on Debian x86_64: apt install qemu-system-x86 seabios busybox-static cpio kmod e2fsprogs"
. tests/vm/machine.sh
need qemu-system-x86_64 busybox cpio modprobe mkfs.ext4 apt-get dpkg-deb

target=$(cargo metadata --format-version 1 --no-deps | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)
work=$target/vm
mkdir -p "$work"

echo "== program and kernel"
cargo build --workspace --locked -q
fetch_kernel

echo "== machine"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
put_busybox "$root" sh mount insmod poweroff mkdir sed ip echo cp touch sleep grep kill ls cat wc tail switch_root tr
put_program "$root" "$target/debug/margay" /bin/margay
put_modules "$root" virtio_pci virtio_blk ext4 crc32c_generic
mkdir -p "$root"/{etc,packages,usr}
cp models/signs/road-signs-int8-1.0.0.tar.gz "$root/packages/int8.tar.gz"
printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
cp tests/vm/deployment-power-init.sh "$root/init"
chmod 755 "$root" "$root/init"
pack "$root" "$work/deployment-initrd"

disk=$work/deployment-disk.img
rm -f "$disk"
truncate -s 512M "$disk"
mkfs.ext4 -q "$disk"

failed=0
fail() { # fail LIFE WHAT
    echo "FAILED: life $1 $2"
    tail -n 20 "$log"
    failed=1
}
for number in $(seq 1 "$((cuts + 1))"); do
    log=$work/deployment-life-$number.log
    start_machine "$disk" "$work/deployment-initrd" "$log" 2048 "life=$number"
    await '^deploying' "$log" 900 || { fail "$number" "does not come to deploy"; cut_power; break; }
    tr -d '\r' <"$log" | grep -h '^before\|^first\|^settled' | sed "s/^/life $number: /"
    # Whole, and what is recorded runs; at most what runs and what ran before.
    [ "$number" = 1 ] || grep -q '^before [AB]' "$log" || fail "$number" "finds no whole group on its disk"
    tr -d '\r' <"$log" | grep -Eq '^settled (A A|B B), unfinished: 0, models: [12]$' || fail "$number" "does not settle"
    [ "$number" -gt "$cuts" ] && { cut_power; break; }
    sleep "$((RANDOM % 20)).$((RANDOM % 10))$((RANDOM % 10))"
    cut_power
done
for number in $(seq 1 "$((cuts + 1))"); do
    grep -h '^FAILED' "$work/deployment-life-$number.log" && failed=1
done
echo "$(cat "$work"/deployment-life-*.log | grep -c '^deployed') deployments finished before the cuts"
[ $failed = 0 ] && echo "DEPLOYMENT MACHINE: $cuts power cuts, the old group or the new one each time, nothing unfinished"
