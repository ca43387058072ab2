#!/usr/bin/env bash
# The kernels' tests for 64-bit Arm under qemu-user.
#
#   crates/kernels/tests/neon.sh
#
# Needs the target aarch64-unknown-linux-gnu, cargo-zigbuild and qemu-user-static; fetches glibc for arm64 from Debian's
# mirror. MARGAY_TEST_OBJDUMP=aarch64-linux-gnu-objdump (binutils-aarch64-linux-gnu) has the machine code of the inner loops
# looked at, too; the loops over what is left of a run in fully connected layers keep vectors on the stack. Emulation takes a hundred times as long: MARGAY_TEST_EMULATED leaves out what has nothing to
# do with Arm's instructions, and the interpreter of the largest networks. One test at a time, since each has two threads that
# wait for each other by spinning: on fewer processors than threads that spin, every meeting would take a time slice.
set -euo pipefail
cd "$(dirname "$0")/../../.."
. tests/artefacts/debian.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for tool in qemu-aarch64-static cargo-zigbuild; do
    command -v $tool >/dev/null || {
        echo "skipped: NEON: apt install qemu-user-static; pip install cargo-zigbuild ziglang"
        exit "${MARGAY_TEST_REQUIRE:-0}"
    }
done
download arm64 "$work/debs" libc6 libgcc-s1
for package in "$work"/debs/*; do dpkg-deb -x "$package" "$work/system"; done
program=$(cargo zigbuild --locked --tests -p margay-kernels --test kernels --target aarch64-unknown-linux-gnu.2.27 \
    --message-format=json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\/kernels-[^"]*\)".*/\1/p' | tail -n 1)
skipped=()
[ -n "${MARGAY_TEST_OBJDUMP:-}" ] || skipped=(--skip stack::)
MARGAY_TEST_EMULATED=1 MARGAY_TEST_REQUIRE=1 timeout "${MARGAY_VM_TIMEOUT:-900}" \
    qemu-aarch64-static -L "$work/system" "$program" --test-threads=1 "${skipped[@]}"
