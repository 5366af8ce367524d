"""Every form of a layer is the same function."""

import jax
import numpy as np
import pytest
import torch

from latentjax import layers
from tests.conversion import nchw, nhwc, worst


def both_forms(monkeypatch, function, *arguments):
    forms = []
    for cpu in (True, False):
        monkeypatch.setattr(layers, "on_cpu", lambda cpu=cpu: cpu)
        forms.append(np.asarray(function(*arguments)))
    return forms


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("padding", ["SAME", ((1, 2), (0, 1)), ((2, 2), (2, 2))])
@pytest.mark.parametrize("size", [7, 8])
def test_depthwise_conv(monkeypatch, kernel_size, stride, padding, size):
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (2, size, size + 3, 6))
    kernel = jax.random.normal(keys[1], (kernel_size, kernel_size, 1, 6))
    shifted, grouped = both_forms(monkeypatch, layers.depthwise_conv, x, kernel, stride, padding)
    assert shifted.shape == grouped.shape
    assert worst(shifted, grouped) <= 1e-5  # sums of 25 products


@pytest.mark.parametrize("features", [16, 3])
def test_transposed_conv_is_pytorchs(monkeypatch, features):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 5, 6, 8)), rng.normal(size=(8, features, 4, 4))
    theirs = nhwc(torch.nn.functional.conv_transpose2d(nchw(x), torch.from_numpy(kernel), stride=2, padding=1))
    flipped = kernel.transpose(2, 3, 0, 1)[::-1, ::-1]
    for ours in both_forms(monkeypatch, layers.transposed_conv, x.astype("f"), flipped.astype("f")):
        assert worst(ours, theirs) <= 1e-4  # sums of 32 products of size 1, in float32


def test_upsample_repeats_pixels():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    assert (np.asarray(layers.upsample(x)) == x.repeat(2, axis=1).repeat(2, axis=2)).all()
