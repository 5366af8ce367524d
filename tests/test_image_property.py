"""Image properties as assessors: scores, defaults, calibration."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from latentjax.assessors.image_property import DEFAULTS, ImageProperty, calibrate, chroma
from latentjax.errors import InputError
from latentjax.properties import brightness, colourfulness, soft_redness


@pytest.fixture(scope="module")
def images() -> jax.Array:
    """[40, 12, 12, 3]: pictures of a random colour each, with noise of a random strength."""
    colour, strength, noise = jax.random.split(jax.random.key(1), 3)
    base = jax.random.uniform(colour, (40, 1, 1, 3), minval=-0.8, maxval=0.8)
    spread = jax.random.uniform(strength, (40, 1, 1, 1), maxval=0.4)
    return jnp.clip(base + spread * jax.random.normal(noise, (40, 12, 12, 3)), -1, 1)


@pytest.mark.parametrize("name", DEFAULTS)
def test_scores_are_the_sigmoid_of_the_logits_inside_zero_to_one(images, name):
    assessor = ImageProperty(name)
    scores = assessor(images)
    assert scores.shape == (40,)
    assert scores.dtype == jnp.float32
    assert ((scores > 0) & (scores < 1)).all()
    np.testing.assert_array_equal(scores, jax.nn.sigmoid(assessor.logits(images)))


@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        ("colourfulness", lambda images: jnp.log(colourfulness(images) + 1)),
        ("brightness", brightness),
        ("redness", soft_redness),
        ("chroma", lambda images: jnp.log(chroma(images) + 1)),
    ],
)
def test_logits_are_linear_in_the_statistic(images, name, statistic):
    logits = ImageProperty(name, centre=0.3, slope=-4.0).logits(images)
    # log1p against log, in float32
    np.testing.assert_allclose(logits, -4 * (statistic(images) - 0.3), rtol=1e-5, atol=1e-5)


def test_chroma_is_the_mean_length_of_cielabs_a_and_b(images):
    color = pytest.importorskip("skimage.color")
    lab = color.rgb2lab((np.asarray(images, np.float64) + 1) / 2)
    # its white point has other digits, which shifts b by .005
    np.testing.assert_allclose(chroma(images), np.hypot(lab[..., 1], lab[..., 2]).mean((1, 2)), atol=0.01)


def test_chroma_of_known_colours():
    colours = jnp.array([[-1.0, -1, -1], [0.3, 0.3, 0.3], [1, 1, 1], [-1, -1, 1], [1, -1, -1]])
    found = chroma(jnp.broadcast_to(colours[:, None, None], (5, 2, 2, 3)))
    # of the sRGB primaries, in the literature to two decimals
    np.testing.assert_allclose(found, [0, 0, 0, 133.81, 104.55], atol=0.03)


def test_colourfulness_defaults_to_the_prototype():
    assessor = ImageProperty("colourfulness")
    assert (assessor.property, assessor.centre, assessor.slope) == ("colourfulness", math.log(45), 2.0)


def test_it_has_no_parameters_and_survives_a_split(images):
    assessor = ImageProperty("brightness", rngs=nnx.Rngs(0))
    graph, state = nnx.split(assessor)
    assert not jax.tree.leaves(state)
    compiled = jax.jit(lambda state, images: nnx.merge(graph, state)(images))
    # fused sums in float32
    np.testing.assert_allclose(compiled(state, images), assessor(images), rtol=1e-5)


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
def test_gradients_are_finite_on_black_grey_and_white(name, level):
    image = jnp.full((1, 8, 8, 3), level)
    gradient = jax.grad(lambda image: ImageProperty(name)(image).sum())(image)
    assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("name", DEFAULTS)
def test_calibrated_scores_have_median_half_and_span_the_range(images, name):
    centre, slope = calibrate(name, images)
    logits = np.asarray(ImageProperty(name, centre, slope).logits(images), np.float64)
    low, middle, high = np.quantile(logits, [0.05, 0.5, 0.95])
    # float32 logits of a slope of tens
    np.testing.assert_allclose(middle, 0, atol=1e-4)
    np.testing.assert_allclose(high - low, 2 * math.log(0.85 / 0.15), rtol=1e-4)


def test_calibrate_puts_symmetric_images_at_15_and_85_percent():
    ramp = jnp.broadcast_to(jnp.linspace(-0.5, 0.5, 101)[:, None, None, None], (101, 4, 4, 3))
    scores = ImageProperty("brightness", *calibrate("brightness", ramp))(ramp)
    # float32 scores
    np.testing.assert_allclose(np.quantile(scores, [0.05, 0.5, 0.95]), [0.15, 0.5, 0.85], atol=1e-5)


def test_images_that_do_not_differ_cannot_calibrate():
    with pytest.raises(InputError, match="images: do not differ in brightness; calibrate on more"):
        calibrate("brightness", jnp.zeros((3, 4, 4, 3)))


@pytest.mark.parametrize("make", [ImageProperty, lambda name: calibrate(name, jnp.zeros((1, 4, 4, 3)))])
def test_an_unknown_property_names_the_known_ones(make):
    with pytest.raises(InputError, match=r"'beauty'; use one of colourfulness, brightness, redness"):
        make("beauty")


@pytest.mark.parametrize(("centre", "slope"), [(math.nan, 1.0), (0.5, math.inf), (0.5, 0.0)])
def test_numbers_that_make_no_score_are_refused(centre, slope):
    with pytest.raises(InputError, match="give finite numbers"):
        ImageProperty("brightness", centre, slope)
