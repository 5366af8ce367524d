"""The report on a trained assessor: how well it does, whether it is usable as a target, and what it gets wrong."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from latentjax.files import write_json
from latentjax.report import assessor_figures, classification, confusion, pages
from latentjax.report.drawing import short
from latentjax.usability import HIGH, LOW, Gradients, Usability, saturated, verdict

COLUMNS = {
    "classes": ("accuracy", "precision", "recall", "f1", "auc", "ece", "nll"),
    "regression": ("mae", "rmse", "r2", "pearson", "spearman"),
}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SEVERAL = 5  # classes at most that get a histogram each


class Curves(NamedTuple):
    """How training went: (step, value) in the order of the steps."""

    loss: Sequence[tuple[int, float]]  # of training
    validation: Sequence[tuple[int, float]]  # F1, or r2 of a regression: `classification.selection`
    best: int | None  # the step of the weights that are reported on


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """What the report tells of an assessor.

    Attributes:
        title: heading of the page; any characters, as are class names.
        output: "softmax", "sigmoid" (one logit for two classes) or "regression".
        names: of the classes, in the order of their labels; of a regression none.
        logits: [N, n] of the validation pictures; of a regression [N, 1], the predicted numbers.
        targets: [N], their labels 0 to n - 1, or the true numbers.
        scored_class: whose probability is the score; None: class 1 of two, and no one's of more.
        examples: index among the validation pictures -> uint8 [h, w, 3], for the indices that `shown` asks for;
            what is not there is not drawn.
        curves: None: not drawn.
        usability: what was found out about it as a target; None: the page says nothing of it.
        trivial: {"name", then any of the measures} of predictors that learned nothing worth knowing, such as the
            mean colour; they stand in the assessor's table, so that an easy task is seen to be one.
    """

    title: str
    output: str
    names: Sequence[str]
    logits: np.ndarray
    targets: np.ndarray
    scored_class: int | None = None
    examples: Mapping[int, np.ndarray] = dataclasses.field(default_factory=dict)
    curves: Curves | None = None
    usability: Usability | None = None
    trivial: Sequence[Mapping[str, Any]] = ()

    @property
    def task(self) -> str:
        """Either "classes" or "regression"."""
        return "regression" if self.output == "regression" else "classes"

    @property
    def scored(self) -> int | None:
        """`scored_class` with its default; None too for a regression."""
        return 1 if self.scored_class is None and len(self.names) == 2 else self.scored_class

    @functools.cached_property
    def metrics(self) -> dict[str, Any]:
        """See `classification.measure`."""
        return classification.measure(self.output, self.logits, self.targets, self.names)

    @functools.cached_property
    def temperature(self) -> float | None:
        """The one that fits the validation pictures best; None for a regression."""
        if self.task == "regression":
            return None
        return classification.temperature(self.logits, self.targets, self.output)

    @functools.cached_property
    def tempered(self) -> dict[str, Any] | None:
        """The metrics of logits / temperature; None for a regression."""
        if self.temperature is None:
            return None
        return classification.measure(self.output, self.logits / self.temperature, self.targets, self.names)


def shown(output: str, logits: np.ndarray, targets: np.ndarray) -> list[int]:
    """Which validation pictures the report shows, to be given as `Facts.examples`; none of more than 10 classes.

    Of classes up to six of each cell of the confusion matrix, the most confident ones; of a regression the six with
    the largest errors.
    """
    if output == "regression":
        return confusion.largest_errors(np.ravel(logits), np.asarray(targets))
    cells = confusion.examples_of(classification.probabilities(output, logits), np.asarray(targets).astype(int))
    return sorted(index for found in cells.values() for index in found)


def write(folder: pathlib.Path, facts: Facts) -> None:
    """Writes index.html, report.json and the pictures they belong with; each file is whole or not there.

    learning.png and scores.png; of classes confusion.png and reliability.png, of a regression scatter.png.

    Raises:
        InputError: no validation pictures, logits that are not finite, or matplotlib or scikit-learn is not installed.
    """
    numbers = numbers_of(facts)
    folder.mkdir(parents=True, exist_ok=True)
    if facts.task == "regression":
        predicted = np.ravel(facts.logits)
        worst = confusion.largest_errors(predicted, facts.targets)
        pictures = {index: facts.examples[index] for index in worst if index in facts.examples}
        confusion.draw_scatter(folder / "scatter.png", predicted, np.asarray(facts.targets), pictures)
    else:
        _draw_classes(folder, facts)
    if facts.curves is not None:
        measure = "validation F1" if facts.task == "classes" else "validation R²"
        assessor_figures.draw_learning(folder / "learning.png", *facts.curves, measure)
    groups, score = score_groups(facts)
    bounded = facts.task == "classes"
    zones = [] if facts.scored is None else [(0.0, LOW), (HIGH, 1.0)]
    assessor_figures.draw_scores(folder / "scores.png", groups, score, bounded=bounded, saturated=zones)
    shown_too = {"columns": COLUMNS[facts.task], "rows": table(facts), "score": score, "low": LOW, "high": HIGH}
    pages.write(folder, "assessor.html", **numbers, **shown_too)
    write_json(folder / "report.json", numbers)


def _draw_classes(folder: pathlib.Path, facts: Facts) -> None:
    """confusion.png and reliability.png."""
    labels = np.asarray(facts.targets).astype(int)
    cells = confusion.examples_of(classification.probabilities(facts.output, facts.logits), labels)
    pictures = {
        cell: [facts.examples[index] for index in found if index in facts.examples] for cell, found in cells.items()
    }
    pictures = {cell: found for cell, found in pictures.items() if found}
    confusion.draw_matrix(folder / "confusion.png", facts.metrics["confusion"], facts.names, pictures)
    curves = {"before": "as trained", "after": f"logits / {facts.temperature:.3g}"}
    bins = {curves[name]: found for name, found in reliability(facts).items()}
    two = len(facts.names) == 2
    probability = f"probability of {short(facts.names[1])}" if two else "probability of the predicted class"
    share = f"share that are {short(facts.names[1])}" if two else "share that is right"
    assessor_figures.draw_reliability(folder / "reliability.png", bins, probability, share)


def reliability(facts: Facts) -> dict[str, classification.Bins]:
    """The bins of the reliability picture before and after the temperature; none of a regression."""
    if facts.temperature is None:
        return {}
    tempered = facts.logits / facts.temperature
    return {
        name: classification.reliability(facts.output, logits, facts.targets)
        for name, logits in (("before", facts.logits), ("after", tempered))
    }


def score_groups(facts: Facts) -> tuple[dict[str, np.ndarray], str]:
    """Scores by group of pictures, for the histogram, and what the score is."""
    targets = np.asarray(facts.targets)
    if facts.task == "regression":
        groups, score = {"labels": targets, "predicted": np.ravel(facts.logits)}, "score"
    else:
        probability, labels = classification.probabilities(facts.output, facts.logits), targets.astype(int)
        if facts.scored is None:
            scores, score = np.take_along_axis(probability, labels[:, None], 1)[:, 0], "probability of the own class"
        else:
            scores, score = probability[:, facts.scored], f"score: probability of {short(facts.names[facts.scored])}"
        groups = {"validation": scores}
        if len(facts.names) <= SEVERAL:
            # the number keeps apart what is shortened to the same
            groups = {f"{label}: {name}": scores[labels == label] for label, name in enumerate(facts.names)}
    if facts.usability is not None and facts.usability.scores is not None:
        groups["generated"] = facts.usability.scores
    return groups, score


def numbers_of(facts: Facts) -> dict[str, Any]:
    """The content of report.json; plain Python numbers."""
    return {
        "title": facts.title,
        "task": facts.task,
        "output": facts.output,
        "names": list(map(str, facts.names)),
        "metrics": facts.metrics,
        "temperature": facts.temperature,
        "metrics_after_temperature": facts.tempered,
        "reliability": {
            name: {"count": bins.count.tolist(), "predicted": _plain(bins.predicted), "observed": _plain(bins.observed)}
            for name, bins in reliability(facts).items()
        },
        "trivial": [dict(row) for row in facts.trivial],
        "curves": None if facts.curves is None else facts.curves._asdict(),
        "usability": None if facts.usability is None else _of_usability(facts, facts.usability),
    }


def _of_usability(facts: Facts, usability: Usability) -> dict[str, Any]:
    scores, found = usability.scores, None
    if scores is not None:
        low, high = saturated(scores) if facts.task == "classes" else (None, None)
        found = {"count": len(scores), "mean": float(scores.mean()), "std": float(scores.std())}
        found |= {"below": low, "above": high, "quantiles": _quantiles(scores)}
    return {
        "verdict": verdict(usability, facts.output, len(facts.names)),
        "generated": found,
        "gradients": None if usability.gradients is None else _of_gradients(usability.gradients),
        "robustness": [change._asdict() for change in usability.robustness],
    }


def _of_gradients(gradients: Gradients) -> dict[str, dict[str, float]]:
    return {name: _quantiles(values) for name, values in gradients._asdict().items()}


def _quantiles(values: np.ndarray) -> dict[str, float]:
    found = np.quantile(values, QUANTILES).tolist()
    return {f"{100 * q:.0f} %": value for q, value in zip(QUANTILES, found, strict=True)}


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def table(facts: Facts) -> list[tuple[str, list[str]]]:
    """Name and cells of each row of the first table: the assessor, after the temperature, and the trivial ones."""
    rows: list[Mapping[str, Any]] = [{"name": "the assessor", **facts.metrics}]
    if facts.temperature is not None and facts.tempered is not None:
        rows.append({"name": f"its logits / {facts.temperature:.3g}", **facts.tempered})
    rows += facts.trivial
    form = "{:.3f}" if facts.task == "classes" else "{:.4g}"
    return [
        (str(row["name"]), ["–" if row.get(name) is None else form.format(row[name]) for name in COLUMNS[facts.task]])
        for row in rows
    ]
