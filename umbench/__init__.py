"""umbench: is this generator any good, and how sure are we?"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from umbench.public import *  # noqa: F403

__version__ = "0.1.0"
PUBLIC = "umbench.public"
"""Loaded when something of it is asked for: importing this package costs nothing."""


def __getattr__(name: str) -> Any:
    # Python asks here for submodules too, before it imports them
    if not name.startswith("_") and find_spec(f"{__name__}.{name}") is None:
        public = import_module(PUBLIC)
        if name in public.__all__:
            return getattr(public, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *import_module(PUBLIC).__all__])
