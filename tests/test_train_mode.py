"""EfficientNets in training mode: batch statistics, running statistics and losses are efficientnet_pytorch's."""

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from converters import rules
from converters.oracles import efficientnet as oracle
from converters.oracles import fixtures
from converters.oracles.radam import RAdam
from latentjax import assessor_objective, weights
from latentjax.assessor_objective import AssessorState, Recipe
from latentjax.radam import radam
from tests.conversion import nchw, recipe_of, state_of, worst

BATCH, SIZE, STEPS = 4, 64, 5
RECIPE = Recipe("softmax", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@functools.cache
def theirs():
    """The package's B0 in training mode, with nothing left out at random."""
    package = pytest.importorskip("efficientnet_pytorch")
    varied = oracle.EfficientNet("b0", num_classes=2)
    fixtures.randomise(varied, seed=3)
    model = package.EfficientNet.from_name("efficientnet-b0", num_classes=2, dropout_rate=0.0, drop_connect_rate=0.0)
    model.load_state_dict(varied.state_dict())
    return model.train()


def ours(model):
    """(graph, params, statistics) of our B0 with the model's weights, in training mode."""
    recipe = recipe_of("efficientnet", state_of(model), padding="native-same", image_size=SIZE)
    arrays = rules.apply(recipe, weights.shapes_of(recipe.kind, recipe.config), "state")
    module = weights.abstract(recipe.kind, recipe.config)
    weights.fill(module, arrays)
    module.train()
    return recipe, nnx.split(module, nnx.Param, nnx.BatchStat)


def batches():
    """uint8 pictures and labels of five steps."""
    random = np.random.default_rng(1)
    for _ in range(STEPS):
        coarse = random.uniform(0, 255, (BATCH, 8, 8, 3)).astype(np.float32)
        images = np.asarray(jax.image.resize(coarse, (BATCH, SIZE, SIZE, 3), "cubic")).clip(0, 255).astype(np.uint8)
        yield {"image": images, "label": random.integers(0, 2, BATCH)}


def their_input(images):
    return nchw(assessor_objective.normalised(jnp.asarray(images), RECIPE))


@pytest.fixture
def fresh():
    """A copy of the package's model, whose state a test may change."""
    return copy.deepcopy(theirs())


def test_logits_by_batch_statistics_are_the_packages(fresh):
    _, (graph, params, statistics) = ours(fresh)
    batch = next(batches())
    with torch.no_grad():
        expected = fresh(their_input(batch["image"]))
    inputs = assessor_objective.normalised(jnp.asarray(batch["image"]), RECIPE)
    classify = jax.jit(lambda *state: nnx.merge(graph, *state).classify(inputs))
    logits = classify(params, statistics)
    # logits of random weights are of order 1; float32 noise of 80 normalised layers stays under 1e-4
    assert worst(logits, expected) <= 1e-4
    # by the stored statistics they are others: the comparison sees which ones are used
    fresh.eval()
    with torch.no_grad():
        assert worst(logits, fresh(their_input(batch["image"]))) > 1e-2


@pytest.fixture(scope="module")
def five_steps():
    """Losses and final states of five RAdam steps, theirs and ours."""
    model = copy.deepcopy(theirs())
    recipe, (graph, params, statistics) = ours(model)
    chain = radam(1e-3)
    state = AssessorState(jnp.zeros([], jnp.int32), params, statistics, chain.init(params))
    step = jax.jit(assessor_objective.make_step(graph, RECIPE, chain, seed=0))
    optimizer = RAdam(model.parameters(), lr=1e-3)
    losses = []
    for batch in batches():
        loss = torch.nn.functional.cross_entropy(model(their_input(batch["image"])), torch.from_numpy(batch["label"]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state, metrics = step(state, batch)
        losses.append((float(metrics.loss), float(loss.detach())))
    expected = rules.apply(
        recipe_of("efficientnet", state_of(model), padding="native-same", image_size=SIZE),
        weights.shapes_of(recipe.kind, recipe.config),
        "state",
    )
    return losses, state, expected, statistics


@pytest.mark.slow
def test_losses_of_five_steps_are_pytorchs(five_steps):
    losses, *_ = five_steps
    assert max(abs(a - b) for a, b in losses) <= 1e-3
    assert max(a for a, _ in losses) - min(a for a, _ in losses) > 1e-2  # something was learned


@pytest.mark.slow
def test_running_statistics_after_five_steps_are_pytorchs(five_steps):
    _, state, expected, before = five_steps
    named, start = weights.named(state.statistics), weights.named(before)
    assert any(path.endswith("var") for path in named)
    for path, found in named.items():
        scale = max(1.0, np.abs(expected[path]).max())
        assert worst(found, expected[path]) <= 1e-4 * scale, path
    moved = [worst(named[path], start[path]) for path in named]
    assert min(moved) > 0
