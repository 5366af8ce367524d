"""Several runs on the same latents: one figure of all, strips above one another, and which differ beyond chance."""

import itertools
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from latentjax.errors import InputError
from latentjax.files import write_json
from latentjax.report import curves, figures, statistics
from latentjax.report.finished_runs import Latent, Run, by_common_latents, notes_of, read_alike

SAMPLES = 10_000  # of the tests: with 1,000, no p of 28 pairs could stay below .05 after its correction
SEED = 0
STRIPS = 3  # latents in strips.png

HEAD = [
    *("run", "achieved", "95 %", "limit", "monotone strips", "identity at ±0.3", "class kept at ±0.3"),
    *("drift at ±0.3", "held-out achieved"),
]
DIFFERENCES = ["run", "other run", "difference of achieved", "95 %", "p", "p, Holm"]


def write(folder: pathlib.Path, runs: Mapping[str, pathlib.Path], title: str) -> dict[str, Any]:
    """Writes curves.png, relative.png (where alpha = 0 is among the range), strips.png, comparison.json, summary.json.

    A property's curves and means are of the latents that have it in all runs.

    Args:
        folder: of the comparison; made where it is missing.
        runs: label -> evaluation folder. Colours follow the order; strips.png shows latents by the first one's change.
        title: above the figures.

    Returns:
        The content of summary.json: alphas and latents; runs: {label: its summary.json, but with properties of the
        common latents: {name: {mean, ci95, latents}}}; strips: {label: number}; left_out: {label: {name: strips that
        lack it at some alpha, and are left out of it at all}}; achieved:
        {label: {mean, ci95}} or None; differences: those of comparison.json, of the achieved change alone.

    Raises:
        InputError: no runs, one is not finished, or they are not of the same latents, alphas, generator, assessor
            and masks.
    """
    found = read_alike(runs)
    first = next(iter(found.values()))
    alphas, (latents, values) = first.facts["alphas"], by_common_latents(found)
    scores = {label: named["score"] for label, named in values.items()}
    achieved, pairs = compare(scores, alphas)
    folder.mkdir(parents=True, exist_ok=True)
    told = {"title": title, "bounded": first.bounded, "notes": notes_of(values)}
    curves.draw(folder / "curves.png", alphas, values, **told)
    if min(alphas) <= 0 <= max(alphas):
        curves.draw(folder / "relative.png", alphas, values, **told, relative=True)
    _draw_strips(folder / "strips.png", found, latents, scores)
    common = {"alphas": alphas, "latents": len(latents)}
    places = {label: pathlib.Path(os.path.relpath(run.folder, folder)).as_posix() for label, run in found.items()}
    bootstrap = {"samples": SAMPLES, "seed": SEED}
    write_json(folder / "comparison.json", {**common, "runs": places, "bootstrap": bootstrap, "differences": pairs})
    summary = {
        **common,
        "runs": {label: run.summary | {"properties": _properties(values[label])} for label, run in found.items()},
        "strips": {label: len(run.records) for label, run in found.items()},
        "left_out": {label: run.left_out() for label, run in found.items()},
        "achieved": achieved,
        "differences": [{name: pair[name] for name in pair if name != "score"} for pair in pairs],
    }
    write_json(folder / "summary.json", summary)
    return summary


def _properties(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: statistics.mean_and_band(rows) for name, rows in values.items() if name != "score"}


def folders(file: pathlib.Path) -> dict[str, str]:
    """Label -> evaluation folder, relative to its own, of the runs that a comparison.json is of.

    Raises:
        InputError: it is damaged.
    """
    try:
        return dict(json.loads(file.read_text())["runs"])
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise InputError(file, f"is damaged ({error!r:.200})", "compare its runs again") from error


def compare(
    scores: Mapping[str, np.ndarray], alphas: Sequence[float]
) -> tuple[dict[str, dict[str, Any]] | None, list[dict[str, Any]]]:
    """How the runs' scores differ: a paired bootstrap over latents.

    Args:
        scores: label -> [L, A], row i being latent i's mean over its noise seeds in every run.
        alphas: A numbers.

    Returns:
        achieved: label -> {mean, ci95} of the slope (score at .3 - score at -.3) / .6; None where alphas do not
        reach that far;
        for each pair of runs: {first, second, achieved, score}: achieved is {difference, ci95, p, p_holm} of first
        minus second, p two-sided and p_holm corrected for the number of pairs, or None; score is {difference [A],
        ci95 [A, 2]}, for each alpha by itself.
    """
    labels, count = list(scores), len(next(iter(scores.values())))
    slopes = [statistics.slopes(array, np.asarray(alphas, np.float64)) for array in scores.values()]
    reached = slopes[0] is not None
    # one table with the columns slope (where there is one) and scores of each run: all are of the same draws
    columns = zip(slopes, scores.values(), strict=True)
    table = [array if slope is None else np.column_stack([slope, array]) for slope, array in columns]
    width = table[0].shape[1]
    means = [array.mean(axis=0) for array in table]
    drawn = statistics.bootstrap_means(np.hstack(table), SEED, SAMPLES).reshape(SAMPLES, len(labels), width)
    pairs = []
    for i, j in itertools.combinations(range(len(labels)), 2):
        difference, resampled = means[i] - means[j], drawn[:, i] - drawn[:, j]
        band, p = statistics.interval(resampled).T.tolist(), statistics.two_sided_p(resampled, count)
        change = {"difference": float(difference[0]), "ci95": band[0], "p": float(p[0])} if reached else None
        score = {"difference": difference[-len(alphas) :].tolist(), "ci95": band[-len(alphas) :]}
        pairs.append({"first": labels[i], "second": labels[j], "achieved": change, "score": score})
    if not reached:
        return None, pairs
    for pair, p in zip(pairs, statistics.holm([pair["achieved"]["p"] for pair in pairs]), strict=True):
        pair["achieved"]["p_holm"] = p
    bands = statistics.interval(drawn[:, :, 0]).T.tolist()
    achieved = {label: {"mean": float(m[0]), "ci95": b} for label, m, b in zip(labels, means, bands, strict=True)}
    return achieved, pairs


def _draw_strips(
    path: str | os.PathLike, runs: Mapping[str, Run], latents: Sequence[Latent], scores: Mapping[str, np.ndarray]
) -> None:
    """Strips of all runs for latents at even ranks of the first run's change, the most changed first."""
    first, alphas = next(iter(scores)), next(iter(runs.values())).facts["alphas"]
    ranked = figures.most_changed(scores[first], alphas)
    groups = []
    for rank in figures.even_ranks(len(latents), STRIPS):
        latent = latents[ranked[rank]]
        title = f"{latent[0]}: rank {rank + 1} of {len(latents)} by the change that {first} achieves"
        groups.append((title, {label: run.strip_of(latent) for label, run in runs.items()}))
    figures.draw_groups(path, groups)


def table(summary: Mapping[str, Any]) -> list[list[str]]:
    """A comparison's runs in a few numbers: the row `HEAD`, then a row for each; "-" for what was not measured.

    Identity (cosine of features with those of the original), class kept and drift are the means of what was found at
    alpha = -.3 and .3.
    """
    rows = [HEAD]
    for label, found in summary["runs"].items():
        quality = found.get("quality") or {}
        achieved = (summary["achieved"] or {}).get(label, {})
        rows.append(
            [
                label,
                _number(achieved.get("mean")),
                _interval(achieved.get("ci95")),
                _number(found.get("achieved_limit")),
                _number(found.get("monotone_share")),
                _number(_at_step(quality.get("identity"), "similarity")),
                _number(_at_step(quality.get("class_kept"), "share")),
                _number(_at_step(quality.get("drift"), "distance")),
                _number((quality.get("held_out") or {}).get("achieved")),
            ]
        )
    return rows


def differences_table(summary: Mapping[str, Any]) -> list[list[str]]:
    """A comparison's paired tests: the row `DIFFERENCES`, then a row for each pair of runs."""
    rows = [DIFFERENCES]
    for pair in summary["differences"]:
        found = pair["achieved"] or {}
        p = [_number(found.get(name), 4) for name in ("p", "p_holm")]
        change = [_number(found.get("difference")), _interval(found.get("ci95"))]
        rows.append([pair["first"], pair["second"], *change, *p])
    return rows


def _at_step(found: Mapping[str, Any] | None, name: str) -> float | None:
    """Mean of what a part of the quality says of alpha = -.3 and .3."""
    if not found:
        return None
    values = found[name]["mean"] if isinstance(found[name], Mapping) else found[name]
    alphas, row = np.asarray(found["alphas"], np.float64), np.asarray(values, np.float64)[None]
    low, high = (statistics.at(alpha, alphas, row) for alpha in (-statistics.STEP, statistics.STEP))
    return None if low is None or high is None else float(low[0] + high[0]) / 2


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(ends: Sequence[float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
