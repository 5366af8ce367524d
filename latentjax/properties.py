"""Properties of whole images that need no other network (paper, Figure 1).

Every function takes images [B, H, W, 3], float in [-1, 1] as generators give them, and returns float32 [B].
Images are measured as they are: no resize and, unless said, no rounding; values outside [-1, 1] are clipped.
Sums are written out, not as matrix products, which accelerators round to bfloat16 by default.
All raise `InputError` for images of another shape, or of an integer type.
"""

import math

import jax
import jax.numpy as jnp

from latentjax.errors import InputError

GREY_WEIGHTS = (0.299, 0.587, 0.114)
# Redness: the bounds of Figure 1's curves; hue counts in turns, both ways from pure red.
HUE, SATURATION, VALUE = 0.1, 0.5, 0.2


def _channels(images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Red, green and blue [B, H, W] as float32 in [0, 1]."""
    shape, dtype = jnp.shape(images), jnp.result_type(images)
    if len(shape) != 4 or shape[-1] != 3:
        raise InputError("images", f"have the shape {list(shape)}", "give [B, H, W, 3]")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError("images", f"are of type {dtype}", "give floats in [-1, 1]: levels / 127.5 - 1")
    levels = jnp.clip((jnp.asarray(images, jnp.float32) + 1) / 2, 0, 1)
    return levels[..., 0], levels[..., 1], levels[..., 2]


def _grey(images: jax.Array) -> jax.Array:
    """Grey levels [B, H, W] in [0, 1], by the luma weights of ITU-R BT.601."""
    red, green, blue = _channels(images)
    return GREY_WEIGHTS[0] * red + GREY_WEIGHTS[1] * green + GREY_WEIGHTS[2] * blue


def redness(images: jax.Array) -> jax.Array:
    """Share in [0, 1] of pixels with HSV hue < .1 or > .9 (of a turn), saturation > .5 and value > .2.

    A step function of the pixels, so it has no gradient: `soft_redness` has.
    """
    red, green, blue = _channels(images)
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    # Up to a sixth of a turn from pure red, red is largest and the hue is (green - blue) / chroma / 6.
    near_red = (red == value) & (jnp.abs(green - blue) < 6 * HUE * chroma)
    return jnp.mean(near_red & (chroma > SATURATION * value) & (value > VALUE), axis=(1, 2), dtype=jnp.float32)


def soft_redness(images: jax.Array) -> jax.Array:
    """A differentiable `redness`: the mean over pixels of a product of three sigmoids, in [0, 1].

    Each condition is written without its division, so that gradients stay finite on grey, black and white
    pixels, and grey ones still feel which way red lies:

    - hue: with the pixel's colour as a vector of the chromatic plane, u = R - (G + B) / 2 towards red and
      v = sqrt(3) / 2 (G - B) across, the angle to red is below .1 turn where u > cos(.2 pi) sqrt(u^2 + v^2)
      (the angle differs from HSV's hue by at most .003 turn);
    - saturation: max - min > .5 max, that is max - 2 min > 0;
    - value: max > .2.
    """
    red, green, blue = _channels(images)
    largest = jnp.maximum(jnp.maximum(red, green), blue)
    smallest = jnp.minimum(jnp.minimum(red, green), blue)
    towards = red - (green + blue) / 2
    across = math.sqrt(3) / 2 * (green - blue)
    # 1e-6 keeps the root's gradient finite where the pixel is grey.
    hue = towards - math.cos(2 * math.pi * HUE) * jnp.sqrt(towards**2 + across**2 + 1e-6)
    saturation = (largest - smallest) / SATURATION - largest
    value = largest - VALUE
    pixels = jax.nn.sigmoid(hue / 0.04) * jax.nn.sigmoid(saturation / 0.1) * jax.nn.sigmoid(value / 0.05)
    return jnp.mean(pixels, axis=(1, 2))


def colourfulness(images: jax.Array) -> jax.Array:
    """The metric M of Hasler and Suesstrunk (2003) on the 0..255 image: 0 for grey, above 100 for vivid.

    M = sqrt(var rg + var yb + 1e-6) + .3 sqrt((mean rg)^2 + (mean yb)^2 + 1e-6) with rg = R - G and
    yb = (R + G) / 2 - B. The 1e-6 keeps gradients finite on grey images, whose M is .0013.
    """
    red, green, blue = (255 * channel for channel in _channels(images))
    rg, yb = red - green, (red + green) / 2 - blue
    spread = jnp.var(rg, axis=(1, 2)) + jnp.var(yb, axis=(1, 2))
    offset = jnp.mean(rg, axis=(1, 2)) ** 2 + jnp.mean(yb, axis=(1, 2)) ** 2
    return jnp.sqrt(spread + 1e-6) + 0.3 * jnp.sqrt(offset + 1e-6)


def brightness(images: jax.Array) -> jax.Array:
    """Mean grey level in [0, 1]: .299 R + .587 G + .114 B."""
    return jnp.mean(_grey(images), axis=(1, 2))


def simplicity(images: jax.Array) -> jax.Array:
    """1 - H / 8 in [0, 1], H the entropy in bits of the image's 256 grey levels: 1 for a flat image.

    Grey is .299 R + .587 G + .114 B of the unrounded colours, times 255, rounded to the nearest integer
    (halves to the even one). A histogram has no gradient.
    """
    levels = jnp.round(255 * _grey(images)).astype(jnp.int32)
    levels = levels.reshape(levels.shape[0], -1)
    counts = jax.vmap(lambda image: jnp.bincount(image, length=256))(levels)
    share = counts / levels.shape[1]
    bits = -jnp.sum(share * jnp.log2(jnp.where(counts > 0, share, 1)), axis=1)
    return 1 - bits / 8


# Measured along alpha at evaluation, in the order of tables and panels.
PROPERTIES = {
    "redness": redness,
    "colourfulness": colourfulness,
    "brightness": brightness,
    "simplicity": simplicity,
}
