"""The perceptual loss: L1 between features of a pre-trained network (Johnson et al. 2016)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from umbench_baselines.weights import LITE0, VGG19, checked_weights

WEIGHTS = {
    VGG19: (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0),
    LITE0: (1 / 30, 1 / 40, 1 / 35, 1 / 24, 1 / 10),
}
"""Of the five depths. VGG19: as in pix2pixHD. Lite0's maps do not shrink with depth as VGG's do:
each is divided by how far the maps of two chests lie apart, so that none drowns the others."""
VGG_LAYERS = (2, 7, 12, 21, 30)
"""Ends (exclusive) of relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 in torchvision's VGG19."""


class Perceptual(nn.Module):
    """Weighted L1 distance of feature maps at five depths; images (N, 1, H, W) in [-1, 1].

    name: vgg19 or efficientnet-lite0; sha256: of the weights that are meant. ValueError where
    they are not here or are others.
    """

    def __init__(self, name: str, sha256: str) -> None:
        super().__init__()
        path = checked_weights(name, sha256)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if name == VGG19:
            self.levels, mean, scale = _vgg19(state), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        else:
            self.levels, mean, scale = _lite0(state), (127 / 255,) * 3, (128 / 255,) * 3
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


def _vgg19(state: dict[str, Tensor]) -> nn.ModuleList:
    from torchvision.models import vgg19

    network = vgg19(weights=None, init_weights=False)
    network.load_state_dict(state)
    for layer in network.features:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # the next level must not write into a map that is kept
    starts = (0, *VGG_LAYERS[:-1])
    return nn.ModuleList([network.features[a:b] for a, b in zip(starts, VGG_LAYERS, strict=True)])


def _lite0(state: dict[str, Tensor]) -> nn.ModuleList:
    """EfficientNet-lite0 cut where its resolution halves; tensors map to timm's by position."""
    import timm

    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    blocks = network.blocks
    stem = nn.Sequential(network.conv_stem, network.bn1, blocks[0])
    return nn.ModuleList([stem, blocks[1], blocks[2], blocks[3:5], blocks[5:7]])
