"""The annotated set: images, masks and a subject table in a folder, read strictly.

SET/set.json      schema, name, encoding, classes, layout, spacing, provenance
SET/metadata.csv  file_name, mask_file_name, subject, split, sex, age, ...
SET/images/*.png  grey; value v means lo + v / (2^bits - 1) * (hi - lo)
SET/masks/*.png   grey 8 bit, class numbers; optional
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from umbench.data.pictures import read_grey, read_size
from umbench.data.problems import Problems
from umbench.data.rows import Shapes
from umbench.data.set_info import Encoding, SetInfo, read_info, write_info
from umbench.data.table import read_table
from umbench.errors import InputError
from umbench.temporaries import beside, remove, sweep_beside

__all__ = ["AnnotatedSet", "Encoding", "SetInfo", "read_set", "write_set"]

Allocate = Callable[[Shapes], dict[str, np.ndarray]]
"""Arrays to fill, by name, for {name: (shape, type)}."""
Found = TypeVar("Found")


@dataclass(frozen=True)
class AnnotatedSet:
    """images (N, H, W) uint8 or uint16; masks (N, H, W) uint8 class numbers or None; a table
    with one row per image. Arrays may be memory maps: what is converted is converted whole, so
    take the rows that are needed first.
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


def read_set(folder: Path, allocate: Allocate | None = None) -> AnnotatedSet:
    """Read and validate a set; InputError has one line per broken rule, naming the file.

    Pictures are decoded one by one, each straight to its row of the arrays that `allocate` gives
    for {name: (shape, type)}; without it they are arrays in memory.
    """
    folder = Path(folder)
    info, table = read_tables(folder)
    problems = Problems()
    files = {"images": _Files(folder, table["file_name"], info.encoding.bits, problems)}
    if has_masks(table):
        files["masks"] = _Files(folder, table["mask_file_name"], None, problems)
    shape = files["images"].common_shape()
    if shape is not None:
        _check_tiles(folder, info, shape, problems)
        for part in files.values():
            part.check_shape(shape, problems)
    problems.stop()
    assert shape is not None
    kinds = {"images": np.dtype(f"u{info.encoding.bits // 8}"), "masks": np.dtype("u1")}
    shapes = {name: ((len(table), *shape), kinds[name]) for name in files}
    arrays = (allocate or _in_memory)(shapes)
    for name, part in files.items():
        part.decode(arrays[name], problems)
    if "masks" in files:
        files["masks"].check_classes(arrays["masks"], info, problems)
    problems.stop()
    return AnnotatedSet(info, arrays["images"], arrays.get("masks"), table)


def _in_memory(shapes: Shapes) -> dict[str, np.ndarray]:
    return {name: np.empty(shape, kind) for name, (shape, kind) in shapes.items()}


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


class _Files:
    """The images or masks of a set: headers first, then pixels, several files at a time."""

    def __init__(
        self, folder: Path, names: pd.Series, bits: int | None, problems: Problems
    ) -> None:
        self.paths, self.bits = [folder / name for name in names], bits
        self.shapes = self._each(lambda row: read_size(self.paths[row], bits=bits), problems)

    def _each(self, read: Callable[[int], Found], problems: Problems) -> list[Found | None]:
        """What `read` finds in each file, by its row, in their order; None where it fails."""
        found: list[Found | None] = []
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            calls = [threads.submit(read, row) for row in range(len(self.paths))]
            for path, call in zip(self.paths, calls, strict=True):
                try:
                    found.append(call.result())
                except InputError as error:
                    problems.add(path, str(error).removeprefix(f"{path}: "))
                    found.append(None)
        return found

    def common_shape(self) -> tuple[int, int] | None:
        """The shape that most have; None where none could be opened."""
        counts = Counter(shape for shape in self.shapes if shape is not None)
        return counts.most_common(1)[0][0] if counts else None

    def check_shape(self, shape: tuple[int, int], problems: Problems) -> None:
        """All have the same one, masks that of the images."""
        for path, found in zip(self.paths, self.shapes, strict=True):
            if found is not None and found != shape:
                size, others = (" x ".join(map(str, s)) for s in (found, shape))
                problems.add(path, f"{size} px, but the set's images are {others}; replace it")

    def decode(self, array: np.ndarray, problems: Problems) -> None:
        """Fill the array's rows."""

        def fill(row: int) -> None:
            array[row] = read_grey(self.paths[row], bits=self.bits)

        self._each(fill, problems)

    def check_classes(self, masks: np.ndarray, info: SetInfo, problems: Problems) -> None:
        """Masks hold declared class numbers alone."""
        strange: dict[Path, set[int]] = {}
        for path, mask in zip(self.paths, masks, strict=True):
            found = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
            strange[path] = set(found.tolist()) - set(info.classes)
        numbers = ", ".join(map(str, sorted(set().union(*strange.values()))))
        for path in (path for path in strange if strange[path]):
            problems.add(
                path,
                f"class {numbers} is not declared; set.json knows {sorted(info.classes)}: declare "
                "it there or mend the mask",
            )


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
    probe = beside(folder.resolve())
    probe.mkdir(parents=True, exist_ok=True)
    probe.rmdir()


def write_set(folder: Path, data: AnnotatedSet) -> None:
    """Write a set whole or not at all; InputError where something is there already.

    The same set gives the same bytes. The folder must not exist, or be empty. What killed processes
    of this host left of the same set is removed.
    """
    temporary = beside(folder.resolve())
    remove(temporary)
    check_vacant(folder)
    sweep_beside(folder.resolve())
    try:
        _write(temporary, data)
        if folder.is_dir():
            folder.resolve().rmdir()
        temporary.rename(folder.resolve())
    finally:
        remove(temporary)


def _write(folder: Path, data: AnnotatedSet) -> None:
    folder.mkdir(parents=True)
    table = data.table.copy()
    if data.masks is None:
        table["mask_file_name"] = ""
    write_pictures(folder, table, data.images, data.masks)
    write_tables(folder, data.info, table)


def write_tables(folder: Path, info: SetInfo, table: pd.DataFrame) -> None:
    """Write a set's set.json and metadata.csv: all of it but its pictures."""
    write_info(folder / "set.json", info)
    table.to_csv(folder / "metadata.csv", index=False, lineterminator="\n")


def write_pictures(
    folder: Path,
    table: pd.DataFrame,
    images: np.ndarray,
    masks: np.ndarray | None,
    rows: np.ndarray | None = None,
) -> None:
    """Write images and masks as PNG under the table's names; rows: which of the arrays' they are.

    Several are encoded at a time; none of the arrays is copied whole.
    """
    from PIL import Image

    columns = {"file_name": images} if masks is None else {
        "file_name": images, "mask_file_name": masks
    }  # fmt: skip
    for name in columns:
        for place in {(folder / file).parent for file in table[name]}:
            place.mkdir(parents=True, exist_ok=True)

    def write(index: int) -> None:
        row = index if rows is None else int(rows[index])
        for name, array in columns.items():
            Image.fromarray(np.asarray(array[row])).save(folder / table[name].iloc[index])

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(write, range(len(table))))


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
