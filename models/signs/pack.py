"""Builds the package archives from `package/` and `package-int8/`, the same bytes every time.

    python pack.py

An archive opens with its parent directory, as V1 asks of `.tar.gz` packages,
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
FLOAT = HERE / "package"
INT8 = HERE / "package-int8"
PACKAGES = (FLOAT, INT8)
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


def manifest(package: Path) -> dict:
    """A package's `model.toml`."""
    return tomllib.loads((package / "model.toml").read_text())


def full_name(package: Path) -> str:
    """Name and version, as the archive and its parent directory are called."""
    model = manifest(package)["model"]
    return f"{model['name']}-{model['version']}"


def archive_of(package: Path) -> Path:
    """The file that a package is packed into."""
    return HERE / f"{full_name(package)}.tar.gz"


def archive(package: Path) -> bytes:
    """The uncompressed archive, with the package's full name as its parent directory."""
    name = full_name(package)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(_entry(name, None))
        for path in sorted(package.rglob("*")):
            inside = f"{name}/{path.relative_to(package).as_posix()}"
            if path.is_dir():
                tar.addfile(_entry(inside, None))
            else:
                content = path.read_bytes()
                tar.addfile(_entry(inside, len(content)), io.BytesIO(content))
    return buffer.getvalue()


def check_digests(package: Path) -> None:
    """Refuses files that `model.toml` does not list, or lists with another digest."""
    listed = dict(manifest(package)["files"])
    for path in package.rglob("*"):
        name = path.relative_to(package).as_posix()
        if path.is_dir() or name == "model.toml":
            continue
        if listed.pop(name, None) != sha256(path.read_bytes()):
            raise SystemExit(f"{path}: not the file that model.toml lists; run manifest.py")
    if listed:
        raise SystemExit(f"{package}: model.toml lists files that are missing: {', '.join(listed)}")


def main() -> None:
    for package in PACKAGES:
        check_digests(package)
        target = archive_of(package)
        target.write_bytes(gzip.compress(archive(package), mtime=0))
        digest = sha256(target.read_bytes())
        (HERE / f"{target.name}.sha256").write_text(f"{digest}  {target.name}\n")
        print(f"{target.name}: {target.stat().st_size} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
