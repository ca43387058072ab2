#!/usr/bin/env bash
# Instructions that one inference of a quantised network takes on 64-bit Arm, the compiled engine beside ncnn, LiteRT and
# ONNX Runtime, all in one machine under qemu, as in arm.sh. One thread. Counts are not time.
#
#   benches/arm_int8.sh ENGINES NETWORKS [CPU...]
#
# ENGINES is the bench, built as for arm.sh; NETWORKS a folder that arm/quantised.py filled; CPU cortex-a72, which has no dot
# products, and cortex-a76, which has, by default. MARGAY_ARM_NETWORKS says which networks. A peer's count includes what
# Python copies; the picture and the scores are floats for all. ncnn has the floats of 16 bits between its layers of bytes that
# it takes by default where the processor has them, as the Cortex-A76.
#
# Needs qemu-system-arm, cpio and pip; the rest comes from Debian's mirror and PyPI, whose newest wheels for arm64 are taken.
set -euo pipefail
engines=$(realpath "$1") networks=$(realpath "$2")
shift 2
[ $# -gt 0 ] || set -- cortex-a72 cortex-a76
cd "$(dirname "$0")/.."
. benches/arm/machine.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
read -ra names <<<"${MARGAY_ARM_NETWORKS:-mobilenet_v3_small mobilenet_v2 squeezenet1_1 resnet18}"
counted=(compiled ncnn litert onnxruntime)

unpack "$work" python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libstdc++6 libgomp1 zlib1g libexpat1 libffi8 \
    libssl3 libbz2-1.0 liblzma5
python3 -m pip install -q --target "$work/root/site" --only-binary=:all: --no-deps --no-compile --python-version 3.11 \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 \
    numpy ncnn ai-edge-litert onnxruntime
(cd "$work/root/site" && echo *.dist-info)
cp "$engines" "$work/root/engines"
cp benches/peers/runtimes.py "$work/root/"
for name in "${names[@]}"; do cp "$networks/$name.int8".{onnx,ncnn.param,ncnn.bin,tflite} "$work/root/m/"; done
pack "$work" <<EOF
export HOME=/tmp PYTHONPATH=/site OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# counted ENGINE NETWORK COMMAND: the least of three warm runs, on the processor: other tasks of the kernel do not count.
counted() {
    echo "COUNT \$1 \$2 \$(echo 3 | \$3 2>/tmp/errors | /bin/busybox awk 'END { print \$3 }')"
    /bin/busybox tail -n 3 /tmp/errors
}
python="/usr/bin/python3.11 -B /runtimes.py"
for model in ${names[*]}; do
    counted compiled \$model "/engines compiled /m/\$model.int8.onnx 224"
    counted ncnn \$model "\$python ncnn16 /m/\$model.int8.ncnn.param 1 224"
    counted litert \$model "\$python litert /m/\$model.int8.tflite 1 224"
    counted onnxruntime \$model "\$python onnxruntime /m/\$model.int8.onnx 1 224"
done
EOF

for cpu in "$@"; do
    MARGAY_VM_MIB=4096 run "$work" "$cpu"
    all_counted "$work" "$cpu" $((${#names[@]} * ${#counted[@]}))
done
for cpu in "$@"; do
    printf '\n%s, millions of instructions\n\n| network |' "$cpu"
    printf ' %s |' "${counted[@]}" "compiled to the best peer"
    printf '\n|---|'
    printf -- '---|%.0s' "${counted[@]}" ratio
    echo
    for name in "${names[@]}"; do
        values=()
        for engine in "${counted[@]}"; do values+=("$(count "$work" "$engine" "$name" "$cpu")"); done
        printf '| %s |' "$name"
        printf ' %s |' "${values[@]}"
        printf '%s\n' "${values[@]}" |
            awk 'NR == 1 { ours = $1 } NR == 2 || (NR > 2 && $1 < best) { best = $1 } END { printf " %.2f |\n", ours / best }'
    done
done
