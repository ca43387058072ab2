"""Writes what stands beside the model in `package/` and `package-int8/`: labels, golden samples and `model.toml`.

    python manifest.py

The two packages differ in nothing but their model and its name. The golden samples are frames of the validation set: the model has to be
right on them on the device before it takes over (docs/package-format.md).
"""

from pathlib import Path

import dataset
import pack
import preprocess
import render
from labels import LABELS

MODELS = {pack.FLOAT: ("road-signs", "signs.onnx"), pack.INT8: ("road-signs-int8", "signs-int8.onnx")}
"""Name and file of each package's model."""
VERSION = "1.0.0"
THRESHOLD = 0.5
GOLDEN = ("stop", "speed limit 80")
GOLDEN_PROBABILITY = 0.8

_HEAD = """\
# Road signs at a glance: how it was made and how well it does is in models/README.md of the Margay repository.
# Written by models/signs/manifest.py. Licence of all files: MIT OR Apache-2.0.

format = 1

[model]
name = "{name}"
version = "{version}"
file = "{file}"

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


def manifest(name: str, file: str, files: dict[str, bytes], golden: dict[str, int]) -> str:
    """The text of `model.toml` for a model, the package's files and the class of each golden sample."""
    head = _HEAD.format(
        name=name,
        file=file,
        version=VERSION,
        size=preprocess.SIZE,
        mean=preprocess.MEAN,
        std=preprocess.STD,
        threshold=THRESHOLD,
    )
    digests = "".join(f'"{name}" = "{pack.sha256(content)}"\n' for name, content in sorted(files.items()))
    samples = (
        _SAMPLE.format(image=name, index=index, probability=GOLDEN_PROBABILITY) for name, index in golden.items()
    )
    return head + digests + "".join(samples)


def main() -> None:
    common, golden = {"labels.txt": "".join(f"{label}\n" for label in LABELS).encode()}, {}
    for label in GOLDEN:
        sample = f"golden/{label.replace(' ', '-')}.jpg"
        common[sample] = render.frame(render.TRAINING, label, dataset.VALIDATION_FROM)
        golden[sample] = LABELS.index(label)
    for package, (name, file) in MODELS.items():
        files = {file: (package / file).read_bytes(), **common}
        for path, content in files.items():
            _write(package / path, content)
        _write(package / "model.toml", manifest(name, file, files, golden).encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    main()
