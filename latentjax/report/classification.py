"""How well an assessor's logits fit the labels: accuracy, F1, AUC, calibration; of a regression, its errors."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, special, stats

from latentjax.errors import InputError
from latentjax.packages import scikit_learn

BINS = 15  # of equal width, for the calibration error
TEMPERATURES = (0.05, 20.0)  # lowest and highest


class Bins(NamedTuple):
    """Predicted probabilities beside what happened, in `BINS` bins."""

    count: np.ndarray  # of pictures in each
    predicted: np.ndarray  # mean probability of each; NaN where it is empty
    observed: np.ndarray  # share of what came true; likewise


def measure(output: str, logits: Any, targets: Any, names: Sequence[str]) -> dict[str, Any]:
    """What is reported of an assessor on labelled pictures, in plain Python numbers.

    Args:
        output: "softmax", "sigmoid" (of one logit) or "regression".
        logits: [N, n]; of a regression the predicted numbers.
        targets: N labels 0 to n - 1 (0 or 1 of a sigmoid), or the true numbers.
        names: of the classes, in the order of their labels; of a regression none.

    Returns:
        Of classes: count; accuracy; precision, recall and f1 of class 1 of two, else the mean over the classes that
        have pictures; auc, of more than two the mean of each against the rest; ece, of the predicted class; nll;
        per_class, a list of {name, count, precision, recall, f1}; confusion[label][predicted].
        Of a regression: count, mae, rmse, r2, pearson, spearman.
        None stands for what the labels or predictions leave undefined: recall, F1 and AUC of a class without
        pictures, precision of one that is never predicted, r2 of labels that are all the same.

    Raises:
        InputError: no pictures, logits that are not finite, or scikit-learn is not installed.
    """
    metrics = scikit_learn("metrics")
    if not len(targets):
        raise InputError("validation", "has no pictures", "give more pictures, or a higher config.data.validation")
    logits = np.asarray(logits, np.float64).reshape(len(targets), -1)
    if not np.isfinite(logits).all():
        todo = "start anew with a lower config.assessor_training.learning_rate"
        raise InputError("assessor", "gives logits that are not finite", todo)
    if output == "regression":
        return _of_regression(metrics, logits[:, 0], np.asarray(targets, np.float64))
    return _of_classes(metrics, class_logits(output, logits), np.asarray(targets).astype(int), names)


def selection(measured: dict[str, Any]) -> float:
    """What the best checkpoint is chosen by, higher is better: F1, or r2 of a regression.

    Where the labels leave these undefined, accuracy and the negative root mean square error.
    """
    if "r2" in measured:
        return -measured["rmse"] if measured["r2"] is None else measured["r2"]
    return measured["accuracy"] if measured["f1"] is None else measured["f1"]


def temperature(logits: Any, targets: Any, output: str) -> float:
    """The T > 0 for which logits / T have the lowest negative log-likelihood, within `TEMPERATURES`.

    Args:
        logits, targets, output: as for `measure`, "softmax" or "sigmoid".
    """
    x, labels = class_logits(output, logits), np.asarray(targets).astype(int)
    # convex in 1 / T, so along log T it falls, then rises
    found = optimize.minimize_scalar(
        lambda log_t: nll(x / np.exp(log_t), labels), bounds=np.log(TEMPERATURES), method="bounded"
    )
    return float(np.exp(found.x))


def class_logits(output: str, logits: Any) -> np.ndarray:
    """Logits [N, n] of the classes, float64: a sigmoid is a softmax of (0, x)."""
    x = np.asarray(logits, np.float64).reshape(len(logits), -1)
    return np.concatenate([np.zeros_like(x), x], 1) if output == "sigmoid" else x


def probabilities(output: str, logits: Any) -> np.ndarray:
    """[N, n], float64, of the classes."""
    return special.softmax(class_logits(output, logits), axis=1)


def nll(x: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood of the labels [N] under logits [N, n]."""
    return -float(np.take_along_axis(special.log_softmax(x, axis=1), labels[:, None], 1).mean())


def reliability(output: str, logits: Any, targets: Any) -> Bins:
    """What the reliability picture shows: class 1 of two, else the predicted class."""
    probability, labels = probabilities(output, logits), np.asarray(targets).astype(int)
    if probability.shape[1] == 2:
        return binned(probability[:, 1], labels == 1)
    return binned(probability.max(1), probability.argmax(1) == labels)


def binned(probability: np.ndarray, came_true: np.ndarray) -> Bins:
    """Probabilities [N] in bins of equal width, each with its upper end."""
    index = np.clip(np.ceil(probability * BINS).astype(int) - 1, 0, BINS - 1)
    count = np.bincount(index, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(index, values, BINS) / count for values in (probability, came_true)]
    return Bins(count, *means)


def calibration_error(bins: Bins) -> float:
    """Mean distance of probability and share over the pictures, as their bins have them."""
    return float(np.nansum(bins.count * abs(bins.predicted - bins.observed)) / bins.count.sum())


def _of_classes(metrics: Any, x: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """`measure` of logits [N, n]."""
    classes, predicted, probability = range(x.shape[1]), x.argmax(1), special.softmax(x, axis=1)
    found = metrics.precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=np.nan)
    rows = [
        {
            "name": str(name),
            "count": int(count),
            "precision": _number(precision),
            "recall": _number(recall),
            "f1": _number(f1) if count else None,
        }
        for name, precision, recall, f1, count in zip(names, *found, strict=True)
    ]
    return {
        "count": len(labels),
        "accuracy": float((predicted == labels).mean()),
        **{name: _summary(rows, name) for name in ("precision", "recall", "f1")},
        "auc": _auc(metrics, x, probability, labels),
        "ece": calibration_error(binned(probability.max(1), predicted == labels)),
        "nll": nll(x, labels),
        "per_class": rows,
        "confusion": metrics.confusion_matrix(labels, predicted, labels=classes).tolist(),
    }


def _summary(rows: list[dict[str, Any]], name: str) -> float | None:
    """Of class 1 of two, else the mean over the classes with pictures, 0 for a class that is never predicted."""
    if len(rows) == 2:
        return rows[1][name]
    return float(np.mean([row[name] or 0.0 for row in rows if row["count"]]))


def _auc(metrics: Any, x: np.ndarray, probability: np.ndarray, labels: np.ndarray) -> float | None:
    """Area under the ROC curve, None where a class is missing."""
    if len(np.unique(labels)) < x.shape[1]:
        return None
    if x.shape[1] == 2:
        return float(metrics.roc_auc_score(labels, x[:, 1] - x[:, 0]))  # which have fewer ties than probabilities
    return float(np.mean([metrics.roc_auc_score(labels == c, probability[:, c]) for c in range(x.shape[1])]))


def _of_regression(metrics: Any, predicted: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """`measure` of numbers [N]."""
    return {
        "count": len(true),
        "mae": float(metrics.mean_absolute_error(true, predicted)),
        "rmse": float(metrics.root_mean_squared_error(true, predicted)),
        "r2": float(metrics.r2_score(true, predicted)) if np.ptp(true) > 0 else None,
        "pearson": _correlation(true, predicted),
        "spearman": _correlation(stats.rankdata(true), stats.rankdata(predicted)),
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """None where one of them is the same throughout."""
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 and np.ptp(b) > 0 else None


def _number(value: float) -> float | None:
    """A plain number; None for NaN."""
    return None if np.isnan(value) else float(value)
