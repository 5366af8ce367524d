"""What a training run logs: metrics.jsonl and tensorboard/."""

import collections
import functools
import json
import pathlib
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from latentjax import distributed
from latentjax.checkpoints import Checkpoints
from latentjax.errors import InputError
from latentjax.files import read_lines, told, write_text
from latentjax.packages import imported


class Metrics(NamedTuple):
    """Of one step of the main job; scalars."""

    loss: jax.Array
    penalty: jax.Array  # the part of the loss that is not equation (2)
    grad_norm: jax.Array
    update_norm: jax.Array
    score: jax.Array
    edited_score: jax.Array


class Log:
    """metrics.jsonl and tensorboard/; fetches metrics in groups, so that steps are not waited for one by one.

    Only the primary process writes.

    Args:
        folder: the run folder.
        checkpoints: what a diverged run can go back to, for the message.
        samples_per_step: of one step.
        first: the step gone on from; what a killed run logged after it is dropped.
        rate: the config's field of the learning rate, for the message.
        begun: what `unwritten` gave when the run was stopped.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        checkpoints: Checkpoints,
        samples_per_step: int,
        first: int,
        rate: str = "train.learning_rate",
        begun: dict[str, Any] | None = None,
    ):
        self._path, self._first, self._rate = folder / "metrics.jsonl", first, rate
        if distributed.is_primary():
            drop_after(self._path, first, "loss")
        self._checkpoints, self._samples = checkpoints, samples_per_step
        begun = begun or {"pending": [], "losses": []}
        self._pending: list[Any] = [_metrics_of(known) for known in begun["pending"]]
        self._losses: list[float] = begun["losses"]
        self._earlier, self._since = len(self._pending), time.perf_counter()

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        if "_board" in vars(self):
            self._board.close()

    @functools.cached_property
    def _board(self) -> "Board":
        """The writer of tensorboard/, at the first write."""
        return Board(self._path.parent / "tensorboard", self._first + 1)

    def add(self, metrics: Any) -> None:
        """Keeps one step's metrics, a named tuple with loss, grad_norm and update_norm, still on the device.

        The step before is done then: a stop would have to wait for all that JAX queues.
        """
        jax.block_until_ready(self._pending[-1:])
        self._pending.append(metrics)

    def write(self, step: int) -> float:
        """Writes the means since the last call and returns the loss.

        Raises:
            InputError: a loss, gradient or update is not finite.
        """
        fetched = jax.device_get(self._pending)
        now = time.perf_counter()
        means = {name: float(np.mean([getattr(m, name) for m in fetched])) for name in fetched[0]._fields}
        # the update too: no state that is saved holds an inf or a NaN
        if not np.isfinite([means[name] for name in ("loss", "grad_norm", "update_norm")]).all():
            kept = self._checkpoints.latest()
            todo = f"start a new --workdir with a lower --config.{self._rate}"
            what = f"diverged before step {step} (loss {means['loss']:.4g})"
            raise InputError("training", what, f"{todo}; step {kept} is kept" if kept else todo)
        means["samples_per_second"] = (len(fetched) - self._earlier) * self._samples / (now - self._since)
        if distributed.is_primary():
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **means}) + "\n")
            self._board.add(step, means)
        self._losses += [float(m.loss) for m in fetched]
        self._pending, self._earlier, self._since = [], 0, now
        return means["loss"]

    def unwritten(self) -> dict[str, Any]:
        """What a run that stops between two lines must go on with, so that its lines are those of one that did not."""
        pending = [{name: float(value) for name, value in m._asdict().items()} for m in jax.device_get(self._pending)]
        return {"pending": pending, "losses": self._losses}

    def go_on(self) -> None:
        """Training goes on after something else, which is not to count as its time; forgets the losses before."""
        self._losses, self._since = [], time.perf_counter()

    def loss_since_save(self) -> float:
        """The mean loss of the steps since the last call, for choosing the best checkpoint."""
        losses, self._losses = self._losses, []
        return float(np.mean(losses))


class Board:
    """TensorBoard's event files. tensorboardX's usual writer has a thread, which meets a full disk on its own.

    Args:
        folder: where.
        first: the step that is written next; what earlier starts wrote of it and later ones is hidden.
    """

    def __init__(self, folder: pathlib.Path, first: int):
        # takes in all of torch, where that is installed
        protos = imported("tensorboardX.proto.event_pb2")
        folder.mkdir(exist_ok=True)
        self._event, self._scalar = protos.Event, imported("tensorboardX.summary").scalar
        self._writer = imported("tensorboardX.event_file_writer").EventsWriter(str(folder / "events"))
        log = protos.SessionLog(status=protos.SessionLog.START)
        self._writer.write_event(self._event(step=first, session_log=log))

    def add(self, step: int, values: dict[str, float]) -> None:
        """Writes numbers of a step."""
        for name, value in values.items():
            event = self._event(wall_time=time.time(), step=step, summary=self._scalar(name, value))
            self._writer.write_event(event)
        self._writer.flush()

    def close(self) -> None:
        """Closes the file; what was written is there."""
        self._writer.close()


def _metrics_of(known: dict[str, float]) -> Any:
    """A step's metrics as they came from the device, from what `Log.unwritten` kept."""
    return collections.namedtuple("Earlier", known)(**{name: np.float32(value) for name, value in known.items()})


def drop_after(file: pathlib.Path, step: int, value: str) -> None:
    """Drops the lines of a log later than `step`, and those that were cut off or damaged: without a number `value`."""
    kept = [line for line in read_lines(file) if (found := step_of(line, value)) is not None and found <= step]
    write_text(file, "".join(json.dumps(line) + "\n" for line in kept))


def step_of(line: dict[str, Any], value: str) -> int | None:
    """The step of a log's line; None: it is damaged, or has no number `value`."""
    step = line.get("step")
    return step if type(step) is int and type(line.get(value)) in (int, float) else None


class Validations:
    """validation.jsonl: what an assessor reached on the validation split, one line a validation.

    Args:
        file: where.
        first: the step gone on from; what a killed run wrote after it is dropped.

    Raises:
        InputError: it cannot be written.
    """

    def __init__(self, file: pathlib.Path, first: int):
        self._file = file
        with told(file):
            if distributed.is_primary():
                drop_after(file, first, "selection")
            distributed.wait_for_all("the validations")
            self._scores: list[float] = [line["selection"] for line in read_lines(file)]

    def add(self, step: int, measured: dict[str, Any], score: float) -> None:
        """Writes what was measured; `score` is what the best is chosen by, higher is better."""
        if distributed.is_primary():
            with open(self._file, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "selection": score, **measured}) + "\n")
        self._scores.append(score)

    def stale(self, patience: int) -> bool:
        """Whether the last `patience` validations brought nothing better than those before; never with 0."""
        since = self._scores[-patience:]
        return 0 < patience < len(self._scores) and max(since) <= max(self._scores[:-patience])
