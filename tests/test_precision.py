"""bfloat16 keeps images and scores close, and leaves exact what has to be."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from converters.oracles import biggan as oracle
from converters.oracles import efficientnet, fixtures
from latentjax import precision
from tests.conversion import network, state_of


def test_images_are_close_to_float32s():
    model = oracle.BigGAN(128, 10, channels=8).eval()
    fixtures.randomise(model, seed=128)
    generator = network("biggan", "generator", state_of(model))
    z, y = (array.numpy() for array in fixtures.sample_inputs(model, 2, torch.Generator().manual_seed(1)))
    reduced = precision.in_bfloat16(generator.state)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(reduced)} == {"float32", "bfloat16"}  # norms stay exact
    images = jax.jit(functools.partial(precision.generate, generator, 1.0))(reduced, z, y)
    exact = generator(z, y)
    assert images.dtype == jnp.float32
    # bfloat16 keeps 8 bits of each activation: a few levels of 255 on average
    assert np.abs(images - exact).mean() < 0.02
    assert np.abs(images - exact).max() > 0


@pytest.mark.slow
def test_scores_are_close_to_float32s():
    model = efficientnet.EfficientNet("b0", num_classes=2).eval()
    fixtures.randomise(model, seed=2)
    assessor = network("efficientnet", "assessor", state_of(model), padding="symmetric")
    images = np.float32(np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)).repeat(8, 1).repeat(8, 2))
    reduced = precision.in_bfloat16(assessor.state)
    dtypes = {path: leaf.dtype for path, leaf in jax.tree_util.tree_leaves_with_path(reduced)}
    assert all(dtype == jnp.float32 for path, dtype in dtypes.items() if "classifier" in jax.tree_util.keystr(path))
    logits = jax.jit(functools.partial(assessor.apply, method="logits"))(reduced, images)
    exact = assessor.logits(images)
    assert logits.dtype == jnp.float32
    # 16 blocks of activations with 8 bits each
    assert np.abs(logits - exact).max() < 0.1 * np.abs(exact).max()
    assert np.abs(logits - exact).max() > 0


def test_float32_stays_float32():
    model = oracle.BigGAN(128, 10, channels=8).eval()
    fixtures.randomise(model, seed=128)
    generator = network("biggan", "generator", state_of(model))
    z, y = (array.numpy() for array in fixtures.sample_inputs(model, 1, torch.Generator().manual_seed(1)))
    images = jax.jit(functools.partial(precision.generate, generator, 1.0))(generator.state, z, y)
    np.testing.assert_array_equal(images, jax.jit(generator.apply)(generator.state, z, y))


@pytest.mark.parametrize(
    ("name", "platform", "expected"),
    [
        ("auto", "cpu", "float32"),
        ("auto", "gpu", "bfloat16"),
        ("auto", "tpu", "bfloat16"),
        ("float32", "tpu", "float32"),
        ("bfloat16", "cpu", "bfloat16"),
    ],
)
def test_auto_is_bfloat16_on_accelerators(name, platform, expected):
    mesh = types.SimpleNamespace(devices=np.array([types.SimpleNamespace(platform=platform)]))
    assert precision.chosen(name, mesh) == expected
