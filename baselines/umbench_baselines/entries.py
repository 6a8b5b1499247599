"""The benchmark entries, composed from parts, and their registry.

An entry is a name, the networks (parts) that it is made of and where its guidance comes from.
Entries that share a part share its training: `v2m2i` is `m2i`'s translator after a StyleGAN of
label masks. Nothing heavy is imported here: the command line lists entries at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from typing import Any, Literal

ENTRY_POINTS = "umbench.generators"


@dataclass(frozen=True)
class Part:
    """One network: its kind, what it learns, and which other results it is trained on.

    `target` is what a StyleGAN makes or a translator is conditioned on. `labels` tells whether
    only labelled images can be used; `guidance` whether unsupervised masks are needed.
    """

    name: str
    kind: Literal["stylegan", "translation", "pixel-classifier"]
    target: Literal["masks", "guidance", "images"]
    labels: bool
    guidance: bool
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A generator of annotated images.

    `conditions` names the real guidance that sampling starts from, or is None where the entry
    draws its own from noise. `annotator` says who labels images by hand, where somebody must.
    """

    name: str
    summary: str
    parts: tuple[str, ...]
    conditions: Literal["masks", "guidance"] | None = None
    annotator: str = ""


PARTS = {
    part.name: part
    for part in (
        Part("g1-masks", "stylegan", "masks", labels=True, guidance=False),
        Part("g1-guidance", "stylegan", "guidance", labels=False, guidance=True),
        Part("g1-images", "stylegan", "images", labels=False, guidance=False),
        Part("g2-masks", "translation", "masks", labels=True, guidance=False),
        Part("g2-guidance", "translation", "guidance", labels=False, guidance=True),
        Part("g2-segmentation", "translation", "guidance", labels=False, guidance=True),
        Part(
            "pixel-classifier",
            "pixel-classifier",
            "images",
            labels=True,
            guidance=False,
            needs=("g1-images", "segmenter"),
        ),
    )
}

ENTRIES = {
    entry.name: entry
    for entry in (
        Entry("m2i", "label mask to image", ("g2-masks",), conditions="masks"),
        Entry("v2m2i", "noise to label mask to image", ("g1-masks", "g2-masks")),
        Entry(
            "um2i",
            "unsupervised mask to image and segmentation",
            ("g2-guidance",),
            conditions="guidance",
        ),
        Entry(
            "v2um2i",
            "noise to unsupervised mask to image and segmentation",
            ("g1-guidance", "g2-guidance"),
        ),
        Entry(
            "datasetgan",
            "noise to image; pixel classifiers on its features annotate",
            ("g1-images", "pixel-classifier"),
            annotator="segmenter",
        ),
    )
}


KIND_OPTIONS: dict[str, tuple[str, ...]] = {
    "stylegan": ("max_size", "supervision"),
    "translation": ("heads", "paired", "supervision"),
    "pixel-classifier": ("annotated",),
}
"""What a suite may say of a part, by its kind. supervision: "semi" (default) or "supervised":
labelled images alone. heads of G2 from unsupervised masks: "both" (default), "image", or
"segmentation": two networks that share nothing, one for the image and one for its mask."""


def option_names(entry: Entry) -> list[str]:
    """What a suite may say of an entry."""
    found = {name for part in entry.parts for name in KIND_OPTIONS[PARTS[part].kind]}
    if not any(PARTS[part].target == "guidance" for part in entry.parts):
        found -= {"heads", "supervision"}  # everything else sees what it can, and makes images
    return sorted(found)


def composed(entry: Entry, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The parts that an entry is made of under some options, each with those that concern it.

    Options at their defaults are left out, so that equal parts are equal. ValueError names an
    option that the entry does not have.
    """
    unknown = sorted(set(options) - set(option_names(entry)))
    if unknown:
        known = ", ".join(option_names(entry)) or "none"
        raise ValueError(f"{entry.name} has no option {unknown[0]!r}; it has {known}")
    defaults = {"heads": "both", "paired": True, "supervision": "semi"}
    said = {k: v for k, v in options.items() if v is not None and v != defaults.get(k)}
    heads = said.pop("heads", "both")
    parts = {
        name: {k: v for k, v in said.items() if k in KIND_OPTIONS[PARTS[name].kind]}
        for name in entry.parts
    }
    if heads != "both":
        parts["g2-guidance"]["heads"] = "image"
    if heads == "segmentation":
        parts["g2-segmentation"] = {**parts["g2-guidance"], "heads": "segmentation"}
    return parts


def names() -> list[str]:
    """Names of all registered generators, those of third parties included."""
    return [*ENTRIES, *sorted(point.name for point in entry_points(group=ENTRY_POINTS))]


def get(name: str) -> Entry:
    """The entry called `name`; ValueError names the nearest one where there is none."""
    if name in ENTRIES:
        return ENTRIES[name]
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            entry = point.load()
            if not isinstance(entry, Entry):
                raise ValueError(f"generator {name!r}: entry point {point.value} is no Entry")
            return entry
    near = difflib.get_close_matches(name, names(), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"no generator called {name!r}{hint}")


def describe() -> list[dict[str, Any]]:
    """One row per generator for people and programs."""
    return [asdict(get(name)) for name in names()]
