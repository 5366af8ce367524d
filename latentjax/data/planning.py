"""What a set of pictures will hold: every picture looked at, split, classes balanced; nothing is written."""

import collections
import hashlib
import pathlib
from typing import NamedTuple

from absl import logging
from tqdm import tqdm

from latentjax.config import ConfigDict
from latentjax.data import images, labels
from latentjax.data.examples import KINDS, Example
from latentjax.data.manifest import Row
from latentjax.errors import InputError
from latentjax.files import sha256_of
from latentjax.overlap import in_threads

SPLITS = ("train", "validation")


class Plan(NamedTuple):
    """A set of pictures to be written.

    Attributes:
        task: "classes" or "regression".
        names: of the classes, in label order.
        splits: the pictures of each split, in the order of a hash of their keys.
        weights: of the classes in the loss, 1 on average over the training pictures.
        rows: of all pictures with labels, also those that are left out.
        left_out: (file, why).
    """

    task: str
    names: tuple[str, ...]
    splits: dict[str, list[Example]]
    weights: tuple[float, ...]
    rows: list[Row]
    left_out: list[tuple[str, str]]


def plan(data: ConfigDict) -> Plan:
    """Looks at every picture with a label that the config names.

    Raises:
        InputError: for the first bad picture, saying how many others are bad; or a split or class would be empty.
    """
    task, names, found, left_out = KINDS[data.kind](data)
    digests, bad = look_at(found)
    if bad and not data.skip_bad:
        first = next(iter(bad.values()))
        more = f" (and {len(bad) - 1} more bad picture{'s' if len(bad) > 2 else ''})" if len(bad) > 1 else ""
        raise InputError(first.where, first.what + more, first.todo)
    splits: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for example in sorted(found, key=lambda example: labels.fraction(example.key, "order")):
        if example.key not in bad:
            splits[labels.split_of(example.key, data.validation)].append(example)
    surplus = []
    if names and data.balance == "subsample":
        for split, examples in splits.items():
            splits[split], dropped = balanced(examples)
            surplus += [(example.key, "surplus of its class") for example in dropped]
    refuse_empty(splits, names, data)
    taken = {example.key: split for split, examples in splits.items() for example in examples}
    rows = [row_of(example, taken.get(example.key, ""), digests.get(example.key, "")) for example in found]
    left_out = [*left_out, *((key, f"bad: {error.what}") for key, error in bad.items()), *surplus]
    weights = class_weights(splits["train"], len(names), data.balance)
    return Plan(task, names, splits, weights, rows, left_out)


def look_at(found: list[Example]) -> tuple[dict[str, str], dict[str, InputError]]:
    """The sha256 of each good picture's file, and what is wrong with each bad one, by key."""
    digests: dict[str, str] = {}
    bad: dict[str, InputError] = {}
    with images.large_ones_welcome():
        checked = in_threads(_digest, zip(found), images.AHEAD)
        for example, result in zip(found, tqdm(checked, total=len(found), unit=" pictures", desc="check"), strict=True):
            if isinstance(result, InputError):
                bad[example.key] = result
            else:
                digests[example.key] = result
    return digests, bad


def _digest(example: Example) -> str | InputError:
    try:
        images.read(example.open(), example.where)
        return sha256(example)
    except InputError as error:
        return error


def sha256(example: Example) -> str:
    """Of the picture's file."""
    file = example.open()
    return sha256_of(file) if isinstance(file, pathlib.Path) else hashlib.sha256(file.read()).hexdigest()


def row_of(example: Example, split: str = "", digest: str = "") -> Row:
    """What the manifest tells of a picture."""
    if isinstance(example.picture, pathlib.Path):
        stat = example.picture.stat()
        size, modified = stat.st_size, stat.st_mtime_ns
    else:
        size, modified = example.picture.bytes, example.picture.modified
    return Row(example.key, split, str(example.label), example.group, size, modified, digest)


def balanced(examples: list[Example]) -> tuple[list[Example], list[Example]]:
    """As many of each class as of the smallest that has any: the first ones, and the others."""
    counts = collections.Counter(example.label for example in examples)
    least, seen = min(counts.values(), default=0), collections.Counter()
    kept, dropped = [], []
    for example in examples:
        seen[example.label] += 1
        (kept if seen[example.label] <= least else dropped).append(example)
    return kept, dropped


def refuse_empty(splits: dict[str, list[Example]], names: tuple[str, ...], data: ConfigDict) -> None:
    """Refuses splits that nothing can be learned or measured from.

    Raises:
        InputError: there is no training picture (of a class), or no validation picture where a share was asked for.
    """
    held = {split: {example.label for example in examples} for split, examples in splits.items()}
    for label, name in enumerate(names):
        if label not in held["train"]:
            what = f"gives no training picture of the class {name}"
            raise InputError("config.data.images", what, "give more pictures of it")
        if label not in held["validation"] and held["validation"]:
            logging.warning("the validation split has no picture of the class %s", name)
    total = sum(map(len, splits.values()))
    for split, wanted in (("train", True), ("validation", data.validation > 0)):
        if wanted and not splits[split]:
            what = f"is {data.validation:g}, which leaves no picture of {total} for the {split} split"
            raise InputError("config.data.validation", what, "give more pictures, or another share")


def class_weights(train: list[Example], classes: int, balance: str) -> tuple[float, ...]:
    """One for each class, with the same sum over the training pictures of each class where balance is "weights"."""
    if balance != "weights":
        return (1.0,) * classes
    counts = collections.Counter(example.label for example in train)
    return tuple(len(train) / (classes * counts[label]) for label in range(classes))
