"""Sign faces: flat, evenly lit RGBA pictures of road signs, seen from the front.

The shapes follow the Vienna Convention on Road Signs and Signals (1968), the
letters are the typeface that Pillow carries (Aileron, CC0). Every face varies
in colour, border, weight and proportions, as signs of different makers and
ages do. Lighting, tilt, dirt and the camera belong to `render` and `camera`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from labels import LABELS, NO_KNOWN_SIGN

SIZE = 256
"""Width and height of a face, in pixels."""

_SCALE = 2 * SIZE
"""Faces are drawn at twice their size and averaged down, which smooths edges."""

_WORDS = ("CAFE", "HOTEL", "SALE", "BAR", "TAXI", "SHOP")

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Style:
    """What differs between two signs of the same kind; lengths are shares of the face."""

    red: Colour
    blue: Colour
    white: Colour
    black: Colour
    rim: float
    ring: float
    weight: float
    letter_height: float
    letter_width: float
    mirrored: bool
    word: str
    """What a board says."""

    @staticmethod
    def draw_from(rng: np.random.Generator) -> "Style":
        """A style within the limits of what is seen on roads."""

        def near(colour: Colour, spread: int) -> Colour:
            jitter = rng.integers(-spread, spread + 1, 3)
            return tuple(int(np.clip(c + j, 0, 255)) for c, j in zip(colour, jitter))

        return Style(
            red=near((192, 26, 34), 26),
            blue=near((14, 82, 168), 28),
            white=near((238, 238, 234), 16),
            black=near((24, 24, 26), 18),
            rim=rng.uniform(0.012, 0.03),
            ring=rng.uniform(0.085, 0.135),
            weight=rng.uniform(0.02, 0.05),
            letter_height=rng.uniform(0.38, 0.46),
            letter_width=rng.uniform(0.52, 0.62),
            mirrored=bool(rng.random() < 0.5),
            word=_WORDS[rng.integers(len(_WORDS))],
        )


class _Canvas:
    """A transparent square with coordinates from 0 to 1, x to the right and y down."""

    def __init__(self) -> None:
        self.image = Image.new("RGBA", (_SCALE, _SCALE))
        self._draw = ImageDraw.Draw(self.image)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        box = [(c + s * radius) * _SCALE for s in (-1, 1) for c in (x, y)]
        self._draw.ellipse(box, fill=colour)

    def polygon(self, points: list[tuple[float, float]], colour: Colour, round_by: float = 0.0) -> None:
        """A filled polygon, grown by `round_by` with round corners."""
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.polygon(scaled, fill=colour)
        if round_by > 0:
            self.path([*points, points[0]], 2 * round_by, colour)

    def path(self, points: list[tuple[float, float]], width: float, colour: Colour) -> None:
        """A line of the given width with round joints and ends."""
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(scaled, fill=colour, width=round(width * _SCALE))
        for x, y in points:
            self.disc(x, y, width / 2, colour)

    def bar(self, left: float, top: float, right: float, bottom: float, colour: Colour, radius: float = 0.0) -> None:
        box = [v * _SCALE for v in (left, top, right, bottom)]
        self._draw.rounded_rectangle(box, radius * _SCALE, fill=colour)

    def text(self, text: str, box: tuple[float, float, float, float], weight: float, colour: Colour) -> None:
        """Letters stretched to fill `box` (left, top, right, bottom)."""
        left, top, right, bottom = (round(v * _SCALE) for v in box)
        mask = _letters(text, weight).resize((right - left, bottom - top), Image.Resampling.BOX)
        self.image.paste((*colour, 255), (left, top), mask)

    def face(self, mirrored: bool = False) -> Image.Image:
        image = self.image.reduce(_SCALE // SIZE)
        return ImageOps.mirror(image) if mirrored else image


def _letters(text: str, weight: float) -> Image.Image:
    """A tight mask of the text; `weight` thickens the strokes, as a share of the letter size."""
    size = 200
    font = ImageFont.load_default(size)
    stroke = round(size * weight)
    mask = Image.new("L", (size * (len(text) + 1), 2 * size))
    draw = ImageDraw.Draw(mask)
    left = size // 2
    for letter in text:
        draw.text((left, size // 4), letter, fill=255, font=font, stroke_width=stroke)
        left += round(font.getlength(letter)) + 2 * stroke
    return mask.crop(mask.getbbox())


def _regular(corners: int, radius: float, turn: float) -> list[tuple[float, float]]:
    angles = [turn + 2 * math.pi * i / corners for i in range(corners)]
    return [(0.5 + radius * math.cos(a), 0.5 + radius * math.sin(a)) for a in angles]


def _rimmed_disc(style: Style, fill: Colour) -> _Canvas:
    canvas = _Canvas()
    canvas.disc(0.5, 0.5, 0.49, style.white)
    canvas.disc(0.5, 0.5, 0.49 - style.rim, fill)
    return canvas


def _rimmed_square(style: Style) -> _Canvas:
    canvas = _Canvas()
    canvas.bar(0.03, 0.03, 0.97, 0.97, style.white, radius=0.06)
    inset = 0.03 + style.rim
    canvas.bar(inset, inset, 1 - inset, 1 - inset, style.blue, radius=0.05)
    return canvas


def stop(style: Style) -> Image.Image:
    """A red octagon that says STOP."""
    canvas = _Canvas()
    canvas.polygon(_regular(8, 0.5, math.pi / 8), style.white)
    canvas.polygon(_regular(8, 0.5 - 1.4 * style.rim, math.pi / 8), style.red)
    half = 0.42 * style.letter_height
    canvas.text("STOP", (0.12, 0.5 - half, 0.88, 0.5 + half), 1.2 * style.weight, style.white)
    return canvas.face()


def yield_sign(style: Style) -> Image.Image:
    """A white triangle that points down, with a red border."""
    canvas = _Canvas()
    triangle = [(0.06, 0.13), (0.94, 0.13), (0.5, 0.89)]
    canvas.polygon(triangle, style.red, round_by=0.045)
    inset = 1.2 * style.ring
    left, right = 0.06 + 1.5 * inset, 0.94 - 1.5 * inset
    inner = [(left, 0.13 + 0.8 * inset), (right, 0.13 + 0.8 * inset), (0.5, 0.89 - 1.75 * inset)]
    canvas.polygon(inner, style.white)
    return canvas.face()


def no_entry(style: Style) -> Image.Image:
    """A red disc with a white bar."""
    canvas = _rimmed_disc(style, style.red)
    half = 0.065 + 0.4 * style.weight
    canvas.bar(0.15, 0.5 - half, 0.85, 0.5 + half, style.white)
    return canvas.face()


def speed_limit(number: str) -> Callable[[Style], Image.Image]:
    """The face of a speed limit of one, two or three digits."""

    def face(style: Style) -> Image.Image:
        canvas = _Canvas()
        canvas.disc(0.5, 0.5, 0.49, style.red)
        canvas.disc(0.5, 0.5, 0.49 - style.ring, style.white)
        half = style.letter_width / 2 * {1: 0.5, 2: 1.0, 3: 1.12}[len(number)]
        tall = style.letter_height / 2
        canvas.text(number, (0.5 - half, 0.5 - tall, 0.5 + half, 0.5 + tall), style.weight, style.black)
        return canvas.face()

    return face


def pedestrian_crossing(style: Style) -> Image.Image:
    """A blue square with a walker in a white triangle."""
    canvas = _rimmed_square(style)
    canvas.polygon([(0.5, 0.12), (0.12, 0.84), (0.88, 0.84)], style.white)
    for left in (0.25, 0.37, 0.49, 0.61):
        canvas.polygon([(left, 0.81), (left + 0.06, 0.81), (left + 0.09, 0.74), (left + 0.04, 0.74)], style.black)
    limb = 0.03 + 0.4 * style.weight
    canvas.disc(0.5, 0.33, 0.045, style.black)
    canvas.path([(0.5, 0.40), (0.49, 0.56)], 1.5 * limb, style.black)
    canvas.path([(0.49, 0.56), (0.56, 0.64), (0.60, 0.74)], limb, style.black)
    canvas.path([(0.49, 0.56), (0.45, 0.66), (0.37, 0.74)], limb, style.black)
    canvas.path([(0.50, 0.41), (0.58, 0.48), (0.62, 0.53)], 0.8 * limb, style.black)
    canvas.path([(0.50, 0.41), (0.42, 0.49), (0.40, 0.56)], 0.8 * limb, style.black)
    return canvas.face(style.mirrored)


def turn_left_ahead(style: Style) -> Image.Image:
    """A blue disc with an arrow that bends to the left."""
    canvas = _rimmed_disc(style, style.blue)
    width = 0.10 + 0.5 * style.weight
    canvas.path([(0.62, 0.80), (0.62, 0.46), (0.59, 0.43), (0.42, 0.43)], width, style.white)
    head = 0.15 + style.weight
    canvas.polygon([(0.13, 0.43), (0.42, 0.43 - head), (0.42, 0.43 + head)], style.white)
    return canvas.face()


def turn_right_ahead(style: Style) -> Image.Image:
    """The mirror image of `turn_left_ahead`."""
    return ImageOps.mirror(turn_left_ahead(style))


def roundabout(style: Style) -> Image.Image:
    """Three arrows after each other; mirrored where traffic keeps to the left."""
    canvas = _rimmed_disc(style, style.blue)
    width, radius = 0.075 + 0.4 * style.weight, 0.255
    for third in range(3):
        start = 2 * math.pi * third / 3 + 0.35
        steps = [start + 1.15 * i / 10 for i in range(11)]
        canvas.path([(0.5 + radius * math.cos(a), 0.5 + radius * math.sin(a)) for a in steps], width, style.white)
        tail = start + 0.05
        corners = [(tail, radius - 0.135), (tail, radius + 0.135), (tail - 0.62, radius)]
        canvas.polygon([(0.5 + r * math.cos(a), 0.5 + r * math.sin(a)) for a, r in corners], style.white)
    return canvas.face(style.mirrored)


def parking(style: Style) -> Image.Image:
    """A blue square with a white P."""
    canvas = _rimmed_square(style)
    canvas.text("P", (0.30, 0.18, 0.74, 0.84), 1.2 * style.weight, style.white)
    return canvas.face()


def priority_road(style: Style) -> Image.Image:
    """A sign that the model does not know: the yellow diamond."""
    canvas = _Canvas()
    canvas.polygon(_regular(4, 0.47, 0.0), style.white, round_by=0.02)
    canvas.polygon(_regular(4, 0.30, 0.0), (232, 176, 24), round_by=0.02)
    return canvas.face()


def warning(style: Style) -> Image.Image:
    """A sign that the model does not know: the red triangle that points up."""
    canvas = _Canvas()
    canvas.polygon([(0.06, 0.87), (0.94, 0.87), (0.5, 0.11)], style.red, round_by=0.045)
    inset = 1.1 * style.ring
    left, right, foot = 0.06 + 1.5 * inset, 0.94 - 1.5 * inset, 0.87 - 0.8 * inset
    canvas.polygon([(left, foot), (right, foot), (0.5, 0.11 + 1.75 * inset)], style.white)
    canvas.bar(0.46, 0.40, 0.54, 0.64, style.black)
    canvas.disc(0.5, 0.70, 0.04, style.black)
    return canvas.face()


def no_parking(style: Style) -> Image.Image:
    """A sign that the model does not know: blue disc, red ring and slash."""
    canvas = _Canvas()
    canvas.disc(0.5, 0.5, 0.49, style.red)
    canvas.disc(0.5, 0.5, 0.49 - style.ring, style.blue)
    canvas.path([(0.2, 0.2), (0.8, 0.8)], 0.8 * style.ring, style.red)
    return canvas.face()


def back(style: Style) -> Image.Image:
    """The grey reverse of a round sign."""
    canvas = _Canvas()
    canvas.disc(0.5, 0.5, 0.49, (96, 98, 100))
    canvas.disc(0.5, 0.5, 0.47, (134, 137, 139))
    canvas.bar(0.1, 0.33, 0.9, 0.38, (110, 112, 114))
    canvas.bar(0.1, 0.62, 0.9, 0.67, (110, 112, 114))
    return canvas.face()


def board(style: Style) -> Image.Image:
    """An advertisement in a sign's colours, with letters that mean nothing to a driver."""
    canvas = _Canvas()
    ground, ink = (style.blue, style.white) if style.mirrored else (style.white, style.red)
    canvas.bar(0.02, 0.14, 0.98, 0.86, ground, radius=0.03)
    canvas.text(style.word, (0.12, 0.32, 0.88, 0.68), style.weight, ink)
    return canvas.face()


def plain_disc(style: Style) -> Image.Image:
    """A disc in one colour, such as a lamp or a lid."""
    return _rimmed_disc(style, style.red if style.mirrored else style.blue).face()


FACES: dict[str, tuple[Callable[[Style], Image.Image], ...]] = {
    "stop": (stop,),
    "yield": (yield_sign,),
    "no entry": (no_entry,),
    "speed limit 30": (speed_limit("30"),),
    "speed limit 50": (speed_limit("50"),),
    "speed limit 80": (speed_limit("80"),),
    "pedestrian crossing": (pedestrian_crossing,),
    "turn left ahead": (turn_left_ahead,),
    "turn right ahead": (turn_right_ahead,),
    "roundabout": (roundabout,),
    "parking": (parking,),
    NO_KNOWN_SIGN: (priority_road, warning, no_parking, back, board, plain_disc, speed_limit("100")),
}
"""How to draw each class; what stands under `no known sign` must not be taken for any of the others."""

assert tuple(FACES) == LABELS


def draw(label: str, rng: np.random.Generator) -> Image.Image:
    """A face of the class `label` in a style of its own: SIZE x SIZE, RGBA, straight from the front."""
    kinds = FACES[label]
    return kinds[rng.integers(len(kinds))](Style.draw_from(rng))
