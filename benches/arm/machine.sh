# shellcheck shell=bash
# Sourced by arm.sh and arm_int8.sh: a 64-bit Arm machine under qemu whose clock goes on by one nanosecond with each
# instruction. Needs qemu-system-arm and cpio; kernel, busybox and libraries come from Debian's mirror.

. tests/artefacts/debian.sh

# unpack WORK PACKAGE...: the kernel into WORK/boot, busybox, glibc and the packages into WORK/root, the machine's root.
unpack() {
    local work=$1 package
    shift
    download arm64 "$work/debs" linux-image busybox-static libc6 libgcc-s1 "$@"
    mkdir -p "$work"/root/{proc,sys,dev,tmp,bin,m}
    for package in "$work"/debs/*; do
        case $package in
        */linux-image*) dpkg-deb --fsys-tarfile "$package" | tar -C "$work" -xf - --wildcards './boot/vmlinuz-*' ;;
        *) dpkg-deb -x "$package" "$work/root" ;;
        esac
    done
    rm -rf "$work/root/usr/share"
}

# pack WORK: the root with WORK/root/init, which reads the machine's commands from standard input, as WORK/initrd.
pack() {
    {
        printf '#!/bin/busybox sh\n/bin/busybox mount -t proc p /proc\n/bin/busybox mount -t sysfs s /sys\n'
        cat
        echo '/bin/busybox poweroff -f'
    } >"$1/root/init"
    chmod 755 "$1/root/init"
    (cd "$1/root" && find . | cpio -o -H newc --quiet | gzip -1) >"$1/initrd"
}

# run WORK CPU: what the machine says, also into WORK/CPU.
run() {
    timeout "${MARGAY_VM_TIMEOUT:-3000}" qemu-system-aarch64 -M virt -cpu "$2" -smp 1 -m "${MARGAY_VM_MIB:-2048}" \
        -icount shift=0,sleep=off -nographic -no-reboot -nodefaults -serial stdio -kernel "$1"/boot/vmlinuz-* \
        -initrd "$1/initrd" -append "console=ttyAMA0 panic=-1 quiet rdinit=/init" </dev/null |
        sed -u 's,\r,,g' | tee "$1/$2" >&2 || true
}

# count WORK ENGINE NETWORK CPU: the millions of instructions on the machine's line `COUNT ENGINE NETWORK …`.
count() { awk -v e="$2" -v n="$3" '$1 == "COUNT" && $2 == e && $3 == n { printf "%.1f", $4 }' "$1/$4"; }

# all_counted WORK CPU NUMBER: fails where there are not as many counts.
all_counted() {
    [ "$(grep -c '^COUNT .* [0-9]' "$1/$2")" = "$3" ] || { echo "$2 did not count all of them" >&2 && return 1; }
}
