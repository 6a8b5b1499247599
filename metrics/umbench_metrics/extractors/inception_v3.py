"""`inception-v3`: the network of published FID values, by torch-fidelity, where its weights are.

Nothing is downloaded behind the user's back: `available` says which file goes where.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

NAME, DIM = "inception-v3", 2048
INPUTS = ("fixed", "native")
MINIMUM = 75  # px; below, one of the later layers would be left without a pixel
FILE = "weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
WEIGHTS_VARIABLE = "UMBENCH_WEIGHTS"


def places() -> list[Path]:
    """Folders that are searched: UMBENCH_WEIGHTS, then torch's hub cache."""
    named = os.environ.get(WEIGHTS_VARIABLE)
    home = os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch"
    hub = Path(home) / "hub" / "checkpoints"
    return ([Path(named)] if named else []) + [hub]


def weights_path() -> Path | None:
    """The weights' file, or None."""
    return next((p / FILE for p in places() if (p / FILE).is_file()), None)


def available() -> tuple[bool, str]:
    """Whether the weights are here."""
    path = weights_path()
    if path is not None:
        return True, f"weights of torch-fidelity in {path}, 2048 features"
    return False, (
        f"weights missing: put torch-fidelity's {FILE} into a folder named by {WEIGHTS_VARIABLE}, "
        "or into hub/checkpoints of torch's cache (TORCH_HOME, else ~/.cache/torch)"
    )


class InceptionV3:
    """The 2048 pooled features of the FID network.

    input: `fixed`, as for published values: every image is resized to 299 px as TensorFlow did,
    so that resolutions differ by what is lost before. `native`: the network sees the image at the
    size that it has, at least 75 px (smaller ones are resized to that).
    """

    dim = DIM

    def __init__(self, path: Path, input: str = "fixed") -> None:
        import torch
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        from umbench_metrics.extractors import check_sha256

        # torch-fidelity unpickles the file freely, so nothing but the pinned one may reach it
        check_sha256(path, SHA256)
        self.input = input
        self.name = NAME if input == "fixed" else f"{NAME}-{input}"
        self.backbone = f"inception-v3 (FID, {input} input)"
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network: Any = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
        ).to(self.device)
        size = {"fixed": "299 TF-bilinear", "native": f"native size from {MINIMUM}"}[input]
        contract = f"{SHA256}|grey x 3|uint8|{size}|float32"
        self.fingerprint = hashlib.sha256(contract.encode()).hexdigest()

    def __call__(self, images: Tensor) -> Tensor:
        """Features (N, 2048) of images (N, 1, H, W) in [0, 1]; rounded to 8 bits as usual."""
        import torch

        from umbench_metrics.images import resize

        with torch.inference_mode():
            if self.input == "native" and min(images.shape[-2:]) < MINIMUM:
                images = resize(images, MINIMUM)
            bytes_ = (images * 255).round().to(torch.uint8).repeat(1, 3, 1, 1).to(self.device)
            features: Tensor = (
                self.network(bytes_)[0]
                if self.input == "fixed"
                else _unresized(self.network, bytes_)
            )
        return features


def _unresized(network: Any, bytes_: Tensor) -> Tensor:
    """What torch-fidelity's `forward` does, without its resize: the layers in their order."""
    values = (bytes_.float() - 128) / 128
    for name, layer in network.named_children():
        if name != "fc":
            values = layer(values)
    return values.flatten(1)


def load(input: str = "fixed") -> InceptionV3:
    """Load the extractor; ValueError where the weights are missing or not the pinned ones."""
    path = weights_path()
    if path is None:
        raise ValueError(available()[1])
    return InceptionV3(path, input)
