"""BigGAN-PyTorch's generators become BigGANs with the same images."""

import copy

import jax
import numpy as np
import pytest
import torch

from converters import biggan_pytorch as converter
from converters import rules
from converters.oracles import biggan_pytorch as oracle
from converters.oracles import fixtures
from latentjax import weights
from latentjax.errors import InputError
from tests.conversion import network, nhwc, state_of, worst

# against float64, as for the GANalyze port
MAX, MEAN = 5e-5, 5e-6


def oracle_case(resolution, chunk=20):
    """A random oracle and two latents."""
    model = oracle.BigGANPyTorch(resolution, 10, channels=8, chunk=chunk)
    fixtures.randomise(model, seed=resolution)
    return model, fixtures.sample_inputs(model, 2, torch.Generator().manual_seed(1))


def images_of(model, z, y):
    """In float64."""
    with torch.no_grad():
        return nhwc(copy.deepcopy(model).double()(z.double(), y.double()))


@pytest.fixture(scope="module")
def case_128():
    return oracle_case(128)


@pytest.mark.parametrize(("resolution", "chunk"), [(128, 20), (256, 18)])
def test_images_are_the_oracles(resolution, chunk):
    model, (z, y) = oracle_case(resolution, chunk)
    generator = network("biggan_pytorch", "generator", state_of(model))
    assert (generator.latent_dim, generator.resolution) == (z.shape[1], resolution)
    theirs = images_of(model, z, y)
    ours = np.asarray(generator(z.numpy(), y.numpy()))
    assert theirs.std() > 0.1
    assert worst(ours, theirs) <= MAX
    assert np.abs(ours - theirs).mean() <= MEAN


def test_any_class_vector(case_128):
    model, (z, _) = case_128
    y = torch.randn(2, 10, generator=torch.Generator().manual_seed(2)) * 0.3
    ours = network("biggan_pytorch", "generator", state_of(model))(z.numpy(), y.numpy())
    assert worst(ours, images_of(model, z, y)) <= MAX


def test_gradients_to_the_latents_agree_in_float64(case_128):
    model, (z, y) = case_128
    wide = [tensor.double().requires_grad_() for tensor in (z, y)]
    copy.deepcopy(model).double()(*wide).square().sum().backward()
    generator = network("biggan_pytorch", "generator", state_of(model))
    with jax.enable_x64(True):
        weights = jax.tree.map(lambda w: np.asarray(w, np.float64), generator.state)

        def energy(z, y):
            return (generator.apply(weights, z, y).astype(np.float64) ** 2).sum()

        ours = jax.jit(jax.grad(energy, argnums=(0, 1)))(*(tensor.detach().numpy() for tensor in wide))
    for mine, theirs in zip(ours, wide, strict=True):
        expected = theirs.grad.numpy()
        # the folded sigma and the tanh are float32, so float32's last digits remain
        assert worst(mine, expected) <= 2e-5 * np.abs(expected).max()


@pytest.mark.parametrize("norm", ["bn.stored", "bn.running"])
def test_statistics_under_the_names_of_other_norms(case_128, norm):
    model, (z, y) = case_128
    state = {key.replace("stored", norm): array for key, array in state_of(model).items()}
    state["blocks.0.0.bn1.bn.accumulation_counter"] = np.zeros(1, np.float32)
    assert worst(network("biggan_pytorch", "generator", state)(z.numpy(), y.numpy()), images_of(model, z, y)) <= MAX


def test_weights_without_spectral_norm_stay(case_128):
    model, (z, y) = case_128
    plain = {}
    for name, part in model.named_modules():
        if isinstance(part, oracle.SpectralWeight):
            plain[f"{name}.weight"] = part.effective().detach().numpy()
    state = {key: plain.get(key, array) for key, array in state_of(model).items() if not key.endswith(("u0", "sv0"))}
    assert worst(network("biggan_pytorch", "generator", state)(z.numpy(), y.numpy()), images_of(model, z, y)) <= MAX


@pytest.mark.parametrize(
    ("guarded", "broken"),
    [
        ("the order of the condition", lambda m: m.setattr(np, "roll", lambda array, *_, **__: array)),
        (
            "one power iteration",
            # the largest singular value itself
            lambda m: m.setattr(converter, "sigma_of", lambda w, u: float(np.linalg.eigvalsh(w @ w.T)[-1] ** 0.5)),
        ),
        ("epsilon of the norms", lambda m: m.setattr(converter, "NORM_EPSILON", 1e-2)),
        ("channels first", lambda m: m.setattr(np, "moveaxis", lambda array, *_: array)),
    ],
)
def test_guards(case_128, monkeypatch, guarded, broken):
    model, (z, y) = case_128
    theirs, state = images_of(model, z, y), state_of(model)
    with monkeypatch.context() as patched:
        broken(patched)
        generator = network("biggan_pytorch", "generator", state)
    assert worst(generator(z.numpy(), y.numpy()), theirs) > 10 * MAX, guarded


def test_every_path_is_named_by_a_key_of_the_file(case_128):
    state = state_of(case_128[0])
    recipe = converter.recipe(state, "state")
    paths = list(weights.shapes_of(recipe.kind, recipe.config))
    keys = [rules.source_of(recipe.rules, path) for path in paths]
    assert {*keys} <= {*state}
    assert [rules.find(recipe.rules, key)[1] for key in keys] == paths


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: {k: v for k, v in s.items() if not k.startswith(("output_layer", "shared"))}, "is a discriminator"),
        (lambda s: {k: v for k, v in s.items() if k != "shared.weight"}, "no shared embedding"),
        (lambda s: {k: v for k, v in s.items() if not k.startswith("blocks.4.")}, "has 4 blocks"),
        (
            lambda s: {k: v for k, v in s.items() if not k.startswith("blocks.3.1.")},
            "self-attention after the blocks []",
        ),
        (lambda s: s | {"linear.weight": np.zeros((2048, 120), np.float32)}, "is not hierarchical"),
        (lambda s: {k: v for k, v in s.items() if k != "blocks.1.0.conv1.u0"}, "1 missing (blocks.1.0.conv1.u0)"),
        (lambda s: {k: v for k, v in s.items() if k != "blocks.3.1.gamma"}, "1 missing (blocks.3.1.gamma)"),
        (lambda s: {"a": np.zeros(1), "b": s["linear.bias"]}, "has no tensor of BigGAN-PyTorch's blocks (a, b)"),
        (lambda s: {}, "no tensor of BigGAN-PyTorch's blocks ()"),
    ],
)
def test_other_networks_are_refused_by_what_they_lack(case_128, change, told):
    with pytest.raises(InputError) as caught:
        network("biggan_pytorch", "generator", change(state_of(case_128[0])))
    assert told in str(caught.value)
