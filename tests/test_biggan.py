"""BigGAN's images are the published port's."""

import jax
import numpy as np
import pytest
import torch

from converters import biggan as converter
from converters import torch_file
from converters.oracles import biggan as oracle
from converters.oracles import fixtures
from latentjax.generators import biggan
from latentjax.pictures import to_uint8
from latentjax.weights import named
from tests.conversion import filled, network, nhwc, state_of, worst

# BigGAN-512's own float32 noise against float64 is 3.7e-5 at most
MAX, MEAN = 5e-5, 5e-6


def oracle_case(resolution: int, classes: int = 10) -> tuple[dict, np.ndarray, np.ndarray, np.ndarray]:
    """A random oracle's state dict, two latents, and its images [2, R, R, 3]."""
    torch.manual_seed(0)
    model = oracle.BigGAN(resolution, classes, channels=8).eval()
    fixtures.randomise(model, seed=resolution)
    z, y = fixtures.sample_inputs(model, 2, torch.Generator().manual_seed(1))
    with torch.no_grad():
        return state_of(model), z.numpy(), y.numpy(), nhwc(model(z, y))


@pytest.fixture(scope="module")
def case_128():
    return oracle_case(128)


@pytest.mark.parametrize("resolution", [128, 256, 512])
def test_images_are_the_published_ones(reference, resolution):
    golden = np.load(reference / "golden" / f"biggan{resolution}_ch8.npz")
    state = torch_file.state_dict(torch_file.read(reference / "golden" / f"biggan{resolution}_ch8.pth"))
    images = np.asarray(network("biggan", "generator", state)(golden["z"], golden["y"]))
    theirs = nhwc(golden["images_nchw"])
    assert worst(images, theirs) <= MAX
    assert np.abs(images - theirs).mean() <= MEAN
    ours, expected = (np.asarray(to_uint8(i)).astype(int) for i in (images, theirs))
    assert np.abs(ours - expected).max() <= 1
    assert (ours != expected).mean() <= 1e-3


@pytest.mark.parametrize("resolution", [128, pytest.param(256, marks=pytest.mark.slow), 512])
def test_images_are_the_oracles(resolution):
    state, z, y, theirs = oracle_case(resolution)
    images = np.asarray(network("biggan", "generator", state)(z, y))
    assert theirs.std() > 0.1
    assert worst(images, theirs) <= MAX
    assert np.abs(images - theirs).mean() <= MEAN


def test_any_width_and_class_vector(case_128):
    state, z, _, _ = case_128
    y = np.random.default_rng(0).normal(0, 0.3, size=(2, 10)).astype(np.float32)
    model = oracle.BigGAN(128, 10, channels=8).eval()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    with torch.no_grad():
        theirs = nhwc(model(torch.from_numpy(z), torch.from_numpy(y)))
    assert worst(network("biggan", "generator", state)(z, y), theirs) <= MAX


def test_gradients_to_the_latents_agree_in_float64(case_128):
    state, z, y, _ = case_128
    model = oracle.BigGAN(128, 10, channels=8).eval()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    model = model.double()
    wide = [torch.from_numpy(array).double().requires_grad_() for array in (z, y)]
    model(*wide).square().sum().backward()
    generator = network("biggan", "generator", state)
    with jax.enable_x64(True):
        weights = jax.tree.map(lambda w: np.asarray(w, np.float64), generator.state)
        wide_inputs = z.astype(np.float64), y.astype(np.float64)

        def energy(z, y):
            return (generator.apply(weights, z, y).astype(np.float64) ** 2).sum()

        ours = jax.jit(jax.grad(energy, argnums=(0, 1)))(*wide_inputs)
    for mine, theirs in zip(ours, wide, strict=True):
        expected = theirs.grad.numpy()
        # the folded sigma and the tanh are float32, so float32's last digits remain
        assert worst(mine, expected) <= 2e-5 * np.abs(expected).max()


def broken_sigma(kind: str):
    """What a wrong fold would compute."""

    def sigma_of(matrix, u):
        if kind == "svd":
            return float(np.linalg.svd(matrix, compute_uv=False)[0])
        return float(u @ (matrix @ converter.normalised(matrix.T @ u)))

    return sigma_of


@pytest.mark.parametrize("kind", ["stored u", "svd"])
def test_guard_sigma_takes_one_power_iteration(case_128, monkeypatch, kind):
    state, z, y, theirs = case_128
    monkeypatch.setattr(converter, "sigma_of", broken_sigma(kind))
    assert worst(network("biggan", "generator", state)(z, y), theirs) > 10 * MAX


def test_guard_last_epsilon_of_512(reference, monkeypatch):
    golden = np.load(reference / "golden" / "biggan512_ch8.npz")
    state = torch_file.state_dict(torch_file.read(reference / "golden" / "biggan512_ch8.pth"))
    monkeypatch.setitem(biggan.ARCHITECTURES, 512, biggan.ARCHITECTURES[512]._replace(last_epsilon=1e-4))
    images = network("biggan", "generator", state)(golden["z"], golden["y"])
    assert worst(images, nhwc(golden["images_nchw"])) > MAX


def test_guard_last_epsilon_of_512_without_reference(monkeypatch):
    state, z, y, _ = oracle_case(512)
    # a last norm of small variance, with the same output, shows its epsilon
    variance = state["ScaledCrossReplicaBN.running_var"]
    state["ScaledCrossReplicaBN.running_var"] = np.full_like(variance, 1e-3)
    state["ScaledCrossReplicaBN.weight"] = state["ScaledCrossReplicaBN.weight"] * np.sqrt(1e-3 / variance)
    state["ScaledCrossReplicaBN.running_mean"] = 0 * variance
    model = oracle.BigGAN(512, 10, channels=8).eval()
    model.load_state_dict({name: torch.from_numpy(np.asarray(array)) for name, array in state.items()})
    with torch.no_grad():
        theirs = nhwc(model(torch.from_numpy(z), torch.from_numpy(y)))
    assert worst(network("biggan", "generator", state)(z, y), theirs) <= 10 * MAX
    monkeypatch.setitem(biggan.ARCHITECTURES, 512, biggan.ARCHITECTURES[512]._replace(last_epsilon=1e-4))
    assert worst(network("biggan", "generator", state)(z, y), theirs) > 100 * MAX


def test_guard_attention_gamma(case_128):
    state, z, y, theirs = case_128
    generator = network("biggan", "generator", state | {"attention.gamma": np.zeros(1, np.float32)})
    assert worst(generator(z, y), theirs) > 10 * MAX


def test_guard_conditioning_order(case_128):
    state, z, y, theirs = case_128
    generator = network("biggan", "generator", state)
    chunk = generator.latent_dim // 6
    swapped = {
        path: np.roll(array, -chunk, axis=0) if path.endswith(("gain/kernel", "bias/kernel")) else array
        for path, array in named(generator.state).items()
    }
    broken = filled("biggan", "generator", generator.config, swapped)
    assert worst(broken(z, y), theirs) > 10 * MAX
