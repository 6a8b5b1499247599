"""3x3 convolutions joined with a change of resolution, at 4/9 of the cost.

Nearest enlarging and then a 3x3 convolution is one transposed 4x4 convolution whose kernel sums
the four shifted 3x3 kernels; a 3x3 convolution and then 2x2 averaging is one strided convolution
with a quarter of it. Values are the same up to rounding, borders included.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv_doubled(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (N, I, H, W) enlarged twice (nearest), then convolved: (N, O, 2 H, 2 W).

    weight: (O, I, 3, 3), zero padding. bias: (O,) or None.
    """
    # A transposed convolution mirrors the kernel; mirror it back.
    kernel = _shifted_sum(weight).transpose(0, 1).flip(2, 3)
    return functional.conv_transpose2d(x, kernel, bias, stride=2, padding=1)


def conv_halved(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (N, I, H, W) convolved, then averaged over 2 x 2 px: (N, O, H / 2, W / 2).

    weight: (O, I, 3, 3), zero padding. bias: (O,) or None.
    """
    return functional.conv2d(x, _shifted_sum(weight) / 4, bias, stride=2, padding=1)


def _shifted_sum(weight: Tensor) -> Tensor:
    """(O, I, 3, 3) to (O, I, 4, 4): the kernel at each of the four positions, added up."""
    padded = functional.pad(weight, (1, 1, 1, 1))
    shifted = [padded[..., i : i + 4, j : j + 4] for i in (0, 1) for j in (0, 1)]
    return torch.stack(shifted).sum(0)


class DoublingConv(nn.Conv2d):
    """Nearest enlarging and a 3x3 convolution without bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, 2 H, 2 W)."""
        return conv_doubled(input, self.weight)
