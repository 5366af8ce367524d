"""BigGAN-deep's images are those of Hugging Face's port."""

import copy

import jax
import numpy as np
import pytest
import torch

from converters import biggan_deep as converter
from converters.oracles import biggan_deep as oracle
from converters.oracles import fixtures
from latentjax.generators import biggan_deep
from tests.conversion import network, nhwc, state_of, worst

# against float64; the oracle's own float32 noise at these few channels is 6.8e-5 at most and 1.9e-6 on average
MAX, MEAN = 1e-4, 5e-6
TRUNCATIONS = (0.14, 0.555)  # one on a row of the statistics, which the port takes for one beside it, and one between
SIZES = [
    pytest.param(layers, id=size, marks=[pytest.mark.slow] * (size != "128"))
    for layers, size in zip(converter.PUBLISHED, ("128", "256", "512"), strict=True)
]


def truncations(*few, rest):
    """For a test that takes seconds for each."""
    return pytest.mark.parametrize("truncation", [*few, *(pytest.param(t, marks=pytest.mark.slow) for t in rest)])


def oracle_case(layers, *, channels=8, port=False):
    """A random oracle, and two latents."""
    model = oracle.BigGANDeep(layers, num_classes=10, channels=channels, latent_dim=16, port=port)
    fixtures.randomise(model, seed=len(layers))
    return model, fixtures.sample_inputs(model, 2, torch.Generator().manual_seed(1))


def images_of(model, z, y, truncation):
    """In float64."""
    with torch.no_grad():
        return nhwc(copy.deepcopy(model).double()(z.double(), y.double(), truncation))


@pytest.fixture(scope="module")
def case_128():
    """An oracle of 128 pixels, two latents, and our network of the same weights."""
    model, inputs = oracle_case(converter.PUBLISHED[0])
    return model, inputs, network("biggan_deep", "generator", state_of(model))


@pytest.fixture(scope="module")
def port_128(case_128):
    """The same weights, read as the port does."""
    model, _ = oracle_case(converter.PUBLISHED[0], port=True)
    model.load_state_dict(case_128[0].state_dict())
    return model, network("biggan_deep", "generator", state_of(model), compat="huggingface")


@pytest.mark.parametrize("layers", SIZES)
def test_images_are_the_oracles(layers):
    model, (z, y) = oracle_case(layers)
    generator = network("biggan_deep", "generator", state_of(model))
    for truncation in (0.58, 0.555):
        theirs = images_of(model, z, y, truncation)
        ours = np.asarray(generator(z.numpy(), y.numpy(), truncation))
        assert theirs.std() > 0.1
        assert worst(ours, theirs) <= MAX
        assert np.abs(ours - theirs).mean() <= MEAN
    assert generator.resolution == ours.shape[1] == 4 * 2 ** sum(doubles for doubles, _, _ in layers)


@truncations(*TRUNCATIONS, 1.0, rest=(0.5, 0.58, 0.125))
def test_statistics_of_a_truncation(case_128, truncation):
    model, (z, y), generator = case_128
    assert worst(generator(z.numpy(), y.numpy(), truncation), images_of(model, z, y, truncation)) <= MAX


def test_a_truncation_for_each_sample(case_128):
    model, (z, y), generator = case_128
    ours = generator(z.numpy(), y.numpy(), np.array([0.2, 0.555], np.float32))
    for row, truncation in enumerate((0.2, 0.555)):
        assert worst(ours[row], images_of(model, z, y, truncation)[row]) <= MAX


@truncations(*TRUNCATIONS, 1.0, rest=(0.5, 0.58, 0.125, 0.28, 0.56, 0.94))
def test_the_ports_own_statistics(case_128, port_128, truncation):
    right, (z, y), _ = case_128
    model, generator = port_128
    theirs = images_of(model, z, y, truncation)
    assert worst(generator(z.numpy(), y.numpy(), truncation), theirs) <= MAX
    # its mistake shows, but where the division is exact
    wrong = worst(images_of(right, z, y, truncation), theirs)
    assert (wrong > 10 * MAX) == (truncation not in (0.5, 1.0))


def test_rows_mix_linearly():
    rows = np.asarray(biggan_deep.row_weights(np.array([0.0, 0.125, 0.5, 1.0], np.float32), 51))
    assert rows.sum(1) == pytest.approx(1)
    assert rows @ np.linspace(0, 1, 51) == pytest.approx([0, 0.125, 0.5, 1.0])
    assert (rows > 1e-5).sum(1).tolist() == [1, 2, 1, 1]


@pytest.mark.slow
def test_gradients_to_the_latents_agree_in_float64(case_128):
    model, (z, y) = oracle_case(converter.PUBLISHED[0])
    generator = network("biggan_deep", "generator", state_of(model))
    wide = [tensor.double().requires_grad_() for tensor in (z, y)]
    model.double()(*wide, 0.555).square().sum().backward()
    with jax.enable_x64(True):
        weights = jax.tree.map(lambda w: np.asarray(w, np.float64), generator.state)

        def energy(z, y):
            return (generator.apply(weights, z, y, 0.555).astype(np.float64) ** 2).sum()

        ours = jax.jit(jax.grad(energy, argnums=(0, 1)))(*(tensor.detach().numpy() for tensor in wide))
    for mine, theirs in zip(ours, wide, strict=True):
        expected = theirs.grad.numpy()
        # the folded sigma, the rows and the tanh are float32, so float32's last digits remain
        assert worst(mine, expected) <= 2e-5 * np.abs(expected).max()


def published_package(layers, channels, classes, latent_dim):
    """The PyPI package's own network, with the weights of a random oracle."""
    package = pytest.importorskip("pytorch_pretrained_biggan.model")
    from pytorch_pretrained_biggan.config import BigGANConfig

    config = BigGANConfig(
        z_dim=latent_dim, class_embed_dim=latent_dim, channel_width=channels, num_classes=classes, layers=layers
    )
    return package.BigGAN(config).eval()


@pytest.mark.parametrize("layers", SIZES)
def test_the_oracle_is_the_published_package(layers):
    model, (z, y) = oracle_case(layers, port=True)
    theirs = published_package(layers, 8, 10, 16)
    theirs.load_state_dict(model.state_dict(), strict=True)
    for truncation in TRUNCATIONS:
        assert worst(images_of(theirs, z, y, truncation), images_of(model, z, y, truncation)) <= 1e-6


@pytest.mark.slow
def test_images_of_the_published_size_are_the_published_packages():
    """Random weights: the published ones could not be had."""
    model = oracle.BigGANDeep(converter.PUBLISHED[0], port=True)
    fixtures.randomise(model, seed=5)
    theirs = published_package(converter.PUBLISHED[0], 128, 1000, 128)
    assert sum(param.numel() for param in theirs.parameters()) == 50_388_609
    theirs.load_state_dict(model.state_dict(), strict=True)
    z, y = fixtures.sample_inputs(model, 1, torch.Generator().manual_seed(1))
    generator = network("biggan_deep", "generator", state_of(theirs), compat="huggingface")
    for truncation in (*TRUNCATIONS, 0.5):
        expected = images_of(theirs, z, y, truncation)
        assert expected.std() > 0.1
        assert worst(generator(z.numpy(), y.numpy(), truncation), expected) <= MAX
