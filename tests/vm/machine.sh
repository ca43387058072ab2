# What the scripts of machines that lose their power share: sourced, never run. Needs $work, a folder that is kept between
# runs, and for skipping $tier and $enable.

skip() {
    echo "skipped: $tier: $1"
    [ -z "${MARGAY_TEST_REQUIRE:-}" ] || exit 1
    exit 0
}

# need TOOL…: as root on x86_64, and each of them, or the tier is skipped.
need() {
    [ "$(id -u)" = 0 ] && [ "$(uname -m)" = x86_64 ] || skip "$enable"
    for tool in "$@"; do command -v "$tool" >/dev/null || skip "$enable"; done
}

# fetch_kernel: Debian's own, unpacked below $work; sets $kernel.
fetch_kernel() {
    local image
    image=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/{print $2; exit}')
    kernel=${image#linux-image-}
    [ -e "$work/$kernel/x/boot/vmlinuz-$kernel" ] && return
    mkdir -p "$work/$kernel/packages"
    (cd "$work/$kernel/packages" && apt-get download -qq "$image" 2>/dev/null) ||
        skip "apt-get update, so that $image can be downloaded"
    dpkg-deb -x "$work/$kernel/packages/$image"_*.deb "$work/$kernel/x"
    depmod -b "$work/$kernel/x" "$kernel"
}

# put_program ROOT FROM TO: a program without its debug information, with the libraries that it is linked to.
put_program() {
    mkdir -p "$1$(dirname "$3")"
    strip -o "$1$3" "$2"
    ldd "$1$3" | grep -o '/[^ ]*' | sort -u | while read -r library; do
        mkdir -p "$1$(dirname "$library")"
        cp -nL "$library" "$1$library"
    done
}

# put_modules ROOT MODULE…: with what they need, numbered in the order of their loading, in ROOT/mod.
put_modules() {
    local root=$1 wanted module number
    shift
    mkdir -p "$root/mod"
    for wanted in "$@"; do
        modprobe -d "$work/$kernel/x" -S "$kernel" --show-depends "$wanted" 2>/dev/null | awk '/insmod/{print $2}' | while read -r module; do
            [ -e "$(echo "$root"/mod/*-"$(basename "${module%.xz}")")" ] && continue
            number=$((100 + $(ls "$root/mod" | wc -l)))
            case $module in
            *.xz) xz -dc "$module" >"$root/mod/$number-$(basename "${module%.xz}")" ;;
            *) cp "$module" "$root/mod/$number-$(basename "$module")" ;;
            esac
        done
    done
}

# put_busybox ROOT TOOL…
put_busybox() {
    local root=$1 tool
    shift
    mkdir -p "$root"/{bin,dev,proc,sys,tmp}
    cp "$(command -v busybox)" "$root/bin/busybox"
    for tool in "$@"; do ln -s busybox "$root/bin/$tool"; done
}

# pack ROOT INITRD
pack() {
    (cd "$1" && find . | cpio -o -H newc --quiet) >"$2"
}

# start_machine DISK INITRD LOG MEMORY WORDS: on the command line of its kernel; sets $qemu.
start_machine() {
    : >"$3"
    qemu-system-x86_64 -accel tcg -cpu max -smp 2 -m "$4" -nographic -no-reboot -nodefaults -serial "file:$3" \
        -drive "file=$1,format=raw,if=virtio,cache=writeback" \
        -kernel "$work/$kernel/x/boot/vmlinuz-$kernel" -initrd "$2" \
        -append "console=ttyS0 panic=-1 quiet no_timer_check $5" </dev/null >/dev/null 2>&1 &
    qemu=$!
}

# await PATTERN LOG SECONDS: whether the machine says so while it runs.
await() {
    local deadline=$((SECONDS + $3))
    while [ $SECONDS -lt $deadline ]; do
        grep -q "$1" "$2" && return 0
        kill -0 "$qemu" 2>/dev/null || return 1
        sleep 0.3
    done
    return 1
}

# cut_power: what was not on the disk never will be.
cut_power() {
    kill -9 "$qemu"
    wait "$qemu" 2>/dev/null || true
}
