#!/usr/bin/env bash
# The kernels' tests where memory is watched: all of them, on every instruction set of the machine, under the address
# sanitizer; those with little arithmetic under Miri, which interprets the portable kernels and knows undefined behaviour
# that no machine shows. Three minutes for the first, ten for the second.
#
#     crates/kernels/tests/memory.sh [address|miri]
#
# Needs the standard library's sanitizer, which rustup's toolchains have; Miri needs a nightly one:
# rustup toolchain install nightly --component miri,rust-src
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-both}
host=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-../../target}/memory

if [ "$what" != miri ]; then
    # The stable compiler takes its unstable flags this way; nothing that is shipped is built so. As under emulation, batches are
    # one picture, and few layers are interpreted: the interpreter watches memory by itself.
    MARGAY_TEST_EMULATED=1 RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Ctarget-feature=-crt-static" CARGO_TARGET_DIR="$target" \
        cargo test -p margay-kernels --target "$host" --config 'profile.dev.package.margay-kernels.opt-level=1' --tests -- \
        --skip stack::
fi

if [ "$what" != address ]; then
    if cargo +nightly miri --version >/dev/null 2>&1; then
        MARGAY_TEST_EMULATED=1 MIRIFLAGS=-Zmiri-disable-isolation CARGO_TARGET_DIR="$target" cargo +nightly miri test -p margay-kernels --tests -- \
            attention::pixels attention::rows plans:: pooling:: pointwise::a_ pointwise::channels pointwise::tensors threads:: bounds:: arena:: share:: strips::
    elif [ "${MARGAY_TEST_REQUIRE:-}" = 1 ]; then
        echo "Miri is absent, and MARGAY_TEST_REQUIRE is 1" >&2
        exit 1
    else
        echo "skipped: Miri: rustup toolchain install nightly --component miri,rust-src"
    fi
fi
