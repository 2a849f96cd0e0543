"""Pictures in a page: a matrix of colour numbers as a PNG with a palette, in a data address."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from kenviz.theme import SEQUENTIAL


def picture(shares: NDArray[np.float64], low: float, high: float) -> str:
    """The address of a picture of (rows, columns) float64, one pixel each; colours run from low to high.

    >>> picture(np.eye(2), 0, 1)[:30]
    'data:image/png;base64,iVBORw0K'
    """
    colours = np.clip(np.rint(255 * (shares - low) / (high - low)), 0, 255).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(_png(colours)).decode("ascii")


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """PNG, 8 bits a pixel, with the palette of the theme; no line is filtered."""
    height, width = pixels.shape
    palette = b"".join(bytes.fromhex(colour.removeprefix("#")[:6]) for colour in SEQUENTIAL)
    lines = np.zeros((height, width + 1), np.uint8)
    lines[:, 1:] = pixels
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)
