"""Calibrating an assessor spreads its scores and changes nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.oracles import fixtures
from converters.oracles.efficientnet import EfficientNet
from latentjax import calibration, networks, weights
from latentjax.assessors import image_property
from latentjax.errors import InputError
from tests.conversion import network, shorten_assessors, state_of


@pytest.fixture(scope="module", autouse=True)
def _short_assessors():
    with pytest.MonkeyPatch.context() as monkeypatch:
        shorten_assessors(monkeypatch)
        yield


@pytest.fixture(scope="module")
def assessor():
    model = EfficientNet("b0", num_classes=2).eval()
    fixtures.randomise(model, seed=2)
    return network("efficientnet", "assessor", state_of(model), padding="symmetric")


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [
        (rng.uniform(-1, 1, (16, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)).astype(np.float32) for _ in range(2)
    ]


def test_logit_differences_have_mean_0_and_the_stated_spread(assessor, images):
    rescaled = calibration.rescaled(assessor, images)
    logits = np.concatenate([np.asarray(rescaled.logits(batch)) for batch in images])
    difference = logits[:, 1] - logits[:, 0]
    np.testing.assert_allclose(difference.mean(), 0, atol=1e-2)
    np.testing.assert_allclose(difference.std(), calibration.SPREAD, rtol=1e-2)


def test_the_order_of_scores_stays(assessor, images):
    # the logit, because a saturated score has ties
    def order(network):
        logits = np.asarray(network.logits(images[0]))
        return np.argsort(logits[:, 1] - logits[:, 0])

    assert (order(assessor) == order(calibration.rescaled(assessor, images))).all()


def test_images_that_all_score_alike_are_refused(assessor, images):
    for same in (assessor, networks.load_assessor("embedded:colourfulness")):
        with pytest.raises(InputError, match=r"^config\.assessor: gives all generated images the same score; "):
            calibration.rescaled(same, [np.zeros_like(images[0])])


@pytest.fixture(scope="module")
def three_classes():
    model = EfficientNet("b0", num_classes=3).eval()
    fixtures.randomise(model, seed=5)
    return network("efficientnet", "assessor", state_of(model), padding="symmetric")


@pytest.fixture(scope="module")
def logits(three_classes, images):
    """Of all images, [32, 3]; scores are computed from them, because each other assessor takes seconds to compile."""
    return jnp.concatenate([three_classes.logits(batch) for batch in images])


@pytest.mark.parametrize("slope", [1.0, -30.0])
def test_the_logit_of_a_margin_gets_mean_0_and_the_stated_spread(three_classes, images, logits, slope):
    assessor = networks.with_settings(three_classes, output="margin", output_class=0, centre=9.0, slope=slope)
    rescaled = calibration.rescaled(assessor, images)
    scores = np.asarray(rescaled.output(logits), np.float64)
    logit = np.log(scores / (1 - scores))
    np.testing.assert_allclose(logit.mean(), 0, atol=1e-2)
    np.testing.assert_allclose(logit.std(), calibration.SPREAD, rtol=1e-2)
    m = np.asarray(assessor.output.statistic(logits))
    np.testing.assert_allclose(m.mean(), rescaled.config["centre"], rtol=1e-5)
    # less of it stays less of it
    assert (np.argsort(scores) == np.argsort(np.sign(slope) * m)).all()


@pytest.mark.parametrize("slope", [1.0, -30.0])
def test_the_scores_of_a_regression_get_mean_half_and_deviation_a_fifth(three_classes, images, logits, slope):
    assessor = networks.with_settings(three_classes, output="regression", output_class=1, slope=slope)
    rescaled = calibration.rescaled(assessor, images)
    scores = np.asarray(rescaled.output(logits), np.float64)
    np.testing.assert_allclose([scores.mean(), scores.std()], [0.5, 0.2], rtol=1e-2)
    assert np.sign(rescaled.config["slope"]) == np.sign(slope)
    assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, rescaled.state, assessor.state)))
    assert (rescaled.config["output"], rescaled.config["output_class"]) == ("regression", 1)


@pytest.mark.parametrize("settings", [{}, {"slope": -1.0}])
def test_an_image_property_is_calibrated_as_by_itself(images, settings):
    property = networks.load_assessor("embedded:brightness", **settings)
    rescaled = calibration.rescaled(property, iter(images))
    centre, slope = image_property.calibrate("brightness", np.concatenate(images))
    # float32 means in two compiled programs
    expected = (centre, -slope if settings else slope)
    np.testing.assert_allclose((rescaled.config["centre"], rescaled.config["slope"]), expected, rtol=1e-4)
    np.testing.assert_allclose(np.median(rescaled(np.concatenate(images))), 0.5, atol=1e-4)


@pytest.mark.parametrize("kind", ["softmax", "regression", "image_property"])
def test_what_is_kept_is_loaded_as_the_same_assessor(assessor, images, tmp_path, kind):
    if kind == "image_property":
        assessor = networks.load_assessor("embedded:redness")
    elif kind == "regression":
        assessor = networks.with_settings(assessor, output=kind, output_class=0)
    rescaled = calibration.rescaled(assessor, images)
    arrays = weights.named(jax.device_get(rescaled.state))
    weights.save(tmp_path / "assessor", arrays, rescaled.kind, rescaled.config, rescaled.source)
    loaded = networks.load_assessor(tmp_path / "assessor")
    assert (loaded.sha256, loaded.config) == (rescaled.sha256, rescaled.config)
    np.testing.assert_array_equal(loaded(images[0]), rescaled(images[0]))


@pytest.mark.parametrize("settings", [{}, {"output_class": 1}, {"output": "sigmoid", "output_class": 1}])
def test_a_softmax_of_many_classes_and_a_sigmoid_are_refused(three_classes, images, settings):
    assessor = networks.with_settings(three_classes, **settings)
    kind = settings.get("output", "softmax")
    said = rf"^config\.assessor\.calibrate: cannot spread a {kind} score of 3 classes; leave it out, or set config\."
    with pytest.raises(InputError, match=said):
        calibration.rescaled(assessor, images)
