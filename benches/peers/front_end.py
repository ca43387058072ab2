#!/usr/bin/env python3
"""From a frame to the tensor on one thread, against what a user would write in Python with OpenCV: cvtColor or imdecode,
crop, resize, normalise, to 224 x 224 f32 NCHW. The same frames, interleaved in one run: in every round each contender
makes a batch of tensors in an order that changes, and the ratio is taken between batches of one round. Printed as Markdown:
median time of one tensor, and how many times faster Margay is, with the 95 % interval of the median ratio (bootstrap).

    cargo build --release --workspace --example front_end
    benches/peers/front_end.py [--program target/release/examples/front_end] [--rounds 60] [--photograph FILE]

Needs numpy, opencv-python-headless and pillow (pip). Without a photograph a drawn picture is taken. About two minutes.
"""

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
PHOTOGRAPH = ROOT.parent / "shared/models/photos/coral_cat_720p.jpg"
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


class Margay:
    """The example program, which times its own batches."""

    def __init__(self, program, file, fourcc, width, height, part="reduced", isa=None):
        command = [program, file, fourcc, width, height, 224, part] + ([isa] if isa else [])
        command = [str(word) for word in command]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def batch(self, runs):
        return int(self.ask(runs)) / 1e3

    def tensor(self, folder):
        path = Path(folder) / "tensor"
        self.ask(path)
        return np.fromfile(path, np.float32).reshape(3, 224, 224)


class Python:
    """A function of OpenCV's, timed here."""

    def __init__(self, frame_to_bgr, interpolation):
        self.frame_to_bgr, self.interpolation = frame_to_bgr, interpolation

    def make(self):
        bgr = self.frame_to_bgr()
        height, width = bgr.shape[:2]
        # The middle 224 of the short side's 256, cut out before it is resized.
        side = round(min(height, width) * 224 / 256)
        top, left = (height - side) // 2, (width - side) // 2
        small = cv2.resize(bgr[top : top + side, left : left + side], (224, 224), interpolation=self.interpolation)
        # Mean and scale in one call of OpenCV's, the channels' own deviations after it.
        mean = tuple(float(value) * 255 for value in MEAN)
        blob = cv2.dnn.blobFromImage(small, 1 / 255, (224, 224), mean, swapRB=True)[0]
        blob /= STD[:, None, None]
        return blob

    def batch(self, runs):
        times = []
        for _ in range(runs):
            start = time.perf_counter_ns()
            self.make()
            times.append(time.perf_counter_ns() - start)
        return statistics.median(times) / 1e3

    def tensor(self, _folder):
        return self.make()


def photograph(path):
    if path.is_file():
        return Image.open(path).convert("RGB").resize((1280, 720), Image.LANCZOS)
    y, x = np.mgrid[0:720, 0:1280]
    waves = [np.sin(x / (7 + 3 * c) + y / (11 + c)) * 60 + np.sin(x * y / (900 + 90 * c)) * 40 + 128 for c in range(3)]
    return Image.fromarray(np.stack(waves, -1).clip(0, 255).astype(np.uint8))


def yuyv(image):
    rgb = np.asarray(image).astype(np.float64)
    luma = 16 + (65.481 * rgb[..., 0] + 128.553 * rgb[..., 1] + 24.966 * rgb[..., 2]) / 255
    cb = 128 + (-37.797 * rgb[..., 0] - 74.203 * rgb[..., 1] + 112 * rgb[..., 2]) / 255
    cr = 128 + (112 * rgb[..., 0] - 93.786 * rgb[..., 1] - 18.214 * rgb[..., 2]) / 255
    out = np.empty(luma.shape + (2,), np.uint8)
    out[..., 0] = luma.round()
    out[:, 0::2, 1] = ((cb[:, 0::2] + cb[:, 1::2]) / 2).round()
    out[:, 1::2, 1] = ((cr[:, 0::2] + cr[:, 1::2]) / 2).round()
    return out


def reference(image):
    """Pillow's antialiased bilinear, which models are trained with."""
    short = min(image.size)
    image = image.resize((image.width * 256 // short, image.height * 256 // short), Image.BILINEAR)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    floats = np.asarray(image.crop((left, top, left + 224, top + 224))).astype(np.float32) / 255
    return ((floats - MEAN) / STD).transpose(2, 0, 1)


def subjects(arguments, folder):
    """Title, tensors a batch, Pillow's tensor, and the contenders, Margay first."""
    image = photograph(arguments.photograph)
    full, half = cv2.IMREAD_COLOR, cv2.IMREAD_REDUCED_COLOR_2
    for title, subsampling, size in [
        ("1280 × 720 JPEG, 4:2:0", 2, (1280, 720)),
        ("1280 × 720 JPEG, 4:2:2", 1, (1280, 720)),
        ("640 × 480 JPEG, 4:2:2", 1, (640, 480)),
    ]:
        path = Path(folder) / f"{size[0]}-{subsampling}.jpg"
        (image if size == image.size else image.resize(size, Image.LANCZOS)).save(
            path, quality=85, subsampling=subsampling
        )
        data = np.frombuffer(path.read_bytes(), np.uint8)
        peers = {
            "OpenCV REDUCED_2, INTER_LINEAR": Python(lambda data=data: cv2.imdecode(data, half), cv2.INTER_LINEAR),
            "OpenCV REDUCED_2, INTER_AREA": Python(lambda data=data: cv2.imdecode(data, half), cv2.INTER_AREA),
            "OpenCV in full, INTER_LINEAR": Python(lambda data=data: cv2.imdecode(data, full), cv2.INTER_LINEAR),
            "OpenCV in full, INTER_AREA": Python(lambda data=data: cv2.imdecode(data, full), cv2.INTER_AREA),
        }
        if size == (640, 480):
            # Half of it is smaller than the tensor.
            peers = {name: peer for name, peer in peers.items() if "REDUCED" not in name}
        ours = {
            "Margay": Margay(arguments.program, path, "MJPG", 0, 0),
            "Margay, JPEG in full": Margay(arguments.program, path, "MJPG", 0, 0, "full"),
        }
        yield title, 8, reference(Image.open(path).convert("RGB")), ours | peers
    frame = yuyv(image.resize((640, 480), Image.LANCZOS))
    path = Path(folder) / "640.yuyv"
    frame.tofile(path)
    convert = lambda: cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_YUY2)
    rgb = Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_YUY2))
    yield "640 × 480 YUYV", 30, reference(rgb), {
        "Margay": Margay(arguments.program, path, "YUYV", 640, 480),
        "OpenCV cvtColor, INTER_LINEAR": Python(convert, cv2.INTER_LINEAR),
        "OpenCV cvtColor, INTER_AREA": Python(convert, cv2.INTER_AREA),
    }


def interval(ratios):
    source = random.Random(1)
    medians = sorted(statistics.median(source.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[50], medians[1949]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "target/release/examples/front_end"))
    parser.add_argument("--photograph", type=Path, default=PHOTOGRAPH)
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    print("| frame | what | a tensor, µs | Margay is faster by | mean distance to Pillow |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for title, runs, expected, contenders in subjects(arguments, folder):
            times = {name: [] for name in contenders}
            for number in range(-3, arguments.rounds):
                names = list(contenders)
                random.Random(number).shuffle(names)
                for name in names:
                    spent = contenders[name].batch(runs)
                    # The first rounds fill caches and buffers.
                    if number >= 0:
                        times[name].append(spent)
            for name, contender in contenders.items():
                ratios = [peer / ours for peer, ours in zip(times[name], times["Margay"])]
                low, high = interval(ratios)
                distance = np.abs(contender.tensor(folder) - expected).mean()
                faster = "" if name == "Margay" else f"{statistics.median(ratios):.2f} ({low:.2f}–{high:.2f})"
                print(f"| {title} | {name} | {statistics.median(times[name]):.0f} | {faster} | {distance:.4f} |")
                sys.stdout.flush()
                if isinstance(contender, Margay):
                    contender.process.stdin.close()
                    contender.process.wait()


if __name__ == "__main__":
    main()
