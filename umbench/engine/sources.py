"""What a stage runs, as far as source tells: the static import closure of its modules.

Modules of umbench's packages are followed, and those of the distribution that a plug-in comes
from; of everything else the version counts, where it has one. Of a table of contents only what is
asked of it is followed, so that a name more in it changes nothing. What a stage takes from a
registry it names itself, among its sources. See `umbench.engine.modules`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distributions,
    packages_distributions,
    version,
)
from pathlib import Path

from umbench.engine.modules import Module, Wanted, read_module
from umbench.pipeline import canonical_json

OWN = ("umbench", "umbench_metrics", "umbench_baselines")
PACKAGED_AS = {"PIL": "pillow", "skimage": "scikit-image"}
"""Distributions that are not called as what they bring; others of that sort are searched for."""
FORMAL = ("click", "pydantic", "pydantic_core", "rich", "ruamel")
"""Libraries that read, check and show settings: what is computed does not depend on them."""


@dataclass(frozen=True)
class Closure:
    """What modules consist of.

    files: SHA-256 of what counts of each, by name below the folders that packages lie in. served:
    what names asked of tables of contents stand for. versions: of distributions, the plug-in's own
    included.
    """

    files: Mapping[str, str]
    served: Mapping[str, str]
    versions: Mapping[str, str]

    @functools.cached_property
    def code(self) -> str:
        """SHA-256 over files and served names."""
        parts = [*sorted(self.files.items()), *sorted(self.served.items())]
        return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


@functools.cache
def closure(modules: tuple[str, ...]) -> Closure:
    """What these modules consist of; ModuleNotFoundError where one of them is not there."""
    search = _Search(modules)
    search.run()
    files = {name: digest for module in search.found.values() for name, digest in module.files()}
    libraries = dict(map(distribution_version, search.libraries))
    return Closure(files, search.served, {**libraries, **search.plugged})


@functools.cache
def distribution_version(top: str) -> tuple[str, str]:
    """Distribution and version of what is imported as `top`; no version where none is found."""
    name = PACKAGED_AS.get(top, top)
    try:
        return name, version(name)
    except PackageNotFoundError:
        pass
    if importlib.util.find_spec(top) is None:
        return name, ""
    found = all_packages().get(top)
    return (found[0], version(found[0])) if found else (name, "")


@functools.cache
def all_packages() -> Mapping[str, list[str]]:
    """Distributions by what they bring; slow, since it reads what each of them holds."""
    return packages_distributions()


@dataclass
class _Search:
    """Follows imports from some modules on."""

    roots: tuple[str, ...]
    found: dict[str, Module] = field(default_factory=dict)
    served: dict[str, str] = field(default_factory=dict)
    libraries: set[str] = field(default_factory=set)
    plugged: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        followed = self._followed()
        seen: set[Wanted] = set()
        self.todo: list[Wanted] = [(root, "") for root in self.roots]
        while self.todo:
            wanted = self.todo.pop()
            if wanted not in seen:
                seen.add(wanted)
                self._take(*wanted, followed)

    def _followed(self) -> set[str]:
        """Packages whose modules are looked into; notes the distributions of plug-ins."""
        followed = set(OWN)
        for root in self.roots:
            top = root.partition(".")[0]
            if top not in followed:
                followed.add(top)
                plug_in = _plug_in(top)
                if plug_in is not None:
                    followed |= _brings(plug_in)
                    self.plugged[plug_in.metadata["Name"]] = plug_in.version
        return followed

    def _take(self, module: str, name: str, followed: set[str]) -> None:
        parts = module.split(".")
        if parts[0] not in followed:
            if parts[0] in sys.stdlib_module_names or parts[0] in FORMAL:
                return
            self.libraries.add(parts[0])
            if distribution_version(parts[0])[1]:
                return
        here: Module | None = None
        for length in range(1, len(parts) + 1):
            here = self._add(".".join(parts[:length]))
            if here is None:
                if module in self.roots:
                    raise ModuleNotFoundError(f"stage source {module} is not installed")
                return
        if here is None or (name and self._add(f"{module}.{name}")):
            return
        if here.serves is not None:
            self._serve(here, name)

    def _add(self, name: str) -> Module | None:
        module = read_module(name)
        if module is not None and name not in self.found:
            self.found[name] = module
            self.todo += module.imports
        return module

    def _serve(self, module: Module, name: str) -> None:
        """Follow what a name asked of a table of contents stands for; all, where that is open."""
        serves = dict(module.serves or {})
        if "*" in serves and name not in serves:  # all that another module imports
            onward = read_module(serves["*"][0])
            serves |= {k: v for k, v in onward.binds.items() if k == name} if onward else {}
        for asked in [name] if name in serves else serves:
            meaning = serves[asked]
            self.served[f"{module.name}.{asked}"] = str(meaning)
            if not isinstance(meaning, str):
                self.todo.append(meaning)


def _plug_in(top: str) -> Distribution | None:
    """The distribution that registers something of a package with umbench."""
    for found in distributions():
        for point in found.entry_points:
            if point.group.startswith("umbench.") and point.module.partition(".")[0] == top:
                return found
    return None


def _brings(plug_in: Distribution) -> set[str]:
    """Packages and modules at the top of a distribution, as far as it says."""
    points = {point.module.partition(".")[0] for point in plug_in.entry_points}
    files = {Path(file) for file in plug_in.files or () if file.suffix == ".py"}
    return points | {file.parts[0].removesuffix(".py") for file in files if file.parts[0] != ".."}
