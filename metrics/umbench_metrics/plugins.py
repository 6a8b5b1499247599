"""What other packages register, by entry points: found without importing any of them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points


def plugged(group: str, built_in: Mapping[str, str], noun: str) -> dict[str, EntryPoint]:
    """Name -> entry point of a group; ValueError where two things have one name.

    built_in: name -> where it is from; those names are taken. noun: what the group registers.
    """
    out: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        taken = out[point.name].value if point.name in out else built_in.get(point.name)
        if taken not in (None, point.value):
            raise ValueError(
                f"{noun} {point.name!r} is both {taken} and {point.value}; rename one in its "
                "package's entry points, or remove that package"
            )
        out[point.name] = point
    return out


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint at what was meant.

    >>> nearest("precison", ["precision", "recall"]), nearest("x", ["precision", "recall"])
    ("did you mean 'precision'?", 'there are precision, recall')
    """
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
