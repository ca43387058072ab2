# shellcheck shell=bash
# Sourced by the tests of packages: files of Debian's packages, without installing them on the machine that tests.

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
suite=bookworm

# download ARCH FOLDER PACKAGE...: their newest files; linux-image stands for the kernel that linux-image-ARCH names.
download() {
    local arch=$1 folder=$2 state name names=()
    shift 2
    state=$(mktemp -d)
    mkdir -p "$folder" "$state/lists/partial" "$state/cache/archives/partial"
    printf 'deb [arch=%s signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
        "$arch" "$mirror" "$suite" >"$state/sources"
    local apt=(-o APT::Architecture="$arch" -o APT::Architectures="$arch" -o Dir::State="$state"
        -o Dir::State::status=/dev/null -o Dir::Cache="$state/cache" -o Dir::Etc::sourcelist="$state/sources"
        -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root -qq)
    apt-get "${apt[@]}" update
    for name in "$@"; do
        [ "$name" != linux-image ] || name=$(apt-cache "${apt[@]}" depends "linux-image-$arch" |
            awk '/Depends: linux-image-/ { print $2; exit }')
        names+=("$name")
    done
    (cd "$folder" && apt-get "${apt[@]}" download "${names[@]}")
    rm -rf "$state"
}

# on_paths_of_v1 DEMO ROOT: what `margay demo --keep --dir DEMO` left in ROOT becomes a core's own, at V1's place.
on_paths_of_v1() {
    cp -r "$2$1/greengrass/." "$2/greengrass"
    cp -r "$2$1/frames" "$2/greengrass/frames"
    python3 - "$1" "$2/greengrass" <<'EOF'
import json, pathlib, sys
demo, root = sys.argv[1:]
for name in ("config/config.json", "ggc/deployment/group/group.json"):
    path = pathlib.Path(root, name)
    text = path.read_text().replace(f"{demo}/greengrass", "/greengrass").replace(f"{demo}/frames", "/greengrass/frames")
    document = json.loads(text)
    document.get("margay", {}).pop("statusSocket", None)
    path.write_text(json.dumps(document, indent=2))
EOF
}
