"""What an evaluation says in numbers: means over latents, their confidence bands, achieved against requested.

A strip is one latent with one noise along alpha. Latents are the units that means weigh alike and bands resample: the
strips of one latent, which differ in their noise only, are no further evidence.
"""

import functools
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from latentjax.errors import InputError

STEP = 0.3  # "achieved" compares the scores at +-STEP
SAMPLES = 1000  # bootstrap samples of a band
INTERVAL = (0.025, 0.975)


def complete(values: np.ndarray) -> np.ndarray:
    """The strips of values [N, A] that lack nothing (no NaN), so that all alphas average the same ones."""
    values = np.asarray(values, np.float64)
    return values[np.isfinite(values).all(axis=1)]


def by_latent(values: np.ndarray, latents: Sequence[Hashable]) -> np.ndarray:
    """Values [N, A] of strips -> [L, A]: the mean over each latent's complete strips, NaN for one without.

    Args:
        values: one row a strip.
        latents: which latent each strip is of, N. They keep the order in which they come first.
    """
    values = np.asarray(values, np.float64)
    rows: dict[Hashable, list[np.ndarray]] = {latent: [] for latent in latents}
    for row, latent in zip(values, latents, strict=True):
        if np.isfinite(row).all():
            rows[latent].append(row)
    missing = np.full(values.shape[1], np.nan)
    return np.array([np.mean(group, axis=0) if group else missing for group in rows.values()]).reshape(-1, len(missing))


@functools.lru_cache(maxsize=1)
def _draws(count: int, seed: int, block: int) -> np.ndarray:
    """How often each of `count` rows is drawn, [SAMPLES, count] float64; it says the same as the drawn rows."""
    random = np.random.Generator(np.random.PCG64(seed).jumped(block))
    draws = random.multinomial(count, np.full(count, 1 / count), size=SAMPLES).astype(np.float64)
    draws.setflags(write=False)  # it is shared
    return draws


def bootstrap_means(values: np.ndarray, seed: int = 0, samples: int = SAMPLES) -> np.ndarray:
    """Means over latents, of latents drawn with replacement, float64 [samples, K].

    The draws depend on N and the seed alone: what is computed from arrays of the same latents is paired.

    Args:
        values: [N, K], one row a latent, N at least 1. A row with a NaN is left out of every draw; where a draw
            has no other rows, the mean is NaN.
        seed: of the draws.
        samples: how many.
    """
    values = np.asarray(values, np.float64)
    kept = np.isfinite(values).all(axis=1)
    means = []
    for block in range(-(-samples // SAMPLES)):
        draws = _draws(len(values), seed, block)[: samples - block * SAMPLES, kept]
        # einsum and not @: BLAS sums in an order that depends on its number of threads.
        with np.errstate(invalid="ignore"):
            means.append(np.einsum("sn,nk->sk", draws, values[kept]) / draws.sum(axis=1, keepdims=True))
    return np.concatenate(means)


def interval(means: np.ndarray) -> np.ndarray:
    """The 95 % percentile interval of bootstrap means [samples, ...] -> [2, ...]; what is not finite is left out."""
    return np.nanquantile(np.where(np.isfinite(means), means, np.nan), INTERVAL, axis=0)


def bootstrap_ci(values: np.ndarray, seed: int = 0, samples: int = SAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile bootstrap intervals of the mean over latents.

    Args:
        values: [N, A], one row a latent, see `bootstrap_means`; at least one row is complete.
        seed: of the draws; the same values and seed give the same interval.
        samples: number of bootstrap means.

    Returns:
        (lo [A], hi [A]), float64.
    """
    lo, hi = interval(bootstrap_means(values, seed, samples))
    return lo, hi


def relative_change(alphas: np.ndarray, means: np.ndarray) -> np.ndarray | None:
    """(mean_alpha - mean_0) / mean_0, the ratio of means of the paper's Figure 1.

    Args:
        alphas: A numbers.
        means: [S, A], each row the means over one set of latents.

    Returns:
        [S, A], NaN in rows whose mean_0 is 0; None where 0 is outside the range of alphas.
    """
    start = at(0.0, alphas, means)
    if start is None:
        return None
    start = np.where(start == 0, np.nan, start)[:, None]
    return (means - start) / start


def two_sided_p(differences: np.ndarray, count: int) -> np.ndarray:
    """p of "the mean difference is 0": twice the smaller share of bootstrap means on one side of 0.

    (1 + k) / (1 + S) in place of k / S keeps p from 0 (Davison and Hinkley 1997, section 4.2). Nor is it less than
    2^(1 - L), the least that flipping the signs of L differences can give: few latents prove nothing.

    Args:
        differences: bootstrap means [S, ...] of the differences of paired latents.
        count: number of latents L.

    Returns:
        [...] in (0, 1].
    """
    beyond = np.minimum((differences <= 0).sum(axis=0), (differences >= 0).sum(axis=0))
    return np.clip(2 * (1 + beyond) / (1 + len(differences)), 2.0 ** (1 - count), 1)


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for their number, in their order (Holm 1979): the chance of any false finding is kept."""
    order = np.argsort(p, kind="stable")
    stepped = np.asarray(p, np.float64)[order] * (len(p) - np.arange(len(p)))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1) if len(p) else stepped
    return corrected.tolist()


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


def slopes(scores: np.ndarray, alphas: np.ndarray) -> np.ndarray | None:
    """(score at .3 - score at -.3) / .6 of each row [N, A] -> [N]; None where alphas do not reach that far."""
    low, high = at(-STEP, alphas, scores), at(STEP, alphas, scores)
    return None if low is None or high is None else (high - low) / (2 * STEP)


def _achieved(scores: np.ndarray, alphas: np.ndarray, bounded: bool) -> tuple[float | None, float | None]:
    """(achieved, achieved_limit) of `summarise`."""
    changes, start = slopes(scores, alphas), at(0.0, alphas, scores)
    if changes is None or start is None:
        return None, None
    reachable = np.clip(start + STEP, 0, 1) - np.clip(start - STEP, 0, 1)
    limit = float(np.mean(reachable)) / (2 * STEP) if bounded else None
    return float(np.mean(changes)), limit


def mean_and_band(rows: np.ndarray) -> dict:
    """{mean [A], ci95 [A, 2], latents}: over the complete rows of one row a latent [L, A]; None where there is none.

    Rows with a NaN count nowhere, and are drawn all the same: bands of the same latents are of the same draws.
    """
    kept = complete(rows)
    if not len(kept):
        return {"mean": None, "ci95": None, "latents": 0}
    band = np.stack(bootstrap_ci(rows), axis=1).tolist()
    return {"mean": kept.mean(axis=0).tolist(), "ci95": band, "latents": len(kept)}


def _property(values: np.ndarray, latents: Sequence[Hashable]) -> dict:
    return mean_and_band(by_latent(values, latents)) | {"strips": len(complete(values))}


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
        score: {mean, std, ci95}, each one value (or [lo, hi]) an alpha; the mean over latents of each one's mean over
        its strips, here and below; std over strips, divided by N;
        achieved: (mean score at .3 - mean score at -.3) / .6, 1 when every change is what was asked for;
        achieved_limit: what it would be if every request were met as far as scores within [0, 1] allow, given
        the scores s at alpha = 0: the mean of clip(s + .3, 0, 1) - clip(s - .3, 0, 1), over .6; None where they
        may leave it;
        achieved_vs_requested: {alpha: mean change of the score from alpha = 0};
        monotone_share: share of strips whose score never falls as alpha grows;
        properties: {name: {mean, ci95, latents, strips}}, the last two being the numbers of those counted; mean and
        ci95 are None where they are 0.
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
    rows = by_latent(scores, latents)
    achieved, limit = _achieved(rows, np.array(alphas), bounded)
    start = at(0.0, np.array(alphas), rows)
    changes = [None] * len(alphas) if start is None else (rows - start[:, None]).mean(axis=0).tolist()
    score = mean_and_band(rows)
    rises = np.diff(scores[:, np.argsort(alphas)], axis=1) >= 0
    return {
        "alphas": alphas,
        "latents": len(set(latents)),
        "score": {
            "mean": score["mean"],
            "std": scores.std(axis=0).tolist(),
            "ci95": score["ci95"],
        },
        "achieved": achieved,
        "achieved_limit": limit,
        "achieved_vs_requested": {f"{a:g}": change for a, change in zip(alphas, changes, strict=True)},
        "monotone_share": float(rises.all(axis=1).mean()),
        "properties": {name: _property(values, latents) for name, values in properties.items()},
    }
