"""Convolutions that backends want written differently; every form is the same function (latentjax/forms.py picks)."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from latentjax.forms import active

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
Sides = tuple[tuple[int, int], tuple[int, int]]  # pixels before and after, of rows and of columns
Padding = str | Sides
SMALL, SMALLEST = 16, 4  # sides of the maps that a matrix product suits
LARGEST_PADDED = 128  # side of the maps whose phases are joined by padding
BLOCK = 4  # side of the blocks of pixels that a convolution to few channels computes at once
FEW = 8  # channels
LARGEST_RATIO = 32  # pixels of a side that are resized together


def precision_of(*operands: jax.Array) -> lax.Precision:
    """Full precision for float32, which accelerators would round; bfloat16 has no other (and TPUs refuse to ask)."""
    return lax.Precision.DEFAULT if all(x.dtype == jnp.bfloat16 for x in operands) else lax.Precision.HIGHEST


def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, **settings: Any) -> jax.Array:
    """`lax.conv_general_dilated` of NHWC maps."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=DIMENSIONS,
        precision=precision_of(x, kernel),
        **settings,
    )


def matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x @ kernel."""
    return jnp.matmul(x, kernel, precision=precision_of(x, kernel))


def upsample(x: jax.Array) -> jax.Array:
    """Nearest-neighbour x2: [B, H, W, C] -> [B, 2H, 2W, C]."""
    b, h, w, c = x.shape
    if active().upsample == "repeat":
        return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
    return jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Stride 1, zeros around: [B, H, W, I] with [k, k, I, O] -> [B, H, W, O], k odd."""
    k, (_, h, w, _) = kernel.shape[0], x.shape
    if k == 1:
        return matmul(x, kernel[0, 0])
    if active().few == "blocks" and kernel.shape[-1] <= FEW and h % BLOCK == w % BLOCK == 0:
        return conv_in_blocks(x, kernel)
    margin = k // 2
    return dense(x, kernel, ((margin, margin), (margin, margin)))


def dense(x: jax.Array, kernel: jax.Array, padding: Sides) -> jax.Array:
    """Stride 1, any padding; on small maps, where asked for, a matrix product with the patches under the kernel."""
    k, (b, h, w, _) = kernel.shape[0], x.shape
    if active().conv != "im2col" or max(h, w) > SMALL:
        return convolve(x, kernel, 1, padding)
    rows, columns = padding
    x = jnp.pad(x, ((0, 0), rows, columns, (0, 0)))
    h, w = x.shape[1] - k + 1, x.shape[2] - k + 1
    patches = jnp.concatenate([x[:, i : i + h, j : j + w] for i in range(k) for j in range(k)], axis=-1)
    return matmul(patches.reshape(b * h * w, -1), kernel.reshape(-1, kernel.shape[-1])).reshape(b, h, w, -1)


def conv_in_blocks(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`conv` by one of stride BLOCK that has the channels of a whole block of pixels as outputs.

    The three channels of an image fill three of a TPU's 128 lanes, those of a block 48.
    """
    n, margin = BLOCK, kernel.shape[0] // 2
    placed = [jnp.pad(kernel, ((i, n - 1 - i), (j, n - 1 - j), (0, 0), (0, 0))) for i in range(n) for j in range(n)]
    blocks = convolve(x, jnp.concatenate(placed, axis=-1), n, ((margin, margin), (margin, margin)))
    return from_blocks(blocks, n)


def to_blocks(x: jax.Array, n: int) -> jax.Array:
    """[B, H, W, C] -> [B, H / n, W / n, n * n * C]."""
    b, h, w, c = x.shape
    return x.reshape(b, h // n, n, w // n, n, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h // n, w // n, n * n * c)


def from_blocks(x: jax.Array, n: int) -> jax.Array:
    """The inverse of `to_blocks`."""
    b, h, w, c = x.shape
    c //= n * n
    return x.reshape(b, h, w, n, n, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h * n, w * n, c)


def resize(x: jax.Array, size: int) -> jax.Array:
    """Bilinear without antialias, pixel centres aligned: [B, H, W, C] -> [B, size, size, C]."""
    b, height, width, c = x.shape
    steps = math.gcd(height, size)
    before, after = height // steps, size // steps  # so many pixels of a side become so many
    simple = height == width and after < before <= LARGEST_RATIO and not before % BLOCK
    if active().resize == "matmul" or not simple:
        return jax.image.resize(x, (b, size, size, c), "linear", antialias=False)
    # no pixel is interpolated from two groups when the map shrinks
    taps = jax.image.resize(jnp.eye(before, dtype=x.dtype), (after, before), "linear", antialias=False)
    kernel = jnp.einsum("pi,qj,cd->ijcpqd", taps, taps, jnp.eye(c, dtype=x.dtype), precision=lax.Precision.HIGHEST)
    kernel = to_blocks(kernel.reshape(1, before, before, -1), BLOCK)
    groups = before // BLOCK
    kernel = kernel.reshape(groups, groups, BLOCK * BLOCK * c, -1)
    # XLA joins this blocking with that of `conv_in_blocks`, and nothing is moved
    return from_blocks(convolve(to_blocks(x, BLOCK), kernel, groups, "VALID"), after)


def upsample_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A 3x3 convolution of the upsampled map: [B, H, W, I] with [3, 3, I, O] -> [B, 2H, 2W, O].

    Equal neighbours share taps, so it is a transposed convolution with the kernel [k0, k0 + k1, k1 + k2, k2] along
    either axis: 16 products an input pixel in place of 36.
    """
    forms = active()
    # on the smallest maps the time goes into the kernels, which would grow
    if forms.upsample_conv == "plain" or (forms.conv == "im2col" and max(x.shape[1:3]) <= SMALLEST):
        return conv(upsample(x), kernel)
    for axis in (0, 1):
        k0, k1, k2 = jnp.split(kernel, 3, axis)
        kernel = jnp.concatenate([k0, k0 + k1, k1 + k2, k2], axis)
    return transposed_conv(x, kernel)


def upsampled_shortcut(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A 1x1 convolution and a nearest x2 upsampling: [B, H, W, I] with [1, 1, I, O] -> [B, 2H, 2W, O]."""
    forms = active()
    if forms.shortcut == "after":
        return conv(upsample(x), kernel)
    if forms.upsample == "dilated":
        taps = jnp.broadcast_to(kernel, (2, 2, *kernel.shape[2:]))
        return convolve(x, taps, 1, ((1, 1), (1, 1)), lhs_dilation=(2, 2))
    return upsample(conv(x, kernel))


def transposed_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """PyTorch's ConvTranspose2d(4, stride 2, padding 1): [B, H, W, I] with [4, 4, I, O] -> [B, 2H, 2W, O].

    The kernel is stored flipped, ready for correlation. The gradient has a form of its own.
    """
    forms = active()
    return _transposed_conv(x, kernel, forms.transposed, forms.transposed_gradient)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _transposed_conv(x: jax.Array, kernel: jax.Array, form: str, gradient_form: str) -> jax.Array:
    return transposed_as(form, x, kernel)


def _transposed_conv_forward(x: jax.Array, kernel: jax.Array, form: str, gradient_form: str) -> Any:
    return transposed_as(form, x, kernel), (x, kernel)


def _transposed_conv_gradient(form: str, gradient_form: str, operands: Any, cotangent: jax.Array) -> Any:
    return jax.vjp(functools.partial(transposed_as, gradient_form), *operands)[1](cotangent)


_transposed_conv.defvjp(_transposed_conv_forward, _transposed_conv_gradient)


def transposed_as(form: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`transposed_conv` in a form of `Forms.transposed`."""
    out = kernel.shape[-1]
    # with few outputs the inserted zeros cost less than the interleaving
    if form == "dilated" or out < 16 or (form == "padded" and max(x.shape[1:3]) > LARGEST_PADDED):
        return convolve(x, kernel, 1, ((2, 2), (2, 2)), lhs_dilation=(2, 2))
    b, h, w, _ = x.shape
    # an output row of phase a sees only the kernel rows a, a + 2, for the input rows i - 1 + a, i + a
    kernels = [(a, c, kernel[a::2, c::2]) for a in range(2) for c in range(2)]
    if form in ("phases", "padded"):
        phases = [dense(x, taps, ((1 - a, a), (1 - c, c))) for a, c, taps in kernels]
    else:
        taps = jnp.concatenate([taps for _, _, taps in kernels], axis=-1)
        grid = dense(x, taps, ((1, 1), (1, 1)))
        parts = jnp.split(grid, 4, axis=-1)
        phases = [part[:, a : a + h, c : c + w] for part, (a, c, _) in zip(parts, kernels, strict=True)]
    if form == "padded":
        # sums of maps with zeros in between: XLA lets whatever reads them do the adding
        gaps = [((0, 0, 0), (a, 1 - a, 1), (c, 1 - c, 1), (0, 0, 0)) for a, c, _ in kernels]
        zero = jnp.zeros([], x.dtype)
        return functools.reduce(jnp.add, (lax.pad(p, zero, gap) for p, gap in zip(phases, gaps, strict=True)))
    stacked = jnp.stack(phases, axis=3).reshape(b, h, w, 2, 2, out)
    return stacked.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, out)


def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """One k x k filter a channel: [B, H, W, C] with kernel [k, k, 1, C] -> [B, H', W', C]."""
    if active().depthwise == "grouped":
        return convolve(x, kernel, stride, padding, feature_group_count=x.shape[-1])
    if isinstance(padding, str):
        rows, columns = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], (stride, stride), padding)
        padding = (rows, columns)
    return _shifted_products(x, kernel, stride, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _shifted_products(x: jax.Array, kernel: jax.Array, stride: int, padding: Sides) -> jax.Array:
    return shifted_products(x, kernel, stride, padding)


def _shifted_products_forward(x: jax.Array, kernel: jax.Array, stride: int, padding: Sides) -> Any:
    return shifted_products(x, kernel, stride, padding), (x, kernel)


def _shifted_products_gradient(stride: int, padding: Any, operands: Any, cotangent: jax.Array) -> Any:
    """That of the input as shifted products too: what XLA derives adds k x k padded maps.

    That of the kernel a sample at a time: XLA sums over maps several times slower than it adds maps.
    """
    x, kernel = operands
    k, zero = kernel.shape[0], jnp.zeros([], x.dtype)
    spread = [(0, 0, 0)]
    for size, short, (before, _) in zip(x.shape[1:3], cotangent.shape[1:3], padding, strict=True):
        low, length = k - 1 - before, (short - 1) * stride + 1
        spread.append((low, size + k - 1 - low - length, stride - 1))
    dx = shifted_products(lax.pad(cotangent, zero, [*spread, (0, 0, 0)]), kernel[::-1, ::-1], 1, ((0, 0), (0, 0)))
    rows, columns = padding
    exact = jnp.promote_types(x.dtype, jnp.float32)
    padded = jnp.pad(x, ((0, 0), rows, columns, (0, 0)))

    def add(sums: list[jax.Array], sample: tuple[jax.Array, jax.Array]) -> tuple[list[jax.Array], None]:
        maps, cotangent = sample
        taps = taps_of(maps[None], k, stride, cotangent.shape[:2])
        return [total + tap[0].astype(exact) * cotangent for total, tap in zip(sums, taps, strict=True)], None

    sums, _ = lax.scan(add, [jnp.zeros(cotangent.shape[1:], exact)] * (k * k), (padded, cotangent))
    return dx, jnp.stack([total.sum((0, 1)) for total in sums]).reshape(kernel.shape).astype(kernel.dtype)


_shifted_products.defvjp(_shifted_products_forward, _shifted_products_gradient)


def shifted_products(x: jax.Array, kernel: jax.Array, stride: int, padding: Sides) -> jax.Array:
    """`depthwise_conv` as a sum over the filter's taps."""
    k, (rows, columns) = kernel.shape[0], padding
    x = jnp.pad(x, ((0, 0), rows, columns, (0, 0)))
    h, w = ((size - k) // stride + 1 for size in x.shape[1:3])
    weights = kernel.reshape(k * k, -1)
    return functools.reduce(
        jnp.add, (tap * weight for tap, weight in zip(taps_of(x, k, stride, (h, w)), weights, strict=True))
    )


def taps_of(x: jax.Array, k: int, stride: int, size: tuple[int, ...]) -> list[jax.Array]:
    """What each of the k x k taps of a filter sees of the padded maps [B, H, W, C]: [B, *size, C]."""
    height, width = ((n - 1) * stride + 1 for n in size)
    return [x[:, i : i + height : stride, j : j + width : stride] for i in range(k) for j in range(k)]
