"""The helpers behind docs/differences.md measure what they say; nothing is trained here."""

import jax
import numpy as np
import optax
import pytest

from benchmarks import differences, differences_published, differences_trained, lab
from latentjax import command_line, latents, networks, weights


@pytest.mark.parametrize("score", [0.02, 0.5, 0.9])
def test_redrawn_alphas_have_the_closed_forms_distribution(score):
    random, count = np.random.default_rng(0), 20_000
    redrawn = differences_published.redrawn(random, score, count)
    assert ((score + redrawn > 0) & (score + redrawn < 1)).all()
    closed = np.asarray(latents.clip_alpha(random.uniform(-0.5, 0.5, count), np.float32(score)))
    # exceeded once in a million by two samples of one distribution
    assert differences_published.ks(redrawn, closed) <= 2.7 * (2 / count) ** 0.5


def test_ks_is_the_distance_of_distribution_functions():
    assert differences_published.ks(np.arange(4.0), np.arange(4.0)) == 0
    assert differences_published.ks(np.arange(4.0), 2 + np.arange(4.0)) == 0.5
    assert differences_published.ks(np.arange(4.0), 9 + np.arange(4.0)) == 1


def test_the_published_angle_grows_with_the_batch_and_the_mean_does_not():
    config = {"latent_dim": 6, "num_classes": 3, "z": "linear(z)", "y": "none", "num_directions": 3}
    record = {"kind": "transformer", "config": config}
    transformer = networks.LatentTransformer(weights.build(**record), record)
    z, y = jax.random.normal(jax.random.key(0), (4, 6)), np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    fourfold = np.tile(z, (4, 1)), np.tile(y, (4, 1))
    published, mean = (differences_trained.angle(transformer, z, y, form) for form in ("published", "mean"))
    np.testing.assert_allclose(differences_trained.angle(transformer, *fourfold, "published"), 4 * published, rtol=1e-5)
    np.testing.assert_allclose(differences_trained.angle(transformer, *fourfold, "mean"), mean, rtol=1e-5)
    # signs of the cosines cancel within the batch
    assert published < 4 * mean


def test_truncated_images_are_half_a_level_darker_and_never_brighter():
    images = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    shift = (images + 1) * 127.5 - differences_trained.truncated(images)
    assert (shift > -1e-3).all()
    assert (shift < 1 + 1e-3).all()
    np.testing.assert_allclose(shift.mean(), 0.5, atol=0.05)


def test_a_score_is_painted_into_one_corner():
    images = np.full((2, 1, 64, 64, 3), 0.5, np.float32)
    plain, scored = (differences_trained.jpegs(images, text) for text in ("", "0.53"))
    assert plain.shape == scored.shape == images.shape
    assert np.abs(plain - images).max() < 2 / 255
    changed = np.abs(scored - plain).max((0, 1, 4)) > 0.5
    assert changed[:15, :34].mean() > 0.5
    # JPEG's blocks, of 16 pixels with halved colours, end at 16 and 48
    assert not changed[16:].any()
    assert not changed[:, 48:].any()


def test_roughness_is_zero_for_straight_lines():
    assert differences_trained.roughness(np.outer([1.0, -2.0], np.arange(5))) == 0
    assert differences_trained.roughness(np.array([[0.0, 1.0, 0.0]])) == 2


def test_relative_is_a_change_over_what_is_changed():
    assert lab.relative([3.0, 5.0], [3.0, 4.0]) == 0.2


def test_trajectories_have_every_step():
    steps = differences_published.trajectory(optax.sgd(0.1), np.zeros(2), np.ones((3, 2)))
    np.testing.assert_allclose(steps, [[-0.1] * 2, [-0.2] * 2, [-0.3] * 2], rtol=1e-6)


def test_parts_that_need_golden_files_are_skipped_without_them(monkeypatch):
    monkeypatch.delenv("LATENTJAX_REFERENCE", raising=False)
    assert differences.lacking(differences_published.padding) == "LATENTJAX_REFERENCE is not set"
    assert differences.lacking(differences_published.clipped) == ""


def test_an_unknown_part_is_told(refused):
    line = refused(lambda: command_line.run(differences.main), "noize")
    assert line.startswith("PART: 'noize' is unknown; use some of renorm_neighbours, ")
