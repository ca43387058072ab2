#!/usr/bin/env bash
# Power cuts: a machine accepts messages into a spool on its disk (ext4) and says over its serial line which; qemu is
# killed at a random moment after the first; the next start must find every one of them. spool_power.sh [CUTS], about half a minute each.
# What this cannot show is a disk that loses what it has acknowledged a flush for: the image is the host's file.
# Needs root on Debian with: qemu-system-x86 seabios busybox-static cpio kmod e2fsprogs, and a mirror for the kernel image.
set -euo pipefail
cd "$(dirname "$0")/../.."
cuts=${1:-10}

skip() {
    echo "skipped: spool machine: $1"
    [ -z "${MARGAY_TEST_REQUIRE:-}" ] || exit 1
    exit 0
}
enable="as root on Debian x86_64: apt install qemu-system-x86 seabios busybox-static cpio kmod e2fsprogs"
[ "$(id -u)" = 0 ] && [ "$(uname -m)" = x86_64 ] || skip "$enable"
for tool in qemu-system-x86_64 busybox cpio modprobe mkfs.ext4 apt-get dpkg-deb; do
    command -v $tool >/dev/null || skip "$enable"
done

target=$(cargo metadata --format-version 1 --no-deps | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)
work=$target/vm
mkdir -p "$work"

echo "== programs"
built=$(cargo test --workspace --locked --lib --no-run --message-format=json 2>/dev/null)
machine=$(grep '"name":"margay"' <<<"$built" | grep -o '"executable":"[^"]*/margay-[^"]*"' | cut -d'"' -f4 | tail -n 1)

echo "== kernel"
image=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/{print $2; exit}')
kernel=${image#linux-image-}
if [ ! -e "$work/$kernel/x/boot/vmlinuz-$kernel" ]; then
    mkdir -p "$work/$kernel/packages"
    (cd "$work/$kernel/packages" && apt-get download -qq "$image" 2>/dev/null) ||
        skip "apt-get update, so that $image can be downloaded"
    dpkg-deb -x "$work/$kernel/packages/$image"_*.deb "$work/$kernel/x"
    depmod -b "$work/$kernel/x" "$kernel"
fi

echo "== machine"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,proc,sys,tmp,mod}
cp "$(command -v busybox)" "$root/bin/busybox"
for tool in sh mount insmod poweroff mkdir sed ip echo; do ln -s busybox "$root/bin/$tool"; done
strip -o "$root/bin/machine" "$machine"
ldd "$root/bin/machine" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -nL "$library" "$root$library"
done
number=10
for wanted in virtio_pci virtio_blk ext4 crc32c_generic; do
    modprobe -d "$work/$kernel/x" -S "$kernel" --show-depends $wanted 2>/dev/null | awk '/insmod/{print $2}' | while read -r module; do
        [ -e "$(echo "$root"/mod/*-"$(basename "${module%.xz}")")" ] && continue
        case $module in
        *.xz) xz -dc "$module" >"$root/mod/$(printf %s "$(ls "$root/mod" | wc -l | awk '{print 100+$1}')")-$(basename "${module%.xz}")" ;;
        *) cp "$module" "$root/mod/$(ls "$root/mod" | wc -l | awk '{print 100+$1}')-$(basename "$module")" ;;
        esac
    done
done
cp tests/vm/spool-power-init.sh "$root/init"
chmod 755 "$root" "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet) >"$work/spool-initrd"

disk=$work/spool-disk.img
rm -f "$disk"
truncate -s 512M "$disk"
mkfs.ext4 -q "$disk"
accepted=$work/spool-accepted
: >"$accepted"

# life NUMBER: starts the machine with its disk; sets qemu and log.
life() {
    log=$work/spool-life-$1.log
    : >"$log"
    qemu-system-x86_64 -accel tcg -cpu max -smp 1 -m 1024 -nographic -no-reboot -nodefaults -serial "file:$log" \
        -drive "file=$disk,format=raw,if=virtio,cache=writeback" \
        -kernel "$work/$kernel/x/boot/vmlinuz-$kernel" -initrd "$work/spool-initrd" \
        -append "console=ttyS0 panic=-1 quiet no_timer_check life=$1" </dev/null >/dev/null 2>&1 &
    qemu=$!
    for _ in $(seq 3600); do
        grep -q '^publishing' "$log" && return 0
        kill -0 $qemu 2>/dev/null || break
        sleep 0.5
    done
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
    for _ in $(seq 600); do
        grep -q '^accepted' "$log" && break
        sleep 0.5
    done
    sleep "$((RANDOM % 8)).$((RANDOM % 10))$((RANDOM % 10))"
    kill -9 $qemu
    wait $qemu 2>/dev/null || true
    # The last line may be half a number.
    tr -d '\r' <"$log" | sed '$d' | awk '/^accepted [0-9]+$/{print $2}' >>"$accepted"
done
kill -9 $qemu
grep -h '^FAILED' "$work"/spool-life-*.log && failed=1
[ $failed = 0 ] && [ -s "$accepted" ] && echo "SPOOL MACHINE: $cuts power cuts, $(wc -l <"$accepted") accepted messages, none lost"
