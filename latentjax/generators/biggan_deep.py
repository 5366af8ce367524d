"""BigGAN-deep (Brock et al. 2019, appendix B) as ported to PyTorch by Hugging Face: 128, 256 and 512 pixels.

Its norms hold statistics for 51 truncations of z from 0 to 1, so the truncation is an input. Spectral normalisation is
a constant of the published weights and folded into them at conversion.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from latentjax.convolutions import matmul, upsample
from latentjax.generators.biggan import SelfAttention
from latentjax.layers import Conv, Linear, UpsampleConv, at_least_float32

NARROWER = 4  # times: the middle of a block
COMPATS = ("huggingface",)


def row_weights(truncation: jax.Array, count: int, compat: str | None = None) -> jax.Array:
    """How much of each row of statistics a truncation takes: [B] -> [B, count], linear between neighbours.

    Args:
        truncation: in [0, 1].
        count: rows, for truncations 0, 1 / (count - 1), ..., 1.
        compat: "huggingface": as that port does it, which between two rows gives each the other's share, and on some
            of them (.14, .28, .56, .58, .94 ...) takes a neighbour's.
    """
    place = jnp.clip(truncation, 0, 1)[:, None] * (count - 1)
    rows = jnp.arange(count)
    if compat is None:
        return jnp.maximum(0, 1 - jnp.abs(place - rows))
    below = jnp.floor(place)
    between = jnp.where(rows == below, place - below, 0) + jnp.where(rows == below + 1, 1 - (place - below), 0)
    # which row it takes where there is one: float64's division decides on which side of it the truncation falls
    places = [row / (count - 1) / (1 / (count - 1)) for row in range(count)]
    taken = np.array([math.floor(at) + (0 < at % 1 < 0.5) for at in places])
    nearest = jnp.round(place).astype(int)
    on_row = jnp.abs(place - nearest) < 1e-4
    return jnp.where(on_row, rows == jnp.asarray(taken)[nearest], between)


class TruncatedNorm(nnx.Module):
    """Normalisation by statistics that depend on the truncation; the result has the input's dtype."""

    def __init__(self, features: int, statistics: int, epsilon: float):
        self.mean = nnx.BatchStat(jnp.zeros((statistics, features)))
        self.var = nnx.BatchStat(jnp.ones((statistics, features)))
        self.epsilon = epsilon

    def normalised(self, x: jax.Array, rows: jax.Array, gain: jax.Array, bias: jax.Array) -> jax.Array:
        """x [B, H, W, C] with row weights [B or 1, statistics], gain and bias [B or 1, C]."""
        gain = gain * jax.lax.rsqrt(matmul(rows, self.var[...]) + self.epsilon)
        bias = bias - gain * matmul(rows, self.mean[...])
        return (x * gain[:, None, None] + bias[:, None, None]).astype(x.dtype)


class ConditionalNorm(TruncatedNorm):
    """Gain and bias are linear in the condition."""

    def __init__(self, features: int, condition_dim: int, statistics: int, epsilon: float, *, rngs: nnx.Rngs):
        super().__init__(features, statistics, epsilon)
        self.gain = Linear(condition_dim, features, use_bias=False, rngs=rngs)
        self.bias = Linear(condition_dim, features, use_bias=False, rngs=rngs)

    def __call__(self, x: jax.Array, rows: jax.Array, condition: jax.Array) -> jax.Array:
        return self.normalised(x, rows, 1 + self.gain(condition), self.bias(condition))


class LastNorm(TruncatedNorm):
    """Gain and bias are learned numbers."""

    def __init__(self, features: int, statistics: int, epsilon: float):
        super().__init__(features, statistics, epsilon)
        self.scale, self.bias = nnx.Param(jnp.ones(features)), nnx.Param(jnp.zeros(features))

    def __call__(self, x: jax.Array, rows: jax.Array) -> jax.Array:
        return self.normalised(x, rows, self.scale[...][None], self.bias[...][None])


class Block(nnx.Module):
    """A residual bottleneck of four convolutions that may double height and width and halve the channels."""

    def __init__(
        self,
        doubles: bool,
        in_features: int,
        out_features: int,
        condition_dim: int,
        statistics: int,
        epsilon: float,
        *,
        rngs: nnx.Rngs,
    ):
        middle = in_features // NARROWER
        self.doubles, self.out_features = doubles, out_features
        self.norms = nnx.List(
            ConditionalNorm(width, condition_dim, statistics, epsilon, rngs=rngs)
            for width in (in_features, middle, middle, middle)
        )
        self.convs = nnx.List(
            [
                Conv(in_features, middle, rngs=rngs),
                (UpsampleConv if doubles else Conv)(middle, middle, 3, rngs=rngs),
                Conv(middle, middle, 3, rngs=rngs),
                Conv(middle, out_features, rngs=rngs),
            ]
        )

    def __call__(self, x: jax.Array, rows: jax.Array, condition: jax.Array) -> jax.Array:
        h = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h = conv(nnx.relu(norm(h, rows, condition)))
        kept = x[..., : self.out_features]
        return h + (upsample(kept) if self.doubles else kept)


class BigGANDeep(nnx.Module):
    """G(z [B, Z], y [B, K], truncation) -> images [B, R, R, 3] in [-1, 1]; y is any real class vector.

    Args:
        layers: (doubles the map, channels before, channels after) of each block, channels in units of `channels`.
        attention_before: the block that self-attention precedes; None for no attention.
        num_classes: K, length of the class vector.
        latent_dim: Z.
        embedding_dim: width of the class embedding.
        channels: width of the last block (128 in the published weights).
        statistics: rows of each norm's table.
        epsilon: of every norm.
        compat: see `row_weights`.
        rngs: where initial weights come from.
    """

    takes_truncation = True

    def __init__(
        self,
        layers: Sequence[tuple[bool, int, int]],
        attention_before: int | None,
        num_classes: int = 1000,
        latent_dim: int = 128,
        embedding_dim: int = 128,
        channels: int = 128,
        statistics: int = 51,
        epsilon: float = 1e-4,
        compat: str | None = None,
        *,
        rngs: nnx.Rngs,
    ):
        self.num_classes, self.latent_dim, self.statistics, self.compat = num_classes, latent_dim, statistics, compat
        self.resolution = 4 * 2 ** sum(doubles for doubles, _, _ in layers)
        condition_dim = latent_dim + embedding_dim
        self.embedding = Linear(num_classes, embedding_dim, use_bias=False, rngs=rngs)
        self.input = Linear(condition_dim, 4 * 4 * channels * layers[0][1], rngs=rngs)
        self.layers = nnx.List([])
        for i, (doubles, into, out) in enumerate(layers):
            if i == attention_before:
                self.layers.append(SelfAttention(channels * into, rngs=rngs))
            widths = channels * into, channels * out
            self.layers.append(Block(doubles, *widths, condition_dim, statistics, epsilon, rngs=rngs))
        self.last_norm = LastNorm(channels, statistics, epsilon)
        self.last_conv = Conv(channels, 3, 3, rngs=rngs)

    def condition(self, z: jax.Array, y: jax.Array) -> jax.Array:
        """What the input layer and every norm of the blocks see: z beside the embedded class, [B, n]."""
        return jnp.concatenate([z, self.embedding(y)], axis=1)

    def z_maps(self) -> list[jax.Array]:
        """The linear maps by which z enters, [Z, n] each: the input layer's, gain and bias of every block's norms."""
        norms = [norm for layer in self.layers if isinstance(layer, Block) for norm in layer.norms]
        layers = [self.input, *(layer for norm in norms for layer in (norm.gain, norm.bias))]
        return [layer.kernel[...][: self.latent_dim] for layer in layers]

    def first_activations(self, z: jax.Array, y: jax.Array) -> jax.Array:
        """What the input layer makes of z and y: [B, n]."""
        return self.input(self.condition(z, y))

    def __call__(self, z: jax.Array, y: jax.Array, truncation: jax.Array | float = 1.0) -> jax.Array:
        truncation = jnp.atleast_1d(jnp.asarray(truncation, jnp.promote_types(z.dtype, jnp.float32)))
        rows = row_weights(truncation, self.statistics, self.compat)
        condition = self.condition(z, y)
        x = self.input(condition).reshape(z.shape[0], 4, 4, -1)
        for layer in self.layers:
            x = layer(x) if isinstance(layer, SelfAttention) else layer(x, rows, condition)
        x = nnx.relu(self.last_norm(x, rows))
        return jnp.tanh(at_least_float32(self.last_conv(x)))
