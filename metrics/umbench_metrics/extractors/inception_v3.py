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
        f"weights missing: put torch-fidelity's {FILE} into {places()[-1]} or a folder named by "
        f"{WEIGHTS_VARIABLE}"
    )


class InceptionV3:
    """The 2048 pooled features of the FID network at its fixed input of 299 px."""

    name, dim, backbone = NAME, DIM, "inception-v3 (FID)"

    def __init__(self, path: Path) -> None:
        import torch
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        from umbench_metrics.extractors import check_sha256

        # torch-fidelity unpickles the file freely, so nothing but the pinned one may reach it
        check_sha256(path, SHA256)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network: Any = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
        ).to(self.device)
        contract = f"{SHA256}|grey x 3|uint8|299 TF-bilinear|float32"
        self.fingerprint = hashlib.sha256(contract.encode()).hexdigest()

    def __call__(self, images: Tensor) -> Tensor:
        """Features (N, 2048) of images (N, 1, H, W) in [0, 1]; rounded to 8 bits as usual."""
        import torch

        with torch.inference_mode():
            bytes_ = (images * 255).round().to(torch.uint8).repeat(1, 3, 1, 1)
            features: Tensor = self.network(bytes_.to(self.device))[0]
        return features


def load() -> InceptionV3:
    """Load the extractor; ValueError where the weights are missing or not the pinned ones."""
    path = weights_path()
    if path is None:
        raise ValueError(available()[1])
    return InceptionV3(path)
