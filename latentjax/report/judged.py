"""What judges make of edits: identity and class kept, drift of the whole set, and a held-out assessor's score."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from latentjax.report.frechet import frechet, halves
from latentjax.report.statistics import bootstrap_ci, by_latent, slopes

Records = Sequence[Mapping[str, Any]]
ROSE = 0.05  # a score rose that is higher by more than this at the last judged alpha than at the first


def judgements(records: Records, name: str) -> np.ndarray | None:
    """What one judge said of each strip, [N, J]; None where it was not asked."""
    if not all(record["judged"].get(name) for record in records):
        return None
    return np.array([record["judged"][name] for record in records], np.float64)


def band(values: np.ndarray, records: Records) -> dict[str, Any]:
    """The mean over strips of values [N, J], and its band over latents."""
    lo, hi = bootstrap_ci(by_latent(values, [record["name"] for record in records]))
    return {"mean": values.mean(axis=0).tolist(), "ci95": np.stack([lo, hi], axis=1).tolist()}


def identity(records: Records, alphas: np.ndarray, changes: np.ndarray) -> dict[str, Any] | None:
    """Similarity of edits to their originals, beside the change that they achieve.

    Args:
        records: with the cosine similarities of features to those at alpha = 0 as "identity".
        alphas: judged ones, [J].
        changes: of the score from alpha = 0, [N, J].

    Returns:
        alphas; similarity: {mean, ci95} in [-1, 1]; change: the mean achieved change. None without features.
    """
    similarity = judgements(records, "identity")
    if similarity is None:
        return None
    return {"alphas": alphas.tolist(), "similarity": band(similarity, records), "change": changes.mean(axis=0).tolist()}


def class_kept(records: Records, alphas: np.ndarray) -> dict[str, Any] | None:
    """The share of strips at each judged alpha whose class is what the classifier says of alpha = 0.

    Returns:
        alphas; share: {mean, ci95} in [0, 1]. None without a classifier.
    """
    classes = judgements(records, "class")
    if classes is None:
        return None
    same = classes == classes[:, [original(alphas)]]
    return {"alphas": alphas.tolist(), "share": band(same.astype(np.float64), records)}


def original(alphas: np.ndarray) -> int:
    """Which of the judged alphas is 0."""
    return int(np.argmin(np.abs(alphas)))


def drift(records: Records, alphas: np.ndarray, features: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
    """Frechet distance between the edited and the unedited set, of the first strip of each latent.

    Returns:
        alphas; distance: one for each alpha; floor: that between two random halves of the unedited set, each of half
        as many samples (None below 4); samples N and dimensions F. None without features, or for a single latent.

    The two sets are of the same latents, so that edits that change nothing have distance 0, and small ones less than
    the floor. It depends on N and on the network: it is no FID, and only runs of one evaluation compare.
    """
    first = {record["name"]: record["file"] for record in reversed(records)}
    files = [record["file"] for record in records if first[record["name"]] == record["file"]]
    if not features or len(files) < 2:
        return None
    zero = original(alphas)
    unedited = np.stack([features[file][zero] for file in files]).astype(np.float64)
    distances = [
        0.0 if i == zero else frechet(np.stack([features[file][i] for file in files]), unedited)
        for i in range(len(alphas))
    ]
    sizes = {"samples": len(files), "dimensions": unedited.shape[1]}
    return {"alphas": alphas.tolist(), "distance": distances, "floor": halves(unedited), **sizes}


def held_out(records: Records, alphas: np.ndarray, changes: np.ndarray) -> dict[str, Any] | None:
    """What a second assessor, which no edit was learned with, says beside the first.

    Args:
        records: with its scores as "held out".
        alphas: judged ones, [J].
        changes: of the first's score from alpha = 0, [N, J].

    Returns:
        alphas; score: {mean, ci95}; change and first_change: mean changes from alpha = 0, of the held-out and of the
        first score; achieved and first_achieved: their mean changes from -.3 to .3, over .6 (None where alphas do
        not reach so far); correlation: of the changes over strips and alphas but 0 (None where one does not change);
        rose: the share of strips whose first score is higher by more than .05 at the last judged alpha than at the
        first one; fooled: the share of these whose held-out score is not higher. None without a second assessor.
    """
    scores = judgements(records, "held out")
    if scores is None:
        return None
    zero = original(alphas)
    found = scores - scores[:, [zero]]
    moved = np.arange(len(alphas)) != zero
    low, high = int(np.argmin(alphas)), int(np.argmax(alphas))
    rose = changes[:, high] - changes[:, low] > ROSE
    fooled = rose & (found[:, high] <= found[:, low])
    steep, first = slopes(scores, alphas), slopes(changes, alphas)
    return {
        "alphas": alphas.tolist(),
        "score": band(scores, records),
        "change": found.mean(axis=0).tolist(),
        "first_change": changes.mean(axis=0).tolist(),
        "achieved": None if steep is None else float(steep.mean()),
        "first_achieved": None if first is None else float(first.mean()),
        "correlation": correlation(changes[:, moved], found[:, moved]),
        "rose": float(rose.mean()),
        "fooled": float(fooled.sum() / rose.sum()) if rose.any() else None,
    }


def correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Pearson's, of all numbers of two arrays; None where one of them is constant or empty."""
    if not a.size:
        return None
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt(np.sum(a**2) * np.sum(b**2)))
    return float(np.sum(a * b)) / size if size > 1e-12 else None
