"""Whether the noise does anything: how much the edits of one latent differ between noise seeds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# shares of the edit itself, below which the sentence says so
NOTHING, LITTLE = 0.02, 0.2
FEATURES = "features"


def measure(
    records: Sequence[Mapping[str, Any]],
    alphas: np.ndarray,
    judged_alphas: np.ndarray,
    features: Mapping[str, np.ndarray],
) -> dict[str, Any] | None:
    """How much edits of one latent differ between its noise seeds, beside how much the edits change it.

    In features it is the mean cosine distance between the seeds' edits at one alpha, beside that between the edits
    and their original; in the score and each property the standard deviation over the seeds at one alpha, beside
    that over the alphas of one strip. alpha = 0, where the noise does nothing, is left out of what is between seeds.

    Args:
        records, alphas, judged_alphas, features: as `quality.measure` takes them.

    Returns:
        latents (those with several seeds), seeds (the most that one has), by: {"features", "score", ...:
        {between_seeds, by_the_edit, ratio}}, and a sentence. None where every latent has one strip.
    """
    groups = defaultdict(list)
    for record in records:
        groups[record["name"]].append(record)
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        return None
    by = {}
    if features:
        sets = [np.stack([features[record["file"]] for record in group]) for group in several]
        by[FEATURES] = ratio_of([in_features(seeds, judged_alphas) for seeds in sets])
    for name in records[0]["measured"]:
        sets = [np.array([record["measured"][name] for record in group], np.float64) for group in several]
        whole = [in_values(seeds, alphas) for seeds in sets if np.isfinite(seeds).all()]
        by[name] = ratio_of(whole)
    seeds = max(len(group) for group in several)
    return {"latents": len(several), "seeds": seeds, "by": by, "sentence": sentence(by, len(several), seeds)}


def ratio_of(pairs: Sequence[tuple[float, float]]) -> dict[str, float | None]:
    """Means over latents of (between seeds, by the edit), and their ratio."""
    if not pairs:
        return {"between_seeds": None, "by_the_edit": None, "ratio": None}
    between, edit = (float(np.mean(values)) for values in zip(*pairs, strict=True))
    return {"between_seeds": between, "by_the_edit": edit, "ratio": between / edit if edit > 1e-9 else None}


def in_features(seeds: np.ndarray, judged_alphas: np.ndarray) -> tuple[float, float]:
    """(mean cosine distance between seeds, and to the original) of one latent's features [S, J, F]."""
    unit = np.asarray(seeds, np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=-1, keepdims=True), 1e-12)
    moved = np.abs(judged_alphas) > 1e-6
    original, edits = unit[:, ~moved][:, :1], unit[:, moved]
    if not edits.shape[1]:
        return 0.0, 0.0
    # the mean over all pairs of the cosine is (|sum of units|^2 - S) / (S (S - 1))
    count = len(unit)
    together = np.sum(edits.sum(axis=0) ** 2, axis=-1)
    between = 1 - (together - np.sum(edits**2, axis=(0, 2))) / (count * (count - 1))
    return float(between.mean()), float(1 - np.sum(edits * original, axis=-1).mean())


def in_values(seeds: np.ndarray, alphas: np.ndarray) -> tuple[float, float]:
    """(mean standard deviation over seeds, and along alpha) of one latent's values [S, A]."""
    moved = np.abs(alphas) > 1e-6
    between = seeds[:, moved].std(axis=0, ddof=1)
    return float(between.mean()) if len(between) else 0.0, float(seeds.std(axis=1).mean())


def sentence(by: Mapping[str, Mapping[str, float | None]], latents: int, seeds: int) -> str:
    """What the noise does, in words: by features where there are any, else by the score."""
    name = FEATURES if FEATURES in by else "score"
    ratio = by[name]["ratio"]
    if ratio is None:
        return f"Edits of {latents} latents change nothing in the {name}, so noise cannot be compared with them."
    does = "does nothing that shows" if ratio < NOTHING else "does little" if ratio < LITTLE else "makes edits differ"
    what = f"over {seeds} seeds of {latents} latents, edits differ by {ratio:.0%} of what the edit itself changes"
    return f"The noise {does}: {what}, in the {name}."
