"""The layers of the networks; what is dear in them is in latentjax/convolutions.py."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from latentjax.convolutions import (
    Padding,
    conv,
    convolve,
    depthwise_conv,
    matmul,
    precision_of,
    transposed_conv,
    upsample_conv,
    upsampled_shortcut,
)
from latentjax.forms import active

SCORES = 2**22  # of attention that are held at a time, a sample


def at_least_float32(x: jax.Array) -> jax.Array:
    """bfloat16 becomes float32; float64 stays, for proofs and tests."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def attention(queries: jax.Array, keys: jax.Array, values: jax.Array) -> jax.Array:
    """softmax(q k^T) v in float32 where it matters: [B, Q, C], [B, K, C], [B, K, V] -> [B, Q, V], without scaling.

    In chunks of queries, [B, SCORES] are held at a time and none of them until the gradient.
    """

    def attended(queries: jax.Array) -> jax.Array:
        exact = jnp.promote_types(queries.dtype, jnp.float32)
        precision = precision_of(queries, keys, values)
        scores = jnp.einsum("bqc,bkc->bqk", queries, keys, precision=precision, preferred_element_type=exact)
        weights = jax.nn.softmax(scores, axis=-1).astype(values.dtype)
        return jnp.einsum("bqk,bkc->bqc", weights, values, precision=precision)

    chunks = math.ceil(queries.shape[1] * keys.shape[1] / SCORES)
    if active().attention == "whole" or chunks == 1:
        return attended(queries)
    # the sides of maps are powers of two, so that all chunks are of one size
    batch, count, width = queries.shape
    cut = queries.reshape(batch, chunks, count // chunks, width).swapaxes(0, 1)
    return jax.lax.map(jax.checkpoint(attended), cut).swapaxes(0, 1).reshape(batch, count, -1)


class FixedNorm(nnx.BatchNorm):
    """Batch normalisation by fixed statistics, in float32; the result has the input's dtype."""

    def __init__(self, features: int, epsilon: float, *, rngs: nnx.Rngs):
        super().__init__(features, use_running_average=True, epsilon=epsilon, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return super().__call__(x).astype(x.dtype)


class BatchNorm(FixedNorm):
    """`FixedNorm`, until the module is told to `train()`: then by the statistics of the batch, on all devices.

    The stored ones move towards them as PyTorch's do, the variance as its unbiased estimate. The batch [B, H, W, C]
    must have more than one pixel.
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.use_running_average:
            return super().__call__(x)
        assert self.scale is not None  # nor the bias: nnx makes both unless told otherwise
        assert self.bias is not None
        exact = at_least_float32(x)
        mean = exact.mean((0, 1, 2))
        centred = exact - mean
        var = jnp.square(centred).mean((0, 1, 2))
        count, kept = x.size // x.shape[-1], self.momentum
        self.mean[...] = kept * self.mean[...] + (1 - kept) * mean
        self.var[...] = kept * self.var[...] + (1 - kept) * var * (count / (count - 1))
        out = centred * (jax.lax.rsqrt(var + self.epsilon) * self.scale[...]) + self.bias[...]
        return out.astype(x.dtype)


class Conv(nnx.Module):
    """A convolution of stride 1; see `conv`."""

    def __init__(
        self, in_features: int, out_features: int, kernel_size: int = 1, *, use_bias: bool = True, rngs: nnx.Rngs
    ):
        shape = (kernel_size, kernel_size, in_features, out_features)
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros(out_features)) if use_bias else None

    def convolved(self, x: jax.Array) -> jax.Array:
        """The layer without its bias."""
        return conv(x, self.kernel[...])

    def __call__(self, x: jax.Array) -> jax.Array:
        out = self.convolved(x)
        return out if self.bias is None else out + self.bias[...]


class StridedConv(Conv):
    """A convolution without bias, with any stride and padding."""

    def __init__(
        self, in_features: int, out_features: int, kernel_size: int, stride: int, padding: Padding, *, rngs: nnx.Rngs
    ):
        super().__init__(in_features, out_features, kernel_size, use_bias=False, rngs=rngs)
        self.stride, self.padding = stride, padding

    def convolved(self, x: jax.Array) -> jax.Array:
        return convolve(x, self.kernel[...], self.stride, self.padding)


class UpsampleConv(Conv):
    """A 3x3 convolution of the upsampled map; see `upsample_conv`."""

    def convolved(self, x: jax.Array) -> jax.Array:
        return upsample_conv(x, self.kernel[...])


class UpsampledShortcut(Conv):
    """A 1x1 convolution and a x2 upsampling; see `upsampled_shortcut`."""

    def convolved(self, x: jax.Array) -> jax.Array:
        return upsampled_shortcut(x, self.kernel[...])


class Linear(nnx.Linear):
    """A linear layer in the precision of its weights."""

    def __call__(self, x: jax.Array) -> jax.Array:
        out = matmul(x, self.kernel[...])
        return out if self.bias is None else out + self.bias[...]


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
