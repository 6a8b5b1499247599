"""What else the numbers depend on, in sentences: guidance, switches, trust, masks, the training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEAST_TRUST = 0.01
"""A smaller share of trusted pixels teaches nothing."""


@dataclass(frozen=True)
class Translator:
    """A trained translator: the rows that use it and the facts of its training.

    facts: `perceptual`, the name of a network; where it learned from unlabelled images,
    `trusted_share` and, where the truth is known, `trusted_right`: class or "all" -> share.
    """

    rows: Sequence[str]
    facts: Mapping[str, Any]


def notes_of(
    params: Mapping[str, Any],
    translators: Sequence[Translator],
    classes: Sequence[str],
    superpixels: Mapping[str, float],
) -> list[str]:
    """All sentences below the board, in a fixed order.

    params: of the stage `board`. classes: names, the background first. superpixels: what the
    stage of that name measured, empty without it.
    """
    notes = [
        f"{row}: annotated by {who}, not by a person."
        for row, who in sorted(params["annotators"].items())
    ]
    notes += switches(params["suite"]["generators"])
    notes += readings(params, superpixels)
    notes += fewer_pairs(params["pairs"], params["suite"]["samples"])
    networks = sorted({str(t.facts.get("perceptual", "none")) for t in translators} - {"none"})
    if networks:
        notes.append(f"Perceptual loss of the translators: {', '.join(networks)}.")
    return notes + trust(translators, classes)


def switches(generators: Iterable[Mapping[str, Any]]) -> list[str]:
    """What was said of rows that are not an entry as it is."""
    out = []
    for choice in generators:
        said = [
            f"{key} = {str(choice[key]).lower()}"
            for key in sorted(choice)
            if key not in ("id", "name")
        ]
        if said or choice["name"] != choice["id"]:
            out.append(f"{choice['name']}: {', '.join([choice['id'], *said])}.")
    return out


def readings(params: Mapping[str, Any], superpixels: Mapping[str, float]) -> list[str]:
    """Guidance, truncation, which masks were used, and that this is one training."""
    suite = params["suite"]
    labelled = suite.get("labelled")
    notes = [
        f"Guidance: {_guidance(suite['guidance'], superpixels)}; truncation psi = "
        f"{params['psi']:g}; preset {suite['training']['preset']}; label masks of "
        f"{'all' if labelled is None else f'up to {labelled}'} train images.",
        "Verdicts are about these trained networks: trained anew, with another seed, they may "
        "differ more than their images do.",
    ]
    made = [m for m in params["methods"] if m["kind"] == "generator"]
    by_masks = [m["name"] for m in made if m["conditions"] == "masks"]
    if by_masks:
        notes.append(
            f"{', '.join(dict.fromkeys(by_masks))}: made from label masks of held-out images, "
            "which are annotations that the other rows do not use."
        )
    return notes


def _guidance(guidance: Mapping[str, Any], superpixels: Mapping[str, float]) -> str:
    t = f"t = {guidance['t']}"
    if guidance["superpixels"] == "none":
        return f"the image itself, {t}"
    text = f"{guidance['superpixels']}, {guidance['count']} superpixels per tile"
    if "superpixels_asked" in superpixels:
        text += (
            f" ({superpixels['superpixels_asked']:.0f} per image asked, "
            f"{superpixels['superpixels_per_image']:.0f} returned)"
        )
    return f"{text}, {t}"


def fewer_pairs(pairs: Mapping[str, int], samples: int) -> list[str]:
    """Controls of the utility that add fewer pairs than generators do."""
    fewer = {arm: count for arm, count in pairs.items() if count < samples}
    if not fewer:
        return []
    return [
        f"{', '.join(fewer)}: {min(fewer.values())} pairs, all of the validation split; the other "
        f"arms add {samples}."
    ]


def trust(translators: Sequence[Translator], classes: Sequence[str]) -> list[str]:
    """How much each translator learned from unlabelled images; nothing is said to be nothing."""
    out = []
    for translator in translators:
        share = translator.facts.get("trusted_share")
        if not share:
            continue
        text = (
            f"{', '.join(translator.rows)}: trusted share of unlabelled pixels {share['all']:.2f}"
        )
        right = (translator.facts.get("trusted_right") or {}).get("all")
        text += f", right {right:.2f}" if right is not None else ""
        none = [
            _class_name(name, classes)
            for name, value in share.items()
            if name != "all" and value < LEAST_TRUST
        ]
        if share["all"] < LEAST_TRUST:
            text += "; the unlabelled images taught it nothing"
        elif none:
            text += f"; next to none of {', '.join(none)}"
        out.append(f"{text}.")
    return out


def _class_name(key: str, classes: Sequence[str]) -> str:
    return classes[int(key)] if key.isdigit() and int(key) < len(classes) else key


def against(
    reference: str, tests: Iterable[Mapping[str, Any]], metric: str, verdict: str
) -> list[str]:
    """How every other generator differs from the reference on the scale of the board."""
    column = "p_resampling_holm" if verdict == "resampling" else "p_holm"
    said = [
        f"{row['a']} {row['difference']:+.3f} (p {row[column]:.2g})"
        for row in tests
        if row["metric"] == metric and row["b"] == reference
    ]
    return [f"MM-FID against {reference}, Holm-adjusted: {', '.join(said)}."] if said else []
