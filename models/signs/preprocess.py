"""From a camera frame to the model's input, by the rule that `package/model.toml` states.

The appliance follows the same rule in Rust: the short side becomes 96 pixels
by bilinear resampling with antialiasing, the middle 96 x 96 are kept, and each
channel is scaled to (value / 255 - MEAN) / STD.
"""

import io

import numpy as np
from PIL import Image

SIZE = 96
"""Width and height of the input, in pixels."""
MEAN = 0.5
STD = 0.25


def square(frame: Image.Image) -> np.ndarray:
    """The middle of the frame as SIZE x SIZE x 3 bytes, RGB."""
    short = min(frame.size)
    width, height = (side * SIZE // short for side in frame.size)
    small = frame.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - SIZE) / 2), round((height - SIZE) / 2)
    return np.asarray(small.crop((left, top, left + SIZE, top + SIZE)))


def square_of_jpeg(jpeg: bytes) -> np.ndarray:
    """The same for the bytes of a JPEG file."""
    return square(Image.open(io.BytesIO(jpeg)))


def normalised(squares: np.ndarray) -> np.ndarray:
    """Bytes of any shape as the floats that the network computes on."""
    return ((squares.astype(np.float32) / 255 - MEAN) / STD).astype(np.float32)


def tensor(squares: np.ndarray) -> np.ndarray:
    """N x 96 x 96 x 3 bytes as the N x 3 x 96 x 96 floats of the ONNX file's input."""
    return np.ascontiguousarray(normalised(squares).transpose(0, 3, 1, 2))
