"""What an assessor is taught by: losses are PyTorch's, noise and flips do what they say, a step learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flax import nnx

from latentjax import assessor_objective, weights
from latentjax.assessor_objective import AssessorState, Recipe
from latentjax.assessors.efficientnet import Drops
from latentjax.radam import radam
from tests.conversion import shorten_assessors, worst

CHANNELS = ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
LOGITS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32) * 2
LABELS = np.array([0, 2, 1, 1, 0, 2])


def recipe(output: str, **settings) -> Recipe:
    return Recipe(output, *CHANNELS, **settings)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", [(), (0.5, 2.0, 1.25)])
def test_the_softmax_loss_is_pytorchs(smoothing, class_weights):
    ours = assessor_objective.loss(
        jnp.array(LOGITS), LABELS, recipe("softmax", label_smoothing=smoothing, class_weights=class_weights)
    )
    each = F.cross_entropy(
        torch.from_numpy(LOGITS), torch.from_numpy(LABELS), label_smoothing=smoothing, reduction="none"
    ).numpy()
    per_picture = np.array(class_weights)[LABELS] if class_weights else np.ones(6)
    # float32 sums of six numbers
    assert worst(ours, (per_picture * each).sum() / per_picture.sum()) <= 1e-6


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_sigmoid_loss_is_pytorchs(smoothing):
    labels = LABELS % 2
    ours = assessor_objective.loss(jnp.array(LOGITS[:, :1]), labels, recipe("sigmoid", label_smoothing=smoothing))
    targets = torch.from_numpy(labels * (1 - smoothing) + smoothing / 2).float()
    assert worst(ours, F.binary_cross_entropy_with_logits(torch.from_numpy(LOGITS[:, 0]), targets)) <= 1e-6


def test_a_regression_learns_labels_of_mean_0_and_deviation_1():
    labels = np.array([10.0, 30.0], np.float32)
    exact = recipe("regression", centre=20.0, deviation=10.0)
    assert assessor_objective.loss(jnp.array([[-1.0], [1.0]]), labels, exact) == 0
    assert assessor_objective.loss(jnp.array([[0.0], [1.0]]), labels, exact) == 0.5


def test_inputs_are_normalised_by_channel():
    images = np.full((1, 2, 2, 3), 255, np.uint8)
    expected = (1 - np.array(CHANNELS[0])) / np.array(CHANNELS[1])
    assert worst(assessor_objective.normalised(images, recipe("softmax"))[0, 0, 0], expected) <= 1e-6


def test_noise_has_the_deviation_asked_for_and_depends_on_the_key():
    noisy = recipe("softmax", noise=4 / 255)
    inputs = jnp.zeros((4, 64, 64, 3))
    first, second = (assessor_objective.augmented(jax.random.key(i), inputs, noisy) for i in range(2))
    # of 49,152 draws: the deviation's own standard error is .3 per cent
    assert float(first.std()) == pytest.approx(4 / 255, rel=0.02)
    assert worst(first, second) > 0
    assert worst(first, assessor_objective.augmented(jax.random.key(0), inputs, noisy)) == 0


def test_a_flip_mirrors_whole_pictures_about_half_of_the_time():
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(200, 4, 4, 3)))
    found = np.asarray(assessor_objective.augmented(jax.random.key(0), inputs, recipe("softmax", flip=True)))
    mirrored = (found == np.asarray(inputs)[:, :, ::-1]).all((1, 2, 3))
    same = (found == np.asarray(inputs)).all((1, 2, 3))
    assert (mirrored ^ same).all()
    assert 70 < mirrored.sum() < 130  # four standard deviations around 100


def test_what_is_kept_is_scaled_so_that_the_mean_stays():
    kept = np.asarray(Drops(jax.random.key(0), 0.2, 0.2).kept(3, 0.2, (100_000,)))
    assert set(np.unique(kept)) == {np.float32(0), np.float32(1.25)}
    assert kept.mean() == pytest.approx(1, abs=0.01)
    assert Drops(jax.random.key(0), 0.0, 0.0).kept(3, 0.0, (2,)) is None


@pytest.fixture
def small(monkeypatch):
    """(graph, params, statistics) of a two-block EfficientNet in training mode."""
    shorten_assessors(monkeypatch)
    module = weights.build("efficientnet", {"num_classes": 3, "image_size": 32})
    module.train()
    return nnx.split(module, nnx.Param, nnx.BatchStat)


def colours(count: int) -> dict[str, np.ndarray]:
    """Noise in one of three colours: easy to tell apart."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, count)
    images = random.integers(0, 60, (count, 32, 32, 3))
    images[np.arange(count), :, :, labels] += 120
    return {"image": images.astype(np.uint8), "label": labels}


def trained(small, steps: int, batch, *, seed=0, bfloat16=False, **settings):
    graph, params, statistics = small
    chain = radam(1e-2)
    state = AssessorState(jnp.zeros([], jnp.int32), params, statistics, chain.init(params))
    taught = recipe("softmax", **settings)
    step = jax.jit(assessor_objective.make_step(graph, taught, chain, seed, bfloat16=bfloat16))
    losses = []
    for _ in range(steps):
        state, metrics = step(state, batch)
        losses.append(float(metrics.loss))
    return losses, state


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_student_learns_colours(small, bfloat16):
    losses, state = trained(small, 20, colours(16), bfloat16=bfloat16)
    assert losses[-1] < 0.2 * losses[0]
    assert {leaf.dtype for leaf in jax.tree.leaves((state.params, state.statistics))} == {jnp.dtype("float32")}


@pytest.mark.slow
def test_each_step_draws_anew_from_seed_and_step(small):
    settings = {"noise": 0.5, "flip": True, "dropout": 0.5, "drop_connect": 0.5}
    batch = colours(8)
    first, second, other = (trained(small, 3, batch, seed=seed, **settings)[0] for seed in (0, 0, 1))
    assert first == second
    assert first[0] != other[0]
    graph, params, statistics = small
    chain = radam(0.0)  # nothing is learned: two steps differ by their draws alone
    step = jax.jit(assessor_objective.make_step(graph, recipe("softmax", **settings), chain, 0))
    state = AssessorState(jnp.zeros([], jnp.int32), params, statistics, chain.init(params))
    later, metrics = step(state, batch)
    assert step(later, batch)[1].loss != metrics.loss
