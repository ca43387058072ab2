"""The camera's part in a frame: light, lens, shutter, sensor and compression."""

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

Range = tuple[float, float]


@dataclass(frozen=True)
class Optics:
    """The ranges that a camera's faults are drawn from, uniformly; lengths in pixels of a 320 x 240 frame."""

    stops: Range
    """Exposure error, in powers of two."""
    tint: float
    """Largest error of a colour channel's gain, as a share."""
    contrast: Range
    fog: float
    """Largest share of grey mixed into the picture."""
    vignette: float
    """Largest loss of light in the corners, as a share."""
    defocus: Range
    """Radius of the Gaussian blur."""
    motion: float
    """Longest path of the picture while the shutter was open."""
    noise: Range
    """Standard deviation of the sensor's noise, in units of 1/255."""
    quality: tuple[int, int]
    """JPEG quality, both ends included."""


def expose(image: Image.Image, optics: Optics, rng: np.random.Generator) -> Image.Image:
    """The picture as the sensor gives it: wrong light, soft, shaken and noisy."""
    blurred = image.filter(ImageFilter.GaussianBlur(rng.uniform(*optics.defocus)))
    pixels = _shaken(np.asarray(blurred, np.float32), optics, rng)
    gain = 2 ** rng.uniform(*optics.stops) * rng.uniform(1 - optics.tint, 1 + optics.tint, 3)
    pixels = (pixels * gain.astype(np.float32) - 128) * np.float32(rng.uniform(*optics.contrast)) + 128
    share = rng.uniform(0, optics.fog)
    pixels = pixels * np.float32(1 - share) + np.float32(share * rng.uniform(150, 220))
    pixels *= _vignette(pixels.shape, rng.uniform(0, optics.vignette))
    sigma = np.float32(rng.uniform(*optics.noise))
    pixels += sigma * rng.standard_normal(pixels.shape, np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _shaken(pixels: np.ndarray, optics: Optics, rng: np.random.Generator) -> np.ndarray:
    length, angle = rng.uniform(0, optics.motion), rng.uniform(0, math.pi)
    steps = max(1, round(length))
    total = np.zeros_like(pixels)
    for step in range(steps):
        along = step - (steps - 1) / 2
        shift = (round(along * math.sin(angle)), round(along * math.cos(angle)))
        total += np.roll(pixels, shift, (0, 1))
    return total / np.float32(steps)


def _vignette(shape: tuple[int, ...], loss: float) -> np.ndarray:
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape[:2])
    return (1 - np.float32(loss / 2) * (y[:, None] ** 2 + x[None, :] ** 2))[..., None]


def encode(image: Image.Image, optics: Optics, rng: np.random.Generator, limit: int) -> bytes:
    """A JPEG file of at most `limit` bytes: a camera on a thin line gives up quality first."""
    quality = int(rng.integers(optics.quality[0], optics.quality[1] + 1))
    while True:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        if file.tell() <= limit or quality <= 5:
            return file.getvalue()
        quality -= 5
