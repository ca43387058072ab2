#!/usr/bin/env bash
# Makes what users install: for each architecture dist/margay-VERSION-ARCH.tar.gz and dist/margay_VERSION_ARCH.deb, with
# a bill of materials and the licences of what is linked in both, and dist/SHA256SUMS.
#
#   deploy/dist.sh [x86_64|aarch64|all]           builds with profile dist (all is the default)
#   deploy/dist.sh --binary PROGRAM ARCH          packages a program that is built already: to test the packages
#
# Needs cargo-zigbuild and ziglang (pip install cargo-zigbuild ziglang: a C compiler and linker for every target and any
# glibc), Python 3.11, binutils, dpkg-deb. The same commit, toolchain and paths of crates give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

# The oldest glibc that the programs must start with: JetPack 4's.
glibc=2.27
# The demo stays in: it is how an operator sees on the device itself that the chain works there.
features=demo

out=${DIST_DIR:-$root/dist}
target_directory=${CARGO_TARGET_DIR:-$root/target}
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock)}
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unbuilt=()

say() { printf '%s\n' "$*"; }
fail() { printf 'dist.sh: %s\n' "$*" >&2; exit 1; }

need() { # need TOOL HOW
    command -v "$1" >/dev/null || fail "$1 is not installed: $2"
}

debian_arch() {
    case $1 in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) fail "unknown architecture $1: x86_64, aarch64 or all" ;;
    esac
}

has_std() {
    [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ]
}

# No path of the machine that builds gets into the program: they would differ elsewhere, and tell who built it.
build() { # build ARCH
    local home=${CARGO_HOME:-$HOME/.cargo} maps=()
    maps+=("--remap-path-prefix=$home=/cargo" "--remap-path-prefix=$root=/margay")
    maps+=("--remap-path-prefix=$target_directory=/target")
    CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; printf '%s' "${maps[*]}") \
    CFLAGS="-ffile-prefix-map=$home=/cargo -ffile-prefix-map=$target_directory=/target" \
        cargo zigbuild --locked --profile dist --no-default-features --features "$features" \
        --target "$1-unknown-linux-gnu.$glibc"
}

# What a build must keep to, looked up in the program itself.
check() { # check ARCH PROGRAM
    local newest page path
    newest=$(readelf -VW "$2" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
    [ "$(printf 'GLIBC_%s\n%s\n' $glibc "$newest" | sort -V | tail -n 1)" = "GLIBC_$glibc" ] ||
        fail "$2 needs $newest; the floor is $glibc"
    # A Raspberry Pi 5 has pages of 16 KiB; a segment that is aligned to less cannot be mapped there.
    page=$(readelf -lW "$2" | awk '$1 == "LOAD" { print $NF }' | sort -u | head -n 1)
    [ "$1" != aarch64 ] || [ $((page)) -ge 16384 ] || fail "$2 is aligned to $page: it would not start with 16 KiB pages"
    for path in "${CARGO_HOME:-$HOME/.cargo}" "$root" "$target_directory"; do
        ! grep -qaF "$path/" "$2" || fail "$2 holds the build path $path"
    done
    say "$1: $(stat -c %s "$2") bytes, newest glibc symbol $newest, segments aligned to $page, no build path in it"
}

common_files() { # common_files DESTINATION: documents that both packages have
    install -d "$1/docs" "$1/examples"
    install -m 644 README.md CHANGELOG.md "$1"
    cp -r docs/. "$1/docs"
    cp -r deploy/examples/. "$1/examples"
    install -m 644 "$work/sbom.cdx.json" "$work/THIRD-PARTY-LICENSES.txt" "$1"
}

normalise() { # normalise FOLDER: modes and times that say nothing about who packed it
    chmod -R u=rwX,go=rX "$1"
    find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

tarball() { # tarball ARCH PROGRAM
    local name=margay-$version-$1 tree=$work/tar-$1
    install -d "$tree/$name/bin" "$tree/$name/systemd"
    install -m 755 "$2" "$tree/$name/bin/margay"
    common_files "$tree/$name"
    install -m 644 LICENSE-MIT LICENSE-APACHE "$tree/$name"
    install -m 644 deploy/systemd/margay.service deploy/debian/margay.default "$tree/$name/systemd"
    normalise "$tree"
    tar -C "$tree" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner -cf - "$name" |
        gzip -n -"$level" >"$out/$name.tar.gz"
}

copyright() {
    say "Margay, https://github.com/margay-edge/margay"
    say "Licence: MIT or Apache-2.0, as you like. Texts of both, and of everything linked: THIRD-PARTY-LICENSES.txt here."
    printf '\n'
    cat LICENSE-MIT
    printf '\nApache-2.0: /usr/share/common-licenses/Apache-2.0\n'
}

deb() { # deb ARCH PROGRAM
    local arch tree documents
    arch=$(debian_arch "$1")
    tree=$work/deb-$1
    documents=$tree/usr/share/doc/margay
    # The unit stands in /lib: Ubuntu 18.04, which JetPack 4 is, does not look for units in /usr/lib.
    install -d "$tree/DEBIAN" "$tree/usr/bin" "$tree/lib/systemd/system" "$tree/etc/default" "$documents"
    install -m 755 "$2" "$tree/usr/bin/margay"
    install -m 644 deploy/systemd/margay.service "$tree/lib/systemd/system"
    install -m 644 deploy/debian/margay.default "$tree/etc/default/margay"
    common_files "$documents"
    copyright >"$documents/copyright"
    install -m 755 deploy/debian/postinst deploy/debian/prerm deploy/debian/postrm "$tree/DEBIAN"
    say /etc/default/margay >"$tree/DEBIAN/conffiles"
    sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$(du -sk --exclude=DEBIAN "$tree" | cut -f1)/" \
        deploy/debian/control.in >"$tree/DEBIAN/control"
    (cd "$tree" && find usr lib etc -type f ! -path etc/default/margay | sort | xargs md5sum) >"$tree/DEBIAN/md5sums"
    normalise "$tree"
    dpkg-deb --root-owner-group -Zxz -z"$level" --threads-max=1 --build "$tree" "$out/margay_${version}_$arch.deb" \
        >/dev/null
}

package() { # package ARCH PROGRAM
    python3 deploy/materials.py "$1-unknown-linux-gnu" "$features" "$work/sbom.cdx.json" \
        "$work/THIRD-PARTY-LICENSES.txt"
    tarball "$1" "$2"
    deb "$1" "$2"
    rm -rf "$work/tar-$1" "$work/deb-$1"
}

dist() { # dist ARCH
    local target=$1-unknown-linux-gnu program
    debian_arch "$1" >/dev/null
    if ! has_std "$target"; then
        say "not built: $1: Rust's standard library for $target is not installed: rustup target add $target"
        unbuilt+=("$1")
        return
    fi
    need cargo-zigbuild "pip install cargo-zigbuild ziglang"
    build "$1"
    program=$target_directory/$target/dist/margay
    check "$1" "$program"
    package "$1" "$program"
}

need readelf "apt install binutils"
need dpkg-deb "apt install dpkg"
need python3 "apt install python3 (3.11 or later)"
mkdir -p "$out"
if [ "${1:-}" = --binary ]; then
    [ $# = 3 ] || fail "usage: deploy/dist.sh --binary PROGRAM ARCH"
    level=1
    package "$3" "$2"
else
    level=9
    case ${1:-all} in
    all) architectures=(x86_64 aarch64) ;;
    *) architectures=("$1") ;;
    esac
    for architecture in "${architectures[@]}"; do dist "$architecture"; done
fi
(cd "$out" && find . -maxdepth 1 -name "margay[-_]$version*" -printf '%f\n' | sort | xargs -r sha256sum) |
    tee "$out/SHA256SUMS"
[ ${#unbuilt[@]} = 0 ] || fail "not everything was built: ${unbuilt[*]}"
