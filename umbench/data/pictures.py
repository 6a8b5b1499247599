"""Decode pictures of unknown origin: header first, then pixels; one clear line when it fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from umbench.errors import InputError

MAX_PIXELS = 64_000_000
BITS = {"L": 8, "1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 16}


def read_grey(path: Path, *, bits: int | None = None) -> np.ndarray:
    """A grey picture (H, W) as uint8 or uint16; `bits` (8 or 16) is what was declared.

    InputError names the file for pictures that are cut short, coloured, too large or deeper or
    shallower than declared.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InputError(
                    f"{path}: {picture.width} x {picture.height} px is more than this reads"
                )
            depth = BITS.get(picture.mode)
            if depth is None:
                raise InputError(f"{path}: mode {picture.mode}, but grey was declared; convert it")
            if bits is not None and depth != bits:
                raise InputError(
                    f"{path}: a {depth}-bit picture, but {bits} bits were declared; correct "
                    "encoding.bits in set.json or convert the picture"
                )
            pixels = np.asarray(picture)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; add it or remove its row") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be decoded ({reason}); replace the file") from None
    return pixels.astype(np.uint16 if depth == 16 else np.uint8)


def read_any_as_grey(path: Path, tolerance: int = 24) -> np.ndarray:
    """A picture of any mode whose channels agree within `tolerance`, as grey uint8 (H, W).

    JPEG colour noise makes channels of a grey picture differ a little; more is an error.
    """
    rgb = read_rgb(path)
    spread = rgb.max(axis=2).astype(int) - rgb.min(axis=2)
    if np.percentile(spread, 99) > tolerance:
        raise InputError(f"{path}: a coloured picture; images must be grey")
    return np.round(rgb.astype(np.float32).mean(axis=2)).astype(np.uint8)


def read_rgb(path: Path) -> np.ndarray:
    """A picture of any mode as RGB uint8 (H, W, 3); InputError names the file."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InputError(
                    f"{path}: {picture.width} x {picture.height} px is more than this reads"
                )
            if picture.mode.startswith("I"):
                raise InputError(f"{path}: a 16-bit picture; 8 bits are expected here")
            return np.asarray(picture.convert("RGB"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be decoded ({reason}); replace the file") from None
