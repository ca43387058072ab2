"""Builds the package archive from `package/`, the same bytes every time.

    python pack.py

The archive opens with its parent directory, as V1 asks of `.tar.gz` packages,
then lists the files by name; owners, modes and times are fixed. Needs nothing
but Python. The digests in `model.toml` are checked first, so that an archive
never carries a manifest that contradicts its files.
"""

import gzip
import hashlib
import io
import tarfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE / "package"
TIME = 1_767_225_600
"""The time of every entry: 2026-01-01T00:00:00Z, in seconds since 1970."""


def sha256(content: bytes) -> str:
    """The digest as `sha256sum` prints it."""
    return hashlib.sha256(content).hexdigest()


def _entry(name: str, size: int | None) -> tarfile.TarInfo:
    """An entry of `size` bytes, or a directory."""
    entry = tarfile.TarInfo(name)
    entry.mtime = TIME
    if size is None:
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    else:
        entry.size, entry.mode = size, 0o644
    return entry


def archive(name: str) -> bytes:
    """The uncompressed archive, with `name` as its parent directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(_entry(name, None))
        for path in sorted(PACKAGE.rglob("*")):
            inside = f"{name}/{path.relative_to(PACKAGE).as_posix()}"
            if path.is_dir():
                tar.addfile(_entry(inside, None))
            else:
                content = path.read_bytes()
                tar.addfile(_entry(inside, len(content)), io.BytesIO(content))
    return buffer.getvalue()


def check_digests(manifest: dict) -> None:
    """Refuses files that `model.toml` does not list, or lists with another digest."""
    listed = dict(manifest["files"])
    for path in PACKAGE.rglob("*"):
        name = path.relative_to(PACKAGE).as_posix()
        if path.is_dir() or name == "model.toml":
            continue
        if listed.pop(name, None) != sha256(path.read_bytes()):
            raise SystemExit(f"{path}: not the file that model.toml lists; run manifest.py")
    if listed:
        raise SystemExit(f"{PACKAGE}: model.toml lists files that are missing: {', '.join(listed)}")


def main() -> None:
    manifest = tomllib.loads((PACKAGE / "model.toml").read_text())
    check_digests(manifest)
    name = f"{manifest['model']['name']}-{manifest['model']['version']}"
    target = HERE / f"{name}.tar.gz"
    target.write_bytes(gzip.compress(archive(name), mtime=0))
    digest = sha256(target.read_bytes())
    (HERE / f"{target.name}.sha256").write_text(f"{digest}  {target.name}\n")
    print(f"{target.name}: {target.stat().st_size} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
