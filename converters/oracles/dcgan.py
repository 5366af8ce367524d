"""The class-conditional DCGAN of painted eyes (PyPI omniart-eye-generator; Radford et al., 2016)."""

import itertools
from collections.abc import Sequence

import torch
from torch import nn


class DCGAN(nn.Module):
    """The generator (z, y) -> images: transposed convolutions from a 1 x 1 map of [z, y].

    Args:
        latent_dim: length of z.
        num_classes: length of y; 0 for none.
        widths: channels after each normalised layer; five give 128 pixels, each more doubles them.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        num_classes: int = 8,
        widths: Sequence[int] = (1024, 512, 256, 128, 64),
    ):
        super().__init__()
        self.latent_dim, self.num_classes = latent_dim, num_classes
        self.resolution = 4 * 2 ** len(widths)
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(latent_dim + num_classes, widths[0], 4, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
            nn.Dropout(),
        ]
        for inputs, outputs in itertools.pairwise(widths):
            layers.append(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
        layers += [nn.ConvTranspose2d(widths[-1], 3, 4, stride=2, padding=1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)
        self.eval()

    @property
    def last(self) -> nn.ConvTranspose2d:
        """The layer that makes the colours, before the tanh."""
        layer = self.main[-2]
        assert isinstance(layer, nn.ConvTranspose2d)
        return layer

    def forward(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Generate images [B, 3, R, R] in [-1, 1] from z [B, latent_dim] and y [B, num_classes]."""
        return self.main(torch.cat([z, y], dim=1)[:, :, None, None])
