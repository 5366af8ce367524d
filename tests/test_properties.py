"""Image properties agree with plain numpy and the standard library, and their gradients are finite."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentjax import properties
from latentjax.errors import InputError

COLOURS = {"black": (-1, -1, -1), "grey": (0, 0, 0), "white": (1, 1, 1), "red": (1, -1, -1), "cyan": (-1, 1, 1)}


def flat(name: str) -> jax.Array:
    """An image [1, 8, 8, 3] of one colour."""
    return jnp.broadcast_to(jnp.array(COLOURS[name], jnp.float32), (1, 8, 8, 3))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Three random pictures [3, 24, 20, 3]: any colours, reddish ones, muted ones."""
    rng = np.random.default_rng(0)
    any_colour = rng.uniform(-1, 1, (24, 20, 3))
    reddish = rng.uniform(-1, 1, (24, 20, 3)) * 0.4 + np.array([0.4, -0.5, -0.5])
    muted = 0.3 * rng.uniform(-1, 1, (24, 20, 3))
    return np.stack([any_colour, reddish, muted]).astype(np.float32)


@pytest.fixture(scope="module")
def levels(images) -> np.ndarray:
    """The same pictures in [0, 1], in float64."""
    return (images.astype(np.float64) + 1) / 2


def test_redness_is_the_share_of_red_pixels_by_colorsys(images, levels):
    def is_red(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        return (hue < 0.1 or hue > 0.9) and saturation > 0.5 and value > 0.2

    expected = [np.mean([is_red(pixel) for pixel in image.reshape(-1, 3)]) for image in levels]
    assert 0 < expected[0] < expected[1]
    # A share of counted pixels: only float32's division may differ.
    np.testing.assert_allclose(properties.redness(images), expected, rtol=1e-6)


def test_only_red_is_red_for_both_rednesses():
    images = jnp.concatenate([flat(name) for name in COLOURS])
    expected = [name == "red" for name in COLOURS]
    np.testing.assert_array_equal(properties.redness(images), expected)
    # The soft one may keep 2 % of doubt.
    np.testing.assert_allclose(properties.soft_redness(images), expected, atol=0.02)


def test_redness_begins_at_its_bounds_and_the_soft_one_is_half_there():
    inside = [(0.099, 1, 1), (0.901, 1, 1), (0, 0.501, 0.9), (0, 1, 0.201)]
    outside = [(0.101, 1, 1), (0.899, 1, 1), (0, 0.499, 0.9), (0, 1, 0.199)]
    colours = np.array([colorsys.hsv_to_rgb(*hsv) for hsv in inside + outside], np.float32)
    images = 2 * colours.reshape(8, 1, 1, 3) - 1
    np.testing.assert_array_equal(properties.redness(images), [1] * 4 + [0] * 4)
    # One sigmoid is at .5; the others are near 1, but for the hue of a dark or a pale red.
    soft = properties.soft_redness(images)
    assert ((soft > 0.3) & (soft < 0.5)).all()


def test_hues_on_both_sides_of_red_count_alike():
    pinkish, orange = jnp.array([1.0, -1.0, -0.5]), jnp.array([1.0, -0.5, -1.0])
    images = jnp.stack([jnp.broadcast_to(c, (4, 4, 3)) for c in (pinkish, orange)])
    np.testing.assert_array_equal(properties.redness(images), [1, 1])
    soft = properties.soft_redness(images)
    assert soft[0] > 0.9
    np.testing.assert_allclose(soft[0], soft[1], rtol=1e-6)  # mirrored sums, float32 rounding


def test_soft_redness_agrees_with_redness_pixel_by_pixel():
    colours = jax.random.uniform(jax.random.key(0), (4000, 1, 1, 3), minval=-1)
    hard, soft = properties.redness(colours), properties.soft_redness(colours)
    # A soft edge misjudges only the pixels near a bound: a few in a hundred of random colours.
    assert jnp.mean((soft > 0.5) == (hard > 0.5)) > 0.95


def test_colourfulness_is_the_published_formula(images, levels):
    red, green, blue = np.moveaxis(255 * levels, -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    spread = rg.var(axis=(1, 2)) + yb.var(axis=(1, 2))
    offset = rg.mean(axis=(1, 2)) ** 2 + yb.mean(axis=(1, 2)) ** 2
    expected = np.sqrt(spread) + 0.3 * np.sqrt(offset)
    # float32 sums, and 1e-6 under each root.
    np.testing.assert_allclose(properties.colourfulness(images), expected, rtol=1e-5)


def test_a_grey_image_has_the_colourfulness_that_its_docstring_says():
    np.testing.assert_allclose(properties.colourfulness(flat("grey")), 1.3e-3, rtol=1e-3)


def test_brightness_is_the_mean_grey_level(images, levels):
    expected = (levels @ [0.299, 0.587, 0.114]).mean(axis=(1, 2))
    np.testing.assert_allclose(properties.brightness(images), expected, rtol=1e-5)  # float32 sums
    # .299 + .587 + .114 in float32
    np.testing.assert_allclose(properties.brightness(flat("white")), 1, rtol=1e-6)


def test_simplicity_is_one_minus_the_entropy_of_the_grey_histogram(images, levels):
    grey = np.round(255 * (levels @ [0.299, 0.587, 0.114]))
    expected = []
    for image in grey:
        share = np.histogram(image, bins=256, range=(-0.5, 255.5))[0] / image.size
        share = share[share > 0]
        expected.append(1 + (share * np.log2(share)).sum() / 8)
    # float32 logarithms; one pixel rounded the other way would move it by about 1e-4.
    np.testing.assert_allclose(properties.simplicity(images), expected, atol=1e-5)


def test_simplicity_spans_zero_to_one():
    ramp = jnp.arange(256, dtype=jnp.float32).reshape(1, 16, 16, 1) / 127.5 - 1
    np.testing.assert_allclose(properties.simplicity(jnp.repeat(ramp, 3, axis=-1)), 0, atol=1e-6)  # float32
    assert properties.simplicity(flat("white")) == 1


@pytest.mark.parametrize("measure", [properties.soft_redness, properties.colourfulness, properties.brightness])
def test_gradients_are_finite_on_flat_images(measure):
    images = jnp.concatenate([flat(name) for name in COLOURS])
    assert jnp.isfinite(jax.jit(jax.grad(lambda images: measure(images).sum()))(images)).all()


def test_a_grey_image_feels_which_way_red_lies():
    gradient = jax.grad(lambda images: properties.soft_redness(images).sum())(flat("grey"))
    assert (gradient[..., 0] > 0).all()
    assert (gradient[..., 1:] < 0).all()


@pytest.mark.parametrize("name", [*properties.PROPERTIES, "soft_redness"])
def test_compiled_and_in_bfloat16_properties_are_float32_rows(images, name):
    measure = getattr(properties, name)
    compiled = jax.jit(measure)(images)
    assert compiled.shape == (3,)
    # The compiler may fuse a product into a sum, which moves the last bits.
    np.testing.assert_allclose(compiled, measure(images), rtol=1e-5, atol=1e-6)
    assert jax.jit(measure)(jnp.asarray(images, jnp.bfloat16)).dtype == compiled.dtype == jnp.float32


@pytest.mark.parametrize("wrong", [np.zeros((8, 8, 3), np.float32), np.zeros((1, 3, 8, 8), np.float32)])
def test_images_of_another_shape_are_refused(wrong):
    with pytest.raises(InputError, match=r"images: have the shape .*; give \[B, H, W, 3\]"):
        properties.brightness(wrong)


def test_levels_that_are_not_in_minus_one_to_one_are_refused():
    with pytest.raises(InputError, match="are of type uint8"):
        properties.brightness(np.zeros((1, 8, 8, 3), np.uint8))
