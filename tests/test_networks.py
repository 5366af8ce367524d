"""The public API: what is loaded is callable, compiled, and knows its sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import latentjax
from latentjax import networks, weights
from latentjax.errors import InputError

Z, K = 6, 3  # the tiny generator's


@pytest.fixture(scope="module")
def transformers(tmp_path_factory):
    """Folders of transformers: the z-and-y map with noise, one direction, and three to choose from."""
    kinds = {
        "two_layer": {"noise_dim": 2, "noise_dim_y": 5, "class_reg": 10.0},
        "vector": {"z": "vector", "y": "none"},
        "several": {"z": "linear(z)", "y": "none", "num_directions": 3},
    }
    folder = tmp_path_factory.mktemp("transformers")
    for name, settings in kinds.items():
        config = {"latent_dim": Z, "num_classes": K} | settings
        arrays = weights.named(nnx.state(weights.build("transformer", config)))
        weights.save(folder / name, arrays, "transformer", config, {"step": 7})
    return folder


@pytest.fixture
def latents():
    """z [4, Z] and one-hot y [4, K]."""
    z = jax.random.normal(jax.random.key(0), (4, Z))
    return z, jax.nn.one_hot(jnp.array([0, 1, 2, 0]), K)


def primitives(function, *arguments):
    """Names of the outermost operations that a call consists of."""
    return [equation.primitive.name for equation in jax.make_jaxpr(function)(*arguments).eqns]


def test_a_generator_makes_images_in_range(tiny_generator, latents):
    G = latentjax.load_generator(tiny_generator)
    images = G(*latents)
    assert images.shape == (4, 8, 8, 3)
    assert images.dtype == jnp.float32
    assert jnp.all(jnp.abs(images) <= 1)
    assert (G.latent_dim, G.num_classes, G.resolution) == (Z, K, 8)
    assert not jnp.allclose(images[0], images[3])


def test_a_network_takes_numpy_arrays_and_text_or_path(tiny_generator, latents):
    by_path, by_text = (latentjax.load_generator(name) for name in (tiny_generator, str(tiny_generator)))
    z, y = map(np.asarray, latents)
    np.testing.assert_array_equal(by_path(z, y), by_text(*latents))


def test_a_network_knows_its_origin(tiny_generator):
    G = latentjax.load_generator(tiny_generator)
    assert G.kind == "dcgan"
    assert G.config == {"latent_dim": Z, "num_classes": K, "widths": [8]}
    assert G.source == {"file": "", "sha256": ""}
    assert len(G.sha256) == 64


def test_every_call_is_one_compiled_program(tiny_generator, transformers, latents):
    G = latentjax.load_generator(tiny_generator)
    A = latentjax.load_assessor("embedded:colourfulness")
    T = latentjax.load_transformer(transformers / "vector")
    assert primitives(G, *latents) in (["jit"], ["pjit"])
    assert primitives(A, jnp.zeros((1, 8, 8, 3))) in (["jit"], ["pjit"])
    assert primitives(T, *latents, 0.1) in (["jit"], ["pjit"])


def test_apply_is_pure_and_differentiable_in_its_state(tiny_generator, latents):
    G = latentjax.load_generator(tiny_generator)
    doubled = jax.tree.map(lambda w: 2 * w, G.state)
    assert not jnp.allclose(G.apply(doubled, *latents), G(*latents))
    gradient = jax.grad(lambda state: G.apply(state, *latents).sum())(G.state)
    assert jax.tree.structure(gradient) == jax.tree.structure(G.state)


def test_an_assessor_scores_with_and_without_squashing(tiny_generator, latents):
    A = latentjax.load_assessor("embedded:colourfulness")
    images = latentjax.load_generator(tiny_generator)(*latents)
    scores, logits = A(images), A.logits(images)
    assert scores.shape == logits.shape == (4,)
    # float32 rounding of one exponential
    np.testing.assert_allclose(scores, jax.nn.sigmoid(logits), rtol=1e-6)


def test_an_image_property_takes_centre_and_slope():
    images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3), minval=-1)
    plain = latentjax.load_assessor("embedded:brightness", centre=0.0, slope=1.0)
    steep = latentjax.load_assessor("embedded:brightness", centre=0.0, slope=3.0)
    np.testing.assert_allclose(3 * plain.logits(images), steep.logits(images), rtol=1e-6)


@pytest.mark.parametrize("property", ["colourfulness", "brightness", "redness"])
def test_every_embedded_property_scores(property):
    scores = latentjax.load_assessor(f"embedded:{property}")(jnp.zeros((2, 8, 8, 3)))
    assert scores.shape == (2,)
    assert jnp.all((scores >= 0) & (scores <= 1))


def test_a_transformer_moves_latents_by_alpha(transformers, latents):
    T = latentjax.load_transformer(transformers / "two_layer")
    noise = T.sample_noise(jax.random.key(1), 4)
    assert [part.shape for part in noise] == [(4, 2), (4, 5)]
    assert (T.latent_dim, T.num_classes, T.noise_dims) == (Z, K, (2, 5))
    z, y = T(*latents, 0.0, noise)
    np.testing.assert_array_equal(z, latents[0])
    np.testing.assert_array_equal(y, latents[1])
    z, y = T(*latents, jnp.full(4, 0.5), noise)
    assert z.shape == (4, Z)
    assert y.shape == (4, K)
    assert not jnp.allclose(z, latents[0])
    assert not jnp.allclose(y, latents[1])


def test_a_kind_without_noise_samples_a_pair_of_none(transformers, latents):
    T = latentjax.load_transformer(transformers / "vector")
    noise = T.sample_noise(jax.random.key(1), 4)
    assert noise == (None, None)
    assert T.noise_dims == (0, 0)
    with_noise, without = T(*latents, 0.3, noise), T(*latents, 0.3)
    np.testing.assert_array_equal(with_noise[0], without[0])
    np.testing.assert_array_equal(without[1], latents[1])


def test_a_direction_is_chosen_by_its_number(transformers, latents):
    T = latentjax.load_transformer(transformers / "several")
    assert T.num_directions == 3
    moved = [np.asarray(T(*latents, 0.3, direction=k)[0]) for k in (0, 1, jnp.array(2))]
    assert not any(np.allclose(moved[a], moved[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    np.testing.assert_array_equal(T(*latents, 0.3)[0], moved[0])


@pytest.mark.parametrize(("name", "direction"), [("several", 3), ("several", -1), ("vector", 1), ("two_layer", 1)])
def test_a_direction_that_is_not_there_is_refused(transformers, latents, name, direction):
    T = latentjax.load_transformer(transformers / name)
    last = T.num_directions - 1
    with pytest.raises(InputError) as caught:
        T(*latents, 0.3, T.sample_noise(jax.random.key(1), 4), direction=direction)
    assert str(caught.value) == f"direction: is {direction}, and the transformer's are 0 to {last}; give one of them"
    assert last == (2 if name == "several" else 0)


def test_a_transformer_is_found_in_its_run_folder(transformers, tmp_path, latents):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "transformer").symlink_to(transformers / "two_layer")
    ours = latentjax.load_transformer(tmp_path / "run")
    assert ours.sha256 == latentjax.load_transformer(transformers / "two_layer").sha256
    assert ours.source == {"step": 7}


def test_other_settings_keep_the_weights(transformers, latents):
    T = latentjax.load_transformer(transformers / "two_layer")
    free = networks.with_settings(T, renorm="none")
    noise = T.sample_noise(jax.random.key(1), 4)
    length = jnp.linalg.norm(latents[0], axis=1)
    # float32 rounding of a sum of six squares and a division
    np.testing.assert_allclose(jnp.linalg.norm(T(*latents, 0.5, noise)[0], axis=1), length, rtol=1e-6)
    assert not jnp.allclose(jnp.linalg.norm(free(*latents, 0.5, noise)[0], axis=1), length)
    assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, free.state, T.state)))
    assert T.config["class_reg"] == free.config["class_reg"]


@pytest.mark.parametrize(
    ("load", "name", "said"),
    [
        (latentjax.load_generator, "{vector}", "{vector}: holds a model for the role transformer (transformer), not"),
        (latentjax.load_assessor, "{tiny}", "{tiny}: holds a model for the role generator (dcgan), not assessor"),
        (latentjax.load_transformer, "{tiny}", "{tiny}: holds a model for the role generator (dcgan), not"),
        (latentjax.load_generator, "nowhere", "nowhere: does not exist"),
        (latentjax.load_transformer, "nowhere", "nowhere: does not exist"),
        (latentjax.load_generator, "embedded:nothing", "embedded:nothing: is no generator that comes with latentjax"),
        (latentjax.load_generator, "embedded:redness", "embedded:redness: is no generator"),
        (latentjax.load_assessor, "embedded:painted-eyes", "embedded:painted-eyes: is no assessor"),
        (latentjax.load_transformer, "embedded:painted-eyes", "embedded:painted-eyes: is no transformer"),
    ],
)
def test_a_wrong_folder_or_name_is_refused(load, name, said, tiny_generator, transformers):
    places = {"tiny": tiny_generator, "vector": transformers / "vector"}
    with pytest.raises(InputError) as caught:
        load(name.format(**places))
    assert str(caught.value).startswith(said.format(**places))
    assert "\n" not in str(caught.value)


BIAS = np.array([0.5, -1.0, 2.0], np.float32)
PICTURES = np.zeros((2, 8, 8, 3), np.float32)


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    """Folders of EfficientNets whose logits are `BIAS` for every image, or its first entries."""
    folder = tmp_path_factory.mktemp("classifiers")
    configs = {
        "plain": {"num_classes": 3},
        "two": {"num_classes": 2},
        "margin": {"num_classes": 3, "output": "margin", "output_class": 2, "centre": 1.0, "slope": 2.0},
        "one": {"num_classes": 1, "output": "regression"},
    }
    for name, config in configs.items():
        config = {"variant": "b0", "image_size": 32} | config
        shapes = weights.shapes_of("efficientnet", config)
        arrays = {path: np.zeros(shape, np.float32) for path, shape in shapes.items()}
        arrays["classifier/bias"] = BIAS[: config["num_classes"]]
        weights.save(folder / name, arrays, "efficientnet", config, {"file": name})
    return folder


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


SOFTMAX = np.exp(BIAS) / np.exp(BIAS).sum()


@pytest.mark.parametrize(
    ("name", "settings", "score"),
    [
        ("two", {}, sigmoid(-1 - 0.5)),
        ("two", {"output_class": 0}, sigmoid(0.5 + 1)),
        ("one", {}, 0.5),
        ("one", {"slope": 4.0}, 2.0),
        ("one", {"output": "sigmoid"}, sigmoid(0.5)),
        ("plain", {"output_class": 2}, SOFTMAX[2]),
        ("plain", {"output_class": 0}, SOFTMAX[0]),
        ("margin", {}, sigmoid(2 * (1.5 - 1))),
        ("margin", {"output": "margin"}, sigmoid(2 * (1.5 - 1))),
        ("margin", {"slope": -1.0}, sigmoid(-(1.5 - 1))),
        ("margin", {"output_class": 0, "centre": 0.0}, sigmoid(2 * -1.5)),
        # centre and slope of model.json belong to its margin
        ("margin", {"output": "softmax"}, SOFTMAX[2]),
        ("margin", {"output": "regression"}, 2.0),
        ("margin", {"output": "regression", "slope": 3.0}, 6.0),
    ],
)
def test_settings_of_an_assessor_stand_above_its_folders(classifiers, name, settings, score):
    assessor = latentjax.load_assessor(classifiers / name, **settings)
    bias = weights.named(assessor.state)["classifier/bias"]
    # float32 rounding of an exponential
    np.testing.assert_allclose(assessor.output(bias[None]), [score], rtol=1e-6)
    np.testing.assert_array_equal(bias, BIAS[: assessor.config["num_classes"]])
    assert (len(assessor.sha256), assessor.source) == (64, {"file": name})
    assert assessor.config.items() >= settings.items()


def test_an_assessor_under_settings_scores_images(classifiers):
    assessor = latentjax.load_assessor(classifiers / "plain", output="margin", output_class=2, slope=2.0)
    np.testing.assert_array_equal(assessor.logits(PICTURES), [BIAS, BIAS])
    # float32 rounding of an exponential
    np.testing.assert_allclose(assessor(PICTURES), [sigmoid(2 * 1.5)] * 2, rtol=1e-6)
    np.testing.assert_array_equal(assessor.statistic(PICTURES), [1.5, 1.5])


def test_a_classifier_of_many_classes_is_loaded_and_has_no_score_without_a_class(classifiers):
    assessor = latentjax.load_assessor(classifiers / "plain")
    np.testing.assert_array_equal(assessor.logits(PICTURES), [BIAS, BIAS])
    with pytest.raises(
        InputError, match=r"^config\.assessor\.output_class: is not set, and the assessor has 3 classes; "
    ):
        assessor(PICTURES)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("plain", {"centre": 1.0}, "config.assessor.centre: is for the outputs regression and margin, and this one is"),
        ("plain", {"output": "sigmoid", "slope": 1.0}, "config.assessor.slope: is for the outputs regression and"),
        ("plain", {"output": "logit"}, "config.assessor.output: 'logit' is unknown; use one of softmax, sigmoid, "),
        ("plain", {"output_class": 3}, "config.assessor.output_class: is 3, and the assessor's classes are 0 to 2; "),
        ("one", {"output": "softmax"}, "config.assessor.output: softmax compares classes, and the assessor has 1; "),
        ("margin", {"slope": 0.0}, "config.assessor.slope: is 0.0; give finite numbers, and a slope other than 0"),
        ("redness", {"slope": 0.0}, "config.assessor.slope: is 0.0; give finite numbers, and a slope other than 0"),
        ("redness", {"centre": float("nan")}, "config.assessor.centre: is nan; give finite numbers"),
        ("redness", {"output": "margin"}, "config.assessor.output: is not for embedded:redness, an image property; "),
        ("redness", {"output_class": 0}, "config.assessor.output_class: is not for embedded:redness, an image prop"),
    ],
)
def test_settings_that_an_assessor_cannot_have_are_refused(classifiers, name, settings, said):
    with pytest.raises(InputError) as caught:
        latentjax.load_assessor("embedded:redness" if name == "redness" else classifiers / name, **settings)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
