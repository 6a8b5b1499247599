"""Import folders of slice pictures with masks as an annotated set.

A spec declares everything that changes a picture: the transform that turns the front of the
chest up, the class map, the target size. Nothing is guessed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from umbench.data.annotated_set import AnnotatedSet, Encoding, SetInfo
from umbench.data.documents import fault, mark, read_yaml, validate
from umbench.data.pictures import read_any_as_grey, read_rgb
from umbench.data.set_info import Classes, Window
from umbench.errors import InputError

TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda a: a,
    "rotate90": lambda a: np.rot90(a, -1),
    "rotate180": lambda a: np.rot90(a, 2),
    "rotate270": lambda a: np.rot90(a, 1),
    "flip-vertical": lambda a: a[::-1],
    "flip-horizontal": lambda a: a[:, ::-1],
    "transpose": lambda a: a.swapaxes(0, 1),
}
"""Rotations are clockwise."""
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
PRESETS = Path(__file__).parent / "presets"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Source(_Model):
    """A folder of images and one of masks with the same file stems."""

    images: str
    masks: str | None = None
    split: Literal["train", "validation", "test", ""] = ""


class ImportSpec(_Model):
    """How to read foreign pictures. `class_map` maps "#rrggbb" or grey values to class numbers."""

    name: str
    sources: Annotated[list[Source], Field(min_length=1)]
    transform: Literal[
        "identity", "rotate90", "rotate180", "rotate270", "flip-vertical", "flip-horizontal",
        "transpose",
    ] = "identity"  # fmt: skip
    classes: Classes
    class_map: dict[str, int]
    size: Annotated[int, Field(ge=32, le=4096)]
    window: Window = (0.0, 255.0)
    unit: Literal["HU", "none"] = "none"
    remark: str = ""

    @field_validator("class_map", mode="before")
    @classmethod
    def _keys_as_text(cls, value: Any) -> Any:
        return {str(k): v for k, v in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _consistent(self) -> ImportSpec:
        for key, number in self.class_map.items():
            if _code(key) is None:
                raise fault(
                    "class_map", f"{key!r} is neither '#rrggbb' nor a grey value; correct it"
                )
            if number not in self.classes:
                raise fault("class_map", f"{key!r} is class {number}; name that under classes")
        if len({_code(key) for key in self.class_map}) < len(self.class_map):
            raise fault("class_map", "two keys mean the same colour; remove one")
        if len({source.masks is None for source in self.sources}) > 1:
            raise fault("sources", "some have masks and some not; name masks for all or none")
        return self


def preset_names() -> list[str]:
    """Names of the built-in specs."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_spec(path_or_preset: str, size: int | None = None) -> ImportSpec:
    """A spec from a YAML file or a preset's name; `size` replaces its target size."""
    path = Path(path_or_preset)
    if not path.is_file():
        path = PRESETS / f"{path_or_preset}.yaml"
    if not path.is_file():
        raise InputError(
            f"spec {path_or_preset}: no such file or preset; presets: {', '.join(preset_names())}"
        )
    tree = read_yaml(path)
    if size is not None:
        tree["size"] = size
        mark(tree, "size", f"--size {size}")
    return validate(ImportSpec, tree, path)


def import_pictures(
    root: Path, spec: ImportSpec, progress: Callable[[int, int, str], None] | None = None
) -> AnnotatedSet:
    """Read what a spec describes below `root`; every slice is its own subject, its id hashed.

    Images are resized with antialiasing, masks to the nearest pixel, both padded to a square
    with black and background. InputError names folder, file or class that is wrong.
    """
    jobs = [(s, path) for s in spec.sources for path in _listing(root / s.images)]
    images, masks, rows = [], [], []
    with_masks = all(source.masks for source in spec.sources)
    for number, (source, path) in enumerate(jobs):
        grey = TRANSFORMS[spec.transform](read_any_as_grey(path))
        images.append(_fit(grey, spec.size, smooth=True))
        if with_masks:
            mask_path = _partner(root / str(source.masks), path)
            mask = TRANSFORMS[spec.transform](_classes(mask_path, spec))
            if mask.shape != grey.shape:
                raise InputError(f"{mask_path}: its size differs from that of {path}; mend one")
            masks.append(_fit(mask, spec.size, smooth=False))
        rows.append(_row(number, source, path, with_masks))
        if progress is not None:
            progress(number + 1, len(jobs), "pictures")
    info = SetInfo(
        name=spec.name,
        encoding=Encoding(8, spec.window, spec.unit),
        classes=dict(spec.classes),
        provenance={
            "transform": spec.transform,
            "class_map": dict(spec.class_map),
            "size": spec.size,
            "padding": "to a square, black and background",
            "subjects": "one per picture; ids are hashes of file names",
            "remark": spec.remark,
        },
    )
    table = pd.DataFrame(rows)
    return AnnotatedSet(info, np.stack(images), np.stack(masks) if with_masks else None, table)


def _listing(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; check the spec's sources")
    found = sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in PICTURES),
        key=lambda p: (len(p.stem), p.stem),
    )
    if not found:
        raise InputError(
            f"{folder}: holds no pictures ({', '.join(PICTURES)}); check the spec's sources"
        )
    return found


def _partner(folder: Path, image: Path) -> Path:
    for suffix in PICTURES:
        if (folder / f"{image.stem}{suffix}").is_file():
            return folder / f"{image.stem}{suffix}"
    raise InputError(f"{folder}: no mask called {image.stem} for {image}; add it")


def _classes(path: Path, spec: ImportSpec) -> np.ndarray:
    """Colours of a mask picture to class numbers; an undeclared one is an error."""
    rgb = read_rgb(path).astype(np.int64)
    codes = (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
    out = np.full(codes.shape, -1)
    for key, number in spec.class_map.items():
        out[codes == _code(key)] = number
    if (out < 0).any():
        colour = f"#{int(codes[out < 0][0]):06x}"
        raise InputError(
            f"{path}: colour {colour} has no class; class_map knows {', '.join(spec.class_map)}: "
            "declare it there or mend the mask"
        )
    return out.astype(np.uint8)


def _code(key: str) -> int | None:
    """A colour "#rrggbb" or a grey value as one number; None where it is neither."""
    if re.fullmatch("#[0-9a-fA-F]{6}", key):
        return int(key[1:], 16)
    if re.fullmatch("[0-9]{1,3}", key) and int(key) < 256:
        return int(key) * 0x010101
    return None


def _fit(picture: np.ndarray, size: int, *, smooth: bool) -> np.ndarray:
    """Pad to a square, then resize."""
    from PIL import Image

    height, width = picture.shape
    side = max(height, width)
    square = np.zeros((side, side), dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(square).resize((size, size), method))


def _row(number: int, source: Source, path: Path, with_masks: bool) -> dict[str, Any]:
    identity = hashlib.sha256(f"{source.images}/{path.stem}".encode()).hexdigest()[:12]
    return {
        "file_name": f"images/{number:05d}.png",
        "mask_file_name": f"masks/{number:05d}.png" if with_masks else "",
        "subject": f"S{identity}",
        "split": source.split,
        "sex": "",
        "age": np.nan,
    }
