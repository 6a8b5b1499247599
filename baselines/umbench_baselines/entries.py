"""The benchmark entries, composed from parts, and their registry.

An entry is a name, the networks (parts) that it is made of and where its guidance comes from.
Entries that share a part share its training: `v2m2i` is `m2i`'s translator after a StyleGAN of
label masks. Nothing heavy is imported here: the command line lists entries at once.
"""

from __future__ import annotations

import difflib
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
