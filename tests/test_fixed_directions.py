"""Directions that are not learned."""

import sys

import numpy as np
import pytest

import latentjax
from latentjax import boundary, packages
from latentjax.errors import InputError
from latentjax.fixed_directions import arithmetic, digest_of, extremes, fixed, random_direction, save, sourced
from latentjax.jobs import direction_fit
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


# ---- records and folders


def test_a_definition_is_of_all_that_decides_a_direction():
    one = sourced("svm", plus="a", component=1)
    assert one == sourced("svm", component=1, plus="a")
    others = (sourced("pca", plus="a", component=1), sourced("svm", plus="a", component=2))
    assert len({one["definition"], *(other["definition"] for other in others)}) == 3


def test_a_set_of_latents_has_one_digest_in_any_order():
    some = points(4)
    assert digest_of(some) == digest_of(some[::-1]) != digest_of(some[1:])


def test_a_saved_direction_is_loaded_as_it_was(tmp_path):
    transformer = fixed(RNG.normal(size=5), RNG.normal(size=3), sourced("sefa", component=2))
    save(transformer, tmp_path / "direction")
    z, y = np.float32(RNG.normal(size=(2, 5))), np.float32(RNG.normal(size=(2, 3)))
    loaded = latentjax.load_transformer(tmp_path / "direction")
    for found, expected in zip(loaded(z, y, 0.3), transformer(z, y, 0.3), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert loaded.source.items() >= transformer.source.items()
    assert "Found by sefa" in (tmp_path / "direction" / "README.md").read_text()
    with pytest.raises(InputError, match="is there already"):
        save(transformer, tmp_path / "direction")


# ---- the boundary


def parted(count: int, direction: np.ndarray, margin: float) -> list[list[Latent]]:
    """Latents on either side of a plane through 0, at least a margin away."""
    sides = [[], []]
    for point in points(count):
        distance = np.concatenate([point.z, point.y]) @ direction
        if abs(distance) > margin:
            sides[int(distance < 0)].append(point)
    return sides


@pytest.mark.parametrize("move", ["both", "z", "y"])
def test_the_boundarys_normal_parts_two_sets_that_a_plane_parts(move):
    pytest.importorskip("sklearn")
    direction = RNG.normal(size=8)
    direction[{"both": [], "z": [5, 6, 7], "y": [0, 1, 2, 3, 4]}[move]] = 0
    direction /= np.linalg.norm(direction)
    plus, minus = parted(400, direction, 0.5)
    found = np.concatenate(boundary.normal(plus, minus, move))
    np.testing.assert_allclose(np.linalg.norm(found), 1)
    assert found @ direction > 0.98
    assert not found[direction == 0].any()
    projected = [[np.concatenate([point.z, point.y]) @ found for point in side] for side in (plus, minus)]
    assert min(projected[0]) > max(projected[1])


def test_a_boundary_in_classes_that_are_not_there_is_refused():
    pytest.importorskip("sklearn")
    plus, minus = ([Latent("", p.z, p.y[:0], {}) for p in side] for side in parted(50, np.eye(8)[0], 0.1))
    with pytest.raises(InputError, match=r"config\.evaluate\.move: is y, which the boundary does not depend on"):
        boundary.normal(plus, minus, "y")


def test_a_missing_scikit_learn_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(InputError, match=r"scikit-learn: is not installed; pip install -r requirements-report\.txt"):
        packages.scikit_learn("svm")


# ---- the length


@pytest.mark.parametrize("best", [-2.3, 0.0, 1.4, 5.1])
def test_the_search_ends_at_most_an_eighth_of_a_doubling_from_the_least_miss(best):
    asked = []

    def misses(doublings):
        asked.extend(doublings)
        return [abs(each - best) for each in doublings]

    assert abs(direction_fit.coarse_to_fine(misses) - best) <= 0.125
    assert len(asked) == 11
