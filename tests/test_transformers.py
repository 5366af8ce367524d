"""Transformers move latents as the published ones do, and by the rules of this house."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from converters import torch_file
from converters.oracles import fixtures
from converters.oracles import transformer as oracle
from latentjax import networks, transformers, weights
from latentjax.errors import InputError
from tests.conversion import network, state_of, worst

Z, Y = 1e-5, 2e-7  # z is rescaled by a norm over the batch; y moves by thousandths


def new(**settings):
    config = {"latent_dim": 12, "num_classes": 5, **settings}
    return networks.LatentTransformer(weights.build("transformer", config), {"kind": "transformer", "config": config})


def inputs(batch: int = 3):
    keys = jax.random.split(jax.random.key(1))
    return jax.random.normal(keys[0], (batch, 12)), jax.nn.one_hot(jnp.arange(batch) % 5, 5)


@pytest.mark.parametrize("kind", [kind.published for kind in transformers.KINDS.values()])
def test_latents_move_as_published(reference, kind):
    golden = np.load(reference / "golden" / f"transformer_{kind}.npz")
    state = torch_file.state_dict(torch_file.read(reference / "golden" / f"transformer_{kind}.pth"))
    transformer = network("transformer", "transformer", state, num_classes=golden["y"].shape[1])
    noise = tuple(golden.get(name) for name in ("noise_z", "noise_y"))
    z, y = transformer(golden["z"], golden["y"], golden["alpha"], noise, int(golden.get("direction", 0)))
    assert worst(z, golden["z_out"]) <= Z
    assert worst(y, golden.get("y_out", golden["y"])) <= Y


@pytest.mark.parametrize("kind", [kind.published for kind in transformers.KINDS.values()])
def test_latents_move_as_the_oracles(kind):
    model = oracle.Transformer(12, 20, kind=kind)
    direction = 2 if kind.startswith("Multi") else 0
    fixtures.randomise(model, seed=5)
    generator = torch.Generator().manual_seed(0)
    z, y = fixtures.sample_inputs(model, 4, generator)
    alpha = torch.rand(4, generator=generator) - 0.5
    noise = [torch.randn(4, n, generator=generator) if n else None for n in (model.noise_dim, model.noise_dim_y)]
    with torch.no_grad():
        theirs = model(z, y, alpha, *noise, direction=direction)
    transformer = network("transformer", "transformer", state_of(model), num_classes=20)
    noise = tuple(None if n is None else n.numpy() for n in noise)
    ours = transformer(z.numpy(), y.numpy(), alpha.numpy(), noise, direction)
    assert worst(ours[0], theirs[0]) <= Z
    assert worst(ours[1], theirs[1]) <= Y


@pytest.mark.parametrize("renorm", ["sample", "none"])
def test_alpha_zero_returns_the_input_exactly(renorm):
    transformer, (z, y) = new(renorm=renorm, class_reg=1.0), inputs()
    moved_z, moved_y = transformer(z, y, 0.0, transformer.sample_noise(jax.random.key(0), 3))
    assert (moved_z == z).all()
    assert (moved_y == y).all()


def test_renorm_sample_keeps_every_length_and_ignores_neighbours():
    transformer, (z, y) = new(), inputs()
    noise = transformer.sample_noise(jax.random.key(0), 3)
    moved, _ = transformer(z, y, 0.4, noise)
    alone, _ = transformer(z[:1], y[:1], 0.4, tuple(None if n is None else n[:1] for n in noise))
    np.testing.assert_allclose(*(np.linalg.norm(x, axis=1) for x in (moved, z)), rtol=1e-6)
    assert worst(moved[:1], alone) <= 1e-6
    assert worst(moved, z) > 0.01


def test_renorm_none_is_the_papers_formula():
    transformer, (z, y) = new(z="vector", y="none", renorm="none"), inputs()
    moved, _ = transformer(z, y, jnp.array([0.1, -0.2, 0.5]))
    direction = weights.named(transformer.state)["direction_z/vector"]
    assert worst(moved, z + np.array([[0.1], [-0.2], [0.5]]) * direction) <= 1e-6


def test_noise_is_a_pair_with_none_where_none_is_taken():
    assert new(z="vector", y="none").sample_noise(jax.random.key(0), 2) == (None, None)
    noise_z, noise_y = new(y="linear(y)").sample_noise(jax.random.key(0), 2)
    assert noise_z.shape == (2, 8)
    assert noise_y is None


def test_noise_for_y_is_sized_by_the_published_formula_unless_given():
    assert new(latent_dim=128, num_classes=1000).noise_dims == (8, 62)
    assert new(noise_dim_y=4).noise_dims == (8, 4)


def test_noise_left_out_is_told():
    with pytest.raises(InputError, match=r"noise: is missing.*sample_noise"):
        new()(*inputs(), 0.1)


def test_arguments_may_be_named():
    transformer, (z, y) = new(), inputs()
    noise = transformer.sample_noise(jax.random.key(0), 3)
    assert worst(transformer(z, y, alpha=0.1, noise=noise)[0], transformer(z, y, 0.1, noise)[0]) == 0


def test_a_generator_without_classes():
    transformer = new(num_classes=0)
    z, y = inputs()[0], jnp.zeros((3, 0))
    assert transformer(z, y, 0.1, transformer.sample_noise(jax.random.key(0), 3))[1].shape == (3, 0)


def test_a_noise_of_size_0_is_none():
    transformer, (z, y) = new(noise_dim_y=0), inputs()
    noise = transformer.sample_noise(jax.random.key(0), 3)
    assert noise[1] is None
    assert transformer(z, y, 0.1, noise)[1].shape == y.shape


def test_initial_weights_are_pytorchs_distribution():
    transformer = new(latent_dim=400, z="linear(z)", y="none")
    kernel = weights.named(transformer.state)["direction_z/layers/0/kernel"]
    assert np.abs(kernel).max() <= 1 / 20
    np.testing.assert_allclose(np.std(kernel), 1 / 20 / 3**0.5, rtol=0.01)  # of a uniform distribution


@pytest.mark.parametrize(
    "text", ["two_layer(noise, z)", "linear(noise)", "linear()", "two_layer", "mlp(z)", "vector(z)"]
)
def test_odd_directions_are_refused(text):
    with pytest.raises(InputError, match=r"transformer\.z"):
        new(z=text)
