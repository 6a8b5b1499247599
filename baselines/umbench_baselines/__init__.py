"""Generators, guidance and the utility segmenter: tensors in, tensors out."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from umbench_baselines.public import *  # noqa: F403

PUBLIC = "umbench_baselines.public"
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
