"""Registries: what this package brings, and what others add by entry points.

A name stands for "module:object", so that listing names imports nothing.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

Kind = TypeVar("Kind")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Registry(Generic[Kind]):
    """Objects by name.

    noun: what one of them is called. group: of entry points. kind: the class that all are of.
    built_in: name -> "module:object". reserved: names that nobody may take -> what they stand for.
    """

    noun: str
    group: str
    kind: type[Kind]
    built_in: Mapping[str, str]
    reserved: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """All names, those of third parties last. ValueError where one cannot be used."""
        return list(self._addresses())

    def source(self, name: str) -> str:
        """The module that brings what is called `name`."""
        return self._address(name).partition(":")[0]

    def get(self, name: str) -> Kind:
        """What is called `name`; ValueError names the nearest one where there is none."""
        address = self._address(name)
        module, _, path = address.partition(":")
        found: Any = importlib.import_module(module)
        for attribute in path.split("."):
            found = getattr(found, attribute)
        if not isinstance(found, self.kind):
            raise ValueError(
                f"{self.noun} {name!r}: {address} is no {self.kind.__name__}; register an object "
                f"of a class that derives from {self.kind.__module__}.{self.kind.__name__}"
            )
        called = getattr(found, "name", None)
        if called != name:
            raise ValueError(f"{self.noun} {name!r}: {address} calls itself {called!r}")
        return found

    def _address(self, name: str) -> str:
        addresses = self._addresses()
        if name not in addresses:
            near = difflib.get_close_matches(name, addresses, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"no {self.noun} called {name!r}{hint}")
        return addresses[name]

    def _addresses(self) -> dict[str, str]:
        """Name -> "module:object"; ValueError where two want one name."""
        found = dict(self.built_in)
        taken = {name: f"the built-in {self.noun}" for name in self.built_in} | dict(self.reserved)
        for point in sorted(entry_points(group=self.group), key=lambda p: (p.name, p.value)):
            who = _owner(point)
            if point.name in taken and found.get(point.name) != point.value:
                raise ValueError(
                    f"{self.noun} {point.name!r} of {who}: this is already the name of "
                    f"{taken[point.name]}; rename or remove one"
                )
            if NAME.fullmatch(point.name) is None:
                raise ValueError(
                    f"{self.noun} {point.name!r} of {who}: a name is made of letters, digits, "
                    "'.', '_' and '-'"
                )
            found[point.name] = point.value
            taken[point.name] = f"the {self.noun} of {who}"
        return found


def _owner(point: EntryPoint) -> str:
    """The distribution and the object behind an entry point, for messages."""
    return f"{point.dist.name} ({point.value})" if point.dist else point.value
