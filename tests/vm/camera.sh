#!/usr/bin/env bash
# Cameras of a real kernel in a virtual machine: vivid draws colour bars, v4l2loopback delivers Motion-JPEG. Two to four
# minutes once everything is built. Needs root on Debian with: qemu-system-x86 seabios busybox-static cpio kmod gcc make,
# and a mirror for the kernel image, its headers and v4l2loopback (80 MB). The processor is emulated on purpose: where
# /dev/kvm exists, it may still be unable to boot a stock kernel.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip() {
    echo "skipped: camera machine: $1"
    [ -z "${MARGAY_TEST_REQUIRE:-}" ] || exit 1
    exit 0
}
enable="as root on Debian x86_64: apt install qemu-system-x86 seabios busybox-static cpio kmod gcc make"
[ "$(id -u)" = 0 ] && [ "$(uname -m)" = x86_64 ] || skip "$enable"
for tool in qemu-system-x86_64 busybox cpio modprobe gcc make apt-get dpkg-deb; do
    command -v $tool >/dev/null || skip "$enable"
done

target=$(cargo metadata --format-version 1 --no-deps | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)
work=$target/vm
mkdir -p "$work"

echo "== programs"
cargo build --workspace --locked
built=$(cargo test --workspace --locked --no-run --test device --test promises --message-format=json 2>/dev/null)
program() { grep -o "\"executable\":\"[^\"]*/$1-[^\"]*\"" <<<"$built" | cut -d'"' -f4 | tail -n 1; }
devices=$(program device)
# The sandbox crate has promises, too; those here are the ones that are given the margay program.
promises=$(grep '"name":"promises"' <<<"$built" | grep -v crates/sandbox | grep -o '"executable":"[^"]*"' | cut -d'"' -f4)

echo "== kernel, with vivid and v4l2loopback"
image=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/{print $2; exit}')
kernel=${image#linux-image-}
if [ ! -e "$work/$kernel/v4l2loopback.ko" ]; then
    rm -rf "${work:?}/$kernel"
    mkdir -p "$work/$kernel/packages"
    apt-get install -y -qq --no-install-recommends "linux-headers-$kernel" >/dev/null ||
        skip "apt-get update, so that linux-headers-$kernel can be installed"
    (cd "$work/$kernel/packages" && apt-get download -qq "$image" v4l2loopback-dkms 2>/dev/null) ||
        skip "apt-get update, so that $image can be downloaded"
    for package in "$work/$kernel/packages"/*.deb; do dpkg-deb -x "$package" "$work/$kernel/x"; done
    cp -r "$work/$kernel/x/usr/src"/v4l2loopback-* "$work/$kernel/source"
    make -s -C "/lib/modules/$kernel/build" M="$(realpath "$work/$kernel/source")" modules
    depmod -b "$work/$kernel/x" "$kernel"
    cp "$work/$kernel/source/v4l2loopback.ko" "$work/$kernel/"
fi

echo "== machine"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,proc,sys,tmp,etc,mod}
cp "$(command -v busybox)" "$root/bin/busybox"
for tool in sh mount insmod poweroff ls cat sleep grep chmod od head su id mkdir sed ip cp switch_root; do ln -s busybox "$root/bin/$tool"; done
printf 'root:x:0:0::/:/bin/sh\nvisitor:x:1000:1000::/:/bin/sh\n' >"$root/etc/passwd"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
printf 'root:x:0:\nvideo:x:44:\nvisitor:x:1000:\n' >"$root/etc/group"
strip -o "$root/bin/margay" "$target/debug/margay"
strip -o "$root/bin/device-tests" "$devices"
strip -o "$root/bin/promises" "$promises"
# Promises start the program where cargo built it, in the repository.
mkdir -p "$root$(realpath -s "$target")/debug" "$root/repository/models/signs"
ln -s /bin/margay "$root$(realpath -s "$target")/debug/margay"
cp -r models/signs/frames "$root/repository/models/signs/"
ldd "$root/bin/margay" "$root/bin/device-tests" "$root/bin/promises" | grep -o '/[^ ]*' | grep -v ':$' | sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -nL "$library" "$root$library"
done
number=10
for module in $(modprobe -d "$work/$kernel/x" -S "$kernel" --show-depends vivid | awk '{print $2}'); do
    case $module in
    *.xz) xz -dc "$module" >"$root/mod/$number-$(basename "${module%.xz}")" ;;
    *) cp "$module" "$root/mod/$number-$(basename "$module")" ;;
    esac
    number=$((number + 1))
done
cp "$work/$kernel/v4l2loopback.ko" "$root/mod/90-v4l2loopback.ko"
cp tests/vm/camera-init.sh "$root/init"
chmod 755 "$root" "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd.gz"

log=$work/camera.log
timeout 500 qemu-system-x86_64 -accel tcg -cpu max -smp 2 -m 2048 -nographic -no-reboot -nodefaults -serial stdio \
    -kernel "$work/$kernel/x/boot/vmlinuz-$kernel" -initrd "$work/initrd.gz" \
    -append "console=ttyS0 panic=-1 quiet" </dev/null | tee "$log"
grep -q '^CAMERA MACHINE: every promise holds' "$log"
