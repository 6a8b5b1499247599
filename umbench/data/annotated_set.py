"""The annotated set: images, masks and a subject table in a folder, read strictly.

SET/set.json      schema, name, encoding, classes, layout, spacing, provenance
SET/metadata.csv  file_name, mask_file_name, subject, split, sex, age, ...
SET/images/*.png  grey; value v means lo + v / (2^bits - 1) * (hi - lo)
SET/masks/*.png   grey 8 bit, class numbers; optional
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from umbench.data.pictures import read_grey
from umbench.data.problems import Problems
from umbench.data.set_info import Encoding, SetInfo, read_info, write_info
from umbench.data.table import read_table
from umbench.errors import InputError

__all__ = ["AnnotatedSet", "Encoding", "SetInfo", "read_set", "write_set"]


@dataclass(frozen=True)
class AnnotatedSet:
    """images (N, H, W) uint8 or uint16; masks (N, H, W) uint8 class numbers or None; a table
    with one row per image.
    """

    info: SetInfo
    images: np.ndarray
    masks: np.ndarray | None
    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.images)

    def unit(self) -> np.ndarray:
        """Images as (N, H, W) float32 in [0, 1], 0 and 1 being the ends of the window."""
        return self.images.astype(np.float32) / np.float32(2**self.info.encoding.bits - 1)

    def intensities(self) -> np.ndarray:
        """Images in the encoding's unit (HU), (N, H, W) float32."""
        low, high = self.info.encoding.window
        return low + self.unit() * np.float32(high - low)

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split."""
        return np.flatnonzero((self.table["split"] == split).to_numpy())

    def take(self, rows: np.ndarray) -> AnnotatedSet:
        """The set of some rows, in the order given."""
        masks = None if self.masks is None else self.masks[rows]
        table = self.table.iloc[rows].reset_index(drop=True)
        return AnnotatedSet(self.info, self.images[rows], masks, table)


def read_set(folder: Path) -> AnnotatedSet:
    """Read and validate a set; InputError has one line per broken rule, naming the file."""
    folder = Path(folder)
    info, table = read_tables(folder)
    problems = Problems()
    images = _Pictures(folder, table["file_name"], info.encoding.bits, problems)
    masks = None
    if has_masks(table):
        masks = _Pictures(folder, table["mask_file_name"], None, problems)
    shape = images.common_shape()
    if shape is not None:
        _check_tiles(folder, info, shape, problems)
        images.check_shape(shape, problems)
        if masks is not None:
            masks.check_shape(shape, problems)
    if masks is not None:
        masks.check_classes(info, problems)
    problems.stop()
    return AnnotatedSet(info, images.stack(), None if masks is None else masks.stack(), table)


def read_tables(folder: Path) -> tuple[SetInfo, pd.DataFrame]:
    """The set without its pictures, validated as far as that goes."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name one that holds a set")
    if not any(folder.iterdir()):
        raise InputError(
            f"{folder}: the folder is empty; a set has set.json and metadata.csv (`umbench data "
            "import` makes one)"
        )
    return read_info(folder / "set.json"), read_table(folder)


def has_masks(table: pd.DataFrame) -> bool:
    """Whether a set's table names masks; then it does for every image."""
    return bool((table["mask_file_name"] != "").all())


class _Pictures:
    """The images or masks of a set while they are checked; None where one cannot be decoded."""

    def __init__(
        self, folder: Path, names: pd.Series, bits: int | None, problems: Problems
    ) -> None:
        self.paths = [folder / name for name in names]
        self.decoded: list[np.ndarray | None] = []
        for path in self.paths:
            try:
                self.decoded.append(read_grey(path, bits=bits))
            except InputError as error:
                problems.add(path, str(error).removeprefix(f"{path}: "))
                self.decoded.append(None)

    def common_shape(self) -> tuple[int, ...] | None:
        """The shape that most have; None where none could be decoded."""
        counts = Counter(picture.shape for picture in self.decoded if picture is not None)
        return counts.most_common(1)[0][0] if counts else None

    def check_shape(self, shape: tuple[int, ...], problems: Problems) -> None:
        """All have the same one, masks that of the images."""
        for path, picture in zip(self.paths, self.decoded, strict=True):
            if picture is not None and picture.shape != shape:
                size, others = (" x ".join(map(str, s)) for s in (picture.shape, shape))
                problems.add(path, f"{size} px, but the set's images are {others}; replace it")

    def check_classes(self, info: SetInfo, problems: Problems) -> None:
        """Masks hold declared class numbers alone."""
        strange: dict[Path, set[int]] = {}
        for path, mask in zip(self.paths, self.decoded, strict=True):
            if mask is not None:
                found = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
                strange[path] = set(found.tolist()) - set(info.classes)
        numbers = ", ".join(map(str, sorted(set().union(*strange.values()))))
        for path in (path for path in strange if strange[path]):
            problems.add(
                path,
                f"class {numbers} is not declared; set.json knows {sorted(info.classes)}: declare "
                "it there or mend the mask",
            )

    def stack(self) -> np.ndarray:
        """(N, H, W), once all is well."""
        return np.stack([picture for picture in self.decoded if picture is not None])


def _check_tiles(folder: Path, info: SetInfo, shape: tuple[int, ...], problems: Problems) -> None:
    rows, columns = info.layout or (1, 1)
    if shape[0] % rows or shape[1] % columns:
        problems.add(
            folder / "set.json",
            f"key layout.tiles: {rows} x {columns} tiles do not divide {shape[0]} x {shape[1]} px; "
            "correct it",
        )


def check_vacant(folder: Path) -> None:
    """InputError where `write_set` could not put a set; for asking before the work is done."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: a file stands there; name another folder")
    if folder.resolve().is_mount():
        raise InputError(f"{folder}: a mount point cannot be replaced; name a folder in it")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: the folder is not empty; name another one")
    _beside(folder).mkdir(parents=True, exist_ok=True)
    _beside(folder).rmdir()


def _beside(folder: Path) -> Path:
    """Where a set is written before it is put in place."""
    place = folder.resolve()
    return place.with_name(f".{place.name}.{os.getpid()}")


def write_set(folder: Path, data: AnnotatedSet) -> None:
    """Write a set whole or not at all; InputError where something is there already.

    The same set gives the same bytes. The folder must not exist, or be empty.
    """
    temporary = _beside(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    check_vacant(folder)
    try:
        _write(temporary, data)
        if folder.is_dir():
            folder.resolve().rmdir()
        temporary.rename(folder.resolve())
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(folder: Path, data: AnnotatedSet) -> None:
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    if data.masks is not None:
        (folder / "masks").mkdir()
    table = data.table.copy()
    if data.masks is None:
        table["mask_file_name"] = ""
    for index, record in enumerate(table.to_dict("records")):
        Image.fromarray(data.images[index]).save(folder / record["file_name"])
        if data.masks is not None:
            Image.fromarray(data.masks[index]).save(folder / record["mask_file_name"])
    write_info(folder / "set.json", data.info)
    table.to_csv(folder / "metadata.csv", index=False, lineterminator="\n")


def content_fingerprint(folder: Path) -> str:
    """SHA-256 over the names and bytes of the files that `read_set` reads."""
    folder = Path(folder)
    _, table = read_tables(folder)
    names = {"set.json", "metadata.csv", *table["file_name"], *table["mask_file_name"]} - {""}
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.encode())
        if (folder / name).is_file():
            digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()
