"""BigGAN as ported for GANalyze: 128, 256 and 512 pixels (Brock et al., 2019, appendix B)."""

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from latentjax.errors import InputError

EMBEDDING = 128


class Layout(NamedTuple):
    """What differs between the resolutions; widths are in units of ``channels``."""

    chunk: int
    widths: tuple[int, ...]
    attention_before: int
    final_epsilon: float


LAYOUTS = {
    128: Layout(20, (16, 16, 8, 4, 2, 1), 4, 1e-4),
    256: Layout(20, (16, 16, 8, 8, 4, 2, 1), 5, 1e-4),
    512: Layout(16, (16, 16, 8, 8, 4, 2, 1, 1), 4, 1e-5),
}


def _normalise(x: torch.Tensor) -> torch.Tensor:
    return x / (x.norm() + 1e-4)


class SpectralWeight(nn.Module):
    """A weight divided by its estimated largest singular value, and the layer's bias.

    The estimate takes one power iteration from the stored ``weight_u`` at every call and never writes it back,
    so that it is a constant of the file. ``weight_v`` is stored but unused, with the published length ``out``.
    """

    weight_u: torch.Tensor
    weight_v: torch.Tensor

    def __init__(self, shape: tuple[int, ...], bias: bool):
        super().__init__()
        self.weight_bar = nn.Parameter(torch.randn(shape))
        self.register_buffer("weight_u", torch.randn(shape[0]))
        self.register_buffer("weight_v", torch.randn(shape[0]))
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None

    @torch.no_grad()
    def iterate(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The singular vectors u [out] and v after one more power iteration; nothing is stored."""
        matrix = self.weight_bar.flatten(1)
        v = _normalise(matrix.T @ self.weight_u)
        return _normalise(matrix @ v), v

    def forward(self) -> torch.Tensor:
        """The effective weight, of the shape of ``weight_bar``."""
        u, v = self.iterate()
        return self.weight_bar / (u @ (self.weight_bar.flatten(1) @ v))


class SpectralLinear(nn.Module):
    """A linear layer [B, inputs] -> [B, outputs] with a spectrally normalised weight."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True):
        super().__init__()
        self.module = SpectralWeight((outputs, inputs), bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer."""
        return F.linear(x, self.module(), self.module.bias)


class SpectralConv(nn.Module):
    """A stride-1 convolution with a spectrally normalised weight; an odd ``size`` keeps the map's size."""

    def __init__(self, inputs: int, outputs: int, size: int, bias: bool = True):
        super().__init__()
        self.module = SpectralWeight((outputs, inputs, size, size), bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer."""
        weight = self.module()
        return F.conv2d(x, weight, self.module.bias, padding=weight.shape[-1] // 2)


class ConditionalNorm(nn.Module):
    """Batch normalisation by running statistics with gain 1 + W_g c and bias W_b c."""

    def __init__(self, features: int, condition: int):
        super().__init__()
        self.bn = nn.BatchNorm2d(features, eps=1e-4, affine=False)
        self.gamma_embed = SpectralLinear(condition, features, bias=False)
        self.beta_embed = SpectralLinear(condition, features, bias=False)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Normalise x [B, C, H, W] under condition [B, chunk + 128]."""
        gain = 1 + self.gamma_embed(condition)[:, :, None, None]
        return self.bn(x) * gain + self.beta_embed(condition)[:, :, None, None]


class Block(nn.Module):
    """A residual block that doubles the map: [B, inputs, H, W] -> [B, outputs, 2H, 2W]."""

    def __init__(self, inputs: int, outputs: int, condition: int):
        super().__init__()
        self.conv0 = SpectralConv(inputs, outputs, 3)
        self.conv1 = SpectralConv(outputs, outputs, 3)
        self.conv_sc = SpectralConv(inputs, outputs, 1)
        self.HyperBN = ConditionalNorm(inputs, condition)
        self.HyperBN_1 = ConditionalNorm(outputs, condition)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        h = F.interpolate(F.relu(self.HyperBN(x, condition)), scale_factor=2, mode="nearest")
        h = self.conv0(h)
        h = self.conv1(F.relu(self.HyperBN_1(h, condition)))
        return h + self.conv_sc(F.interpolate(x, scale_factor=2, mode="nearest"))


def attended(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """What maps of queries [B, C, H, W] read from pooled keys and values [B, C or D, H, W]: [B, D, H, W].

    The scores are not divided by a root.
    """
    keys, values = F.max_pool2d(keys, 2).flatten(2), F.max_pool2d(values, 2).flatten(2)
    attention = torch.softmax(queries.flatten(2).transpose(1, 2) @ keys, dim=-1)
    return (values @ attention.transpose(1, 2)).unflatten(2, queries.shape[2:])


class SelfAttention(nn.Module):
    """Self-attention over positions with pooled keys and values (Zhang et al., 2019), gated by gamma."""

    def __init__(self, features: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.theta = SpectralConv(features, features // 8, 1, bias=False)
        self.phi = SpectralConv(features, features // 8, 1, bias=False)
        self.g = SpectralConv(features, features // 2, 1, bias=False)
        self.o_conv = SpectralConv(features // 2, features, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend within x [B, C, H, W]."""
        return self.gamma * self.o_conv(attended(self.theta(x), self.phi(x), self.g(x))) + x


class BigGAN(nn.Module):
    """The generator (z, y) -> images.

    Args:
        resolution: 128, 256 or 512.
        num_classes: length of y.
        channels: the unit of width; 96 in the published files.

    Raises:
        InputError: for another resolution.
    """

    def __init__(self, resolution: int, num_classes: int = 1000, channels: int = 96):
        super().__init__()
        if resolution not in LAYOUTS:
            raise InputError("resolution", f"BigGAN has no size {resolution}", "use 128, 256 or 512")
        layout = LAYOUTS[resolution]
        widths = [channels * width for width in layout.widths]
        condition = layout.chunk + EMBEDDING
        self.resolution, self.num_classes = resolution, num_classes
        self.chunk, self.attention_before = layout.chunk, layout.attention_before
        self.latent_dim = layout.chunk * len(widths)
        self.linear = nn.Linear(num_classes, EMBEDDING, bias=False)
        self.G_linear = SpectralLinear(layout.chunk, 4 * 4 * widths[0])
        self.GBlock = nn.ModuleList(Block(inputs, outputs, condition) for inputs, outputs in itertools.pairwise(widths))
        self.attention = SelfAttention(widths[layout.attention_before])
        self.ScaledCrossReplicaBN = nn.BatchNorm2d(widths[-1], eps=layout.final_epsilon)
        self.colorize = SpectralConv(widths[-1], 3, 3)
        self.eval()

    def forward(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Generate images.

        Args:
            z: latents [B, latent_dim].
            y: class weights [B, num_classes], any real numbers.

        Returns:
            Images [B, 3, R, R] in [-1, 1].
        """
        first, *chunks = z.split(self.chunk, dim=1)
        embedding = self.linear(y)
        # The linear's output is laid out channels last.
        x = self.G_linear(first).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)
        for i, (block, chunk) in enumerate(zip(self.GBlock, chunks, strict=True)):
            if i == self.attention_before:
                x = self.attention(x)
            x = block(x, torch.cat([chunk, embedding], dim=1))
        return torch.tanh(self.colorize(F.relu(self.ScaledCrossReplicaBN(x))))
