"""What must hold of a run that was interrupted, told in words where it does not."""

import collections
import hashlib
import json
import pathlib
import re
import threading
from typing import NamedTuple

import numpy as np

from tests import campaign_child, tiny_runs
from tests.campaign_child import Ended

ONE_AT_A_TIME = threading.Lock()  # Orbax reads


class WrongError(Exception):
    """A run went wrong."""


class Whole(NamedTuple):
    """What a run that nobody interrupted has come to."""

    arrays: dict[str, np.ndarray]
    best: int
    weights: bytes
    losses: list[tuple[int, float]]


def best(checkpoints: pathlib.Path) -> int:
    """The saved step with the lowest loss, the newest of equals."""
    losses = {}
    for step in campaign_child.steps(checkpoints):
        losses[step] = json.loads((checkpoints / str(step) / "metrics" / "metrics").read_text())["loss"]
    return min(losses, key=lambda step: (losses[step], -step))


def outcome(workdir: pathlib.Path, last: int) -> Whole:
    """What a finished run has come to.

    Raises:
        WrongError: a part of it is missing, or cannot be read.
    """
    try:
        with ONE_AT_A_TIME:
            arrays = tiny_runs.saved_state(workdir, last)
        losses = [(line["step"], line["loss"]) for line in tiny_runs.metrics(workdir)]
        weights = (workdir / "transformer" / "weights.safetensors").read_bytes()
        return Whole(arrays, best(workdir / "checkpoints"), weights, losses)
    except (OSError, ValueError, KeyError) as error:
        raise WrongError(f"the finished run cannot be read: {error!r:.300}") from error


def check_same(ours: Whole, wanted: Whole) -> None:
    """Bit for bit.

    Raises:
        WrongError: they differ.
    """
    differing = ours.arrays.keys() ^ wanted.arrays.keys()
    for name in ours.arrays.keys() & wanted.arrays.keys():
        one, other = np.asarray(ours.arrays[name]), np.asarray(wanted.arrays[name])
        if (one.dtype, one.shape, one.tobytes()) != (other.dtype, other.shape, other.tobytes()):
            differing.add(name)
    if differing:
        raise WrongError(f"other arrays than without a stop: {', '.join(sorted(differing)[:3])}")
    if ours.weights != wanted.weights:
        raise WrongError("another transformer is exported than without a stop")
    if ours.losses != wanted.losses:
        lines = sorted(set(ours.losses) ^ set(wanted.losses)) or "the order of lines"
        raise WrongError(f"other lines in metrics.jsonl than without a stop: {lines!s:.300}")


def check_clean(workdir: pathlib.Path) -> None:
    """Nothing temporary may stay.

    Raises:
        WrongError: something does.
    """
    hidden = [path for path in workdir.rglob("*") if path.name.startswith(".") or campaign_child.TEMPORARY in path.name]
    # the lock's file stays, and has text while the lock is held
    left = [str(path.relative_to(workdir)) for path in hidden if path.name != ".lock" or path.stat().st_size]
    if left:
        raise WrongError(f"left behind in a finished run: {', '.join(sorted(left)[:3])}")


def check_end(ended: Ended, codes: tuple[int, ...]) -> None:
    """The exit code is one of these; what was told fits it: one line after "error: " with 2, and never a traceback.

    Raises:
        WrongError: it is not so.
    """
    told = [line for line in re.split(r"[\r\n]+", ended.told) if line.strip()]
    tail = " | ".join(told[-3:])[-400:]
    if ended.strays:
        raise WrongError("a process that it started outlived it")
    if ended.code not in codes:
        raise WrongError(f"exit code {ended.code}, not {' or '.join(map(str, codes))}: {tail}")
    if match := re.search(r"Traceback|Exception ignored|Fatal Python error|terminate called", ended.told):
        raise WrongError(f"{match[0]} on stderr, exit code {ended.code}: {ended.told[match.start() :][:1000]!r}")
    errors = [line for line in told if line.startswith("error: ")]
    if ended.code == 2 and not (len(errors) == 1 and told[-1] == errors[0] and errors[0].count(": ") > 1):
        raise WrongError(f"exit code 2 without one clear line at the end: {tail}")
    if ended.code != 2 and errors:
        raise WrongError(f"exit code {ended.code} with {errors[0][:300]}")


def resumed(ended: Ended) -> int | None:
    """The step that a start went on from; None where it ended before that was known."""
    if match := re.search(r"going on from step (\d+) of", ended.told):
        return int(match[1])
    return 0 if ended.code == 0 or "train: " in ended.told else None


def check_resumed(ended: Ended, *saved: int) -> None:
    """A start goes on from the newest saved step, or from one of these.

    Raises:
        WrongError: from another one.
    """
    first = resumed(ended)
    if first is not None and first not in saved:
        raise WrongError(f"goes on from step {first}, and step {saved[0]} was saved")


def check_kept(checkpoints: pathlib.Path, saved: int) -> int:
    """The newest saved step, no older than the one saved before.

    Raises:
        WrongError: it is.
    """
    newest = max(campaign_child.steps(checkpoints), default=0)
    if newest < saved:
        raise WrongError(f"step {saved} was saved, and now the newest is {newest}")
    return newest


def check_stopped(metrics: pathlib.Path, saved: int) -> None:
    """A run that is stopped in training saves the step that it has reached, the last one that it logged.

    Raises:
        WrongError: an older one is the newest.
    """
    reached = max((json.loads(line)["step"] for line in metrics.read_text().splitlines()), default=0)
    if saved < reached:
        raise WrongError(f"stopped at step {reached}, and step {saved} is the newest saved")


def readable(workdir: pathlib.Path, step: int) -> bool:
    """Whether a checkpoint is whole; one that was being deleted is not."""
    try:
        with ONE_AT_A_TIME:
            tiny_runs.saved_state(workdir, step)
    except Exception:  # whatever Orbax throws
        return False
    return (workdir / "checkpoints" / str(step) / "metrics" / "metrics").exists()


def check_warned(ended: Ended, step: int) -> None:
    """A damaged checkpoint is told of in one line.

    Raises:
        WrongError: in none, or in several.
    """
    lines = [line for line in re.split(r"[\r\n]+", ended.told) if re.search(rf"\bcheckpoint {step}\b", line)]
    if len(lines) != 1:
        raise WrongError(f"{len(lines)} lines tell of the damaged checkpoint {step}: {' | '.join(lines)[:300]}")


def contents(folder: pathlib.Path) -> collections.Counter[str]:
    """The checksums of all files below a folder that hold anything."""
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return collections.Counter(hashlib.sha256(data).hexdigest() for data in files if data)


def check_set_aside(checkpoints: pathlib.Path, damaged: collections.Counter[str]) -> None:
    """What was damaged is still there, under whatever name.

    Raises:
        WrongError: a file of it has gone.
    """
    if gone := damaged - contents(checkpoints):
        raise WrongError(f"a damaged checkpoint was deleted: {gone.total()} of its {damaged.total()} files have gone")
