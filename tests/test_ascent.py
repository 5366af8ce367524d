"""Gradient ascent on every image: it meets requests that can be met, and no learned map beats it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentjax import objective
from latentjax.ascent import Ascent, ascend

ALPHAS = np.array([-0.4, -0.1, 0.0, 0.2, 0.4])
FROZEN = objective.Frozen(None, None)


def networks(kept=None):
    """The score is a sigmoid of a curved function of z and y."""
    return objective.Networks(
        generator=lambda w, z, y: jnp.concatenate([jnp.sin(z), y], 1)[:, None, None, :],
        assessor=lambda w, images: jax.nn.sigmoid(images.sum((1, 2, 3))),
        transformer=lambda *_: pytest.fail("ascent needs no transformer"),
        kept=kept,
    )


def latents():
    keys = jax.random.split(jax.random.key(0))
    return 0.5 * jax.random.normal(keys[0], (3, 4)), 0.3 * jax.random.normal(keys[1], (3, 2))


def scores_along(nets, z, y):
    rows = [array.reshape(-1, array.shape[-1]) for array in (z, y)]
    return np.asarray(objective.assess(nets, FROZEN, *rows)[1]).reshape(len(z), -1)


def requested(nets, z, y):
    return np.asarray(objective.assess(nets, FROZEN, z, y)[1])[:, None] + ALPHAS


def test_requests_that_can_be_met_are_met():
    nets, (z, y) = networks(), latents()
    moved = ascend(nets, FROZEN, z, y, ALPHAS, Ascent(steps=30, step_size=0.5))
    wanted, found = requested(nets, z, y), scores_along(nets, *moved)
    inside = (wanted > 0.05) & (wanted < 0.95)
    assert inside.sum() >= 8
    np.testing.assert_allclose(found[inside], wanted[inside], atol=0.01)


def test_at_alpha_zero_nothing_moves():
    nets, (z, y) = networks(), latents()
    moved_z, moved_y = ascend(nets, FROZEN, z, y, ALPHAS, Ascent(steps=5, step_size=0.5))
    np.testing.assert_array_equal(moved_z[:, 2], z)
    np.testing.assert_array_equal(moved_y[:, 2], y)


def test_the_length_of_z_stays():
    nets, (z, y) = networks(), latents()
    moved_z, _ = ascend(nets, FROZEN, z, y, ALPHAS, Ascent(steps=10, step_size=0.5))
    lengths = np.linalg.norm(z, axis=1)[:, None].repeat(len(ALPHAS), 1)
    np.testing.assert_allclose(np.linalg.norm(moved_z, axis=2), lengths, rtol=1e-5)
    assert np.abs(moved_z - z[:, None]).max() > 0.1


def test_more_steps_are_never_worse():
    nets, (z, y) = networks(), latents()
    wanted, before = requested(nets, z, y), None
    for steps in (1, 3, 9):
        # steps so long that a single one may overshoot
        missed = np.abs(scores_along(nets, *ascend(nets, FROZEN, z, y, ALPHAS, Ascent(steps, 5.0))) - wanted)
        assert before is None or (missed <= before + 1e-6).all()
        before = missed


def test_no_step_is_longer_than_asked():
    nets, (z, y) = networks(), latents()
    moved_z, moved_y = ascend(nets, FROZEN, z, y, ALPHAS, Ascent(steps=1, step_size=0.01))
    # back at the length of z, a point is at most twice as far from where it came
    assert np.linalg.norm(moved_z - z[:, None], axis=2).max() <= 0.02
    assert np.linalg.norm(moved_y - y[:, None], axis=2).max() <= 0.01 + 1e-6


@pytest.mark.parametrize(("move", "stays"), [("z", 1), ("y", 0)])
def test_one_of_z_and_y_alone(move, stays):
    nets, points = networks(), latents()
    moved = ascend(nets, FROZEN, *points, ALPHAS, Ascent(5, 0.5, move))
    np.testing.assert_array_equal(moved[stays], np.repeat(points[stays][:, None], len(ALPHAS), 1))
    assert np.abs(moved[1 - stays] - points[1 - stays][:, None]).max() > 0.1


def test_a_kept_score_is_left_alone():
    free, (z, y) = networks(kept=lambda w, images: images[:, 0, 0, :1]), latents()
    change = {}
    for weight in (0.0, 100.0):
        moved = ascend(free, FROZEN, z, y, ALPHAS, Ascent(60, 0.3, kept=(weight,)))
        change[weight] = np.abs(np.sin(moved[0][..., 0]) - np.sin(z)[:, None, 0]).max()
    assert change[0.0] > 0.05
    assert change[100.0] < 0.01


def test_an_image_does_not_feel_its_neighbours():
    nets, (z, y) = networks(), latents()
    settings = Ascent(5, 0.5)
    together, _ = ascend(nets, FROZEN, z, y, ALPHAS, settings)
    alone, _ = ascend(nets, FROZEN, z[1:2], y[1:2], ALPHAS, settings)
    np.testing.assert_allclose(together[1:2], alone, atol=1e-6)


def test_an_assessor_without_gradient_moves_nothing():
    nets, (z, y) = networks()._replace(assessor=lambda w, images: jnp.zeros(len(images))), latents()
    moved_z, _ = ascend(nets, FROZEN, z, y, ALPHAS, Ascent(5, 0.5))
    np.testing.assert_array_equal(moved_z, np.repeat(z[:, None], len(ALPHAS), 1))
