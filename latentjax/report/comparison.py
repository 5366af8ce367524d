"""Several runs on the same latents: one figure of all, strips above one another, and which differ beyond chance."""

import itertools
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from latentjax.errors import InputError
from latentjax.files import write_json
from latentjax.report import curves, figures, statistics
from latentjax.report.strips import finished

SAMPLES = 10_000  # of the tests: with 1,000, no p of 28 pairs could stay below .05 after its correction
SEED = 0
STRIPS = 3  # latents in strips.png
# facts without which numbers cannot be compared
SAME = ("alphas", "generator", "assessor", "score", "properties", "masks")

HEAD = [
    *("run", "achieved", "95 %", "limit", "monotone strips", "likeness at ±0.3", "class kept at ±0.3"),
    *("drift at ±0.3", "held-out achieved"),
]
DIFFERENCES = ["run", "other run", "difference of achieved", "95 %", "p", "p, Holm"]

Latent = tuple[str, str]


class Run(NamedTuple):
    """A finished evaluation.

    Attributes:
        folder: where it is.
        facts: of evaluation.json.
        summary: of summary.json.
        records: of strips.jsonl, in the order of evaluation.json.
    """

    folder: pathlib.Path
    facts: dict[str, Any]
    summary: dict[str, Any]
    records: list[dict[str, Any]]

    @property
    def latents(self) -> list[Latent]:
        """Name and content of each strip's latent."""
        return [(record["name"], record["key"].rpartition(":")[0]) for record in self.records]

    def measured(self) -> dict[str, np.ndarray]:
        """Name -> values [N, A] of the strips."""
        names = list(self.records[0]["measured"])
        return {name: np.array([record["measured"][name] for record in self.records], np.float64) for name in names}

    def by_latent(self, latents: Sequence[Latent]) -> dict[str, np.ndarray]:
        """Name -> means [L, A] over the complete strips of each of these latents, in their order."""
        own = {latent: row for row, latent in enumerate(dict.fromkeys(self.latents))}
        rows = [own[latent] for latent in latents]
        return {name: statistics.by_latent(values, self.latents)[rows] for name, values in self.measured().items()}

    def left_out(self) -> dict[str, int]:
        """Name -> how many strips lack it at some alpha."""
        return {name: len(values) - len(statistics.complete(values)) for name, values in self.measured().items()}

    def strip_of(self, latent: Latent) -> pathlib.Path:
        """Picture of the latent's first strip."""
        return self.folder / "grids" / self.records[self.latents.index(latent)]["file"]


def read(folder: pathlib.Path) -> Run:
    """A finished evaluation.

    Raises:
        InputError: there is none, or it is damaged.
    """
    try:
        facts, records = finished(folder)
        run = Run(folder, facts, json.loads((folder / "summary.json").read_text()), records)
        shapes = {values.shape for values in run.measured().values()}
        if shapes != {(len(run.latents), len(facts["alphas"]))}:
            raise ValueError(f"values of the shapes {shapes}")
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        what = f"is no finished evaluation ({error!r:.200})"
        raise InputError(folder, what, "give a folder under evaluation/") from error
    return run


def write(folder: pathlib.Path, runs: Mapping[str, pathlib.Path], title: str) -> dict[str, Any]:
    """Writes curves.png, relative.png (where alpha = 0 is among the range), strips.png, comparison.json, summary.json.

    Args:
        folder: of the comparison; made where it is missing.
        runs: label -> evaluation folder. Colours follow the order; strips.png shows latents by the first one's change.
        title: above the figures.

    Returns:
        The content of summary.json: alphas and latents; runs: {label: its summary.json}; strips: {label: number};
        left_out: {label: {name: strips that lack it at some alpha, and are left out of it at all}}; achieved:
        {label: {mean, ci95}} or None; differences: those of comparison.json, of the achieved change alone.

    Raises:
        InputError: no runs, one is not finished, or they are not of the same latents, alphas, generator, assessor
            and masks.
    """
    found = {label: read(path) for label, path in runs.items()}
    _refuse_others(found)
    first = next(iter(found.values()))
    latents, alphas = list(dict.fromkeys(first.latents)), first.facts["alphas"]
    values = {label: run.by_latent(latents) for label, run in found.items()}
    scores = {label: named["score"] for label, named in values.items()}
    achieved, pairs = compare(scores, alphas)
    strips = {label: len(run.records) for label, run in found.items()}
    left_out = {label: run.left_out() for label, run in found.items()}
    folder.mkdir(parents=True, exist_ok=True)
    told = {"title": title, "bounded": first.facts.get("bounded", True), "notes": curves.notes(strips, left_out)}
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
        "runs": {label: run.summary for label, run in found.items()},
        "strips": strips,
        "left_out": left_out,
        "achieved": achieved,
        "differences": [{name: pair[name] for name in pair if name != "score"} for pair in pairs],
    }
    write_json(folder / "summary.json", summary)
    return summary


def folders(file: pathlib.Path) -> dict[str, str]:
    """Label -> evaluation folder, relative to its own, of the runs that a comparison.json is of.

    Raises:
        InputError: it is damaged.
    """
    try:
        return dict(json.loads(file.read_text())["runs"])
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise InputError(file, f"is damaged ({error!r:.200})", "compare its runs again") from error


def _refuse_others(runs: Mapping[str, Run]) -> None:
    if not runs:
        raise InputError("comparison", "has no runs", "give at least one evaluation folder")
    first = next(iter(runs.values()))
    for run in runs.values():
        other = [fact for fact in SAME if run.facts.get(fact) != first.facts.get(fact)]
        other += ["latents"] if set(run.latents) != set(first.latents) else []
        if other:
            raise InputError(
                run.folder, f"is of other {' and '.join(other)} than {first.folder}", "evaluate them alike"
            )


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
    changes = scores[first][:, np.argmax(alphas)] - scores[first][:, np.argmin(alphas)]
    ranked = np.argsort(-changes, kind="stable")
    groups = []
    for rank in figures.even_ranks(len(latents), STRIPS):
        latent = latents[ranked[rank]]
        title = f"{latent[0]}: rank {rank + 1} of {len(latents)} by the change that {first} achieves"
        groups.append((title, {label: run.strip_of(latent) for label, run in runs.items()}))
    figures.draw_groups(path, groups)


def table(summary: Mapping[str, Any]) -> list[list[str]]:
    """A comparison's runs in a few numbers: the row `HEAD`, then a row for each; "-" for what was not measured.

    Likeness (cosine similarity of features to those of the original), class kept and drift are the means of what was
    found at alpha = -.3 and .3.
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
