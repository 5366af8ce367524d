"""Whole networks are the same function in every form of their layers, and so are their gradients."""

import functools

import jax
import numpy as np
import pytest
import torch

from converters.oracles import biggan as biggan_oracle
from converters.oracles import efficientnet as efficientnet_oracle
from converters.oracles import fixtures
from latentjax import forms
from tests.conversion import network, state_of

# in float64, of the largest value: sums in another order, nothing more
RELATIVE = 1e-9


def wide(tree):
    """In float64."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


@functools.cache
def generator():
    """A narrow BigGAN-128 of random weights, and two latents."""
    model = biggan_oracle.BigGAN(128, 10, channels=8)
    fixtures.randomise(model, seed=1)
    z, y = fixtures.sample_inputs(model, 2, torch.Generator().manual_seed(0))
    return network("biggan", "generator", state_of(model)), (z.numpy(), y.numpy())


@functools.cache
def assessor():
    """An EfficientNet-B0 of random weights, and two images that it has to resize."""
    model = efficientnet_oracle.EfficientNet("b0", num_classes=2)
    fixtures.randomise(model, seed=1)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 48, 48, 3))
    return network("efficientnet", "assessor", state_of(model), padding="symmetric", image_size=96), (images,)


def values_and_gradients(made, written, method):
    """What a network gives in some forms, and the gradient of a number made of it to all its inputs."""
    net, inputs = made

    def total(inputs):
        found = net.apply(weights, *inputs, method=method)
        return (found * np.linspace(0.5, 1.5, found.size).reshape(found.shape)).sum(), found

    with jax.enable_x64(True), forms.using(written):
        weights = wide(net.state)
        (_, found), gradients = jax.jit(jax.value_and_grad(total, has_aux=True))(wide(inputs))
    return found, *gradients


@functools.cache
def plainly(make, method):
    return values_and_gradients(make(), "plain", method)


@pytest.mark.parametrize("written", ["cpu", "gpu", "tpu"])
@pytest.mark.parametrize(
    ("make", "method"), [(generator, "__call__"), pytest.param(assessor, "logits", marks=pytest.mark.slow)]
)
def test_a_network_is_the_same_in_every_form(make, method, written):
    for ours, plain in zip(values_and_gradients(make(), written, method), plainly(make, method), strict=True):
        assert plain.dtype == np.float64
        assert np.abs(plain).max() > 0
        assert np.abs(ours - plain).max() <= RELATIVE * np.abs(plain).max()
