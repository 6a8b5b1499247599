"""How sets are looked at: views, what is known of their extractors, and the features they give."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np


def view_name(extractor: str, input: str | None) -> str:
    """What tables call an extractor that takes images in this form; `fixed` is the usual one."""
    return extractor if input in (None, "fixed") else f"{extractor}-{input}"


@dataclass(frozen=True)
class View:
    """One way to look at a set of images: an extractor at a resolution in pixels.

    input: in what form the extractor takes images, where it has a choice; None is its default.
    """

    extractor: str
    resolution: int
    input: str | None = None

    @property
    def name(self) -> str:
        """The extractor's name in tables.

        >>> View("inception-v3", 64, "native").name, View("inception-v3", 64, "fixed").name
        ('inception-v3-native', 'inception-v3')
        """
        return view_name(self.extractor, self.input)

    def __str__(self) -> str:
        return f"{self.name}@{self.resolution}"

    def __lt__(self, other: View) -> bool:
        return (self.name, self.resolution) < (other.name, other.resolution)


@dataclass(frozen=True)
class ExtractorFacts:
    """What is known of an extractor: one network, or those of several folds or training seeds.

    fingerprint: over weights and preprocessing; values of different ones are not compared.
    accuracy (balanced, in [0, 1]), n_held_out, chance, trained_on: of networks that were trained
    for this. flag: why not to trust it, or "". folds: networks of one cross-fitted extractor.
    """

    name: str
    backbone: str
    dim: int
    fingerprint: str
    input: str | None = None
    accuracy: float | None = None
    n_held_out: int | None = None
    chance: float | None = None
    trained_on: tuple[str, ...] = ()
    flag: str = ""
    folds: int = 1

    @classmethod
    def of(cls, network: Any) -> ExtractorFacts:
        """Facts of one `umbench_metrics.extractors.Extractor`, which may say more than it must."""
        return cls(
            name=network.name,
            backbone=getattr(network, "backbone", network.name),
            dim=network.dim,
            fingerprint=network.fingerprint,
            input=getattr(network, "input", None),
            accuracy=getattr(network, "accuracy", None),
            n_held_out=getattr(network, "n_held_out", None),
            chance=getattr(network, "chance", None),
            trained_on=tuple(getattr(network, "trained_on", ())),
            flag="" if getattr(network, "better_than_chance", True) else "no better than chance",
        )

    @classmethod
    def of_folds(cls, networks: Sequence[ExtractorFacts]) -> ExtractorFacts:
        """Facts of one extractor from those of its networks, one per fold."""
        return replace(_merged(networks), folds=len(networks))

    @classmethod
    def of_seeds(cls, found: Sequence[ExtractorFacts]) -> ExtractorFacts:
        """Facts of one extractor from those at every training seed, equal ones counted once."""
        return _merged(list({facts.fingerprint: facts for facts in found}.values()))

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "trained_on": list(self.trained_on)}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> ExtractorFacts:
        """What `document` gave; ValueError for keys that it does not have."""
        unknown = set(document) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"facts of an extractor have no {sorted(unknown)[0]!r}")
        return cls(**{**document, "trained_on": tuple(document.get("trained_on", ()))})


def _merged(found: Sequence[ExtractorFacts]) -> ExtractorFacts:
    """The first one's facts under all fingerprints; the mean accuracy; no flag is lost."""
    accuracies = [facts.accuracy for facts in found if facts.accuracy is not None]
    return replace(
        found[0],
        fingerprint=_joined([facts.fingerprint for facts in found]),
        flag="; ".join(sorted({facts.flag for facts in found} - {""})),
        accuracy=float(np.mean(accuracies)) if accuracies else None,
    )


def _joined(fingerprints: Sequence[str]) -> str:
    """One network's own fingerprint, or a hash over those of several."""
    if len(fingerprints) == 1:
        return fingerprints[0][:16]
    return hashlib.sha256("+".join(fingerprints).encode()).hexdigest()[:16]


def checked(side: np.ndarray, name: str, least: int = 2) -> np.ndarray:
    """Features (n, D) as float64; ValueError for NaN or infinity, or fewer than `least` images."""
    features = np.asarray(side, dtype=np.float64)
    if features.ndim != 2 or len(features) < least:
        raise ValueError(f"{name}: features must be (n, D) with n >= {least}, not {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError(f"{name}: features hold NaN or infinity")
    return features


@dataclass(frozen=True, eq=False)
class Features:
    """A set through a view.

    folds: one array (n_k, D) per network of a cross-fitted extractor, else one alone. rows: the
    image numbers (n_k,) behind each. A set that no network was trained on is seen by all of them.
    """

    view: View
    folds: tuple[np.ndarray, ...]
    rows: tuple[np.ndarray, ...]
    facts: ExtractorFacts

    @property
    def n(self) -> int:
        """How many images there are; one that several networks saw counts once."""
        return len(np.unique(np.concatenate(self.rows)))

    def cut(self, limits: Sequence[int]) -> Features:
        """The first images of every fold, as many as `limits` says."""
        folds = zip(self.folds, limits, strict=True)
        rows = zip(self.rows, limits, strict=True)
        return replace(
            self,
            folds=tuple(fold[:limit] for fold, limit in folds),
            rows=tuple(numbers[:limit] for numbers, limit in rows),
        )
