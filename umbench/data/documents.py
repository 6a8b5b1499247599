"""Read YAML and JSON strictly; every mistake is one line with file, line, column and key."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from umbench.errors import InputError

Content = TypeVar("Content", bound=BaseModel)


def read_yaml(path: Path) -> CommentedMap:
    """A YAML file that holds a mapping; every key remembers where it stands (`place`)."""
    tree = parse_yaml(read_text(path), path)
    if not isinstance(tree, CommentedMap):
        raise InputError(f"{path}: must hold a mapping of keys to values; write it as key: value")
    return tree


def parse_yaml(text: str, source: Path | str) -> Any:
    """The content of YAML text; source: the file, or the option that it was given by."""
    try:
        tree = YAML(typ="rt").load(text)
        _plain(tree)  # never ends where an alias stands in what it names
    except YAMLError as error:
        spot = getattr(error, "problem_mark", None) if isinstance(source, Path) else None
        where = f"{source}:{spot.line + 1}:{spot.column + 1}" if spot else str(source)
        what = getattr(error, "problem", None) or "no valid YAML"
        if isinstance(error, DuplicateKeyError):
            key = what.split('"')[1] if '"' in what else ""
            raise InputError(f"{where}: duplicate key {key}; remove one") from None
        raise InputError(f"{where}: {what}; mend the YAML") from None
    except RecursionError:
        raise InputError(f"{source}: nested without end; write aliases out") from None
    note_places(tree, source)
    return tree


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object; a key that is named twice is an error."""
    try:
        tree = json.loads(read_text(path), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no valid JSON ({error}); mend it") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: must hold one JSON object; write it as {{...}}")
    return tree


def read_text(path: Path) -> str:
    """The file as UTF-8 text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is no UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the file") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"duplicate key {name}")
    return dict(pairs)


def note_places(tree: Any, where: str | Path) -> None:
    """Name where each key stands: `file:line:column`, or what is not a file, such as an option.

    The parser keeps line and column alone, which is not enough once files are merged.
    """
    for key, spot in list((getattr(getattr(tree, "lc", None), "data", None) or {}).items()):
        if isinstance(spot, str):
            return  # an alias of what has been seen
        file = isinstance(where, Path)
        mark(tree, key, f"{where}:{spot[0] + 1}:{spot[1] + 1}" if file else str(where))
    if isinstance(tree, (dict, list)):
        for value in tree.values() if isinstance(tree, dict) else tree:
            note_places(value, where)


def place(tree: Any, key: Any) -> str | None:
    """Where a key of a mapping or an item of a list stands, once noted."""
    found: str | None = (getattr(getattr(tree, "lc", None), "data", None) or {}).get(key)
    return found


def mark(tree: Any, key: Any, where: str | None) -> None:
    """Note where a key stands."""
    if tree.lc.data is None:
        tree.lc.data = {}
    if where is not None:
        tree.lc.data[key] = where


def fault(key: str, what: str) -> PydanticCustomError:
    """What a validator of a whole model raises about one dotted key of it."""
    return PydanticCustomError("fault", "{what}", {"key": key, "what": what})


def nearest(name: str, known: Iterable[str]) -> str:
    """What may have been meant by a name that is not known."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"


def validate(
    model: type[Content], tree: dict[str, Any], path: Path, special: Sequence[str] = ()
) -> Content:
    """The tree as `model`; InputError has one line per mistake. special: more top-level keys."""
    try:
        return model.model_validate(_plain(tree))
    except ValidationError as error:
        found: dict[tuple[Any, ...], list[Any]] = {}
        for problem in error.errors():
            found.setdefault(_keys(tree, problem), []).append(problem)
    lines = {}
    for keys, problems in found.items():
        # a union complains for each of its arms: the arm that got further is what was meant
        if not any(other[: len(keys)] == keys != other for other in found):
            names = [*_fields(model, keys[:-1]), *(special if len(keys) == 1 else ())]
            lines[keys] = _line(_where(tree, keys, path), keys, problems, names)
    for keys in [k for k in lines if found[k][0]["type"] == "missing"]:
        # a misspelt key leaves another one missing: that is one mistake
        if any(f"did you mean {keys[-1]!r}" in line for line in lines.values()):
            del lines[keys]
    raise InputError("\n".join(lines.values()))


def _plain(value: Any) -> Any:
    """Without what the parser adds to mappings, lists and scalars."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return value if kind is bool else kind(value)
    return value


def _keys(tree: Any, problem: Any) -> tuple[Any, ...]:
    """The keys and indices of pydantic's location, without the names of a union's arms."""
    if problem["type"] == "fault":
        parts = problem["ctx"]["key"].split(".")
        return tuple(int(part) if part.isdigit() else part for part in parts)
    keys: list[Any] = []
    for index, part in enumerate(problem["loc"]):
        last = index == len(problem["loc"]) - 1
        names_a_key = last and problem["type"] in ("missing", "extra_forbidden")
        if (isinstance(tree, dict) and part in tree) or isinstance(part, int):
            keys.append(part)
            try:
                tree = tree[part]
            except (KeyError, IndexError, TypeError):
                tree = None
        elif names_a_key:
            keys.append(part)
    return tuple(keys)


def _line(where: str, keys: tuple[Any, ...], problems: Sequence[Any], names: Sequence[str]) -> str:
    """What is wrong with one key; names: the keys that may stand there."""
    key, kind, value = ".".join(map(str, keys)), problems[0]["type"], problems[0]["input"]
    if kind == "extra_forbidden":
        return f"{where}: unknown key {key}; {nearest(str(keys[-1]), names)}"
    if kind == "missing":
        return f"{where}: key {key} is missing; add it"
    shown = "" if kind == "fault" or isinstance(value, (dict, list, tuple)) else f", not {value!r}"
    if isinstance(value, float) and math.isnan(value):
        shown = ", not NaN"
    what = " or ".join(dict.fromkeys(map(in_our_words, problems))).replace(" or must be ", " or ")
    return f"{where}: {f'key {key}: ' if key else ''}{what}{shown}"


def in_our_words(problem: Any) -> str:
    """What pydantic says of one mistake, as our messages say it."""
    if problem["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return "must be a mapping"
    text = str(problem["msg"]).removeprefix("Value error, ").partition(", unable to parse")[0]
    text = re.sub(
        "^(List|Tuple|Dictionary) should have (.*) after validation", r"must have \2", text
    )
    return text.replace("Input should be ", "must be ", 1)


def _where(tree: Any, keys: Sequence[Any], path: Path) -> str:
    """The place of the innermost key that stands somewhere; else the file."""
    where = str(path)
    for key in keys:
        where = place(tree, key) or where
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            break
    return where


def _fields(model: type[BaseModel] | None, keys: Sequence[Any]) -> list[str]:
    """Keys that the model that lies at `keys` knows."""
    for part in keys:
        if isinstance(part, int) or model is None:
            continue
        model = _model_in(
            model.model_fields[part].annotation if part in model.model_fields else None
        )
    if model is None:
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None
