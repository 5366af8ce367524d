"""The Frechet distance, by Gaussians whose distance is known."""

import numpy as np
import pytest
from scipy import linalg

from latentjax.report.frechet import frechet, halves


def gaussians(count, dimensions):
    random = np.random.default_rng(1)
    mixing = random.normal(size=(2, dimensions, dimensions)) / dimensions**0.5
    return [
        random.normal(size=(count, dimensions)) @ matrix + shift for matrix, shift in zip(mixing, (0, 0.3), strict=True)
    ]


@pytest.mark.parametrize(("count", "dimensions"), [(60, 12), (9, 12)])  # also fewer samples than dimensions
def test_the_distance_is_that_of_the_matrix_root(count, dimensions):
    first, second = gaussians(count, dimensions)
    covariances = [np.cov(features.T) for features in (first, second)]
    product = covariances[0] @ covariances[1]
    root = np.sqrt(np.maximum(np.linalg.eigvals(product).real, 0)).sum()
    if count > dimensions:  # sqrtm is of no use for singular matrices
        assert root == pytest.approx(np.trace(linalg.sqrtm(product)).real)
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2) + sum(map(np.trace, covariances)) - 2 * root
    assert frechet(first, second) == pytest.approx(expected, rel=1e-5)  # six digits are kept
    assert frechet(second, first) == pytest.approx(frechet(first, second), rel=1e-5)


def test_known_gaussians_have_the_distance_of_the_closed_form():
    random = np.random.default_rng(2)
    white = random.normal(size=(50, 3))
    white -= white.mean(0)
    white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white.T))).T  # mean 0, covariance 1, exactly
    a, b, shift = np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.5, 3.0]), np.array([1.0, 0.0, -2.0])
    assert frechet(white * a, white[::-1] * b + shift) == pytest.approx(5 + ((a - b) ** 2).sum(), rel=1e-5)


def test_a_set_is_at_no_distance_from_itself():
    first, _ = gaussians(9, 12)
    assert frechet(first, first) == 0


def test_the_floor_is_what_chance_alone_gives():
    first, _ = gaussians(60, 12)
    assert 0 < halves(first) < frechet(first, first + 5)
    assert halves(first[:3]) is None
