#!/usr/bin/env bash
# The Debian package in a clean Debian: it installs, the program shows its demo and runs as a core on V1's paths, removal
# keeps what is the operator's, purge leaves nothing behind.
#
#   tests/artefacts/deb.sh PACKAGE.deb [ROOT]
#
# ROOT is a directory that debootstrap --variant=minbase made; without it one is made. Needs root and debootstrap.
set -euo pipefail
package=$(realpath "$1")
. "$(dirname "$0")/debian.sh"

if [ -z "${MARGAY_IN_NAMESPACE:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "skipped: deb: run as root"; exit "${MARGAY_TEST_REQUIRE:-0}"; }
    command -v debootstrap >/dev/null ||
        { echo "skipped: deb: apt install debootstrap"; exit "${MARGAY_TEST_REQUIRE:-0}"; }
    # Every mount of the test ends with it.
    MARGAY_IN_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
fi

work=$(mktemp -d)
trap 'umount -R "$work/root" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
step() { printf -- '-- %s\n' "$*"; }
fail() { printf 'deb.sh: %s\n' "$*" >&2; exit 1; }
inside() { chroot "$work/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C "$@"; }

step "a clean Debian"
mkdir "$work/root"
if [ -n "${2:-}" ]; then
    cp -a "$2/." "$work/root"
else
    debootstrap --variant=minbase "$suite" "$work/root" "$mirror" >"$work/debootstrap.log" ||
        { tail "$work/debootstrap.log" >&2; fail "debootstrap failed"; }
fi
# An installed Debian has one; the demo's cloud is called localhost.
printf '127.0.0.1 localhost\n' >"$work/root/etc/hosts"
# A worker's new root is entered by pivot_root(2), which wants the old one to be a mount.
mount --bind "$work/root" "$work/root"
mount -t proc proc "$work/root/proc"
mount --rbind /dev "$work/root/dev"
mount -t sysfs sysfs "$work/root/sys" && mount --rbind /sys/fs/cgroup "$work/root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$work/root/tmp"

# Every path with its mode and owner, and what /etc says; dpkg's own account of the past is no part of it.
snapshot() {
    (
        cd "$work/root"
        find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./tmp \) -prune -o \
            ! -path './var/lib/dpkg/*-old' ! -path './var/log/*' ! -path './etc/*-' -printf '%p %y %m %U:%G %l\n' | sort
        find etc -xdev -type f ! -name '*-' -exec sha256sum {} + | sort -k 2
    )
}
snapshot >"$work/before"
cp "$package" "$work/root/tmp/margay.deb"

step "install"
inside dpkg -i /tmp/margay.deb
inside margay --version
inside getent passwd ggc_user >/dev/null || fail "the account ggc_user is missing"
[ -L "$work/root/etc/systemd/system/multi-user.target.wants/margay.service" ] || fail "the unit is not enabled"
(cd "$work/root" && md5sum --quiet -c var/lib/dpkg/info/margay.md5sums)
for text in copyright THIRD-PARTY-LICENSES.txt sbom.cdx.json; do
    [ -s "$work/root/usr/share/doc/margay/$text" ] || fail "$text is missing"
done

step "the demo, as the package has it"
inside margay demo --frames 5 --keep --dir /tmp/demo

step "a core on V1's paths, without its cloud: it classifies with the model that it has"
on_paths_of_v1 /tmp/demo "$work/root"
(cd "$work/root/greengrass" && find config certs frames ggc/deployment/group -type f | sort) >"$work/operators"
inside margay run &
core=$!
for _ in $(seq 120); do
    inside margay status 2>/dev/null >"$work/status" && grep -q 'frames.* [1-9][0-9]* classified' "$work/status" && break
    kill -0 $core 2>/dev/null || fail "the core ended"
    sleep 0.5
done
cat "$work/status"
grep -q ' classified' "$work/status" || fail "the core classified nothing"
kill "$(inside margay status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')"
wait $core || fail "the core did not end in good order"

step "remove: settings and models stay"
inside dpkg -r margay
[ -f "$work/root/etc/default/margay" ] || fail "remove took the settings"
[ -d "$work/root/greengrass/ggc/deployment/mlmodel/models" ] || fail "remove took the models"

step "purge: what is left is the operator's, and nothing without it"
inside dpkg -P margay
(cd "$work/root/greengrass" && find . -type f -printf '%P\n' -o ! -type d -printf '%P\n' | sort) | diff "$work/operators" - ||
    fail "these files should not have gone, or should have"
inside rm -r /greengrass
snapshot >"$work/after"
diff "$work/before" "$work/after" || fail "purge left what is listed above"
step "deb: everything holds"
