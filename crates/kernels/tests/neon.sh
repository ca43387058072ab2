#!/usr/bin/env bash
# The kernels' tests for 64-bit Arm under qemu-user, and a look at the machine code of their inner loops: one to three minutes.
#
#   crates/kernels/tests/neon.sh
#
# Needs the target aarch64-unknown-linux-gnu, cargo-zigbuild, qemu-user-static and binutils-aarch64-linux-gnu; fetches glibc
# for arm64 from Debian's mirror. The processor has all that qemu knows, i8mm included (7.2 does).
# MARGAY_TEST_EMULATED leaves out what has nothing to do with Arm's instructions, the portable
# kernels, and the interpreter of the largest networks, which emulation would have take minutes. One test at a time, since each
# has two threads that wait for each other by spinning: on fewer processors than threads that spin, every meeting would take a
# time slice.
set -euo pipefail
cd "$(dirname "$0")/../../.."
. tests/artefacts/debian.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for tool in qemu-aarch64-static cargo-zigbuild aarch64-linux-gnu-objdump; do
    command -v $tool >/dev/null || {
        echo "skipped: NEON: apt install qemu-user-static binutils-aarch64-linux-gnu; pip install cargo-zigbuild ziglang"
        exit "${MARGAY_TEST_REQUIRE:-0}"
    }
done
download arm64 "$work/debs" libc6 libgcc-s1
for package in "$work"/debs/*; do dpkg-deb -x "$package" "$work/system"; done
program=$(cargo zigbuild --locked --tests -p margay-kernels --test kernels --target aarch64-unknown-linux-gnu.2.27 \
    --message-format=json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\/kernels-[^"]*\)".*/\1/p' | tail -n 1)
# The program looks at its own machine code, by a disassembler of the machine that emulates.
MARGAY_TEST_OBJDUMP=aarch64-linux-gnu-objdump MARGAY_TEST_EMULATED=1 MARGAY_TEST_REQUIRE=1 \
    timeout "${MARGAY_VM_TIMEOUT:-900}" qemu-aarch64-static -cpu max -L "$work/system" "$program" --test-threads=1
