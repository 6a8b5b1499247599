"""Decode pictures of unknown origin: header first, then pixels; one clear line when it fails."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from umbench.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 64_000_000
BITS = {"L": 8, "1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32}


def read_grey(path: Path, *, bits: int | None) -> np.ndarray:
    """A grey picture (H, W) as uint8 or uint16; `bits` (8 or 16) is declared, None for a mask.

    InputError names the file for pictures that are cut short, coloured, too large or deeper or
    shallower than declared.
    """
    with _opened(path) as picture:
        _check_depth(path, picture, bits)
        return np.asarray(picture).astype(np.uint16 if bits == 16 else np.uint8)


def read_size(path: Path, *, bits: int | None) -> tuple[int, int]:
    """Height and width by the header alone, with what the header shows to be wrong."""
    with _opened(path) as picture:
        _check_depth(path, picture, bits)
        return picture.height, picture.width


def read_any_as_grey(path: Path, tolerance: int = 24) -> np.ndarray:
    """A picture of any mode whose channels agree within `tolerance`, as grey uint8 (H, W).

    JPEG colour noise makes channels of a grey picture differ a little; more is an error.
    """
    rgb = read_rgb(path)
    spread = rgb.max(axis=2).astype(int) - rgb.min(axis=2)
    if np.percentile(spread, 99) > tolerance:
        raise InputError(f"{path}: a coloured picture, but images are grey; convert it")
    return np.round(rgb.astype(np.float32).mean(axis=2)).astype(np.uint8)


def read_rgb(path: Path) -> np.ndarray:
    """A picture of any 8-bit mode as RGB uint8 (H, W, 3); InputError names the file."""
    with _opened(path) as picture:
        if BITS.get(picture.mode, 8) > 8 or picture.mode == "F":
            raise InputError(f"{path}: deeper than the 8 bits that are read here; convert it")
        return np.asarray(picture.convert("RGB"))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """The picture, its header read and its size sane; what a decoder raises becomes InputError."""
    from PIL import Image, UnidentifiedImageError

    try:
        # Pillow only warns of a header that asks for a few times what is allowed here
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                yield picture
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; add it or remove its row") from None
    except Image.DecompressionBombError:
        raise InputError(
            f"{path}: more than the {MAX_PIXELS:,} pixels that are read; replace the file"
        ) from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: no picture of a known format; replace the file") from None
    except Exception as error:  # decoders of broken files raise almost anything
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = reason.splitlines()[0]
        raise InputError(f"{path}: cannot be decoded ({reason}); replace the file") from None


def _check_depth(path: Path, picture: Image, bits: int | None) -> None:
    depth = BITS.get(picture.mode)
    if picture.mode == "I" and picture.format == "PNG":
        depth = 16  # older Pillow widens what the file holds
    if depth is None:
        raise InputError(f"{path}: mode {picture.mode}, but grey was declared; convert it to grey")
    if bits is None and depth != 8:
        raise InputError(f"{path}: has {depth} bits per pixel, but masks have 8; convert it")
    if bits is not None and depth != bits:
        raise InputError(
            f"{path}: has {depth} bits per pixel, but {bits} were declared; convert it or correct "
            "encoding.bits in set.json"
        )
