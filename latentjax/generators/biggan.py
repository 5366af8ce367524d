"""BigGAN (Brock et al. 2019) as ported to PyTorch for GANalyze, and by its authors: 128, 256 and 512 pixels.

Spectral normalisation is a constant of the published weights and folded into them at conversion.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from latentjax.layers import Conv, FixedNorm, Linear, UpsampleConv, UpsampledShortcut, at_least_float32, attention


class Architecture(NamedTuple):
    """What the resolution decides."""

    latent_dim: int
    widths: tuple[int, ...]  # channels before and after each block, in units of `channels`
    attention_before: int  # the block that self-attention precedes
    last_epsilon: float


EPSILON = 1e-4  # of every norm but the last
ARCHITECTURES = {
    128: Architecture(120, (16, 16, 8, 4, 2, 1), 4, 1e-4),
    256: Architecture(140, (16, 16, 8, 8, 4, 2, 1), 5, 1e-4),
    512: Architecture(128, (16, 16, 8, 8, 4, 2, 1, 1), 4, 1e-5),
}


class ConditionalNorm(nnx.Module):
    """Normalisation by fixed statistics, then a gain and a bias that are linear in the condition."""

    def __init__(self, features: int, condition_dim: int, epsilon: float, *, rngs: nnx.Rngs):
        self.epsilon = epsilon
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))
        self.gain = Linear(condition_dim, features, use_bias=False, rngs=rngs)
        self.bias = Linear(condition_dim, features, use_bias=False, rngs=rngs)

    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        gain = (1 + self.gain(condition)) * jax.lax.rsqrt(self.var[...] + self.epsilon)
        bias = self.bias(condition) - gain * self.mean[...]
        return (x * gain[:, None, None] + bias[:, None, None]).astype(x.dtype)


class Block(nnx.Module):
    """A residual block that doubles height and width."""

    def __init__(self, in_features: int, out_features: int, condition_dim: int, epsilon: float, *, rngs: nnx.Rngs):
        self.norm0 = ConditionalNorm(in_features, condition_dim, epsilon, rngs=rngs)
        self.conv0 = UpsampleConv(in_features, out_features, 3, rngs=rngs)
        self.norm1 = ConditionalNorm(out_features, condition_dim, epsilon, rngs=rngs)
        self.conv1 = Conv(out_features, out_features, 3, rngs=rngs)
        self.shortcut = UpsampledShortcut(in_features, out_features, rngs=rngs)

    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        h = self.conv0(nnx.relu(self.norm0(x, condition)))
        h = self.conv1(nnx.relu(self.norm1(h, condition)))
        return h + self.shortcut(x)


class SelfAttention(nnx.Module):
    """Every position attends to a 2x2-pooled map (SAGAN); the softmax has no scaling."""

    def __init__(self, features: int, *, rngs: nnx.Rngs):
        def conv(into: int, out: int) -> Conv:
            return Conv(into, out, use_bias=False, rngs=rngs)

        self.theta = conv(features, features // 8)
        self.phi = conv(features, features // 8)
        self.g = conv(features, features // 2)
        self.o = conv(features // 2, features)
        self.gamma = nnx.Param(jnp.zeros(1))

    def __call__(self, x: jax.Array) -> jax.Array:
        b, h, w, _ = x.shape

        def pooled(maps: jax.Array) -> jax.Array:
            return nnx.max_pool(maps, (2, 2), strides=(2, 2)).reshape(b, h * w // 4, -1)

        queries = self.theta(x).reshape(b, h * w, -1)
        attended = attention(queries, pooled(self.phi(x)), pooled(self.g(x)))
        return self.gamma[...] * self.o(attended.reshape(b, h, w, -1)) + x


class BigGAN(nnx.Module):
    """G(z [B, Z], y [B, K]) -> images [B, R, R, 3] in [-1, 1]; y is any real class vector, usually one-hot.

    Args:
        resolution: 128, 256 or 512; it decides the blocks and, as published, Z (120, 140, 128).
        num_classes: K, length of the class vector.
        channels: width of the last block (96 in the published weights).
        embedding_dim: width of the class embedding.
        latent_dim: Z, where it is another.
        attention_before: the block that self-attention precedes, where it is another.
        epsilon: of all norms, where it is another.
        rngs: where initial weights come from.
    """

    def __init__(
        self,
        resolution: int,
        num_classes: int = 1000,
        channels: int = 96,
        embedding_dim: int = 128,
        latent_dim: int | None = None,
        attention_before: int | None = None,
        epsilon: float | None = None,
        *,
        rngs: nnx.Rngs,
    ):
        architecture = ARCHITECTURES[resolution]
        widths = [channels * width for width in architecture.widths]
        self.resolution, self.num_classes = resolution, num_classes
        self.latent_dim = latent_dim or architecture.latent_dim
        self.attention_before = attention_before or architecture.attention_before
        self.chunk_dim = self.latent_dim // len(widths)
        self.embedding = Linear(num_classes, embedding_dim, use_bias=False, rngs=rngs)
        self.input = Linear(self.chunk_dim, 4 * 4 * widths[0], rngs=rngs)
        self.blocks = nnx.List(
            Block(into, out, self.chunk_dim + embedding_dim, epsilon or EPSILON, rngs=rngs)
            for into, out in itertools.pairwise(widths)
        )
        self.attention = SelfAttention(widths[self.attention_before], rngs=rngs)
        self.last_norm = FixedNorm(channels, epsilon or architecture.last_epsilon, rngs=rngs)
        self.last_conv = Conv(channels, 3, 3, rngs=rngs)

    def chunks(self, z: jax.Array) -> list[jax.Array]:
        """The parts of z, [B, chunk_dim] each: the input layer's, then one for each block."""
        return jnp.split(z, len(self.blocks) + 1, axis=1)

    def z_maps(self) -> list[jax.Array]:
        """The linear maps by which z enters, [Z, n] each: the input layer's, gain and bias of every block's norms.

        Each sees one chunk of z; its other rows are 0.
        """

        def placed(layer: Linear, chunk: int) -> jax.Array:
            before = chunk * self.chunk_dim
            after = self.latent_dim - before - self.chunk_dim
            return jnp.pad(layer.kernel[...][: self.chunk_dim], ((before, after), (0, 0)))

        layers = [(self.input, 0)]
        for chunk, block in enumerate(self.blocks, 1):
            layers += [(layer, chunk) for norm in (block.norm0, block.norm1) for layer in (norm.gain, norm.bias)]
        return [placed(*layer) for layer in layers]

    def first_activations(self, z: jax.Array, y: jax.Array) -> jax.Array:
        """What the input layer makes of the first chunk of z: [B, n]; y does not enter there."""
        return self.input(self.chunks(z)[0])

    def __call__(self, z: jax.Array, y: jax.Array) -> jax.Array:
        embedding = self.embedding(y)
        x = self.first_activations(z, y).reshape(z.shape[0], 4, 4, -1)
        for i, (block, chunk) in enumerate(zip(self.blocks, self.chunks(z)[1:], strict=True)):
            if i == self.attention_before:
                x = self.attention(x)
            x = block(x, jnp.concatenate([chunk, embedding], axis=1))
        x = nnx.relu(self.last_norm(x))
        return jnp.tanh(at_least_float32(self.last_conv(x)))
