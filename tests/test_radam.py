"""RAdam follows the published optimizer's trajectory."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from converters.oracles.radam import RAdam
from latentjax import radam as ours

TOLERANCE = 2e-6  # 20 steps of 1e-3 add up float32's last digits of parameters of size 1


def trajectory(start: np.ndarray, grads: np.ndarray, learning_rate: float, **settings) -> np.ndarray:
    chain = ours.radam(learning_rate, **settings)
    params, steps = jnp.asarray(start), []
    state = chain.init(params)
    for grad in grads:
        updates, state = chain.update(jnp.asarray(grad), state, params)
        params = optax.apply_updates(params, updates)
        steps.append(np.asarray(params))
    return np.stack(steps)


def oracle_trajectory(start: np.ndarray, grads: np.ndarray, learning_rate: float, weight_decay: float) -> np.ndarray:
    param = torch.nn.Parameter(torch.from_numpy(start.copy()))
    chain, steps = RAdam([param], lr=learning_rate, weight_decay=weight_decay), []
    for grad in grads:
        param.grad = torch.from_numpy(grad.copy())
        chain.step()
        steps.append(param.detach().numpy().copy())
    return np.stack(steps)


def random_case(scale: float, steps: int = 20):
    rng = np.random.default_rng(0)
    return (0.5 * rng.normal(size=(5, 3))).astype("f"), (scale * rng.normal(size=(steps, 5, 3))).astype("f")


@pytest.mark.parametrize("decay", ["0.0", "0.01"])
def test_trajectory_is_the_published_one(reference, decay):
    golden = np.load(reference / "golden" / f"radam_wd{decay}.npz")
    steps = trajectory(golden["p0"], golden["grads"], float(golden["lr"]), weight_decay=float(decay))
    assert np.abs(steps - golden["params"]).max() <= TOLERANCE


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("scale", [1.0, 1e-5])
def test_trajectory_is_the_oracles(decay, scale):
    start, grads = random_case(scale)
    theirs = oracle_trajectory(start, grads, 1e-3, decay)
    assert np.abs(trajectory(start, grads, 1e-3, weight_decay=decay) - theirs).max() <= TOLERANCE


def test_guard_epsilon_is_added_to_the_root(monkeypatch):
    start, grads = random_case(1e-5)
    theirs = oracle_trajectory(start, grads, 1e-3, 0.0)
    monkeypatch.setattr(ours, "root", lambda v, eps: jnp.sqrt(v + eps))
    assert np.abs(trajectory(start, grads, 1e-3) - theirs).max() > 100 * TOLERANCE


def test_optax_radam_is_another_optimizer():
    start, grads = random_case(1e-7)
    chain = optax.radam(1e-3)
    params, state = jnp.asarray(start), chain.init(jnp.asarray(start))
    for grad in grads:
        updates, state = chain.update(jnp.asarray(grad), state, params)
        params = optax.apply_updates(params, updates)
    assert np.abs(np.asarray(params) - oracle_trajectory(start, grads, 1e-3, 0.0)[-1]).max() > 10 * TOLERANCE


def test_long_runs_become_adam_without_correction():
    factors, adaptive = ours.rectifier_table(0.9, 0.999, 30_000)
    assert adaptive[5:].all()
    assert not adaptive[:5].any()
    np.testing.assert_allclose(factors[-1], 1, rtol=1e-6)


def test_clipping_bounds_the_gradient():
    start, grads = random_case(100.0, steps=1)
    step = trajectory(start, grads, 1.0, clip_norm=1.0)[0] - start
    np.testing.assert_allclose(np.linalg.norm(step), 1, rtol=1e-5)  # step 1 is plain momentum
