"""Writes what stands beside `signs.onnx` in `package/`: the labels, the golden samples and `model.toml`.

    python manifest.py

The golden samples are frames of the validation set: the model has to be
right on them on the device before it takes over (docs/package-format.md).
"""

from pathlib import Path

import dataset
import preprocess
import render
from labels import LABELS
from pack import PACKAGE, sha256

VERSION = "1.0.0"
THRESHOLD = 0.5
GOLDEN = ("stop", "speed limit 80")
GOLDEN_PROBABILITY = 0.8

_HEAD = """\
# Road signs at a glance: how it was made and how well it does is in models/README.md of the Margay repository.
# Written by models/signs/manifest.py. Licence of all files: MIT OR Apache-2.0.

format = 1

[model]
name = "road-signs"
version = "{version}"
file = "signs.onnx"

[input]
size = {size}
layout = "nchw"
element = "f32"
color = "rgb"
mean = [{mean}, {mean}, {mean}]
std = [{std}, {std}, {std}]
resize = {{ rule = "short-side", short_side = {size} }}

[output]
kind = "logits"

[labels]
file = "labels.txt"

[thresholds]
minimum_probability = {threshold}

[files]
"""

_SAMPLE = """
[[golden]]
image = "{image}"
class = {index}
minimum_probability = {probability}
"""


def manifest(files: dict[str, bytes], golden: dict[str, int]) -> str:
    """The text of `model.toml` for the package's files and the class of each golden sample."""
    head = _HEAD.format(
        version=VERSION, size=preprocess.SIZE, mean=preprocess.MEAN, std=preprocess.STD, threshold=THRESHOLD
    )
    digests = "".join(f'"{name}" = "{sha256(content)}"\n' for name, content in sorted(files.items()))
    samples = (
        _SAMPLE.format(image=name, index=index, probability=GOLDEN_PROBABILITY) for name, index in golden.items()
    )
    return head + digests + "".join(samples)


def main() -> None:
    files = {
        "signs.onnx": (PACKAGE / "signs.onnx").read_bytes(),
        "labels.txt": "".join(f"{label}\n" for label in LABELS).encode(),
    }
    golden = {}
    for label in GOLDEN:
        name = f"golden/{label.replace(' ', '-')}.jpg"
        files[name] = render.frame(render.TRAINING, label, dataset.VALIDATION_FROM)
        golden[name] = LABELS.index(label)
    for name, content in files.items():
        _write(PACKAGE / name, content)
    _write(PACKAGE / "model.toml", manifest(files, golden).encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    main()
