#!/usr/bin/env bash
# Power cuts: a machine accepts messages into a spool on its disk (ext4) and says over its serial line which; qemu is
# killed at a random moment after the first; the next start must find every one of them. spool_power.sh [CUTS], about half
# a minute each.
# What this cannot show is a disk that loses what it has acknowledged a flush for: the image is the host's file.
# Needs root on Debian with: qemu-system-x86 seabios busybox-static cpio kmod e2fsprogs, and a mirror for the kernel image.
set -euo pipefail
cd "$(dirname "$0")/../.."
cuts=${1:-10}

tier="spool machine"
enable="as root on Debian x86_64: apt install qemu-system-x86 seabios busybox-static cpio kmod e2fsprogs"
. tests/vm/machine.sh
need qemu-system-x86_64 busybox cpio modprobe mkfs.ext4 apt-get dpkg-deb

target=$(cargo metadata --format-version 1 --no-deps | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)
work=$target/vm
mkdir -p "$work"

echo "== programs"
built=$(cargo test --workspace --locked --lib --no-run --message-format=json 2>/dev/null)
machine=$(grep '"name":"margay"' <<<"$built" | grep -o '"executable":"[^"]*/margay-[^"]*"' | cut -d'"' -f4 | tail -n 1)

echo "== kernel"
fetch_kernel

echo "== machine"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
put_busybox "$root" sh mount insmod poweroff mkdir sed ip echo
put_program "$root" "$machine" /bin/machine
put_modules "$root" virtio_pci virtio_blk ext4 crc32c_generic
cp tests/vm/spool-power-init.sh "$root/init"
chmod 755 "$root" "$root/init"
pack "$root" "$work/spool-initrd"

disk=$work/spool-disk.img
rm -f "$disk"
truncate -s 512M "$disk"
mkfs.ext4 -q "$disk"
accepted=$work/spool-accepted
: >"$accepted"

# life NUMBER: starts the machine with its disk; sets qemu and log.
life() {
    log=$work/spool-life-$1.log
    start_machine "$disk" "$work/spool-initrd" "$log" 1024 "life=$1"
    await '^publishing' "$log" 1800 && return 0
    echo "FAILED: life $1 does not publish"
    tail -n 20 "$log"
    kill -9 $qemu 2>/dev/null || true
    exit 1
}

# lost LOG: of the tags accepted in the lives before, how many the log does not say were found.
lost() {
    tr -d '\r' <"$1" | awk 'BEGIN{n=0} /^found /{from[n]=$2; to[n++]=$3} END{for(i=0;i<n;i++) print from[i], to[i]}' >"$work/spool-found"
    awk 'BEGIN{n=0} NR==FNR{from[n]=$1; to[n++]=$2; next} {hit=0; for(i=0;i<n;i++) if($1>=from[i] && $1<=to[i]){hit=1;break} if(!hit) c++} END{print c+0}' \
        "$work/spool-found" "$accepted"
}

failed=0
for number in $(seq 1 "$((cuts + 1))"); do
    life "$number"
    missing=$(lost "$log")
    echo "start $number: $(wc -l <"$accepted") accepted before, $missing of them missing; $(tr -d '\r' <"$log" | grep -m 1 '^damaged' | cut -c1-160)"
    [ "$missing" = 0 ] || failed=1
    [ "$number" -gt "$cuts" ] && break
    await '^accepted' "$log" 300 || true
    sleep "$((RANDOM % 8)).$((RANDOM % 10))$((RANDOM % 10))"
    cut_power
    # The last line may be half a number.
    tr -d '\r' <"$log" | sed '$d' | awk '/^accepted [0-9]+$/{print $2}' >>"$accepted"
done
kill -9 $qemu
grep -h '^FAILED' "$work"/spool-life-*.log && failed=1
[ $failed = 0 ] && [ -s "$accepted" ] && echo "SPOOL MACHINE: $cuts power cuts, $(wc -l <"$accepted") accepted messages, none lost"
