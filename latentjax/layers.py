"""Layers whose plain form is slow on some backend; each is the same function in every form.

XLA's CPU backend runs grouped convolutions about six times slower than the sum of shifted products, and spends
three quarters of a strided transposed convolution on inserted zeros; accelerators do best with the plain forms.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
Padding = str | tuple[tuple[int, int], tuple[int, int]]


def on_cpu() -> bool:
    """Whether computations go to the CPU unless told otherwise."""
    return jax.default_backend() == "cpu"


def upsample(x: jax.Array) -> jax.Array:
    """Nearest-neighbour x2: [B, H, W, C] -> [B, 2H, 2W, C]."""
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """One k x k filter a channel: [B, H, W, C] with kernel [k, k, 1, C] -> [B, H', W', C]."""
    if not on_cpu():
        return lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            padding,
            dimension_numbers=DIMENSIONS,
            feature_group_count=x.shape[-1],
        )
    k = kernel.shape[0]
    if isinstance(padding, str):
        rows, columns = lax.padtype_to_pads(x.shape[1:3], (k, k), (stride, stride), padding)
    else:
        rows, columns = padding
    x = jnp.pad(x, ((0, 0), rows, columns, (0, 0)))
    h, w = ((size - k) // stride + 1 for size in x.shape[1:3])
    height, width = (h - 1) * stride + 1, (w - 1) * stride + 1
    taps = (x[:, i : i + height : stride, j : j + width : stride] * kernel[i, j] for i in range(k) for j in range(k))
    return functools.reduce(jnp.add, taps)


def transposed_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """PyTorch's ConvTranspose2d(4, stride 2, padding 1): [B, H, W, I] with [4, 4, I, O] -> [B, 2H, 2W, O].

    The kernel is stored flipped, ready for correlation.
    """
    # with few outputs the inserted zeros cost less than the interleaving
    if not on_cpu() or kernel.shape[-1] < 16:
        return lax.conv_general_dilated(
            x, kernel, (1, 1), ((2, 2), (2, 2)), lhs_dilation=(2, 2), dimension_numbers=DIMENSIONS
        )
    b, h, w, _ = x.shape
    # an output row of phase a sees only the kernel rows a, a + 2, for the input rows i - 1 + a, i + a
    phases = [
        lax.conv_general_dilated(x, kernel[a::2, c::2], (1, 1), ((1 - a, a), (1 - c, c)), dimension_numbers=DIMENSIONS)
        for a in range(2)
        for c in range(2)
    ]
    out = jnp.stack(phases, axis=3).reshape(b, h, w, 2, 2, -1)
    return out.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, -1)


class DepthwiseConv(nnx.Module):
    """A depthwise convolution without bias; see `depthwise_conv`."""

    def __init__(self, features: int, kernel_size: int, stride: int, padding: Padding, *, rngs: nnx.Rngs):
        shape = (kernel_size, kernel_size, 1, features)
        self.kernel = nnx.Param(nnx.initializers.variance_scaling(2.0, "fan_out", "normal")(rngs.params(), shape))
        self.stride, self.padding = stride, padding

    def __call__(self, x: jax.Array) -> jax.Array:
        return depthwise_conv(x, self.kernel[...], self.stride, self.padding)


class TransposedConv(nnx.Module):
    """A x2 transposed convolution without bias; see `transposed_conv`."""

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), (4, 4, in_features, out_features)))

    def __call__(self, x: jax.Array) -> jax.Array:
        return transposed_conv(x, self.kernel[...])
