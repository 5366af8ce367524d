"""The DCGAN's images are PyTorch's, on random and on the real weights."""

import numpy as np
import pytest
import torch

from converters.oracles import dcgan as oracle
from converters.oracles import fixtures
from latentjax import embedded
from latentjax.errors import InputError
from tests.conversion import network, nhwc, state_of, worst

TOLERANCE = 2e-6  # float32 sums in another order; tanh outputs near 1 have a last digit of 6e-8


@pytest.fixture(scope="module")
def case():
    """A random oracle's state dict, three latents, and its images [3, 32, 32, 3]."""
    model = oracle.DCGAN(latent_dim=12, num_classes=3, widths=(32, 16, 8)).eval()
    fixtures.randomise(model, seed=1)
    z, y = fixtures.sample_inputs(model, 3, torch.Generator().manual_seed(2))
    with torch.no_grad():
        return state_of(model), z.numpy(), y.numpy(), nhwc(model(z, y))


def test_images_are_the_oracles(case):
    state, z, y, theirs = case
    generator = network("dcgan", "generator", state, num_classes=3)
    assert generator.resolution == 32
    assert theirs.std() > 0.1
    assert worst(generator(z, y), theirs) <= TOLERANCE


def test_guard_kernels_are_flipped(case):
    state, z, y, theirs = case
    wrong = {name: array[:, :, ::-1, ::-1] if array.ndim == 4 else array for name, array in state.items()}
    assert worst(network("dcgan", "generator", wrong, num_classes=3)(z, y), theirs) > 0.01


def test_painted_eyes_are_pytorchs():
    try:
        file = embedded.packaged_file("omniart-eye-generator", "omniart_eye_generator/generator_model_state.pth")
    except InputError:
        pytest.skip("requirements-demo.txt is not installed")
    state = torch.load(file, map_location="cpu", weights_only=True)
    model = oracle.DCGAN().eval()
    model.load_state_dict(state)
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(4, 100)).astype(np.float32), np.eye(8, dtype=np.float32)[:4]
    with torch.no_grad():
        theirs = nhwc(model(torch.from_numpy(z), torch.from_numpy(y)))
    generator = network("dcgan", "generator", {k: v.numpy() for k, v in state.items()}, num_classes=8)
    assert worst(generator(z, y), theirs) <= TOLERANCE
