"""What an evaluation says in numbers: means over strips, their confidence bands, achieved against requested.

A strip is one latent with one noise along alpha. Latents are the units that the bands resample: the strips of one
latent, which differ in their noise only, are no further evidence.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from latentjax.errors import InputError

STEP = 0.3  # "achieved" compares the scores at +-STEP


def complete(values: np.ndarray) -> np.ndarray:
    """The strips of values [N, A] that lack nothing (no NaN), so that all alphas average the same ones."""
    values = np.asarray(values, np.float64)
    return values[np.isfinite(values).all(axis=1)]


def by_latent(values: np.ndarray, latents: Sequence[Hashable]) -> np.ndarray:
    """Values [N, A] of strips -> [L, A]: the mean over the complete strips of each latent that has one.

    Args:
        values: one row a strip.
        latents: which latent each strip is of, N.
    """
    values = np.asarray(values, np.float64)
    rows: dict[Hashable, list[np.ndarray]] = {}
    for row, latent in zip(values, latents, strict=True):
        if np.isfinite(row).all():
            rows.setdefault(latent, []).append(row)
    return np.stack([np.mean(group, axis=0) for group in rows.values()]) if rows else np.empty((0, values.shape[1]))


def bootstrap_ci(values: np.ndarray, seed: int = 0, samples: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile bootstrap intervals of the mean over latents.

    Args:
        values: [N, A], one row a latent, N at least 1; whole rows are drawn with replacement.
        seed: of the draws; the same values and seed give the same interval.
        samples: number of bootstrap means.

    Returns:
        (lo [A], hi [A]), float64.
    """
    values = np.asarray(values, np.float64)
    count = len(values)
    # How often each row is drawn, [samples, N], says the same as the drawn rows, [samples, N, A].
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=samples)
    # einsum and not @: BLAS sums in an order that depends on its number of threads.
    means = np.einsum("sn,na->sa", draws / count, values)
    lo, hi = np.quantile(means, [0.025, 0.975], axis=0)
    return lo, hi


def at(alpha: float, alphas: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """Values [N, A] at `alpha` -> [N], linear between the neighbouring alphas; None outside their range."""
    alphas = np.asarray(alphas, np.float64)
    order = np.argsort(alphas)
    alphas, values = alphas[order], np.asarray(values, np.float64)[:, order]
    # A float32 .3 may fall short of .3.
    if not alphas[0] - 1e-6 <= alpha <= alphas[-1] + 1e-6:
        return None
    if len(alphas) == 1:
        return values[:, 0]
    right = int(np.clip(np.searchsorted(alphas, alpha), 1, len(alphas) - 1))
    share = np.clip((alpha - alphas[right - 1]) / (alphas[right] - alphas[right - 1]), 0, 1)
    return (1 - share) * values[:, right - 1] + share * values[:, right]


def _slopes(scores: np.ndarray, alphas: np.ndarray, bounded: bool) -> tuple[float | None, float | None]:
    """(achieved, achieved_limit) of `summarise`."""
    low, start, high = (at(alpha, alphas, scores) for alpha in (-STEP, 0.0, STEP))
    if low is None or start is None or high is None:
        return None, None
    reachable = np.clip(start + STEP, 0, 1) - np.clip(start - STEP, 0, 1)
    limit = float(np.mean(reachable)) / (2 * STEP) if bounded else None
    return float(np.mean(high) - np.mean(low)) / (2 * STEP), limit


def _band(values: np.ndarray, latents: Sequence[Hashable]) -> list[list[float]]:
    return np.stack(bootstrap_ci(by_latent(values, latents)), axis=1).tolist()


def _property(values: np.ndarray, latents: Sequence[Hashable]) -> dict:
    kept = complete(values)
    if not len(kept):
        return {"mean": None, "ci95": None, "strips": 0}
    return {"mean": kept.mean(axis=0).tolist(), "ci95": _band(values, latents), "strips": len(kept)}


def summarise(
    scores: np.ndarray,
    alphas: Sequence[float],
    properties: Mapping[str, np.ndarray],
    *,
    latents: Sequence[Hashable],
    bounded: bool = True,
) -> dict:
    """The content of `summary.json`; plain Python numbers, the same for the same input.

    Args:
        scores: [N, A], one row a strip.
        alphas: A numbers, in the columns' order.
        properties: name -> [N, A]. A strip with a NaN anywhere (an object that was not found) is left out of
            that property at every alpha.
        latents: which latent each strip is of, N.
        bounded: whether scores cannot leave [0, 1].

    Returns:
        alphas (rounded to six decimals) and latents;
        score: {mean, std, ci95}, each one value (or [lo, hi]) an alpha; std over strips, divided by N;
        achieved: (mean score at .3 - mean score at -.3) / .6, 1 when every change is what was asked for;
        achieved_limit: what it would be if every request were met as far as scores within [0, 1] allow, given
        the scores s at alpha = 0: the mean of clip(s + .3, 0, 1) - clip(s - .3, 0, 1), over .6; None where they
        may leave it;
        achieved_vs_requested: {alpha: mean change of the score from alpha = 0};
        monotone_share: share of strips whose score never falls as alpha grows;
        properties: {name: {mean, ci95, strips}}, strips the number counted, the others None where it is 0.
        Scores at -.3, 0 and .3 are interpolated linearly where these are not among the alphas; what needs
        one outside their range is None.

    Raises:
        InputError: no strips, or a score that is not finite.
    """
    scores = np.asarray(scores, np.float64)
    if not len(scores):
        raise InputError("evaluation", "has no strips", "give at least one latent")
    if len(complete(scores)) < len(scores):
        bad = len(scores) - len(complete(scores))
        raise InputError(
            "evaluation", f"has scores that are not finite in {bad} of {len(scores)} strips", "check the weights"
        )
    # Adding 0 turns -0 into 0.
    alphas = [round(float(alpha), 6) + 0.0 for alpha in alphas]
    achieved, limit = _slopes(scores, np.array(alphas), bounded)
    start = at(0.0, np.array(alphas), scores)
    changes = [None] * len(alphas) if start is None else (scores - start[:, None]).mean(axis=0).tolist()
    rises = np.diff(scores[:, np.argsort(alphas)], axis=1) >= 0
    return {
        "alphas": alphas,
        "latents": len(set(latents)),
        "score": {
            "mean": scores.mean(axis=0).tolist(),
            "std": scores.std(axis=0).tolist(),
            "ci95": _band(scores, latents),
        },
        "achieved": achieved,
        "achieved_limit": limit,
        "achieved_vs_requested": {f"{a:g}": change for a, change in zip(alphas, changes, strict=True)},
        "monotone_share": float(rises.all(axis=1).mean()),
        "properties": {name: _property(values, latents) for name, values in properties.items()},
    }
