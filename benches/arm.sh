#!/usr/bin/env bash
# Instructions that one inference takes on 64-bit Arm, without Arm hardware: Debian's arm64 kernel under qemu, whose clock
# goes on by one nanosecond with each instruction, so that the time that the bench measures in there is the count. One
# thread. Counts are not time: they leave out the memory, dependencies and what one core does better than another.
#
#   benches/arm.sh ENGINES NETWORKS [CPU...]
#
# ENGINES is the bench, built for aarch64-unknown-linux-gnu (cargo build --release --example engines --target …); NETWORKS
# a folder with the ONNX files (benches/peers/networks/export.py writes them); CPU cortex-a72 and cortex-a76 by default.
# Needs qemu-system-arm and cpio; fetches kernel, busybox and glibc for arm64 from Debian's mirror. A minute or two a CPU.
set -euo pipefail
engines=$(realpath "$1") networks=$(realpath "$2")
shift 2
[ $# -gt 0 ] || set -- cortex-a72 cortex-a76
cd "$(dirname "$0")/.."
. tests/artefacts/debian.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What ncnn 1.0.20261020 takes, fp32 with Winograd's method, in millions, measured in the same way (Cortex-A72).
declare -A ncnn=([mobilenet_v3_small]=24.2 [mobilenet_v2]=101.6 [squeezenet1_1]=75.9 [resnet18]=241.6)

download arm64 "$work/debs" linux-image busybox-static libc6 libgcc-s1
root=$work/root
mkdir -p "$root"/{proc,sys,dev,tmp,bin,m}
for package in "$work"/debs/{busybox-static,libc6,libgcc-s1}*; do dpkg-deb -x "$package" "$root"; done
dpkg-deb --fsys-tarfile "$work"/debs/linux-image* | tar -C "$work" -xf - --wildcards './boot/vmlinuz-*'
cp "$engines" "$root/engines"
for name in "${!ncnn[@]}"; do cp "$networks/$name.onnx" "$root/m/"; done
cat >"$root/init" <<'EOF'
#!/bin/busybox sh
/bin/busybox mount -t proc p /proc
for engine in compiled compiled:direct; do
    for model in /m/*.onnx; do
        # The least of three runs: interrupts add some thousand instructions.
        echo "COUNT $engine $(/bin/busybox basename $model .onnx) $(echo 3 | /engines $engine $model 224 | /bin/busybox tail -n 1)"
    done
done
/bin/busybox poweroff -f
EOF
chmod 755 "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd"

for cpu in "$@"; do
    timeout "${MARGAY_VM_TIMEOUT:-900}" qemu-system-aarch64 -M virt -cpu "$cpu" -smp 1 -m 2048 -icount shift=0,sleep=off -nographic \
        -no-reboot -nodefaults -serial stdio -kernel "$work"/boot/vmlinuz-* -initrd "$work/initrd" \
        -append "console=ttyAMA0 panic=-1 quiet rdinit=/init" </dev/null | tr -d '\r' >"$work/$cpu" || true
    if ! grep -q COUNT "$work/$cpu"; then cat "$work/$cpu" >&2 && exit 1; fi
done

echo "| network | $(printf '%s | ' "$@")without Winograd, $1 | ncnn | ratio |"
echo "|---|$(printf -- '---|%.0s' "$@")---|---|---|"
for name in mobilenet_v3_small mobilenet_v2 squeezenet1_1 resnet18; do
    row="| $name |"
    for cpu in "$@"; do row+=" $(awk -v n="$name" '$2 == "compiled" && $3 == n { printf "%.1f", $4 }' "$work/$cpu") |"; done
    first=$(awk -v n="$name" '$2 == "compiled" && $3 == n { print $4 }' "$work/$1")
    row+=" $(awk -v n="$name" '$2 == "compiled:direct" && $3 == n { printf "%.1f", $4 }' "$work/$1") | ${ncnn[$name]} |"
    echo "$row $(awk -v a="$first" -v b="${ncnn[$name]}" 'BEGIN { printf "%.2f", a / b }') |"
done
