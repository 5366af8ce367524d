"""Judges say of edits what their networks say, at the alphas asked for, and bad settings name their field."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import config_dict

from configs import default
from latentjax import networks, weights
from latentjax.errors import InputError
from latentjax.judges import Judges

ALPHAS = np.float32([0.5, 0.3, 0.0, -0.3, -0.5])
TINY = {"num_classes": 4, "depths": [1, 1, 1, 1], "width": 4, "image_size": 32}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder of a classifier of four classes, with random weights."""
    folder = tmp_path_factory.mktemp("judge") / "tiny"
    random = np.random.default_rng(0)
    shapes = weights.shapes_of("resnet", TINY).items()
    # norms that do nothing, kernels of the usual size
    arrays = {name: np.full(shape, name.endswith(("scale", "var")), np.float32) for name, shape in shapes}
    for name, shape in shapes:
        if name.endswith("kernel"):
            arrays[name] = random.normal(size=shape).astype(np.float32) / np.prod(shape[:-1]) ** 0.5
    weights.save(folder, arrays, "resnet", TINY, {"file": "", "sha256": ""})
    return str(folder)


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(0), (5, 32, 32, 3), minval=-1, maxval=1)


def settings(**changes):
    evaluate = default.get_config().evaluate
    evaluate.update(changes)
    return evaluate


def test_without_a_judge_there_is_nothing():
    judges = Judges(settings(), ALPHAS)
    assert not judges
    assert (judges.indices, judges.alphas, judges.facts, judges.state) == ([], [], {}, {})


def test_each_judge_says_what_its_network_says(tiny, images):
    held_out = ({"weights": "embedded:brightness", "slope": 3.0},)
    judges = Judges(settings(features=tiny, classifier=tiny, held_out=held_out), ALPHAS)
    found = jax.jit(judges.apply)(judges.state, images)
    network = networks.load_assessor(tiny)
    # fused sums in float32
    np.testing.assert_allclose(found["features"], network.features(images), atol=1e-5)
    assert found["features"].shape == (5, 32)
    np.testing.assert_array_equal(found["class"], np.argmax(network.logits(images), axis=1))
    assert found["class"].dtype == jnp.int32
    brightness = networks.load_assessor("embedded:brightness", slope=3.0)
    np.testing.assert_allclose(found["held out"], brightness(images), rtol=1e-5)


def test_only_what_was_asked_for_is_told(images):
    judges = Judges(settings(held_out=({"weights": "embedded:chroma"},)), ALPHAS)
    assert judges
    assert list(judges.apply(judges.state, images)) == ["held out"]


def test_weights_are_arguments(tiny, images):
    judges = Judges(settings(features=tiny), ALPHAS)
    without = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), judges.state)
    assert np.abs(jax.jit(judges.apply)(without, images)["features"]).max() == 0


def test_the_judged_alphas_are_those_of_the_evaluation_in_its_order():
    held_out = ({"weights": "embedded:chroma"},)
    judges = Judges(settings(held_out=held_out, judged_alphas=(-0.3, 0, 0.3, 0.7)), ALPHAS)
    assert judges.indices == [1, 2, 3]
    assert judges.alphas == [0.3, 0.0, -0.3]


@pytest.mark.parametrize(("alphas", "wanted"), [(ALPHAS, (-0.3, 0.3)), (ALPHAS[:2], (0.0, 0.3))])
def test_without_zero_nothing_is_judged_and_that_is_told(alphas, wanted, caplog):
    with caplog.at_level(logging.WARNING):
        judges = Judges(settings(held_out=({"weights": "embedded:chroma"},), judged_alphas=wanted), alphas)
    assert not judges
    assert judges.indices == []
    (line,) = caplog.messages
    assert "nothing is judged: 0 is not both in evaluate.alphas and in evaluate.judged_alphas" in line


def test_facts_tell_one_judge_from_another(tiny):
    first, second = (
        Judges(settings(features=tiny, held_out=({"weights": "embedded:chroma", "slope": slope},)), ALPHAS).facts
        for slope in (1.0, 2.0)
    )
    assert first["features"] == second["features"] == networks.load_assessor(tiny).sha256
    assert first["held out"] != second["held out"]
    assert all(isinstance(fact, str) for fact in first.values())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": "no/folder"}, "config.evaluate.features: no/folder does not exist; "),
        ({"features": "embedded:chroma"}, "config.evaluate.features: embedded:chroma is an image property, "),
        ({"features": "embedded:nothing"}, "config.evaluate.features: embedded:nothing is no assessor that comes with"),
        ({"classifier": "no/folder"}, "config.evaluate.classifier: no/folder does not exist; "),
        ({"classifier": "embedded:chroma"}, "config.evaluate.classifier: embedded:chroma does not tell classes apart;"),
        ({"held_out": ("embedded:chroma",)}, "config.evaluate.held_out[0]: is no term; "),
        (
            {"held_out": ({"weights": "embedded:chroma", "slope": 0.0},)},
            "config.evaluate.held_out[0].slope: is 0.0; ",
        ),
        (
            {"held_out": ({"weights": "embedded:chroma"}, {"weights": "embedded:redness", "keep": True})},
            "config.evaluate.held_out: keeps the score of redness, and only judges; leave keep out",
        ),
        (
            {"held_out": ({"weights": "embedded:chroma", "keep": True},)},
            "config.evaluate.held_out: keeps every score; ",
        ),
    ],
)
def test_a_bad_judge_names_its_field(changes, said):
    with pytest.raises(InputError) as caught:
        Judges(config_dict.ConfigDict(settings(**changes)), ALPHAS)
    assert str(caught.value).startswith(said)


def test_a_held_out_classifier_needs_its_class(tiny):
    with pytest.raises(InputError, match=r"^config.evaluate.held_out.output_class: is not set, "):
        Judges(settings(held_out=({"weights": tiny},)), ALPHAS)
