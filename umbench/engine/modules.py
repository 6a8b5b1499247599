"""A module as its source tells: where it lies, what it imports, what of it counts.

Nothing is imported to find it. Imports below `if TYPE_CHECKING` do not count. A package whose
`__init__` serves its names on demand (by a module level `__getattr__`) and does nothing else is a
table of contents. Registries, dictionaries of names and addresses, do not count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.machinery
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

DATA = (".j2", ".json", ".yaml")
"""Files that count beside modules, where a package holds them directly or in `templates/`."""
SUFFIXES = (".py", *importlib.machinery.EXTENSION_SUFFIXES)
ADDRESS = re.compile(r"[a-z]\w*(\.[a-z]\w*)+(:\w+)?", re.IGNORECASE)
"""As in "package.module:object"."""

Wanted = tuple[str, str]
"""A module, and a name in it; "" where the module itself is imported, "*" for all names."""
Place = tuple[Path | None, tuple[str, ...] | None]
"""File and folders of a module; see `Module`."""


@dataclass(frozen=True)
class Module:
    """A module as its source tells.

    file: None for a folder without `__init__`. folders: where its submodules lie, None where it is
    no package. digest: SHA-256 of what counts of the file. binds: what imports at its top level
    bind. serves: what a table of contents serves, None where it is none.
    """

    name: str
    file: Path | None
    folders: tuple[str, ...] | None
    digest: str = ""
    imports: tuple[Wanted, ...] = ()
    binds: Mapping[str, Wanted] = field(default_factory=dict)
    serves: Mapping[str, Wanted | str] | None = None

    def files(self) -> Iterator[tuple[str, str]]:
        """Names and SHA-256 of a module's file and of those beside it."""
        base = self.name.replace(".", "/")
        if self.file is not None and self.serves is None:
            place = base if self.folders is not None else base.rpartition("/")[0]
            yield f"{place}/{self.file.name}".lstrip("/"), self.digest
        for folder in self.folders or ():
            for path in (*Path(folder).glob("*"), *Path(folder).glob("templates/*")):
                if path.suffix in DATA and path.is_file():
                    name = f"{base}/{path.relative_to(folder).as_posix()}"
                    yield name, hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def read_module(name: str) -> Module | None:
    """Find a module and read its source; None where there is none of that name."""
    parent, _, tail = name.rpartition(".")
    if parent:
        above = read_module(parent)
        place = _below(above.folders, tail) if above is not None and above.folders else None
    else:
        place = _top(name)
    if place is None:
        return None
    file, folders = place
    content = b"" if file is None else file.read_bytes()
    if file is None or file.suffix != ".py":
        return Module(name, file, folders, hashlib.sha256(content).hexdigest())
    tree = ast.parse(content, str(file))
    digest = hashlib.sha256(_without_registries(content, tree)).hexdigest()
    package = name if folders is not None else parent
    serves = _contents(tree, package) if file.name == "__init__.py" else None
    binds = _bound(tree.body, package)
    return Module(name, file, folders, digest, tuple(_imports(tree, package)), binds, serves)


def _without_registries(content: bytes, tree: ast.Module) -> bytes:
    """Source without the dictionaries of addresses that stand in it outside functions."""
    lines = content.splitlines(keepends=True)
    for node in reversed(list(_registries(tree))):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        tail = lines[last][node.end_col_offset :]
        lines[first : last + 1] = [lines[first][: node.col_offset] + tail]
    return b"".join(lines)


def _registries(node: ast.AST) -> Iterator[ast.Dict]:
    """In the order in which they stand."""
    for inner in ast.iter_child_nodes(node):
        values = inner.values if isinstance(inner, ast.Dict) else []
        if values and all(_is_address(value) for value in values):
            yield inner  # type: ignore[misc]
        elif not isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _registries(inner)


def _is_address(value: ast.expr) -> bool:
    text = value.value if isinstance(value, ast.Constant) else None
    return isinstance(text, str) and ADDRESS.fullmatch(text) is not None


def _top(name: str) -> Place | None:
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module that was put there by hand
        return None
    if spec is None:
        return None
    file = Path(spec.origin) if spec.origin is not None and spec.has_location else None
    folders = spec.submodule_search_locations
    return file, None if folders is None else tuple(folders)


def _below(folders: tuple[str, ...], tail: str) -> Place | None:
    """Find a submodule. The system's own search would import the packages above it."""
    for folder in map(Path, folders):
        for suffix in SUFFIXES:
            if (folder / tail / f"__init__{suffix}").is_file():
                return folder / tail / f"__init__{suffix}", (str(folder / tail),)
        for suffix in SUFFIXES:
            if (folder / f"{tail}{suffix}").is_file():
                return folder / f"{tail}{suffix}", None
    spaces = tuple(str(Path(folder, tail)) for folder in folders if Path(folder, tail).is_dir())
    return (None, spaces) if spaces else None


def _imports(node: ast.AST, package: str) -> Iterator[Wanted]:
    """Imports below a node, those inside functions too, but none that are for types alone."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from _wanted(node, package).values()
        return
    typing = isinstance(node, ast.If) and _is_type_checking(node.test)
    for inner in node.orelse if isinstance(node, ast.If) and typing else ast.iter_child_nodes(node):
        yield from _imports(inner, package)


def _bound(body: list[ast.stmt], package: str) -> dict[str, Wanted]:
    """What the imports of a block bind; "*" for all names of a module."""
    found: dict[str, Wanted] = {}
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= _wanted(node, package)
    return found


def _wanted(node: ast.Import | ast.ImportFrom, package: str) -> dict[str, Wanted]:
    """What an import asks for, by the name that it binds."""
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name: (alias.name, "") for alias in node.names}
    module = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) + 1 - node.level]
        module = ".".join([*above, module] if module else above)
    return {alias.asname or alias.name: (module, alias.name) for alias in node.names}


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _contents(tree: ast.Module, package: str) -> Mapping[str, Wanted | str] | None:
    """What an `__init__` serves on demand: imports for types, and constants by their text.

    None where it has no `__getattr__`, or does more than serve.
    """
    serves: dict[str, Wanted | str] = {}
    functions = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in ("__getattr__", "__dir__"):
            functions.add(node.name)
        elif isinstance(node, ast.If) and _is_type_checking(node.test) and not node.orelse:
            serves |= _bound(node.body, package)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and _is_literal(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            serves |= {t.id: ast.unparse(node) for t in targets if isinstance(t, ast.Name)}
        elif not isinstance(node, (ast.Import, ast.ImportFrom)) and not (
            isinstance(node, ast.Expr) and _is_literal(node.value)
        ):
            return None
    return serves if "__getattr__" in functions else None


def _is_literal(value: ast.expr | None) -> bool:
    try:
        ast.literal_eval(value) if value is not None else None
    except ValueError:
        return False
    return True
