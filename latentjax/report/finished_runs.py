"""Finished evaluations as figures and tests read them, and the latents that all runs of a comparison know."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from latentjax.errors import InputError
from latentjax.report import statistics
from latentjax.report.strips import finished

# facts without which numbers cannot be compared
SAME = ("alphas", "generator", "assessor", "score", "properties", "masks")

Latent = tuple[str, str]
Values = dict[str, dict[str, np.ndarray]]  # label -> name -> [L, A]


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

    @property
    def bounded(self) -> bool:
        """Whether scores cannot leave [0, 1]."""
        return self.facts.get("bounded", True)

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


def read_alike(folders: Mapping[str, pathlib.Path]) -> dict[str, Run]:
    """The evaluations of a comparison, by label.

    Raises:
        InputError: there is none, one is not finished, or they are not of the same latents, alphas, generator,
            assessor and masks.
    """
    if not folders:
        raise InputError("comparison", "has no runs", "give at least one evaluation folder")
    runs = {label: read(folder) for label, folder in folders.items()}
    first = next(iter(runs.values()))
    for run in runs.values():
        other = [fact for fact in SAME if run.facts.get(fact) != first.facts.get(fact)]
        other += ["latents"] if set(run.latents) != set(first.latents) else []
        if other:
            raise InputError(
                run.folder, f"is of other {' and '.join(other)} than {first.folder}", "evaluate them alike"
            )
    return runs


def by_common_latents(runs: Mapping[str, Run]) -> tuple[list[Latent], Values]:
    """The latents, in the first run's order, and the means [L, A] over each one's complete strips.

    What a run does not know of a latent (its strips lack the object at some alpha) is NaN in all runs: means over
    latents are of the same pictures in each.

    Args:
        runs: of `read_alike`.
    """
    latents = list(dict.fromkeys(next(iter(runs.values())).latents))
    values = {label: run.by_latent(latents) for label, run in runs.items()}
    for name in dict.fromkeys(name for named in values.values() for name in named):
        arrays = [named[name] for named in values.values() if name in named]
        known = np.logical_and.reduce([np.isfinite(array).all(axis=1) for array in arrays])
        for array in arrays:
            array[~known] = np.nan
    return latents, values


def notes_of(values: Values) -> dict[str, str]:
    """Name -> of how many latents its curves are, where that is not all of them; `values` of `by_common_latents`."""
    arrays = {name: array for named in values.values() for name, array in named.items()}
    counts = {name: (len(statistics.complete(array)), len(array)) for name, array in arrays.items()}
    told = {name: f"n = {count} of {total} latents" for name, (count, total) in counts.items() if count < total}
    return {name: f"{note}, in all runs" if len(values) > 1 else note for name, note in told.items()}
