"""Read a suite: includes, overrides, matrix; every error names file, line and column."""

from __future__ import annotations

import difflib
import io
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

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
    near = difflib.get_close_matches(path.stem, shipped(), 1)
    hint = f"did you mean {near[0]!r}?" if near else f"shipped suites: {', '.join(shipped())}"
    raise InputError(f"suite {name_or_path}: no such file or shipped suite; {hint}")


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
    _substitute(tree, data, path)
    matrix = tree.pop("matrix", None) or {}
    if not isinstance(matrix, Mapping) or not all(
        isinstance(v, list) and v for v in matrix.values()
    ):
        raise InputError(f"{path}: key matrix: must map dotted keys to lists of values")
    suites = []
    for values in itertools.product(*matrix.values()):
        arm = _copy(tree)
        for key, value in zip(matrix, values, strict=True):
            _set(arm, str(key), value, f"{path}: key matrix")
        if values:
            label = ",".join(f"{k}={v}" for k, v in zip(matrix, values, strict=True))
            arm["name"] = f"{tree.get('name')}/{label}"
        suites.append(_validate(arm, path))
    return suites


def _read(path: Path, above: tuple[Path, ...]) -> CommentedMap:
    """One file with what it includes merged below it."""
    resolved = path.resolve()
    if resolved in above:
        raise InputError(f"{path}: key include: the file includes itself; break the circle")
    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except DuplicateKeyError as error:
        mark = error.problem_mark
        key = (error.problem or "").split('"')[1] if '"' in (error.problem or "") else ""
        raise InputError(
            f"{path}:{mark.line + 1}:{mark.column + 1}: duplicate key {key}; remove one"
        ) from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        what = getattr(error, "problem", None) or "no valid YAML"
        raise InputError(f"{path}{where}: {what}; mend the YAML") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(tree, CommentedMap):
        raise InputError(f"{path}: a suite is a mapping of keys to values; this file is not")
    _name_file(tree, path)
    if "include" not in tree:
        return tree
    base_path = path.parent / str(tree.pop("include"))
    if not base_path.is_file():
        raise InputError(f"{path}: key include: no file {base_path}")
    return _merge(_read(base_path, (*above, resolved)), tree)


def _name_file(tree: Any, path: Path) -> None:
    """Keep beside each key's line and column the file that it stands in."""
    data = getattr(getattr(tree, "lc", None), "data", None) or {}
    for key, place in data.items():
        data[key] = [*place[:2], path]
    for value in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(value, (dict, list)):
            _name_file(value, path)


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
        if over.lc.data and key in over.lc.data:
            base.lc.data[key] = over.lc.data[key]
    return base


def _override(tree: CommentedMap, text: str) -> None:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise InputError(f"--set {text}: write it as key=value, as in guidance.t=10")
    try:
        parsed = YAML(typ="safe").load(io.StringIO(value))
    except YAMLError:
        raise InputError(f"--set {text}: the value is no valid YAML") from None
    _set(tree, key, parsed, f"--set {text}")


def _set(tree: Any, key: str, value: Any, where: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        if parent not in tree:
            tree[parent] = CommentedMap()
        tree = tree[parent]
        if not isinstance(tree, dict):
            raise InputError(f"{where}: {parent} holds no keys, so {key} cannot be set")
    tree[last] = value


def _copy(value: Any) -> Any:
    """A deep copy that keeps line numbers, which `copy.deepcopy` of parsed maps does not."""
    if isinstance(value, CommentedMap):
        new = CommentedMap((key, _copy(item)) for key, item in value.items())
        new.lc.line, new.lc.col, new.lc.data = value.lc.line, value.lc.col, value.lc.data
        return new
    if isinstance(value, CommentedSeq):
        new_list = CommentedSeq(_copy(item) for item in value)
        new_list.lc.line, new_list.lc.col = value.lc.line, value.lc.col
        new_list.lc.data = value.lc.data
        return new_list
    return value


def _substitute(tree: Any, data: Path | None, path: Path) -> None:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        if isinstance(value, (dict, list)):
            _substitute(value, data, path)
        elif isinstance(value, str) and "${data}" in value:
            if data is None:
                raise InputError(f"{path}: this suite reads its data from --data; name a folder")
            tree[key] = value.replace("${data}", str(data))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value) if isinstance(value, str) else value


def _validate(tree: CommentedMap, path: Path) -> Suite:
    try:
        return Suite.model_validate(_plain(tree))
    except ValidationError as error:
        lines = [_line(tree, path, problem) for problem in error.errors()]
        raise InputError("\n".join(dict.fromkeys(lines))) from None


def _line(tree: CommentedMap, path: Path, problem: Any) -> str:
    """One mistake as `file:line:column: key: what is wrong`."""
    located = [part for part in problem["loc"] if _is_key(part)]
    where, keys = _position(tree, located, path)
    key = ".".join(str(part) for part in keys) or str(tree.get("name", "suite"))
    if problem["type"] == "extra_forbidden":
        names = _siblings(keys)
        near = difflib.get_close_matches(str(keys[-1]), names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
        return f"{where}: unknown key {key}; {hint}"
    if problem["type"] == "missing":
        return f"{path}: key {key}: is missing; add it"
    message = problem["msg"].removeprefix("Value error, ")
    value = problem["input"]
    shown = "" if isinstance(value, (dict, list)) else f", not {value!r}"
    if isinstance(value, float) and math.isnan(value):
        shown = ", not NaN"
    if not located:
        return f"{path}: {message}"
    return f"{where}: key {key}: {message}{shown}"


def _is_key(part: Any) -> bool:
    """Whether a part of pydantic's location is a key or index, not the name of a union's arm."""
    return isinstance(part, int) or (part not in ("Splits",) and "[" not in str(part))


def _position(tree: Any, located: list[Any], path: Path) -> tuple[str, list[Any]]:
    """`file:line:column` of the innermost located key that stands in a file, and its keys."""
    mark, keys = str(path), []
    for part in located:
        keys.append(part)
        data = getattr(getattr(tree, "lc", None), "data", None) or {}
        if part in data:
            line, column, *file = data[part]
            mark = f"{file[0] if len(file) == 1 else path}:{line + 1}:{column + 1}"
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            break
    return mark, keys


def _siblings(keys: list[Any]) -> list[str]:
    """Keys that the schema knows beside the last one; `include` and `matrix` at the top."""
    model: type[BaseModel] | None = Suite
    for part in keys[:-1]:
        if isinstance(part, int) or model is None:
            continue
        model = _model_in(
            model.model_fields[part].annotation if part in model.model_fields else None
        )
    names = list(model.model_fields) if model is not None else []
    return [*names, *SPECIAL] if len(keys) == 1 else names


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None
