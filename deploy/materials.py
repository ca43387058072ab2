#!/usr/bin/env python3
"""What is linked into the program: a CycloneDX 1.5 document, and the licence texts of every crate.

Usage: materials.py TARGET FEATURES SBOM LICENCES. Only Python's standard library. The crates are those that cargo's own
resolver names for the target and features, without build scripts and procedural macros, which leave no code behind.
Both files are the same for the same Cargo.lock, sources and SOURCE_DATE_EPOCH.
"""

import datetime
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEXTS = ("license", "licence", "copying", "notice", "copyright", "unlicense")


def cargo(*arguments):
    command = ["cargo", *arguments, "--locked"]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(target, features):
    """Name and version of every crate that is linked."""
    tree = cargo("tree", "--edges", "normal,no-proc-macro", "--target", target, "--no-default-features",
                 "--features", features, "--prefix", "none", "--format", "{p}")
    words = (line.split() for line in tree.splitlines() if line)
    return {(name, version.removeprefix("v")) for name, version, *_ in words}


def packages(target, features):
    """The linked packages as `cargo metadata` describes them, and for each the linked ones it needs."""
    document = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", target,
                                "--no-default-features", "--features", features))
    wanted = linked(target, features)
    found = {p["id"]: p for p in document["packages"] if (p["name"], p["version"]) in wanted}
    if len(found) != len(wanted):
        sys.exit(f"cargo tree names {len(wanted)} crates, cargo metadata {len(found)} of them")
    edges = {}
    for node in document["resolve"]["nodes"]:
        if node["id"] in found:
            normal = (d["pkg"] for d in node["deps"] if any(k["kind"] is None for k in d["dep_kinds"]))
            edges[node["id"]] = sorted(reference(found[i]) for i in normal if i in found)
    ordered = sorted(found.values(), key=lambda p: (p["name"], p["version"]))
    return ordered, {reference(found[i]): needs for i, needs in edges.items()}


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def licence(package):
    """The SPDX expression; crates of old write a slash for OR."""
    return (package["license"] or "").replace("/", " OR ") or "NOASSERTION"


def checksums():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(p["name"], p["version"]): p["checksum"] for p in lock["package"] if "checksum" in p}


def component(package, sums):
    entry = {
        "type": "library", "bom-ref": reference(package), "name": package["name"], "version": package["version"],
        "licenses": [{"expression": licence(package)}], "purl": reference(package),
    }
    checksum = sums.get((package["name"], package["version"]))
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def standard_library():
    """Rust's own library is linked, too, and is in no Cargo.lock."""
    version = subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
    return {
        "type": "library", "bom-ref": f"rust-std@{version}", "name": "rust-std", "version": version,
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
        "externalReferences": [{"type": "vcs", "url": "https://github.com/rust-lang/rust"}],
    }


def bill(target, features, ordered, edges):
    sums = checksums()
    program = next(p for p in ordered if p["name"] == "margay")
    std = standard_library()
    libraries = [component(p, sums) for p in ordered if p is not program] + [std]
    edges[reference(program)].append(std["bom-ref"])
    epoch = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.UTC)
    document = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {
            "timestamp": epoch.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(program, sums) | {"type": "application"},
            "properties": [{"name": "target", "value": target}, {"name": "features", "value": features}],
        },
        "components": libraries,
        "dependencies": [{"ref": ref, "dependsOn": needs} for ref, needs in sorted(edges.items())],
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    return document | {"serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}"}


def texts(package):
    """The licence files of a crate: those at its top, and in a folder that is named for it."""
    folder = pathlib.Path(package["manifest_path"]).parent
    places = [folder, *(p for p in folder.iterdir() if p.is_dir() and p.name.lower().startswith(TEXTS))]
    files = {p for place in places for p in place.iterdir() if p.is_file() and p.name.lower().startswith(TEXTS)}
    if package["license_file"]:
        files.add(folder / package["license_file"])
    return [p.read_text(errors="replace").strip() for p in sorted(files) if p.suffix not in (".rs", ".toml")]


def notices(ordered):
    own = [p for p in ordered if p["source"] is None]
    bearers, bare = {}, []
    others = [p for p in ordered if p["source"] is not None]
    for package in others:
        found = texts(package)
        for text in found:
            bearers.setdefault(text, []).append(f"{package['name']} {package['version']}")
        if not found:
            bare.append(package)
    yield "Margay contains code of other projects. Each is listed with its licence; the texts follow.\n"
    yield f"Of Margay itself ({', '.join(p['name'] for p in own)}): MIT OR Apache-2.0, texts in LICENSE-MIT and\n"
    yield "LICENSE-APACHE. Rust's standard library: MIT OR Apache-2.0, https://github.com/rust-lang/rust.\n\n"
    for package in others:
        yield f"{package['name']} {package['version']}: {licence(package)}\n"
    yield "\nWithout a text of their own; authors as their packages name them, terms as above:\n"
    for package in bare:
        authors = ", ".join(package["authors"]) or "not named"
        yield f"{package['name']} {package['version']}: {authors}; {package['repository'] or ''}\n"
    for text, names in sorted(bearers.items(), key=lambda pair: pair[1]):
        yield f"\n{'=' * 100}\n{', '.join(names)}\n{'=' * 100}\n\n{text}\n"


def main():
    target, features, sbom, licences = sys.argv[1:]
    ordered, edges = packages(target, features)
    pathlib.Path(licences).write_text("".join(notices(ordered)))
    document = bill(target, features, ordered, edges)
    pathlib.Path(sbom).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    print(f"{len(ordered)} crates are linked for {target} with {features}")


main()
