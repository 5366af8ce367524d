"""A class-conditional DCGAN (Radford et al. 2016), as trained on painted eyes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from latentjax.layers import FixedNorm, Linear, TransposedConv, at_least_float32


class DCGAN(nnx.Module):
    """G(z [B, Z], y [B, K]) -> images [B, R, R, 3] in [-1, 1], R = 4 * 2 ** len(widths).

    Args:
        latent_dim: Z.
        num_classes: K, length of the class vector.
        widths: channels at 4 x 4, 8 x 8 and so on.
        rngs: where initial weights come from.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        num_classes: int = 8,
        widths: Sequence[int] = (1024, 512, 256, 128, 64),
        *,
        rngs: nnx.Rngs,
    ):
        self.latent_dim, self.num_classes = latent_dim, num_classes
        self.resolution = 4 * 2 ** len(widths)
        # a transposed convolution of a 1 x 1 map is a linear layer
        self.input = Linear(latent_dim + num_classes, 4 * 4 * widths[0], use_bias=False, rngs=rngs)
        self.norms = nnx.List(FixedNorm(width, 1e-5, rngs=rngs) for width in widths)
        self.convs = nnx.List(
            TransposedConv(into, out, rngs=rngs) for into, out in zip(widths, (*widths[1:], 3), strict=True)
        )

    def z_maps(self) -> list[jax.Array]:
        """The linear maps by which z enters, [Z, n] each: the input layer's share of z."""
        return [self.input.kernel[...][: self.latent_dim]]

    def first_activations(self, z: jax.Array, y: jax.Array) -> jax.Array:
        """What the input layer makes of z and y, before its norm: [B, n]."""
        return self.input(jnp.concatenate([z, y], axis=1))

    def __call__(self, z: jax.Array, y: jax.Array) -> jax.Array:
        x = self.first_activations(z, y).reshape(z.shape[0], 4, 4, -1)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = conv(nnx.relu(norm(x)))
        return jnp.tanh(at_least_float32(x))
