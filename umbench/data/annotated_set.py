"""The annotated set: images, masks and a subject table in a folder, read strictly.

SET/set.json      schema, name, encoding, classes, layout, spacing, provenance
SET/metadata.csv  file_name, mask_file_name, subject, split, sex, age, ...
SET/images/*.png  grey; value v means lo + v / (2^bits - 1) * (hi - lo)
SET/masks/*.png   grey 8 bit, class numbers; optional
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pandas as pd

from umbench.data.pictures import read_grey
from umbench.errors import InputError

SCHEMA = 1
SPLITS = ("train", "validation", "test", "")
SEXES = ("F", "M", "")
REQUIRED = ("file_name", "subject")
KEYS = {"schema", "name", "encoding", "classes", "layout", "spacing", "provenance"}
MOST_LINES = 20


@dataclass(frozen=True)
class Encoding:
    """How grey values stand for intensities: bits per pixel, window (lo, hi) and its unit."""

    bits: Literal[8, 16] = 8
    window: tuple[float, float] = (-1500.0, 100.0)
    unit: Literal["HU", "none"] = "HU"


@dataclass(frozen=True)
class SetInfo:
    """What holds for the whole set: the content of set.json.

    classes: number -> name, 0 being background. layout: (rows, columns) of a montage's tiles or
    None. spacing: mm per pixel (row, column) or None.
    """

    name: str
    encoding: Encoding
    classes: dict[int, str]
    layout: tuple[int, int] | None = None
    spacing: tuple[float, float] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA


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
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if not any(folder.iterdir()):
        raise InputError(f"{folder}: the folder is empty; a set has set.json and metadata.csv")
    info = _read_info(folder / "set.json")
    table = _read_table(folder)
    problems: list[str] = []
    images = _read_pictures(folder, table["file_name"], info.encoding.bits, problems)
    masks = None
    if "mask_file_name" in table and (table["mask_file_name"] != "").any():
        masks = _read_pictures(folder, table["mask_file_name"], 8, problems)
    _check_shapes(folder, table, images, masks, info, problems)
    _stop(problems)
    return AnnotatedSet(
        info, np.stack(images), None if masks is None else np.stack(masks), table
    )  # fmt: skip


def _stop(problems: list[str]) -> None:
    if problems:
        shown = problems[:MOST_LINES]
        if len(problems) > MOST_LINES:
            shown.append(f"... and {len(problems) - MOST_LINES} more")
        raise InputError("\n".join(shown))


def _read_info(path: Path) -> SetInfo:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; a set describes itself there (`umbench data import` makes one)"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no valid JSON ({error}); mend it") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: must hold one JSON object")
    unknown = sorted(set(raw) - KEYS)
    if unknown:
        raise InputError(f"{path}: unknown key {unknown[0]}; known: {', '.join(sorted(KEYS))}")
    if raw.get("schema") != SCHEMA:
        raise InputError(f"{path}: schema is {raw.get('schema')!r}; this version reads {SCHEMA}")
    try:
        return _parse_info(raw)
    except (KeyError, TypeError, ValueError) as error:
        what = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path}: {what}") from None


def _parse_info(raw: dict[str, Any]) -> SetInfo:
    encoding = raw["encoding"]
    bits, window, unit = encoding["bits"], encoding["window"], encoding["unit"]
    if bits not in (8, 16):
        raise ValueError(f"key encoding.bits: must be 8 or 16, not {bits!r}")
    if unit not in ("HU", "none"):
        raise ValueError(f"key encoding.unit: must be HU or none, not {unit!r}")
    low, high = (float(v) for v in window)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"key encoding.window: must be [low, high] in order, not {window!r}")
    classes = {int(number): str(name) for number, name in raw["classes"].items()}
    if 0 not in classes or not all(0 <= number <= 255 for number in classes):
        raise ValueError("key classes: numbers are 0 (background) to 255, and 0 is needed")
    layout = raw.get("layout")
    tiles = None if layout is None else (int(layout["tiles"][0]), int(layout["tiles"][1]))
    if tiles is not None and min(tiles) < 1:
        raise ValueError(f"key layout.tiles: must be positive, not {list(tiles)}")
    spacing = raw.get("spacing")
    return SetInfo(
        name=str(raw["name"]),
        encoding=Encoding(bits, (low, high), unit),
        classes=classes,
        layout=tiles,
        spacing=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        provenance=dict(raw.get("provenance") or {}),
    )


def _read_table(folder: Path) -> pd.DataFrame:
    path = folder / "metadata.csv"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; it lists the images, one row each") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    for column in REQUIRED:
        if column not in table:
            raise InputError(f"{path}: column {column} is missing")
    if not len(table):
        raise InputError(f"{path}: lists no images")
    for column in ("mask_file_name", "split", "sex", "age"):
        if column not in table:
            table[column] = ""
    problems: list[str] = []
    _check_values(path, table, problems)
    _check_paths(folder, table, problems)
    _stop(problems)
    table["age"] = pd.to_numeric(table["age"].replace("", np.nan))
    return table


def _check_values(path: Path, table: pd.DataFrame, problems: list[str]) -> None:
    for row, record in enumerate(table.to_dict("records"), start=2):
        here = f"{path}:{row}"
        if record["subject"] == "":
            problems.append(f"{here}: subject is empty; every image belongs to one")
        if record["split"] not in SPLITS:
            problems.append(f"{here}: split {record['split']!r}; it is train, validation or test")
        if record["sex"] not in SEXES:
            problems.append(f"{here}: sex {record['sex']!r}; it is F, M or empty (unknown)")
        if record["age"] and not _is_age(record["age"]):
            problems.append(f"{here}: age {record['age']!r}; it is years or empty (unknown)")
    for subject, splits in table.groupby("subject")["split"]:
        if splits.nunique() > 1:
            found = " and ".join(sorted(set(splits)))
            problems.append(f"{path}: subject {subject} is in two splits ({found}); keep one")
    for name in table.loc[table["file_name"].duplicated(), "file_name"]:
        problems.append(f"{path}: {name} is listed twice; keep one row")


def _is_age(text: str) -> bool:
    try:
        return 0 <= float(text) <= 130
    except ValueError:
        return False


def _check_paths(folder: Path, table: pd.DataFrame, problems: list[str]) -> None:
    """A path in metadata.csv may not leave the set, be it by '..', as absolute or by a link."""
    root = folder.resolve()
    for column in ("file_name", "mask_file_name"):
        for row, name in enumerate(table[column], start=2):
            if name == "":
                if column == "file_name" or (table[column] != "").any():
                    problems.append(f"{folder / 'metadata.csv'}:{row}: {column} is empty")
                continue
            parts = PurePosixPath(name)
            inside = not parts.is_absolute() and (root / parts).resolve().is_relative_to(root)
            if not inside or ".." in parts.parts:
                problems.append(
                    f"{folder / 'metadata.csv'}:{row}: {column} {name} points out of the set"
                )


def _read_pictures(
    folder: Path, names: pd.Series, bits: int, problems: list[str]
) -> list[np.ndarray]:
    pictures = []
    for name in names:
        try:
            pictures.append(read_grey(folder / name, bits=bits))
        except InputError as error:
            problems.append(str(error))
            pictures.append(np.zeros((0, 0), dtype=np.uint8))
    return pictures


def _check_shapes(
    folder: Path,
    table: pd.DataFrame,
    images: list[np.ndarray],
    masks: list[np.ndarray] | None,
    info: SetInfo,
    problems: list[str],
) -> None:
    shape = next((image.shape for image in images if image.size), None)
    known = np.zeros(256, dtype=bool)
    known[list(info.classes)] = True
    for index, name in enumerate(table["file_name"]):
        image = images[index]
        if image.size and image.shape != shape:
            size = " x ".join(map(str, image.shape))
            first = " x ".join(map(str, shape or ()))
            problems.append(f"{folder / name}: {size} px, but the set's images are {first}")
        if masks is None or not masks[index].size:
            continue
        mask, path = masks[index], folder / table["mask_file_name"].iloc[index]
        if image.size and mask.shape != image.shape:
            problems.append(f"{path}: the mask's size differs from its image's")
        strange = np.unique(mask)[~known[np.unique(mask)]]
        if len(strange):
            problems.append(
                f"{path}: class {strange[0]} is not declared; set.json knows {list(info.classes)}"
            )
    if info.layout is not None and shape is not None:
        rows, columns = info.layout
        if shape[0] % rows or shape[1] % columns:
            problems.append(f"{folder / 'set.json'}: {rows} x {columns} tiles do not fit {shape}")


def write_set(folder: Path, data: AnnotatedSet) -> None:
    """Write a set whole or not at all; InputError where that cannot be done.

    The same set gives the same bytes. The folder must not exist, or be empty.
    """
    from umbench.store import explained

    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: the folder is not empty; name another one")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    with explained(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            _write(temporary, data)
            if folder.is_dir():
                folder.rmdir()
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _write(folder: Path, data: AnnotatedSet) -> None:
    from PIL import Image

    info = data.info
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
    raw = {
        "schema": info.schema,
        "name": info.name,
        "encoding": {
            "bits": info.encoding.bits,
            "window": list(info.encoding.window),
            "unit": info.encoding.unit,
        },
        "classes": {str(number): name for number, name in sorted(info.classes.items())},
        "layout": None if info.layout is None else {"tiles": list(info.layout)},
        "spacing": None if info.spacing is None else list(info.spacing),
        "provenance": info.provenance,
    }
    text = json.dumps(raw, indent=1, sort_keys=True)
    (folder / "set.json").write_text(text + "\n", encoding="utf-8")
    table.to_csv(folder / "metadata.csv", index=False, lineterminator="\n")


def content_fingerprint(folder: Path) -> str:
    """SHA-256 over the names and bytes of a set's files."""
    folder = Path(folder)
    digest = hashlib.sha256()
    files = [folder / "set.json", folder / "metadata.csv"]
    files += sorted(p for name in ("images", "masks") for p in (folder / name).rglob("*"))
    for path in files:
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
