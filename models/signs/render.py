"""Renders camera frames with road signs: the training data and the held-out frames.

A frame is a function of its set, its label and its number alone, so that any
of them can be rendered again by itself. The two sets of circumstances,
`TRAINING` and `HELD_OUT`, differ in seeds, backgrounds and ranges.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

import backgrounds
import camera
import faces
from labels import LABELS, NO_KNOWN_SIGN

FRAME_BYTES = 12 * 1024
"""The largest JPEG file of a frame."""


@dataclass(frozen=True)
class Circumstances:
    """The ranges that frames of one set are drawn from; lengths in pixels, angles in degrees."""

    seed: int
    painters: tuple[backgrounds.Painter, ...]
    optics: camera.Optics
    diameter: tuple[float, float]
    offset: float
    """Largest distance of the sign from the middle of the frame, along each axis."""
    roll: float
    tilt: float
    """Largest turn of the sign away from the camera, about the vertical and the horizontal axis."""
    shade: float
    """Largest loss of light from one side of the sign to the other, as a share."""
    covered: float
    """Largest share of the sign behind something else."""


TRAINING = Circumstances(
    seed=20_261_121,
    painters=backgrounds.TRAINING,
    optics=camera.Optics(
        stops=(-1.1, 0.6),
        tint=0.15,
        contrast=(0.65, 1.25),
        fog=0.35,
        vignette=0.4,
        defocus=(0.0, 1.6),
        motion=5.0,
        noise=(0.0, 14.0),
        quality=(40, 95),
    ),
    diameter=(56, 165),
    offset=34,
    roll=14,
    tilt=36,
    shade=0.6,
    covered=0.15,
)

HELD_OUT = Circumstances(
    seed=7_919_000_003,
    painters=backgrounds.HELD_OUT,
    optics=camera.Optics(
        stops=(-1.4, 0.8),
        tint=0.2,
        contrast=(0.55, 1.3),
        fog=0.45,
        vignette=0.6,
        defocus=(0.3, 2.0),
        motion=6.0,
        noise=(4.0, 18.0),
        quality=(30, 80),
    ),
    diameter=(70, 150),
    offset=30,
    roll=18,
    tilt=44,
    shade=0.7,
    covered=0.15,
)


def frame(circumstances: Circumstances, label: str, number: int) -> bytes:
    """The JPEG file of frame `number` of a label: 320 x 240 pixels, at most FRAME_BYTES."""
    rng = np.random.default_rng([circumstances.seed, LABELS.index(label), number])
    painter = circumstances.painters[rng.integers(len(circumstances.painters))]
    scene = painter(rng)
    if label != NO_KNOWN_SIGN or rng.random() < 0.7:
        _put_up(scene, faces.draw(label, rng), circumstances, rng)
    exposed = camera.expose(scene, circumstances.optics, rng)
    return camera.encode(exposed, circumstances.optics, rng, FRAME_BYTES)


def _put_up(scene: Image.Image, face: Image.Image, circumstances: Circumstances, rng: np.random.Generator) -> None:
    """Pastes a sign on its post into the scene, lit, tilted and partly covered."""
    diameter = rng.uniform(*circumstances.diameter)
    x, y = (side / 2 + rng.uniform(-circumstances.offset, circumstances.offset) for side in scene.size)
    _post(scene, x, y, diameter, rng)
    lit = _lit(face, circumstances.shade, rng)
    side = math.ceil(1.5 * diameter)
    sign = _turned(lit, diameter, side, circumstances, rng)
    scene.paste(sign, (round(x - side / 2), round(y - side / 2)), sign)
    _cover(scene, sign, (round(x - side / 2), round(y - side / 2)), circumstances.covered, rng)


def _post(scene: Image.Image, x: float, y: float, diameter: float, rng: np.random.Generator) -> None:
    half, grey = diameter * rng.uniform(0.02, 0.045), int(rng.integers(60, 190))
    lean = rng.uniform(-8, 8)
    foot = [(x + lean + half, scene.height), (x + lean - half, scene.height)]
    ImageDraw.Draw(scene).polygon([(x - half, y), (x + half, y), *foot], fill=(grey, grey, grey + 4))


def _lit(face: Image.Image, shade: float, rng: np.random.Generator) -> Image.Image:
    """Light that falls off across the face, and dirt on it."""
    angle, loss = rng.uniform(0, 2 * math.pi), rng.uniform(0, shade)
    ramp = np.linspace(-0.5, 0.5, faces.SIZE, dtype=np.float32)
    light = 1 - loss * (0.5 + ramp[None, :] * math.cos(angle) * 0.7 + ramp[:, None] * math.sin(angle) * 0.7)
    pixels = np.array(face)
    pixels[..., :3] = np.clip(pixels[..., :3] * light[..., None], 0, 255)
    lit = Image.fromarray(pixels)
    dirt = Image.new("RGBA", face.size)
    draw = ImageDraw.Draw(dirt)
    for _ in range(int(rng.integers(0, 7))):
        left, top = rng.uniform(0, faces.SIZE, 2)
        w, h = rng.uniform(4, 40, 2)
        tone = int(rng.integers(40, 140))
        draw.ellipse((left, top, left + w, top + h), fill=(tone, tone - 10, tone - 20, int(rng.integers(30, 130))))
    lit.paste(Image.alpha_composite(lit, dirt), (0, 0), face.getchannel("A"))
    return lit


def _turned(
    face: Image.Image, diameter: float, side: int, circumstances: Circumstances, rng: np.random.Generator
) -> Image.Image:
    """The face as a square picture of `side` pixels, seen from an angle."""
    yaw, pitch = np.radians(rng.uniform(-circumstances.tilt, circumstances.tilt, 2) * (1, 0.5))
    roll = math.radians(rng.uniform(-circumstances.roll, circumstances.roll))
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float64)
    turn = np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])
    flat = corners @ turn
    depth = 1 + (flat[:, 0] * math.sin(yaw) + flat[:, 1] * math.sin(pitch)) / rng.uniform(3.5, 8)
    seen = flat * (math.cos(yaw), math.cos(pitch)) / depth[:, None]
    # Twice the size, then averaged: Pillow's transform does not smooth where it shrinks.
    target = (seen * diameter / 2 + side / 2) * 2
    small = face.resize((math.ceil(diameter * 2),) * 2, Image.Resampling.BILINEAR)
    source = (corners + 1) / 2 * small.width
    turned = small.transform(
        (2 * side, 2 * side), Image.Transform.PERSPECTIVE, _homography(target, source), Image.Resampling.BILINEAR
    )
    return turned.reduce(2)


def _homography(target: np.ndarray, source: np.ndarray) -> list[float]:
    """Pillow's eight coefficients of the projection that takes each target point to its source point."""
    rows, values = [], []
    for (x, y), (u, v) in zip(target, source):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return list(np.linalg.solve(np.array(rows), np.array(values)))


def _cover(
    scene: Image.Image, sign: Image.Image, corner: tuple[int, int], covered: float, rng: np.random.Generator
) -> None:
    """Hides up to the share `covered` of the sign behind leaves or a bar at its edge."""
    area = sum(sign.getchannel("A").histogram()[128:])
    middle, reach = sign.width / 2, sign.width / 3
    colour = (int(rng.integers(20, 140)), int(rng.integers(40, 150)), int(rng.integers(20, 110)))
    for _ in range(int(rng.integers(0, 7))):
        angle, size = rng.uniform(0, 2 * math.pi), rng.uniform(0.06, 0.3) * sign.width
        x, y = middle + reach * math.cos(angle), middle + reach * math.sin(angle)
        leaf = Image.new("L", sign.size)
        draw = ImageDraw.Draw(leaf)
        if rng.random() < 0.8:
            draw.ellipse((x - size / 2, y - size / 3, x + size / 2, y + size / 3), fill=255)
        else:
            draw.line(
                (x - 99, y - 99 * math.tan(angle / 4), x + 99, y + 99 * math.tan(angle / 4)), 255, round(size / 8)
            )
        hidden = sum(ImageChops.multiply(leaf, sign.getchannel("A")).histogram()[128:])
        covered -= hidden / max(area, 1)
        if covered < 0:
            return
        scene.paste(colour, corner, leaf)
