"""set.json: what holds for a whole annotated set."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from umbench.data.documents import read_json, validate
from umbench.errors import InputError

SCHEMA = 1


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


def _in_order(window: tuple[float, float]) -> tuple[float, float]:
    if window[0] >= window[1]:
        raise ValueError(f"must be [low, high] in order, not {list(window)}")
    return window


def _with_background(classes: dict[int, str]) -> dict[int, str]:
    if 0 not in classes:
        raise ValueError("must name class 0, the background")
    return classes


Window = Annotated[tuple[float, float], AfterValidator(_in_order)]
"""(low, high) in a file's model."""
Classes = Annotated[
    dict[Annotated[int, Field(ge=0, le=255)], str], AfterValidator(_with_background)
]
"""Class number -> name in a file's model."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Encoding(_Model):
    bits: Literal[8, 16]
    window: Window
    unit: Literal["HU", "none"]


class _Layout(_Model):
    tiles: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]


class _File(_Model):
    version: int = Field(alias="schema")
    name: str
    encoding: _Encoding
    classes: Classes
    layout: _Layout | None = None
    spacing: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None
    provenance: dict[str, Any] | None = None


def read_info(path: Path) -> SetInfo:
    """Read and validate a set.json; InputError has one line per mistake."""
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; a set describes itself there (`umbench data import` makes one)"
        )
    raw = read_json(path)
    if raw.get("schema", SCHEMA) != SCHEMA:
        raise InputError(
            f"{path}: key schema is {raw['schema']!r}, but this version reads {SCHEMA}; import the "
            "set anew"
        )
    file = validate(_File, raw, path)
    return SetInfo(
        name=file.name,
        encoding=Encoding(file.encoding.bits, file.encoding.window, file.encoding.unit),
        classes=file.classes,
        layout=None if file.layout is None else file.layout.tiles,
        spacing=file.spacing,
        provenance=file.provenance or {},
    )


def write_info(path: Path, info: SetInfo) -> None:
    """Write a set.json; the same facts give the same bytes."""
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
    path.write_text(json.dumps(raw, indent=1, sort_keys=True) + "\n", encoding="utf-8")
