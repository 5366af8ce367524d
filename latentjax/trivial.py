"""Predictors that learn nothing worth knowing: they show how easy a task of two classes is.

A logistic regression each on a few numbers of a picture, or of the latent that it was made from, and the guess that
every picture is of the larger class. What they reach, an assessor needs no insight for.
"""

import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from latentjax import data, packages, pictures
from latentjax.data import images, manifest
from latentjax.data import labels as keys
from latentjax.report import classification

PICTURES = 2000  # of a split, at most
JPEG_QUALITY = 75
MAJORITY = "the larger class"
NEGLIGIBLE = 0.01  # class weights up to this are not counted

Points = Mapping[str, tuple[np.ndarray, np.ndarray]]  # z [Z] and y [K] by the name of the picture


class Sample(NamedTuple):
    """Labelled pictures as numbers.

    Attributes:
        features: what a predictor sees -> [N, F] float64.
        labels: [N], 0 or 1.
    """

    features: dict[str, np.ndarray]
    labels: np.ndarray


class Item(NamedTuple):
    """A picture, its label, and the latent that it was made from where that is known."""

    picture: bytes  # a PNG or JPEG
    label: int
    latent: tuple[np.ndarray, np.ndarray] | None = None  # z, y


def items_of(examples: data.Set, split: str, points: Points | None = None) -> Iterator[Item]:
    """The pictures of a split; of more than `PICTURES` so many, each class in its share and evenly spaced.

    Args:
        examples: a set of two classes.
        split: "train" or "validation".
        points: the latents of pictures by the name of the file without its ending, as far as they are known.

    Raises:
        InputError: the set is damaged.
    """
    source, known = examples.source(split), points or {}
    for index in tqdm(_spaced(examples, split, len(source)), desc=f"{split}: colours and sizes", unit=" pictures"):
        record = source[index]
        name = pathlib.PurePosixPath(record["key"].removeprefix("generated:")).stem
        yield Item(record["image"], int(record["label"]), known.get(name))


def _spaced(examples: data.Set, split: str, count: int) -> list[int]:
    """The places of at most `PICTURES` of the split's records; the first of label 0 and the last of label 1 are in."""
    if count <= PICTURES:
        return list(range(count))
    rows = [row for row in manifest.read(examples.folder).values() if row.split == split]
    rows.sort(key=lambda row: keys.fraction(row.key, "order"))  # as they were written
    by_class = sorted(range(count), key=lambda index: int(rows[index].label))
    return sorted(by_class[place] for place in np.linspace(0, count - 1, PICTURES).astype(int))


def sample(items: Iterable[Item]) -> Sample:
    """The features of some pictures; those of latents only where all have one.

    Args:
        items: at least one.
    """
    rows: list[dict[str, list[float]]] = []
    labels: list[int] = []
    for item in items:
        rows.append(of_picture(item.picture) | (of_latent(*item.latent) if item.latent else {}))
        labels.append(item.label)
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return Sample({name: np.array([row[name] for row in rows]) for name in names}, np.array(labels))


def of_picture(picture: bytes) -> dict[str, list[float]]:
    """Features of a picture's file: colours in 0..1, size in bytes of a JPEG."""
    levels = images.decoded(picture)
    image, pixels = Image.fromarray(levels), levels.astype(np.float64).reshape(-1, 3) / 255
    mean, deviation = pixels.mean(axis=0).tolist(), pixels.std(axis=0).tolist()
    return {
        "mean colour": mean,
        "mean and spread of colour": mean + deviation,
        f"size as a JPEG of quality {JPEG_QUALITY}": [float(len(pictures.encoded(image, "jpg", JPEG_QUALITY)))],
    }


def of_latent(z: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    """Features of a latent z [Z], y [K], whose picture is not looked at.

    The statistics of y are its length, largest weight, entropy, number of weights, sum and negative share.
    """
    size = abs(y.astype(np.float64))
    share = size[size > 0] / (size.sum() or 1.0)
    entropy = -float((share * np.log(share)).sum())
    counted = float((size > NEGLIGIBLE).sum())
    summary = [float(np.linalg.norm(size)), float(size.max()), entropy, counted, float(y.sum()), float((y < 0).mean())]
    return {
        "statistics of y": summary,
        "length of z": [float(np.linalg.norm(z))],
    }


def measure(train: Sample, tests: Mapping[str, Sample]) -> list[dict[str, Any]]:
    """Every predictor, taught on `train` and measured on each of `tests`.

    Returns:
        {"name", and for each test {"count", "accuracy", "f1", "auc"}} of the larger class, then of each feature that
        train and tests have, unless all of `train` is of one class; None where a measure is not defined.

    Raises:
        InputError: scikit-learn is not installed.
    """
    rows = [{"name": MAJORITY, **{name: _majority(train.labels, test.labels) for name, test in tests.items()}}]
    if len(np.unique(train.labels)) < 2:  # nothing to tell apart
        return rows
    for feature, values in train.features.items():
        known = {name: test for name, test in tests.items() if feature in test.features}
        if len(known) < len(tests):
            continue
        found = _logits(values, train.labels, [test.features[feature] for test in known.values()])
        measured = (_measured(logits, test.labels) for logits, test in zip(found, known.values(), strict=True))
        rows.append({"name": feature, **dict(zip(known, measured, strict=True))})
    return rows


def _majority(train: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    return _measured(np.full(len(labels), 1.0 if train.mean() >= 0.5 else -1.0), labels)


def _logits(train: np.ndarray, labels: np.ndarray, tests: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Of a logistic regression, one array for each of the tests."""
    packages.scikit_learn("metrics")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, labels)
    return [model.decision_function(test) for test in tests]


def _measured(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    found = classification.measure("sigmoid", logits, labels, ("0", "1"))
    return {name: found[name] for name in ("count", "accuracy", "f1", "auc")}
