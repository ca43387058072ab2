#!/usr/bin/env bash
# Instructions that one inference takes on 64-bit Arm, without Arm hardware: Debian's arm64 kernel under qemu, whose clock
# goes on by one nanosecond with each instruction, so that the time that the bench measures in there is the count. One
# thread. Counts are not time: they leave out the memory, dependencies and what one core does better than another.
#
#   benches/arm.sh ENGINES NETWORKS [CPU...]
#
# ENGINES is the bench, built for aarch64-unknown-linux-gnu (cargo zigbuild --release -p margay-inference --example engines
# --target aarch64-unknown-linux-gnu.2.27); NETWORKS a folder with the ONNX files (benches/peers/networks/export.py writes
# them); CPU cortex-a72 and cortex-a76 by default. MARGAY_ARM_ENGINES says which engines are counted, "compiled tract" by
# default; "compiled:direct" is the compiled one without Winograd's method. MARGAY_ARM_ONNXRUNTIME names ONNX Runtime's library
# for arm64, as its wheels have it (libonnxruntime.so.1.31.1), which is then counted, too: for quantised networks
# (peers/networks/quantise.py, under the names of the others), of which the columns of peers say nothing.
#
# Needs qemu-system-arm and cpio; fetches kernel, busybox and glibc for arm64 from Debian's mirror. arm/caches.c follows loads
# and stores through simulated caches, under qemu-user: what more runs of the bench add to its report is theirs. Three minutes
# a CPU where nothing else runs.
set -euo pipefail
engines=$(realpath "$1") networks=$(realpath "$2") library=${MARGAY_ARM_ONNXRUNTIME:+$(realpath "$MARGAY_ARM_ONNXRUNTIME")}
shift 2
[ $# -gt 0 ] || set -- cortex-a72 cortex-a76
cd "$(dirname "$0")/.."
. benches/arm/machine.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
names=(mobilenet_v3_small mobilenet_v2 squeezenet1_1 resnet18)
read -ra counted <<<"${MARGAY_ARM_ENGINES:-compiled tract}"

# What Python's wheels take, in millions, counted in the same machine (Cortex-A72; A76 differs by less than 0.1 %), with the
# same graphs and random weights: ncnn 1.0.20261020, fp32 with Winograd's method, LiteRT 2.3.0, ONNX Runtime 1.31.1.
declare -A ncnn=([mobilenet_v3_small]=24.2 [mobilenet_v2]=101.6 [squeezenet1_1]=75.9 [resnet18]=241.6)
declare -A litert=([mobilenet_v3_small]=28.7 [mobilenet_v2]=124.1 [squeezenet1_1]=137.1 [resnet18]=666.8)
declare -A onnxruntime=([mobilenet_v3_small]=80.5 [mobilenet_v2]=180.9 [squeezenet1_1]=136.5 [resnet18]=665.9)

packages=()
if [ -n "$library" ]; then
    packages+=(libstdc++6)
    counted+=(onnxruntime:/libonnxruntime.so)
fi
unpack "$work" "${packages[@]}"
cp "$engines" "$work/root/engines"
[ -z "$library" ] || cp "$library" "$work/root/libonnxruntime.so"
for name in "${names[@]}"; do cp "$networks/$name.onnx" "$work/root/m/"; done
pack "$work" <<EOF
for model in ${names[*]}; do
    for engine in ${counted[*]}; do
        # The second of two warm runs: interrupts add some thousand instructions.
        echo "COUNT \$engine \$model \$(echo 1 | /engines \$engine /m/\$model.onnx 224 | /bin/busybox tail -n 1)"
    done
done
EOF

for cpu in "$@"; do
    run "$work" "$cpu"
    all_counted "$work" "$cpu" $((${#names[@]} * ${#counted[@]}))
done

columns=()
for engine in "${counted[@]}"; do for cpu in "$@"; do columns+=("$engine, $cpu"); done; done
echo "| network | $(printf '%s | ' "${columns[@]}")ncnn | LiteRT | ONNX Runtime | ${counted[0]} / ncnn |"
echo "|---|$(printf -- '---|%.0s' "${columns[@]}")---|---|---|---|"
for name in "${names[@]}"; do
    row="| $name |"
    for engine in "${counted[@]}"; do for cpu in "$@"; do row+=" $(count "$work" "$engine" "$name" "$cpu") |"; done; done
    ratio=$(awk -v a="$(count "$work" "${counted[0]}" "$name" "$1")" -v b="${ncnn[$name]}" 'BEGIN { printf "%.2f", a / b }')
    echo "$row ${ncnn[$name]} | ${litert[$name]} | ${onnxruntime[$name]} | $ratio |"
done
