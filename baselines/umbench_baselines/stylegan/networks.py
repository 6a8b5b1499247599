"""StyleGAN (Karras et al. 2019): style-based generator, mirrored discriminator.

Both grow: stage s works at resolution `config.resolutions[s]`, faded in by `alpha`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from umbench_baselines.resampling import conv_doubled, conv_halved
from umbench_baselines.stylegan.config import BASE, StyleGANConfig
from umbench_baselines.training import step_seed


class Linear(nn.Module):
    """Fully connected layer with equalised learning rate."""

    def __init__(
        self, inputs: int, outputs: int, gain: float = 1.0, lr_mult: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_mult)
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr_mult))
        self.scale, self.lr_mult = gain * lr_mult / math.sqrt(inputs), lr_mult

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) to (N, outputs)."""
        return functional.linear(x, self.weight * self.scale, self.bias * self.lr_mult)


class Conv(nn.Module):
    """Convolution with equalised learning rate; may double or halve the resolution."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        change: str = "",
        gain: float = math.sqrt(2),
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = gain / math.sqrt(inputs * kernel**2)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H', W')."""
        weight = self.weight * self.scale
        if not self.change:
            return functional.conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)
        change = conv_doubled if self.change == "up" else conv_halved
        return change(x, weight, self.bias)


def blur(x: Tensor) -> Tensor:
    """Low-pass [1, 2, 1] x [1, 2, 1] / 16 on each channel, zeros outside."""
    line = torch.tensor([0.25, 0.5, 0.25], device=x.device, dtype=x.dtype)
    kernel = torch.outer(line, line).expand(x.shape[1], 1, 3, 3)
    return functional.conv2d(x, kernel, padding=1, groups=x.shape[1])


def double(x: Tensor) -> Tensor:
    """Twice the side, nearest neighbour."""
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def fade(x: Tensor, alpha: float) -> Tensor:
    """A real image as the generator draws it while a stage fades in."""
    if alpha >= 1:
        return x
    return torch.lerp(double(functional.avg_pool2d(x, 2)), x, alpha)


class Mapping(nn.Module):
    """Latent z to style w: normalisation and fully connected layers that learn slowly."""

    def __init__(self, latent: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Linear(latent, latent, math.sqrt(2), lr_mult=0.01) for _ in range(layers)
        )

    def forward(self, z: Tensor) -> Tensor:
        """(N, latent) to (N, latent)."""
        w = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            w = functional.leaky_relu(layer(w), 0.2)
        return w


class SynthesisLayer(nn.Module):
    """Convolution, noise, leaky ReLU, and adaptive instance normalisation (AdaIN)."""

    def __init__(self, inputs: int, outputs: int, latent: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        change = "up" if kind == "up" else ""
        self.conv = None if kind == "first" else Conv(inputs, outputs, change=change, bias=False)
        self.noise = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.style = Linear(latent, 2 * outputs)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """x (N, C, H, W), w (N, latent), noise (N, 1, R, R) or None to draw it."""
        if self.conv is not None:
            x = self.conv(x)
        if self.kind == "up":
            x = blur(x)
        if noise is None:
            noise = torch.randn(len(x), 1, *x.shape[2:], device=x.device)
        x = functional.leaky_relu(x + self.noise * noise + self.bias, 0.2).float()
        scale, shift = self.style(w).float().unflatten(1, (2, -1, 1, 1)).unbind(1)
        variance, mean = torch.var_mean(x, (2, 3), keepdim=True, correction=0)
        # Normalisation and style are one affine map per image and channel.
        slope = (scale + 1) * (variance + 1e-8).rsqrt()
        return torch.addcmul(shift - mean * slope, x, slope)


class StyleGAN(nn.Module):
    """The generator. `w_avg` is the running mean of w that truncation pulls towards."""

    w_avg: Tensor

    def __init__(self, config: StyleGANConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config.latent, config.mapping_layers)
        self.constant = nn.Parameter(torch.ones(1, config.width(BASE), BASE, BASE))
        self.layers = nn.ModuleList()
        self.to_image = nn.ModuleDict()
        resolution, before = BASE, config.width(BASE)
        while resolution <= config.native:
            width, kind = config.width(resolution), "first" if resolution == BASE else "up"
            self.layers.append(SynthesisLayer(before, width, config.latent, kind))
            self.layers.append(SynthesisLayer(width, width, config.latent, "same"))
            if resolution >= config.start_size:
                self.to_image[str(resolution)] = Conv(width, config.channels, 1, gain=1)
            before, resolution = width, 2 * resolution
        self.register_buffer("w_avg", torch.zeros(config.latent))

    def active_layers(self, resolution: int) -> int:
        """Number of synthesis layers up to a resolution."""
        return 2 * int(math.log2(resolution // BASE)) + 2

    @torch.no_grad()
    def track(self, w: Tensor, decay: float = 0.995) -> None:
        """Follow the mean of w (N, latent)."""
        self.w_avg.lerp_(w.float().mean(0), 1 - decay)

    def synthesise(
        self,
        styles: list[Tensor],
        resolution: int,
        alpha: float = 1.0,
        noise: list[Tensor] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Image (N, C, R, R) and all layers' activations from one w (N, latent) per layer."""
        x = self.constant.expand(len(styles[0]), -1, -1, -1)
        features: list[Tensor] = []
        for index in range(self.active_layers(resolution)):
            x = self.layers[index](x, styles[index], None if noise is None else noise[index])
            features.append(x)
        image = self.to_image[str(resolution)](x)
        if alpha < 1:
            coarse = self.to_image[str(resolution // 2)](features[-3])
            image = torch.lerp(double(coarse), image, alpha)
        return image.float(), features

    def forward(self, z: Tensor, resolution: int, alpha: float = 1.0) -> Tensor:
        """z (N, latent) to images (N, C, R, R) with fresh noise."""
        w = self.mapping(z)
        return self.synthesise([w] * self.active_layers(resolution), resolution, alpha)[0]

    @torch.no_grad()
    def _draw(self, index: int, seed: int, psi: float | None) -> tuple[Tensor, list[Tensor]]:
        """Image `index` of a seed (1, C, R, R) and its features, on the generator's device."""
        source = torch.Generator().manual_seed(step_seed(seed, index))
        z = torch.randn(1, self.config.latent, generator=source)
        sides = [BASE * 2 ** (layer // 2) for layer in range(len(self.layers))]
        device = self.constant.device
        noise = [torch.randn(1, 1, s, s, generator=source).to(device) for s in sides]
        kept = self.config.psi if psi is None else psi
        w = torch.lerp(self.w_avg, self.mapping(z.to(device)), kept)
        return self.synthesise([w] * len(sides), self.config.native, noise=noise)

    def enlarged(self, images: Tensor) -> Tensor:
        """Images (N, C, R, R) as the networks draw them, at the size asked for.

        Bilinear for masks too, before a class or level is chosen: steps of several pixels along
        every outline are what G2 never saw.
        """
        if self.config.size == images.shape[-1]:
            return images
        return functional.interpolate(images, self.config.size, mode="bilinear")

    def sample(self, count: int, seed: int, psi: float | None = None, start: int = 0) -> Tensor:
        """Images `start` .. `start + count` of a seed, (count, C, S, S) float32 on the CPU.

        Values lie around [-1, 1] and are not clipped. psi: truncation, by default the
        configuration's. Drawn one by one on the generator's device: image i is the same, byte for
        byte, whatever it is drawn with, and only one image's activations are held.
        """
        side = self.config.size
        images = torch.empty(count, self.config.channels, side, side)
        for place in range(count):
            images[place] = self.enlarged(self._draw(start + place, seed, psi)[0])[0]
        return images

    def sample_features(
        self, count: int, seed: int, psi: float | None = None, start: int = 0
    ) -> tuple[Tensor, list[Tensor]]:
        """The images of `sample` before they are enlarged, with all layers' activations.

        Images (count, C, R, R) and activations (count, D_l, R_l, R_l), coarse to fine, on the
        generator's device: at 1024 px and full width 270 MB an image.
        """
        drawn = [self._draw(start + place, seed, psi) for place in range(count)]
        layers = zip(*(features for _, features in drawn), strict=True)
        return torch.cat([image for image, _ in drawn]), [torch.cat(layer) for layer in layers]


class DiscriminatorBlock(nn.Module):
    """Two convolutions; the second one, after a low-pass, halves the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = Conv(inputs, inputs)
        self.second = Conv(inputs, outputs, change="down")

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, R, R) to (N, outputs, R / 2, R / 2)."""
        x = functional.leaky_relu(self.first(x), 0.2)
        return functional.leaky_relu(self.second(blur(x)), 0.2)


def batch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """Append the mean standard deviation within groups of images as one more channel."""
    size = math.gcd(len(x), group)
    groups = x.float().unflatten(0, (size, -1))
    deviation = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
    plane = deviation.repeat(size).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    return torch.cat([x, plane.to(x.dtype)], 1)


class Discriminator(nn.Module):
    """Mirror of the generator; one logit per image."""

    def __init__(self, config: StyleGANConfig) -> None:
        super().__init__()
        self.from_image = nn.ModuleDict(
            {str(r): Conv(config.channels, config.width(r), 1) for r in config.resolutions}
        )
        self.blocks = nn.ModuleDict()
        resolution = config.native
        while resolution > BASE:
            block = DiscriminatorBlock(config.width(resolution), config.width(resolution // 2))
            self.blocks[str(resolution)] = block
            resolution //= 2
        width = config.width(BASE)
        self.last = Conv(width + 1, width)
        self.dense = Linear(width * BASE**2, width, math.sqrt(2))
        self.logit = Linear(width, 1)

    def forward(self, image: Tensor, alpha: float = 1.0) -> Tensor:
        """Images (N, C, R, R) of any stage's resolution to logits (N,)."""
        resolution = image.shape[-1]
        x = functional.leaky_relu(self.from_image[str(resolution)](image), 0.2)
        while resolution > BASE:
            x = self.blocks[str(resolution)](x)
            resolution //= 2
            if alpha < 1:
                coarse = self.from_image[str(resolution)](functional.avg_pool2d(image, 2))
                x, alpha = torch.lerp(functional.leaky_relu(coarse, 0.2), x, alpha), 1.0
        x = functional.leaky_relu(self.last(batch_deviation(x)), 0.2)
        x = functional.leaky_relu(self.dense(x.flatten(1)), 0.2)
        return self.logit(x).squeeze(1).float()
