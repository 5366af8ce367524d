"""Every form of a convolution is the same function, and has the same gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from latentjax import convolutions
from latentjax.forms import FORMS, Forms, using
from tests.conversion import nchw, nhwc

PLAIN = FORMS["plain"]
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def arrays(*shapes):
    return [jnp.asarray(RNG.normal(size=shape)) for shape in shapes]


def with_gradient(forms, function, x, kernel):
    """The layer's output, and the gradients of a function of it to input and kernel."""

    def value(x, kernel):
        out = function(x, kernel)
        return jnp.sum(jnp.sin(out) * jnp.arange(out.size).reshape(out.shape)), out

    with using(forms):
        (_, out), grads = jax.jit(jax.value_and_grad(value, (0, 1), has_aux=True))(x, kernel)
    return [np.asarray(array) for array in (out, *grads)]


def assert_alike(forms, function, x, kernel):
    """Against the plain form, in float64: what differs is the order of sums."""
    for ours, plain in zip(*(with_gradient(f, function, x, kernel) for f in (forms, PLAIN)), strict=True):
        assert ours.shape == plain.shape
        np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-12 * np.abs(plain).max())


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("padding", ["SAME", ((1, 2), (0, 1)), ((2, 2), (2, 2))])
@pytest.mark.parametrize("size", [7, 8])
def test_depthwise_conv(kernel_size, stride, padding, size):
    x, kernel = arrays((2, size, size + 3, 6), (kernel_size, kernel_size, 1, 6))
    assert_alike(
        Forms(depthwise="shifted"), lambda x, kernel: convolutions.depthwise_conv(x, kernel, stride, padding), x, kernel
    )


@pytest.mark.parametrize("transposed", ["dilated", "phases", "phase", "padded"])
@pytest.mark.parametrize("features", [16, 3])
def test_transposed_conv_is_pytorchs(transposed, features):
    x, kernel = arrays((2, 5, 6, 8), (8, features, 4, 4))
    theirs = torch.nn.functional.conv_transpose2d(nchw(x), torch.from_numpy(np.array(kernel)), stride=2, padding=1)
    with using(Forms(transposed=transposed)):
        ours = convolutions.transposed_conv(x, kernel.transpose(2, 3, 0, 1)[::-1, ::-1])
    np.testing.assert_allclose(ours, nhwc(theirs), atol=1e-12)


@pytest.mark.parametrize("transposed", ["dilated", "phases", "phase", "padded"])
@pytest.mark.parametrize("gradient", ["dilated", "phases", "phase"])
@pytest.mark.parametrize("features", [16, 3])
def test_upsample_conv(transposed, gradient, features):
    x, kernel = arrays((2, 5, 6, 8), (3, 3, 8, features))
    forms = Forms(upsample_conv="transposed", transposed=transposed, transposed_gradient=gradient)
    assert_alike(forms, convolutions.upsample_conv, x, kernel)


def test_upsample_conv_of_a_large_map_is_dilated(monkeypatch):
    x, kernel = arrays((2, 5, 6, 8), (3, 3, 8, 16))
    forms = Forms(upsample_conv="transposed", transposed="padded", transposed_gradient="phase")

    def program():
        with using(forms):
            return str(jax.make_jaxpr(lambda *operands: convolutions.upsample_conv(*operands))(x, kernel))

    padded = program()
    monkeypatch.setattr(convolutions, "LARGEST_PADDED", 4)
    assert program() != padded
    assert_alike(forms, convolutions.upsample_conv, x, kernel)


@pytest.mark.parametrize("transposed", ["phases", "phase"])
@pytest.mark.parametrize("side", [4, 16, 17])
def test_upsample_conv_by_matrix_products(transposed, side):
    x, kernel = arrays((2, side, side, 8), (3, 3, 8, 16))
    forms = Forms(upsample_conv="transposed", transposed=transposed, transposed_gradient=transposed, conv="im2col")
    assert_alike(forms, convolutions.upsample_conv, x, kernel)


@pytest.mark.parametrize("upsample", ["broadcast", "repeat", "dilated"])
@pytest.mark.parametrize("shortcut", ["before", "after"])
def test_upsampled_shortcut(upsample, shortcut):
    x, kernel = arrays((2, 5, 6, 8), (1, 1, 8, 4))
    assert_alike(Forms(upsample=upsample, shortcut=shortcut), convolutions.upsampled_shortcut, x, kernel)


@pytest.mark.parametrize("size", [4, 16, 17])
def test_conv(size):
    x, kernel = arrays((2, size, size, 5), (3, 3, 5, 4))
    assert_alike(Forms(conv="im2col"), convolutions.conv, x, kernel)
    theirs = torch.nn.functional.conv2d(nchw(x), torch.from_numpy(np.array(kernel.transpose(3, 2, 0, 1))), padding=1)
    np.testing.assert_allclose(convolutions.conv(x, kernel), nhwc(theirs), atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(4, 8), (12, 12), (8, 6)])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_conv_to_few_channels(height, width, kernel_size):
    x, kernel = arrays((2, height, width, 5), (kernel_size, kernel_size, 5, 3))
    assert_alike(Forms(few="blocks"), convolutions.conv, x, kernel)


@pytest.mark.parametrize(("side", "size"), [(64, 28), (32, 28), (16, 28), (28, 28), (40, 4), (30, 20)])
def test_resize(side, size):
    (x,) = arrays((2, side, side, 3))
    assert_alike(Forms(resize="blocks"), lambda x, _: convolutions.resize(x, size), x, jnp.ones(()))
    theirs = torch.nn.functional.interpolate(nchw(x), (size, size), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(convolutions.resize(x, size), nhwc(theirs), atol=1e-12)


def test_resize_of_an_oblong_map():
    (x,) = arrays((1, 8, 16, 3))
    assert_alike(Forms(resize="blocks"), lambda x, _: convolutions.resize(x, 4), x, jnp.ones(()))


@pytest.mark.parametrize("upsample", ["broadcast", "repeat"])
def test_upsample_repeats_pixels(upsample):
    (x,) = arrays((2, 3, 4, 5))
    with using(Forms(upsample=upsample)):
        np.testing.assert_array_equal(convolutions.upsample(x), np.asarray(x).repeat(2, axis=1).repeat(2, axis=2))
