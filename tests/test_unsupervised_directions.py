"""SeFa's directions are singular vectors of what z enters; PCA's explain most of the activations' variance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentjax import layers, networks, weights
from latentjax.errors import InputError
from latentjax.unsupervised_directions import first, pca, sefa

RNG = np.random.default_rng(0)
KINDS = {
    "dcgan": {"latent_dim": 6, "num_classes": 3, "widths": [16, 8]},
    "biggan": {"resolution": 128, "num_classes": 3, "channels": 4, "embedding_dim": 2, "latent_dim": 12},
    "biggan_deep": {
        **{"layers": [[False, 4, 4], [True, 4, 2], [True, 2, 1]], "attention_before": 2, "statistics": 3},
        **{"num_classes": 3, "channels": 4, "embedding_dim": 2, "latent_dim": 6},
    },
}


def unit(rows: np.ndarray) -> np.ndarray:
    """Each row of length 1, its largest entry positive."""
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows * np.sign(np.take_along_axis(rows, np.abs(rows).argmax(1)[:, None], 1))


@pytest.fixture(params=KINDS)
def generator(request):
    """One of random weights."""
    record = {"kind": request.param, "config": KINDS[request.param]}
    module = weights.abstract(**record)
    shapes = weights.shapes_of(**record)
    weights.fill(module, {name: np.float32(RNG.normal(size=shape)) for name, shape in sorted(shapes.items())})
    return networks.Generator(module, record)


@pytest.fixture
def jacobian(generator, monkeypatch):
    """d (outputs of all linear layers that a forward pass calls) / dz, [n, Z]; convolutions are not computed."""
    found = []
    call = layers.Linear.__call__

    def recorded(self, x):
        found.append(call(self, x))
        return found[-1]

    def outputs(z):
        found.clear()
        generator.apply(generator.state, z[None], y)
        return jnp.concatenate([output[0] for output in found])

    monkeypatch.setattr(layers.Linear, "__call__", recorded)
    y = jnp.ones((1, generator.num_classes))
    return np.asarray(jax.jit(jax.jacobian(outputs))(RNG.normal(size=generator.latent_dim)))


def test_sefa_finds_the_singular_vectors_of_the_first_layers_jacobian(generator, jacobian):
    expected = np.linalg.svd(jacobian.astype(np.float64), full_matrices=False)[2]
    found = sefa(generator.z_maps())
    assert found.shape == (generator.latent_dim,) * 2
    np.testing.assert_allclose(found, unit(expected), atol=1e-3)


def test_the_maps_hold_every_layer_that_z_enters_once(generator, jacobian):
    found = np.concatenate([np.asarray(each) for each in generator.z_maps()], axis=1)
    entered = jacobian[np.abs(jacobian).max(1) > 0]  # an embedded class does not depend on z
    assert found.shape == entered.T.shape
    np.testing.assert_allclose(np.sort(found, axis=1), np.sort(entered.T, axis=1), atol=1e-5)


def test_the_first_activations_are_the_input_layers(generator):
    z, y = jnp.asarray(RNG.normal(size=(1, generator.latent_dim))), jnp.ones((1, generator.num_classes))
    slope = jax.jacobian(lambda z: generator.first_activations(z, y)[0])(z)[:, 0]
    np.testing.assert_allclose(slope.T, generator.z_maps()[0], atol=1e-5)


def test_pca_finds_a_planted_direction():
    planted = unit(RNG.normal(size=(1, 8)))[0]
    z = RNG.normal(size=(400, 8))
    activations = 5 * np.outer(z @ planted, RNG.normal(size=50)) + z @ RNG.normal(size=(8, 50)) + 3
    assert pca(z, activations)[0] @ planted > 0.95


def test_pca_is_the_regression_of_z_on_the_principal_coordinates():
    z = RNG.normal(size=(40, 5)) + 1
    activations = np.tanh(z @ RNG.normal(size=(5, 30))) + 2  # not linear in z: more components than z has entries
    centred = activations - activations.mean(0)
    coordinates = centred @ np.linalg.svd(centred, full_matrices=False)[2].T
    regressed = np.linalg.lstsq(coordinates[:, :9], z - z.mean(0))[0]
    np.testing.assert_allclose(pca(z, activations)[:9], unit(regressed), atol=1e-6)


def test_of_a_linear_layer_pca_and_sefa_agree():
    kernel, z = RNG.normal(size=(4, 20)) * [[4], [1], [1], [1]], RNG.normal(size=(400, 4))
    assert pca(z, z @ kernel)[0] @ sefa([kernel])[0] > 0.97


def test_there_are_as_many_directions_as_the_layer_can_tell_apart():
    z = np.float32(RNG.normal(size=(50, 6)))
    kernel = np.float32(np.concatenate([RNG.normal(size=(2, 20)), np.zeros((4, 20))]))
    assert pca(z, z @ kernel).shape == sefa([kernel]).shape == (2, 6)


def test_more_directions_than_there_are_are_refused():
    directions = sefa([RNG.normal(size=(4, 20))])
    np.testing.assert_array_equal(first(directions, 3, "sefa", "config.evaluate.components"), directions[:3])
    with pytest.raises(InputError, match=r"config\.evaluate\.components: is 5, and sefa finds 4 .*; give 4 or fewer"):
        first(directions, 5, "sefa", "config.evaluate.components")
