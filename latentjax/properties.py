"""Properties of images and of the object that a mask shows (paper, Figure 1), measured on the device.

Image properties take images [B, H, W, 3], float in [-1, 1] as generators give them, and return float32 [B].
Images are measured as they are: no resize and, unless said, no rounding; values outside [-1, 1] are clipped.
The published code's forms measure 8-bit levels of the picture at 256 x 256 instead (`_published`).
Mask properties take masks [B, H, W], bool, and return float32 [B], NaN where a mask is empty.
Sums are written out, not as matrix products, which accelerators round to bfloat16 by default.
All raise `InputError` for images or masks of another shape or type.
"""

import math

import jax
import jax.numpy as jnp

from latentjax.errors import InputError

GREY_WEIGHTS = (0.299, 0.587, 0.114)
# Redness: the bounds of Figure 1's curves; hue counts in turns, both ways from pure red.
HUE, SATURATION, VALUE = 0.1, 0.5, 0.2
PUBLISHED_SIDE = 256  # pixels of the pictures that the published code measures


def _in_unit_range(images: jax.Array) -> jax.Array:
    """Images as float32 in [0, 1]."""
    shape, dtype = jnp.shape(images), jnp.result_type(images)
    if len(shape) != 4 or shape[-1] != 3:
        raise InputError("images", f"have the shape {list(shape)}", "give [B, H, W, 3]")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError("images", f"are of type {dtype}", "give floats in [-1, 1]: levels / 127.5 - 1")
    return jnp.clip((jnp.asarray(images, jnp.float32) + 1) / 2, 0, 1)


def _published(images: jax.Array) -> jax.Array:
    """Whole levels 0 to 255 [B, 256, 256, 3], float32, as OpenCV resizes an 8-bit picture.

    Bilinear between pixels' centres without antialias, halves rounded up. The published code truncates to 8 bits
    and measures JPEG files with the score drawn in; neither is done here.
    """
    levels = jnp.round(255 * _in_unit_range(images))
    shape = (len(levels), PUBLISHED_SIDE, PUBLISHED_SIDE, 3)
    return jnp.floor(jax.image.resize(levels, shape, "linear", antialias=False) + 0.5)


def _split(colours: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Red, green and blue [B, H, W]."""
    return colours[..., 0], colours[..., 1], colours[..., 2]


def _grey(colours: jax.Array) -> jax.Array:
    """Grey levels [B, H, W] of colours [B, H, W, 3], by the luma weights of ITU-R BT.601."""
    red, green, blue = _split(colours)
    return GREY_WEIGHTS[0] * red + GREY_WEIGHTS[1] * green + GREY_WEIGHTS[2] * blue


def _share_of_red(colours: jax.Array, white: float) -> jax.Array:
    """`redness` of colours [B, H, W, 3] in [0, white]; exact at the bounds for whole levels."""
    red, green, blue = _split(colours)
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    # Up to a sixth of a turn from pure red, red is largest and the hue is (green - blue) / chroma / 6.
    # Both sides times 5, because .6 is no float32 and 3 is.
    near_red = (red == value) & (5 * jnp.abs(green - blue) < 30 * HUE * chroma)
    reddish = near_red & (chroma > SATURATION * value) & (value > VALUE * white)
    return jnp.mean(reddish, axis=(1, 2), dtype=jnp.float32)


def redness(images: jax.Array) -> jax.Array:
    """Share in [0, 1] of pixels with HSV hue < .1 or > .9 (of a turn), saturation > .5 and value > .2.

    A step function of the pixels, so it has no gradient: `soft_redness` has.
    """
    return _share_of_red(_in_unit_range(images), 1)


def published_redness(images: jax.Array) -> jax.Array:
    """`redness` in [0, 1] of the 8-bit picture at 256 x 256."""
    return _share_of_red(_published(images), 255)


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
    red, green, blue = _split(_in_unit_range(images))
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


def _opponents(levels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """rg = R - G and yb = (R + G) / 2 - B, each [B, H, W]."""
    red, green, blue = _split(levels)
    return red - green, (red + green) / 2 - blue


def _spread_and_offset(rg: jax.Array, yb: jax.Array) -> tuple[jax.Array, jax.Array]:
    """var rg + var yb and (mean rg)^2 + (mean yb)^2, each [B]."""
    spread = jnp.var(rg, axis=(1, 2)) + jnp.var(yb, axis=(1, 2))
    return spread, jnp.mean(rg, axis=(1, 2)) ** 2 + jnp.mean(yb, axis=(1, 2)) ** 2


def colourfulness(images: jax.Array) -> jax.Array:
    """The metric M of Hasler and Suesstrunk (2003) on the 0..255 image: 0 for grey, above 100 for vivid.

    M = sqrt(var rg + var yb + 1e-6) + .3 sqrt((mean rg)^2 + (mean yb)^2 + 1e-6) with rg = R - G and
    yb = (R + G) / 2 - B. The 1e-6 keeps gradients finite on grey images, whose M is .0013.
    """
    spread, offset = _spread_and_offset(*_opponents(255 * _in_unit_range(images)))
    return jnp.sqrt(spread + 1e-6) + 0.3 * jnp.sqrt(offset + 1e-6)


def published_colourfulness(images: jax.Array) -> jax.Array:
    """M = sqrt(var |rg| + var |yb|) + .3 sqrt((mean |rg|)^2 + (mean |yb|)^2) of the 8-bit picture at 256 x 256.

    The published code takes absolute values first, which Hasler and Suesstrunk (2003) do not.
    """
    rg, yb = _opponents(_published(images))
    spread, offset = _spread_and_offset(jnp.abs(rg), jnp.abs(yb))
    return jnp.sqrt(spread) + 0.3 * jnp.sqrt(offset)


def brightness(images: jax.Array) -> jax.Array:
    """Mean grey level in [0, 1]: .299 R + .587 G + .114 B."""
    return jnp.mean(_grey(_in_unit_range(images)), axis=(1, 2))


def published_brightness(images: jax.Array) -> jax.Array:
    """`brightness` in [0, 1] of the 8-bit picture at 256 x 256."""
    return jnp.mean(_grey(_published(images)), axis=(1, 2)) / 255


def _counts(levels: jax.Array) -> jax.Array:
    """How often each level 0 to 255 occurs in each row's whole numbers: [B, 256]."""
    rows = levels.reshape(len(levels), -1).astype(jnp.int32)
    return jax.vmap(lambda row: jnp.bincount(row, length=256))(rows)


def simplicity(images: jax.Array) -> jax.Array:
    """1 - H / 8 in [0, 1], H the entropy in bits of the image's 256 grey levels: 1 for a flat image.

    Grey is .299 R + .587 G + .114 B of the unrounded colours, times 255, rounded to the nearest integer
    (halves to the even one). A histogram has no gradient.
    """
    counts = _counts(jnp.round(255 * _grey(_in_unit_range(images))))
    share = counts / counts.sum(axis=1, keepdims=True)
    bits = -jnp.sum(share * jnp.log2(jnp.where(counts > 0, share, 1)), axis=1)
    return 1 - bits / 8


def published_entropy(images: jax.Array) -> jax.Array:
    """-sum d ln(d + 1e-10) over a density histogram of the 8-bit picture at 256 x 256, all channels pooled.

    The histogram has largest + 1 bins over [smallest, largest], so d is a share of the levels over the width w of
    a bin. w = (largest - smallest) / (largest + 1) is below 1: no two whole levels share a bin, and d is the share
    of each level over w, whatever the number of bins. A flat picture's histogram is 1 wide (`numpy.histogram`).
    Of d in place of shares, it is no entropy: it falls below 0 where w is small.
    """
    counts = _counts(_published(images))
    levels = jnp.arange(256)
    largest = jnp.max(jnp.where(counts > 0, levels, 0), axis=1, keepdims=True)
    smallest = jnp.min(jnp.where(counts > 0, levels, 255), axis=1, keepdims=True)
    width = jnp.where(largest > smallest, largest - smallest, 1) / (largest + 1)
    density = counts / counts.sum(axis=1, keepdims=True) / width
    return -jnp.sum(density * jnp.log(density + 1e-10), axis=1)


def _inside(masks: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Masks as float32 [B, H, W], and their areas in pixels [B], NaN in place of 0."""
    shape, dtype = jnp.shape(masks), jnp.result_type(masks)
    if len(shape) != 3 or dtype != jnp.bool_:
        raise InputError("masks", f"are {dtype} of the shape {list(shape)}", "give bool, [B, H, W]")
    inside = jnp.asarray(masks, jnp.float32)
    area = inside.sum(axis=(1, 2))
    return inside, jnp.where(area > 0, area, jnp.nan)


def _from_middle(masks: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Pixels' centres in pixels from the middle of the picture: y [H], x [W]."""
    height, width = masks.shape[1:]
    return jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2


def _centroid(masks: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean of the object's pixels, in pixels from the middle of the picture: y [B], x [B]."""
    inside, area = _inside(masks)
    y, x = _from_middle(masks)
    return (inside.sum(axis=2) * y).sum(axis=1) / area, (inside.sum(axis=1) * x).sum(axis=1) / area


def object_size(masks: jax.Array) -> jax.Array:
    """Area of the object as a share in (0, 1] of the picture."""
    return _inside(masks)[1] / math.prod(masks.shape[1:])


def published_object_size(masks: jax.Array) -> jax.Array:
    """Area of the object in pixels of a picture of 256 x 256."""
    return PUBLISHED_SIDE**2 * object_size(masks)


def centredness(masks: jax.Array) -> jax.Array:
    """1 - |cx - 1/2| - |cy - 1/2| in (0, 1], (cx, cy) the object's centroid in shares of the picture's sides."""
    (y, x), (height, width) = _centroid(masks), masks.shape[1:]
    return 1 - jnp.abs(x / width) - jnp.abs(y / height)


def published_centredness(masks: jax.Array) -> jax.Array:
    """1 - (|cx - 128| + |cy - 128|) / 256, (cx, cy) the centroid in pixels of 256 x 256, counted from 0.

    The picture's middle is at 127.5 then, so an object there has 1 - 1 / 256.
    """
    (y, x), (height, width) = _centroid(masks), masks.shape[1:]
    side = PUBLISHED_SIDE
    return 1 - (jnp.abs(side * x / width - 0.5) + jnp.abs(side * y / height - 0.5)) / side


def squareness(masks: jax.Array) -> jax.Array:
    """Minor over major axis, in [0, 1], of the ellipse with the same second central moments as the object.

    Pixels count as points, as in scikit-image; others add 1/12 to either variance for a pixel's own width.
    So a line one pixel wide has 0; a single pixel, which has no axes, counts as square.
    """
    inside, area = _inside(masks)
    centre_y, centre_x = _centroid(masks)
    y, x = _from_middle(masks)
    y, x = y - centre_y[:, None], x - centre_x[:, None]
    yy = (inside.sum(axis=2) * y**2).sum(axis=1) / area
    xx = (inside.sum(axis=1) * x**2).sum(axis=1) / area
    xy = (inside * y[:, :, None] * x[:, None, :]).sum(axis=(1, 2)) / area
    middle, reach = (yy + xx) / 2, jnp.hypot((yy - xx) / 2, xy)
    ratio = jnp.sqrt(jnp.maximum(middle - reach, 0) / jnp.where(area > 1, middle + reach, 1))
    return jnp.where(area == 1, 1, ratio)


# Measured along alpha at evaluation, in the order of tables and panels.
PROPERTIES = {
    "redness": redness,
    "colourfulness": colourfulness,
    "brightness": brightness,
    "simplicity": simplicity,
}
# By the name of evaluate.properties: ours are the paper's definitions.
IMAGE_PROPERTIES = {
    "ours": PROPERTIES,
    "published": {
        "redness": published_redness,
        "colourfulness": published_colourfulness,
        "brightness": published_brightness,
        "entropy": published_entropy,
    },
}
MASK_PROPERTIES = {
    "ours": {"object size": object_size, "centredness": centredness, "squareness": squareness},
    "published": {
        "object size": published_object_size,
        "centredness": published_centredness,
        "squareness": squareness,
    },
}
