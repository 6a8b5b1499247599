"""Read a suite: includes, overrides, matrix; every error names file, line and column."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from umbench.data.documents import mark, nearest, parse_yaml, place, read_yaml, validate
from umbench.errors import InputError
from umbench.suite.schema import Suite

SPECIAL = ("include", "matrix")


def shipped_folder() -> Path:
    """Where the suites of this distribution lie: in the wheel, else in the checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "suites"
    return inside if inside.is_dir() else package.parent / "suites"


def shipped() -> list[str]:
    """Names of the shipped suites."""
    return sorted(path.stem for path in shipped_folder().glob("*.yaml"))


def find_suite(name_or_path: str) -> Path:
    """A suite's file: a path that exists, or the name of a shipped suite."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    named = shipped_folder() / f"{path.stem}.yaml"
    by_name = path.name in (path.stem, named.name) and path.parent.name in ("", "suites")
    if by_name and named.is_file():
        return named
    raise InputError(
        f"suite {name_or_path}: no such file or shipped suite; {nearest(path.stem, shipped())}"
    )


def load_suites(
    name_or_path: str, *, overrides: tuple[str, ...] = (), data: Path | None = None
) -> list[Suite]:
    """The suites that a file stands for: one, or one per arm of its `matrix`.

    overrides: "dotted.key=value" with the value in YAML. data: replaces ${data}. Raises
    InputError with one line per mistake.
    """
    path = find_suite(name_or_path)
    tree = _read(path, ())
    for text in overrides:
        _override(tree, text)
    used = _substitute(tree, data, path)
    if data is not None and not used:
        raise InputError(
            f"--data {data}: {path} reads no ${{data}}; leave --data out, or name another suite"
        )
    arms = [_arm(tree, values) for values in _combinations(tree, path)]
    suites = [validate(Suite, arm, path, SPECIAL) for arm in arms]
    names = [suite.name for suite in suites]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: key matrix: two arms are called {name}; remove one")
    return suites


def _combinations(tree: CommentedMap, path: Path) -> list[dict[str, tuple[Any, str]]]:
    """Per arm: dotted key -> its value and where the matrix names it. One empty arm without."""
    where = place(tree, "matrix") or str(path)
    matrix = tree.pop("matrix", None) or {}
    if not isinstance(matrix, Mapping) or not all(
        isinstance(v, list) and v for v in matrix.values()
    ):
        raise InputError(
            f"{where}: key matrix: must map dotted keys to lists of values, as in "
            "guidance.t: [10, 50]"
        )
    keys = [str(key) for key in matrix]
    places = [place(matrix, key) or where for key in matrix]
    return [
        dict(zip(keys, zip(values, places, strict=True), strict=True))
        for values in itertools.product(*matrix.values())
    ]


def _arm(tree: CommentedMap, values: Mapping[str, tuple[Any, str]]) -> Any:
    """The suite of one combination, named after it."""
    arm = _copy(tree)
    for key, (value, where) in values.items():
        _set(arm, key, value, where)
    if values:
        label = ",".join(f"{key}={value}" for key, (value, _) in values.items())
        # the name becomes a folder: lists lose their brackets, and what is left its slashes
        label = re.sub(r"[^A-Za-z0-9._=,-]", "-", re.sub(r"[\[\]{}'\" ]", "", label))
        arm["name"] = f"{tree.get('name')}/{label}"
    return arm


def _read(path: Path, above: tuple[Path, ...]) -> CommentedMap:
    """One file with what it includes merged below it."""
    resolved = path.resolve()
    if resolved in above:
        raise InputError(f"{path}: key include: the file includes itself; break the circle")
    tree = read_yaml(path)
    if "include" not in tree:
        return tree
    where = place(tree, "include")
    name = tree.pop("include")
    if not isinstance(name, str):
        raise InputError(f"{where}: key include: must be the name of one file, not {name!r}")
    if not (path.parent / name).is_file():
        raise InputError(f"{where}: key include: no file {path.parent / name}; correct the name")
    return _merge(_read(path.parent / name, (*above, resolved)), tree)


def _merge(base: CommentedMap, over: CommentedMap) -> CommentedMap:
    """`over` wins; mappings are merged key by key and keep their line numbers."""
    for key, value in over.items():
        if isinstance(value, CommentedMap) and isinstance(base.get(key), CommentedMap):
            if key == "matrix":
                base[key] = value
            else:
                _merge(base[key], value)
        else:
            base[key] = value
        mark(base, key, place(over, key))
    return base


def _override(tree: CommentedMap, text: str) -> None:
    where = f"--set {text}"
    key, sign, value = text.partition("=")
    if not sign or not all(key.split(".")):
        raise InputError(f"{where}: write it as key=value, as in guidance.t=10")
    if key == "include":
        raise InputError(f"{where}: only a file can include another; name that suite instead")
    _set(tree, key, parse_yaml(value, where), where)


def _set(tree: CommentedMap, key: str, value: Any, where: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        if parent not in tree:
            tree[parent] = CommentedMap()
            mark(tree, parent, where)
        tree = tree[parent]
        if not isinstance(tree, CommentedMap):
            raise InputError(f"{where}: {parent} holds no keys, so {key} cannot be set; correct it")
    tree[last] = value
    mark(tree, last, where)


def _copy(value: Any) -> Any:
    """A deep copy that keeps places, which `copy.deepcopy` of parsed maps does not."""
    if not isinstance(value, (CommentedMap, CommentedSeq)):
        return value
    new: Any
    if isinstance(value, CommentedMap):
        new, keys = CommentedMap((key, _copy(item)) for key, item in value.items()), list(value)
    else:
        new, keys = CommentedSeq(_copy(item) for item in value), list(range(len(value)))
    for key in keys:
        mark(new, key, place(value, key))
    return new


def _substitute(tree: Any, data: Path | None, path: Path) -> bool:
    """Put the folder where ${data} stands; whether it stood anywhere."""
    used = False
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        if isinstance(value, (dict, list)):
            used |= _substitute(value, data, path)
        elif isinstance(value, str) and "${data}" in value:
            if data is None:
                raise InputError(f"{path}: this suite reads its data from --data; name a folder")
            tree[key] = value.replace("${data}", str(data))
            used = True
    return used
