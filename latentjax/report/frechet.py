"""The Frechet distance between two sets of features, for any number of samples and dimensions."""

import numpy as np

DIGITS = 6  # significant; the last ones of a singular value depend on the number of threads


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)): between Gaussians of the sets' means and covariances.

    The formula of Dowson and Landau (1982), which Heusel et al. (2017) use for their FID. With centred samples
    C = X^T X / (N - 1), so that tr (C1 C2)^(1/2) is the sum of the singular values of X1 X2^T over
    ((N1 - 1)(N2 - 1))^(1/2). That needs no root of a singular matrix where samples are fewer than dimensions.

    Args:
        first, second: [N1, F] and [N2, F], at least 2 rows each.

    Returns:
        The distance, not below 0, to six significant digits.
    """
    sets = [np.asarray(features, np.float64) for features in (first, second)]
    means = [features.mean(axis=0) for features in sets]
    centred = [features - mean for features, mean in zip(sets, means, strict=True)]
    variances = [float(np.sum(x**2)) / (len(x) - 1) for x in centred]
    # with R of X = Q R in place of X the matrix is no larger than F x F, and has the same singular values
    short = [np.asarray(np.linalg.qr(x, mode="r")) if len(x) > x.shape[1] else x for x in centred]
    shared = float(np.linalg.svd(short[0] @ short[1].T, compute_uv=False).sum())
    shared /= np.sqrt((len(first) - 1.0) * (len(second) - 1.0))
    distance = float(np.sum((means[0] - means[1]) ** 2)) + sum(variances) - 2 * shared
    # what is left of the difference of large numbers is no distance
    return float(f"{distance:.{DIGITS}g}") if distance > 1e-9 * sum(variances) else 0.0


def halves(features: np.ndarray, seed: int = 0) -> float | None:
    """The distance between two random halves of one set [N, F]: what chance alone gives; None below 4 rows."""
    if len(features) < 4:
        return None
    order = np.random.default_rng(seed).permutation(len(features))
    middle = len(features) // 2
    return frechet(features[order[:middle]], features[order[middle : 2 * middle]])
