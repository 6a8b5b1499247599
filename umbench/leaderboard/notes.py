"""What else the numbers depend on, in sentences: guidance, switches, trust, masks, the training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from umbench.leaderboard.provenance import Method, Presented, Verdict

LEAST_TRUST = 0.01
"""A smaller share of trusted pixels teaches nothing."""


@dataclass(frozen=True)
class Network:
    """A trained network: the rows that use it and the facts of its training.

    facts: those of a generator's part. Read are `psi` of its config, the truncation of its samples;
    `perceptual`, the name of a network; and, where it learned from unlabelled images,
    `trusted_share` and, where the truth is known, `trusted_right`: class or "all" -> share.
    """

    rows: Sequence[str]
    facts: Mapping[str, Any]


def notes_of(
    settings: Mapping[str, Any],
    methods: Sequence[Method],
    networks: Sequence[Network],
    classes: Sequence[str],
    *,
    superpixels: Mapping[str, float],
    annotators: Mapping[str, str],
    pairs: Mapping[str, int],
) -> list[str]:
    """All sentences below the board, in a fixed order.

    settings: the suite as JSON. classes: names, the background first. superpixels: how many were
    asked for and came, empty without any. annotators: row -> who made its masks, where no person
    did. pairs: control of the utility -> how many real pairs it adds.
    """
    notes = [
        f"{row}: annotated by {who}, not by a person." for row, who in sorted(annotators.items())
    ]
    notes += switches(settings["generators"])
    notes += readings(settings, methods, networks, superpixels)
    notes += fewer_pairs(pairs, settings["samples"])
    perceptual = sorted({str(n.facts.get("perceptual", "none")) for n in networks} - {"none"})
    if perceptual:
        notes.append(f"Perceptual loss of the translators: {', '.join(perceptual)}.")
    return notes + trust(networks, classes)


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


def readings(
    settings: Mapping[str, Any],
    methods: Sequence[Method],
    networks: Sequence[Network],
    superpixels: Mapping[str, float],
) -> list[str]:
    """Guidance, truncation, which masks were used, and that this is one training."""
    labelled = settings.get("labelled")
    found = {n.facts.get("config", {}).get("psi") for n in networks} - {None}
    psi = ", ".join(f"{value:g}" for value in sorted(found))
    said = [
        f"Guidance: {_guidance(settings['guidance'], superpixels)}",
        *([f"truncation psi = {psi}"] if psi else []),
        f"preset {settings['training']['preset']}",
        f"label masks of {'all' if labelled is None else f'up to {labelled}'} train images.",
    ]
    notes = [
        "; ".join(said),
        "Verdicts are about these trained networks: trained anew, with another seed, they may "
        "differ more than their images do.",
    ]
    by_masks = [m.name for m in methods if m.kind == "generator" and m.conditions == "masks"]
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


def trust(networks: Sequence[Network], classes: Sequence[str]) -> list[str]:
    """How much each network learned from unlabelled images; nothing is said to be nothing."""
    out = []
    for network in networks:
        share = network.facts.get("trusted_share")
        if not share:
            continue
        text = f"{', '.join(network.rows)}: trusted share of unlabelled pixels {share['all']:.2f}"
        right = (network.facts.get("trusted_right") or {}).get("all")
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
    reference: str, tests: Iterable[Mapping[str, Any]], metric: Presented, verdict: Verdict
) -> list[str]:
    """How every other generator differs from the reference by a metric, as it is shown."""
    column = "p_resampling_holm" if verdict == "resampling" else "p_holm"
    said = [
        f"{row['a']} {row['difference']:+.3f} (p {row[column]:.2g})"
        for row in tests
        if row["metric"] == metric.score and row["b"] == reference
    ]
    if not said:
        return []
    return [f"{metric.label} against {reference}, Holm-adjusted: {', '.join(said)}."]
