"""BigGAN-PyTorch's generator with hierarchical latents and a shared embedding, in eval mode: 128 and 256 pixels."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from converters.oracles.biggan import EMBEDDING, LAYOUTS, attended

ATTENTION_AFTER = 3  # the block that reaches 64 pixels


class SpectralWeight(nn.Module):
    """A weight, and the u that its spectral norm is estimated from; nothing is written back outside training."""

    u0: torch.Tensor
    sv0: torch.Tensor

    def __init__(self, shape: tuple[int, ...], bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.register_buffer("u0", torch.randn(1, shape[0]))
        self.register_buffer("sv0", torch.ones(1))

    @torch.no_grad()
    def iterate(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The singular vectors u [1, out] and v [1, n] after one more power iteration."""
        matrix = self.weight.flatten(1)
        v = F.normalize(self.u0 @ matrix, eps=1e-6)
        return F.normalize(v @ matrix.T, eps=1e-6), v

    def effective(self) -> torch.Tensor:
        """The weight over its spectral norm."""
        u, v = self.iterate()
        return self.weight / (u @ self.weight.flatten(1) @ v.T).squeeze()


class SpectralLinear(SpectralWeight):
    """A linear layer."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True):
        super().__init__((outputs, inputs), bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer."""
        return F.linear(x, self.effective(), self.bias)


class SpectralConv(SpectralWeight):
    """A stride-1 convolution that keeps the map's size."""

    def __init__(self, inputs: int, outputs: int, size: int, bias: bool = True):
        super().__init__((outputs, inputs, size, size), bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer."""
        return F.conv2d(x, self.effective(), self.bias, padding=self.weight.shape[-1] // 2)


class Norm(nn.Module):
    """Batch normalisation by stored statistics."""

    stored_mean: torch.Tensor
    stored_var: torch.Tensor

    def __init__(self, features: int):
        super().__init__()
        self.register_buffer("stored_mean", torch.zeros(features))
        self.register_buffer("stored_var", torch.ones(features))

    def normal(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, C, H, W] by the statistics alone."""
        return F.batch_norm(x, self.stored_mean, self.stored_var, eps=1e-5)


class ConditionalNorm(Norm):
    """With gain 1 + W_g c and bias W_b c."""

    def __init__(self, features: int, condition: int):
        super().__init__(features)
        self.gain = SpectralLinear(condition, features, bias=False)
        self.bias = SpectralLinear(condition, features, bias=False)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Normalise x under condition [B, 128 + chunk]."""
        return self.normal(x) * (1 + self.gain(condition))[:, :, None, None] + self.bias(condition)[:, :, None, None]


class LastNorm(Norm):
    """With a learned gain and bias."""

    def __init__(self, features: int):
        super().__init__(features)
        self.gain, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise x."""
        return self.normal(x) * self.gain[:, None, None] + self.bias[:, None, None]


class Block(nn.Module):
    """A residual block that doubles the map."""

    def __init__(self, inputs: int, outputs: int, condition: int):
        super().__init__()
        self.conv1, self.conv2 = SpectralConv(inputs, outputs, 3), SpectralConv(outputs, outputs, 3)
        self.conv_sc = SpectralConv(inputs, outputs, 1)
        self.bn1, self.bn2 = ConditionalNorm(inputs, condition), ConditionalNorm(outputs, condition)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        h = self.conv1(F.interpolate(F.relu(self.bn1(x, condition)), scale_factor=2))
        return self.conv2(F.relu(self.bn2(h, condition))) + self.conv_sc(F.interpolate(x, scale_factor=2))


class SelfAttention(nn.Module):
    """Self-attention over positions with pooled keys and values, gated by gamma, a number."""

    def __init__(self, features: int):
        super().__init__()
        self.theta = SpectralConv(features, features // 8, 1, bias=False)
        self.phi = SpectralConv(features, features // 8, 1, bias=False)
        self.g = SpectralConv(features, features // 2, 1, bias=False)
        self.o = SpectralConv(features // 2, features, 1, bias=False)
        self.gamma = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend within x [B, C, H, W]."""
        return self.gamma * self.o(attended(self.theta(x), self.phi(x), self.g(x))) + x


class BigGANPyTorch(nn.Module):
    """The generator (z, y) -> images.

    Args:
        resolution: 128 or 256.
        num_classes: length of y.
        channels: the unit of width; 96 in the published files.
        chunk: entries of z for the input and each block.
    """

    def __init__(self, resolution: int, num_classes: int = 1000, channels: int = 96, chunk: int = 20):
        super().__init__()
        widths = [channels * width for width in LAYOUTS[resolution].widths]
        self.resolution, self.num_classes = resolution, num_classes
        self.chunk, self.latent_dim = chunk, chunk * len(widths)
        self.shared = nn.Embedding(num_classes, EMBEDDING)
        self.linear = SpectralLinear(chunk, widths[0] * 4 * 4)
        blocks: list[list[nn.Module]] = [
            [Block(inputs, outputs, EMBEDDING + chunk)] for inputs, outputs in itertools.pairwise(widths)
        ]
        blocks[ATTENTION_AFTER].append(SelfAttention(widths[ATTENTION_AFTER + 1]))
        self.blocks = nn.ModuleList(nn.ModuleList(layers) for layers in blocks)
        self.output_layer = nn.Sequential(LastNorm(widths[-1]), nn.ReLU(), SpectralConv(widths[-1], 3, 3))
        self.eval()

    def forward(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Generate images [B, 3, R, R] in [-1, 1] from z [B, latent_dim] and y [B, num_classes], any real numbers."""
        first, *chunks = z.split(self.chunk, dim=1)
        embedding = y @ self.shared.weight
        x = self.linear(first).unflatten(1, (-1, 4, 4))  # channels first
        for layers, chunk in zip(self.blocks, chunks, strict=True):
            for layer in layers.children():
                x = layer(x, torch.cat([embedding, chunk], dim=1)) if isinstance(layer, Block) else layer(x)
        return torch.tanh(self.output_layer(x))
