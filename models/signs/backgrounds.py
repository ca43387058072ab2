"""What lies behind a sign: RGB pictures of 320 x 240 pixels, in two families.

The training family is abstract (gradients, noise, stripes, mosaics). The
held-out family is scenic (a street, bricks, leaves, lights at night). They
share no painter, so that accuracy on held-out frames speaks of backgrounds
that the network has never met.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 320, 240
"""The size of a camera frame, in pixels."""

Painter = Callable[[np.random.Generator], Image.Image]
Colour = tuple[int, int, int]


def _colour(rng: np.random.Generator, low: int = 0, high: int = 256) -> Colour:
    return tuple(int(v) for v in rng.integers(low, high, 3))


def _shade(colour: Colour, factor: float) -> Colour:
    return tuple(int(np.clip(v * factor, 0, 255)) for v in colour)


def _gradient(top: Colour, bottom: Colour, height: int = HEIGHT) -> Image.Image:
    rows = np.linspace(0, 1, height)[:, None, None]
    column = np.array(top) * (1 - rows) + np.array(bottom) * rows
    return Image.fromarray(np.repeat(column.astype(np.uint8), WIDTH, axis=1))


def _box_at(rng: np.random.Generator, largest: int) -> tuple[float, float, float, float]:
    x, y = rng.uniform(-20, WIDTH), rng.uniform(-20, HEIGHT)
    w, h = rng.uniform(6, largest, 2)
    return x, y, x + w, y + h


def clutter(image: Image.Image, rng: np.random.Generator, pieces: int) -> Image.Image:
    """Scatters discs, boxes, triangles and lines of any colour."""
    draw = ImageDraw.Draw(image)
    for _ in range(pieces):
        left, top, right, bottom = _box_at(rng, 90)
        match rng.integers(4):
            case 0:
                draw.ellipse((left, top, right, bottom), fill=_colour(rng))
            case 1:
                draw.rectangle((left, top, right, bottom), fill=_colour(rng))
            case 2:
                draw.polygon([(left, bottom), (right, bottom), (rng.uniform(left, right), top)], fill=_colour(rng))
            case _:
                draw.line((left, top, right, bottom), fill=_colour(rng), width=int(rng.integers(1, 9)))
    return image


def gradient(rng: np.random.Generator) -> Image.Image:
    """Two colours from top to bottom, with anything from no clutter to much of it."""
    return clutter(_gradient(_colour(rng), _colour(rng)), rng, int(rng.integers(0, 40)))


def noise(rng: np.random.Generator) -> Image.Image:
    """Smooth coloured noise in three octaves."""
    total = np.full((HEIGHT, WIDTH, 3), rng.uniform(60, 190, 3))
    for cells, strength in ((4, 70), (16, 45), (60, 30)):
        grid = rng.uniform(-strength, strength, (cells * 3 // 4, cells, 3)) + 128
        octave = Image.fromarray(np.clip(grid, 0, 255).astype(np.uint8)).resize(
            (WIDTH, HEIGHT), Image.Resampling.BICUBIC
        )
        total += np.asarray(octave, np.float32) - 128
    return clutter(Image.fromarray(np.clip(total, 0, 255).astype(np.uint8)), rng, int(rng.integers(0, 10)))


def stripes(rng: np.random.Generator) -> Image.Image:
    """Parallel bands at any angle, some as fine as a fence."""
    image = Image.new("RGB", (WIDTH, HEIGHT), _colour(rng))
    draw = ImageDraw.Draw(image)
    angle, step = rng.uniform(0, math.pi), rng.uniform(6, 50)
    along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    palette = [_colour(rng) for _ in range(3)]
    for i, offset in enumerate(np.arange(-240, 240, step)):
        x, y = WIDTH / 2 + across[0] * offset, HEIGHT / 2 + across[1] * offset
        ends = (x - 300 * along[0], y - 300 * along[1], x + 300 * along[0], y + 300 * along[1])
        draw.line(ends, fill=palette[i % 3], width=max(1, int(step * 0.6)))
    return clutter(image, rng, int(rng.integers(0, 16)))


def mosaic(rng: np.random.Generator) -> Image.Image:
    """A grid of tiles around a common colour."""
    columns = int(rng.integers(3, 24))
    base, spread = rng.uniform(50, 200, 3), rng.uniform(10, 90)
    tiles = np.clip(base + rng.uniform(-spread, spread, (max(2, columns * 3 // 4), columns, 3)), 0, 255)
    image = Image.fromarray(tiles.astype(np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)
    return clutter(image, rng, int(rng.integers(0, 16)))


def street(rng: np.random.Generator) -> Image.Image:
    """Houses with windows on both sides of a road that runs to the horizon."""
    horizon = int(rng.uniform(100, 160))
    image = _gradient((110, 160, 215), (215, 225, 235))
    draw = ImageDraw.Draw(image)
    left = -10.0
    while left < WIDTH:
        width, top = rng.uniform(35, 80), rng.uniform(5, 80)
        _house(draw, rng, (left, top, left + width, horizon))
        left += width + rng.uniform(0, 14)
    draw.rectangle((0, horizon, WIDTH, HEIGHT), fill=_shade((120, 118, 112), rng.uniform(0.7, 1.3)))
    vanish = rng.uniform(90, 230)
    draw.polygon(
        [(vanish - 6, horizon), (vanish + 6, horizon), (vanish + 170, HEIGHT), (vanish - 170, HEIGHT)],
        fill=(70, 72, 76),
    )
    for near in range(4):
        far_y, near_y = (horizon + (HEIGHT - horizon) * s**2 / 16 for s in (near + 0.2, near + 0.7))
        draw.line((vanish, far_y, vanish, near_y), fill=(225, 225, 220), width=near + 1)
    return image


def _house(draw: ImageDraw.ImageDraw, rng: np.random.Generator, box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = box
    wall = _colour(rng, 90, 220)
    draw.rectangle(box, fill=wall)
    draw.polygon([(left, top), (right, top), ((left + right) / 2, top - rng.uniform(0, 30))], fill=_shade(wall, 0.6))
    columns, rows = int(rng.integers(2, 5)), int(rng.integers(2, 6))
    for column in range(columns):
        for row in range(rows):
            x = left + (column + 0.25) * (right - left) / columns
            y = top + (row + 0.25) * (bottom - top) / rows
            pane = (x, y, x + (right - left) / columns / 2, y + (bottom - top) / rows / 2)
            draw.rectangle(pane, fill=(60, 72, 90) if rng.random() < 0.8 else (235, 215, 150))


def bricks(rng: np.random.Generator) -> Image.Image:
    """A brick wall in shallow light."""
    base = (int(rng.integers(120, 190)), int(rng.integers(70, 110)), int(rng.integers(55, 90)))
    image = Image.new("RGB", (WIDTH, HEIGHT), (176, 170, 160))
    draw = ImageDraw.Draw(image)
    tall = int(rng.integers(8, 20))
    long = int(tall * rng.uniform(2.2, 3))
    for row, y in enumerate(range(0, HEIGHT, tall)):
        for x in range(-(row % 2) * long // 2, WIDTH, long):
            draw.rectangle((x, y, x + long - 3, y + tall - 3), fill=_shade(base, rng.uniform(0.75, 1.2)))
    return image


def leaves(rng: np.random.Generator) -> Image.Image:
    """A hedge or a tree: many overlapping leaves, the light from above."""
    image = _gradient((96, 128, 70), (30, 48, 26))
    draw = ImageDraw.Draw(image)
    hue = rng.uniform(0.6, 1.4)
    for _ in range(420):
        left, top, _, _ = _box_at(rng, 10)
        w, h = rng.uniform(6, 22, 2)
        light = rng.uniform(0.45, 1.35)
        draw.ellipse((left, top, left + w, top + h), fill=_shade((int(86 * hue), 124, 56), light))
    return image


def night(rng: np.random.Generator) -> Image.Image:
    """A dark road with lamps out of focus."""
    image = _gradient((14, 16, 30), (44, 40, 44))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(10, 36))):
        x, y, radius = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(2, 14)
        lamp = ((255, 214, 140), (255, 245, 225), (240, 60, 40), (90, 220, 120))[rng.integers(4)]
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_shade(lamp, rng.uniform(0.4, 1)))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(1, 3)))


TRAINING: tuple[Painter, ...] = (gradient, noise, stripes, mosaic)
HELD_OUT: tuple[Painter, ...] = (street, bricks, leaves, night)
