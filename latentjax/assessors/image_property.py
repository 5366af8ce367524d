"""An assessor without weights: how much an image has of a property, as a score."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from latentjax.assessors.outputs import scale_of
from latentjax.errors import InputError
from latentjax.properties import brightness, colourfulness, soft_redness

# Linear sRGB to XYZ under D65, from the primaries of ITU-R BT.709; the rows' sums are the white point.
SRGB_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))


def chroma(images: jax.Array) -> jax.Array:
    """Mean CIELAB chroma C*ab of images [B, H, W, 3] in [-1, 1] (sRGB, D65) -> [B]: 0 for grey, 134 for pure blue.

    C = sqrt(a^2 + b^2 + 1e-6), whose gradient is finite on grey pixels; outside [-1, 1] is clipped. Unlike
    `colourfulness` it sees each pixel alone, and counts in steps that look alike.
    """
    levels = jnp.clip((jnp.asarray(images, jnp.float32) + 1) / 2, 0, 1)
    linear = jnp.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    red, green, blue = linear[..., 0], linear[..., 1], linear[..., 2]
    x, y, z = (_compressed((r * red + g * green + b * blue) / (r + g + b)) for r, g, b in SRGB_TO_XYZ)
    a, b = 500 * (x - y), 200 * (y - z)
    return jnp.mean(jnp.sqrt(a**2 + b**2 + 1e-6), axis=(1, 2))


def _compressed(t: jax.Array) -> jax.Array:
    """CIELAB's f: the cube root, and a line below (6 / 29)^3."""
    knee = 6 / 29
    # the root of what is below the knee is not used, but its gradient at 0 would be infinite
    return jnp.where(t > knee**3, jnp.cbrt(jnp.maximum(t, knee**3)), t / (3 * knee**2) + 4 / 29)


# What the score is linear in, before the sigmoid. What spans decades enters as its logarithm, + 1.
STATISTICS = {
    "colourfulness": lambda images: jnp.log1p(colourfulness(images)),
    "brightness": brightness,
    "redness": soft_redness,
    "chroma": lambda images: jnp.log1p(chroma(images)),
}
# (centre, slope) of each. M = 45 is "quite colourful" to Hasler and Suesstrunk's viewers. Chroma's are `calibrate`'s
# on 512 painted eyes, so that it can judge edits of their colourfulness.
DEFAULTS = {
    "colourfulness": (math.log(45), 2.0),
    "brightness": (0.5, 6.0),
    "redness": (0.15, 10.0),
    "chroma": (2.65, 1.46),
}


def _statistic(property: str):
    """The raw statistic of a property: images [B, H, W, 3] -> [B]."""
    if property not in STATISTICS:
        known = ", ".join(STATISTICS)
        raise InputError("config.assessor", f"does not know the property {property!r}", f"use one of {known}")
    return STATISTICS[property]


class ImageProperty(nnx.Module):
    """A(images) = sigmoid(slope * (x - centre)), x a differentiable image property; it has no parameters.

    x is ln(M + 1) for "colourfulness" (M of Hasler and Suesstrunk, 2003), the mean grey level for
    "brightness", `properties.soft_redness` for "redness", ln(C + 1) for "chroma". A negative slope rewards having
    less of it.

    Args:
        property: one of `DEFAULTS`.
        centre: the x whose score is .5; by default the property's own in `DEFAULTS`.
        slope: of the logit over x; likewise.
        rngs: unused; there is nothing to initialise.

    Raises:
        InputError: an unknown property, a centre or slope that is not finite, a slope of 0.
    """

    def __init__(
        self,
        property: str,
        centre: float | None = None,
        slope: float | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ):
        _statistic(property)
        self.property = property
        self.centre, self.slope = scale_of(centre, slope, DEFAULTS[property])

    def statistic(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> x [B], float32."""
        return _statistic(self.property)(images)

    def logits(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> the scores' logits [B], float32."""
        return self.slope * (self.statistic(images) - self.centre)

    def __call__(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> scores [B] in [0, 1], float32."""
        return jax.nn.sigmoid(self.logits(images))


def calibrate(property: str, images: jax.Array) -> tuple[float, float]:
    """(centre, slope) that spread the scores of given images, so that alpha has room both ways.

    Their median scores .5, and the logits of the 5 % and 95 % quantiles are as far apart as those of .15
    and .85: slope = 2 logit(.85) / (q95 - q05).

    Args:
        property: one of `DEFAULTS`.
        images: [B, H, W, 3] in [-1, 1], a sample of what the generator makes.

    Raises:
        InputError: an unknown property, or images that hardly differ in it.
    """
    return spread(property, np.asarray(_statistic(property)(images), np.float64))


def spread(property: str, values: np.ndarray) -> tuple[float, float]:
    """(centre, slope) as `calibrate` chooses them, for values [B] of the property.

    Raises:
        InputError: they hardly differ.
    """
    low, centre, high = np.quantile(values, [0.05, 0.5, 0.95]) if values.size else (0.0, 0.0, 0.0)
    if not high - low > 1e-6:
        raise InputError("images", f"do not differ in {property}", "calibrate on more, or more varied, images")
    return float(centre), float(2 * math.log(0.85 / 0.15) / (high - low))
