"""BigGAN-deep as ported by Hugging Face, in eval mode (Brock et al., 2019, appendix B)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import spectral_norm

from converters.oracles.biggan import attended


def _linear(inputs: int, outputs: int, bias: bool = False) -> nn.Module:
    return spectral_norm(nn.Linear(inputs, outputs, bias=bias), eps=1e-4)


def _conv(inputs: int, outputs: int, size: int, bias: bool = True) -> nn.Module:
    return spectral_norm(nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias), eps=1e-4)


class TableNorm(nn.Module):
    """Normalisation by rows of statistics for the truncations 0, ..., 1, mixed linearly.

    Args:
        features: channels.
        condition: width of the condition; None for a learned gain and bias.
        rows: of the table.
        epsilon: joins the variance.
        port: mix as the port does, with the neighbours' shares swapped.
    """

    running_means: torch.Tensor
    running_vars: torch.Tensor

    def __init__(self, features: int, condition: int | None, rows: int, epsilon: float, port: bool):
        super().__init__()
        self.epsilon, self.port = epsilon, port
        self.register_buffer("running_means", torch.zeros(rows, features))
        self.register_buffer("running_vars", torch.ones(rows, features))
        if condition is None:
            self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        else:
            self.scale, self.offset = _linear(condition, features), _linear(condition, features)

    def mixed(self, table: torch.Tensor, truncation: float) -> torch.Tensor:
        """The statistics [1, C, 1, 1] at a truncation."""
        share, below = math.modf(truncation / (1 / (len(table) - 1)))
        below = int(below)
        if not self.port:  # what a division leaves beside a row moves the result by as little
            above = min(below + 1, len(table) - 1)
            row = table[below] * (1 - share) + table[above] * share
        elif share:
            row = table[below] * share + table[below + 1] * (1 - share)
        else:
            row = table[below]
        return row[None, :, None, None]

    def forward(self, x: torch.Tensor, truncation: float, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Normalise x [B, C, H, W]."""
        mean, variance = self.mixed(self.running_means, truncation), self.mixed(self.running_vars, truncation)
        if condition is None:
            gain, bias = self.weight[None], self.bias[None]
        else:
            gain, bias = 1 + self.scale(condition), self.offset(condition)
        normal = (x - mean) / torch.sqrt(variance + self.epsilon)
        return normal * gain[:, :, None, None] + bias[:, :, None, None]


class Block(nn.Module):
    """A bottleneck of four convolutions beside a shortcut without any."""

    def __init__(self, doubles: bool, inputs: int, outputs: int, condition: int, rows: int, epsilon: float, port: bool):
        super().__init__()
        self.doubles, self.outputs, middle = doubles, outputs, inputs // 4
        for i, width in enumerate((inputs, middle, middle, middle)):
            self.add_module(f"bn_{i}", TableNorm(width, condition, rows, epsilon, port))
        for i, (into, out, size) in enumerate(
            ((inputs, middle, 1), (middle, middle, 3), (middle, middle, 3), (middle, outputs, 1))
        ):
            self.add_module(f"conv_{i}", _conv(into, out, size))

    def forward(self, x: torch.Tensor, truncation: float, condition: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        h = x
        for i in range(4):
            h = F.relu(self.get_submodule(f"bn_{i}")(h, truncation, condition))
            if i == 1 and self.doubles:
                h = F.interpolate(h, scale_factor=2, mode="nearest")
            h = self.get_submodule(f"conv_{i}")(h)
        kept = x[:, : self.outputs]
        return h + (F.interpolate(kept, scale_factor=2, mode="nearest") if self.doubles else kept)


class SelfAttention(nn.Module):
    """Self-attention over positions with pooled keys and values, gated by gamma."""

    def __init__(self, features: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.snconv1x1_theta = _conv(features, features // 8, 1, bias=False)
        self.snconv1x1_phi = _conv(features, features // 8, 1, bias=False)
        self.snconv1x1_g = _conv(features, features // 2, 1, bias=False)
        self.snconv1x1_o_conv = _conv(features // 2, features, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend within x [B, C, H, W]."""
        read = attended(self.snconv1x1_theta(x), self.snconv1x1_phi(x), self.snconv1x1_g(x))
        return self.gamma * self.snconv1x1_o_conv(read) + x


class Generator(nn.Module):
    """Everything after the class embedding."""

    def __init__(
        self,
        layers: Sequence[tuple[bool, int, int]],
        attention_before: int,
        channels: int,
        condition: int,
        rows: int,
        epsilon: float,
        port: bool,
    ):
        super().__init__()
        self.gen_z = _linear(condition, 4 * 4 * 16 * channels, bias=True)
        self.layers = nn.ModuleList()
        for i, (doubles, inputs, outputs) in enumerate(layers):
            if i == attention_before:
                self.layers.append(SelfAttention(channels * inputs))
            self.layers.append(Block(doubles, channels * inputs, channels * outputs, condition, rows, epsilon, port))
        self.bn = TableNorm(channels, None, rows, epsilon, port)
        self.conv_to_rgb = _conv(channels, channels, 3)


class BigGANDeep(nn.Module):
    """The generator (z, y, truncation) -> images.

    Args:
        layers: (doubles the map, channels before, channels after) of each block, in units of ``channels``.
        attention_before: the block that self-attention precedes.
        num_classes: length of y.
        channels: the unit of width; 128 in the published files.
        latent_dim: width of z and of the class embedding.
        rows: of the norms' tables.
        epsilon: of the norms.
        port: mix the rows as the port does.
    """

    def __init__(
        self,
        layers: Sequence[tuple[bool, int, int]],
        attention_before: int = 8,
        num_classes: int = 1000,
        channels: int = 128,
        latent_dim: int = 128,
        rows: int = 51,
        epsilon: float = 1e-4,
        port: bool = False,
    ):
        super().__init__()
        self.num_classes, self.latent_dim = num_classes, latent_dim
        self.resolution = 4 * 2 ** sum(doubles for doubles, _, _ in layers)
        self.embeddings = nn.Linear(num_classes, latent_dim, bias=False)
        self.generator = Generator(layers, attention_before, channels, 2 * latent_dim, rows, epsilon, port)
        self.eval()

    def forward(self, z: torch.Tensor, y: torch.Tensor, truncation: float = 1.0) -> torch.Tensor:
        """Generate images [B, 3, R, R] in [-1, 1] from z [B, latent_dim] and y [B, num_classes]."""
        condition = torch.cat([z, self.embeddings(y)], dim=1)
        # the linear's output is laid out channels last
        x = self.generator.gen_z(condition).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)
        for layer in self.generator.layers:
            x = layer(x, truncation, condition) if isinstance(layer, Block) else layer(x)
        x = self.generator.conv_to_rgb(F.relu(self.generator.bn(x, truncation)))
        return torch.tanh(x[:, :3])
