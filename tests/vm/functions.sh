#!/usr/bin/env bash
# Users' functions where control groups are version 2 only: in a virtual machine with Debian's kernel the promises of
# functions, the escape suite among them, hold for a core in a control group of its own, as systemd's Delegate= gives one.
# Five to fifteen minutes, because the processor is emulated.
# Needs root on Debian with: qemu-system-x86 seabios busybox-static cpio kmod python3, and a mirror for the kernel image.
set -euo pipefail
cd "$(dirname "$0")/../.."

tier="function machine"
enable="as root on Debian x86_64: apt install qemu-system-x86 seabios busybox-static cpio kmod python3"
. tests/vm/machine.sh
need qemu-system-x86_64 busybox cpio modprobe apt-get dpkg-deb /usr/bin/python3

target=$(cargo metadata --format-version 1 --no-deps | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)
work=$target/vm
mkdir -p "$work"

echo "== programs and kernel"
cargo build --workspace --locked -q
built=$(cargo test --workspace --locked --no-run --test promises --message-format=json 2>/dev/null)
# The sandbox crate has promises, too; those here are the ones that are given the margay program.
executables=$(grep '"name":"promises"' <<<"$built")
promises=$(grep -v crates/sandbox <<<"$executables" | grep -o '"executable":"[^"]*"' | cut -d'"' -f4)
sandbox=$(grep crates/sandbox <<<"$executables" | grep -o '"executable":"[^"]*"' | cut -d'"' -f4)
fetch_kernel

echo "== machine"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
put_busybox "$root" sh mount insmod poweroff mkdir sed ip echo cp touch sleep grep kill ls cat wc tail head switch_root id \
    mknod mkfifo chmod env test su true
put_program "$root" "$target/debug/margay" /bin/margay
put_program "$root" "$promises" /bin/promises
put_program "$root" "$sandbox" /bin/sandbox-promises
put_program "$root" "$(realpath /usr/bin/python3)" /usr/bin/python3
put_modules "$root" overlay
library=$(/usr/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
mkdir -p "$root$library" "$root"/{etc,usr/bin,var/tmp,run,mnt,opt}
(cd "$library" && find . -name __pycache__ -prune -o \( -path ./test -o -path ./idlelib -o -path ./lib2to3 -o -path ./ensurepip \
    -o -path ./dist-packages -o -path './config-*' \) -prune -o -type f -print | cpio -pdm --quiet "$root$library")
ldd "$library"/lib-dynload/*.so | grep -o '/[^ ]*' | grep -v ':$' | sort -u | while read -r needed; do
    mkdir -p "$root$(dirname "$needed")"
    cp -nL "$needed" "$root$needed"
done
# Promises start the program where cargo built it, in the repository. There it is a script that gives the core a control
# group of its own first.
mkdir -p "$root$(realpath -s "$target")/debug" "$root/repository/models/signs"
cp -r models/signs/frames "$root/repository/models/signs/"
cat >"$root$(realpath -s "$target")/debug/margay" <<'WRAPPER'
#!/bin/sh
if [ "$1" = run ]; then
    mkdir -p "/sys/fs/cgroup/margay-$$.service"
    echo $$ >"/sys/fs/cgroup/margay-$$.service/cgroup.procs"
fi
exec /bin/margay "$@"
WRAPPER
chmod 755 "$root$(realpath -s "$target")/debug/margay"
printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf 'root:*:1:0:99999:7:::\n' >"$root/etc/shadow"
chmod 600 "$root/etc/shadow"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
cp tests/vm/functions-init.sh "$root/init"
chmod 755 "$root" "$root/init"
pack "$root" "$work/functions-initrd"

log=$work/functions.log
timeout 1700 qemu-system-x86_64 -accel "${MARGAY_VM_ACCEL:-tcg}" -cpu max -smp 2 -m 4096 -nographic -no-reboot -nodefaults \
    -serial stdio -kernel "$work/$kernel/x/boot/vmlinuz-$kernel" -initrd "$work/functions-initrd" \
    -append "console=ttyS0 panic=-1 quiet no_timer_check" </dev/null | tee "$log"
grep -q '^FUNCTION MACHINE: every promise holds' "$log"
