"""Rescaling an assessor's head spreads its scores and changes nothing else."""

import numpy as np
import pytest

from converters.oracles import fixtures
from converters.oracles.efficientnet import EfficientNet
from latentjax import calibration, networks
from latentjax.errors import InputError
from tests.conversion import network, state_of


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
    with pytest.raises(InputError, match="same score"):
        calibration.rescaled(assessor, [np.zeros_like(images[0])])


def test_image_properties_are_refused(images):
    with pytest.raises(InputError, match=r"config\.assessor\.calibrate"):
        calibration.rescaled(networks.load_assessor("embedded:colourfulness"), images)
