"""Directions that are not learned."""

import numpy as np
import pytest

from latentjax.errors import InputError
from latentjax.fixed_directions import arithmetic, extremes, fixed, random_direction
from latentjax.latents import Latent

RNG = np.random.default_rng(0)


def points(count: int, shift: float = 0.0) -> list[Latent]:
    z, y = RNG.normal(size=(count, 5)) + shift, RNG.normal(size=(count, 3))
    return [Latent(str(i), np.float32(a), np.float32(b), {}) for i, (a, b) in enumerate(zip(z, y, strict=True))]


def test_arithmetic_is_the_difference_of_the_means_per_unit_of_the_score():
    plus, minus = points(6, 1.0), points(4)
    transformer = arithmetic(plus, minus, gap=0.4, strength=2.0)
    z, y = np.float32(RNG.normal(size=(2, 5))), np.float32(RNG.normal(size=(2, 3)))
    moved_z, moved_y = transformer(z, y, 0.3)
    sets = [[np.mean([getattr(p, name) for p in points], 0) for points in (plus, minus)] for name in "zy"]
    means = [high - low for high, low in sets]
    expected = z + 0.3 * 2 / 0.4 * means[0]
    expected *= np.linalg.norm(z, axis=1, keepdims=True) / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(moved_z, expected, rtol=1e-5)
    np.testing.assert_allclose(moved_y, y + 0.3 * 2 / 0.4 * means[1], rtol=1e-4, atol=1e-6)


def test_where_the_score_is_linear_arithmetic_moves_it_by_alpha():
    direction = RNG.normal(size=5)
    many = points(4000)
    scores = np.array([point.z @ direction for point in many])
    high, low = extremes(many, scores, 0.25)
    gap = scores[high].mean() - scores[low].mean()
    transformer = arithmetic([many[i] for i in high], [many[i] for i in low], gap)
    vector = np.asarray(transformer.state["direction_z"]["vector"].get_value())
    # the score of the direction itself is what it adds for alpha = 1
    np.testing.assert_allclose(vector @ direction, 1.0, rtol=1e-5)


def test_sets_whose_scores_do_not_differ_are_refused():
    with pytest.raises(InputError, match=r"config\.evaluate\.method: arithmetic finds"):
        arithmetic(points(3), points(3), gap=-0.1)


def test_extremes_are_the_ends_of_the_order():
    scores = np.array([0.5, 0.1, 0.9, 0.2, 0.8])
    assert [sorted(ends) for ends in extremes(points(5), scores, 0.4)] == [[2, 4], [1, 3]]
    assert extremes(points(5), scores, 0.01) == ([2], [1])


def test_a_random_direction_is_a_function_of_its_seed_and_leaves_y():
    z, y = np.float32(RNG.normal(size=(2, 5))), np.float32(RNG.normal(size=(2, 3)))
    one, same, other = (random_direction(5, 3, seed)(z, y, 0.5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one[0], same[0])
    assert np.abs(one[0] - other[0]).max() > 0.1
    np.testing.assert_array_equal(one[1], y)


def test_strength_multiplies_alpha():
    z, y = np.float32(RNG.normal(size=(2, 5))), np.float32(RNG.normal(size=(2, 3)))
    np.testing.assert_allclose(
        random_direction(5, 3, 1, strength=2.0)(z, y, 0.25)[0], random_direction(5, 3, 1)(z, y, 0.5)[0], rtol=1e-6
    )


def test_a_direction_for_a_generator_without_classes():
    transformer = fixed(np.ones(4), np.zeros(0), {})
    moved_z, moved_y = transformer(np.float32([[1, 0, 0, 0]]), np.zeros((1, 0), np.float32), 0.5)
    assert moved_z.shape == (1, 4)
    assert moved_y.shape == (1, 0)
