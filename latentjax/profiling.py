"""Traces of a few steps by jax.profiler, on request."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
from absl import logging

from latentjax.errors import first_line

WARM_UP = 10  # steps: the first ones compile, allocate and fill queues


class Trace:
    """Traces steps `first + WARM_UP + 1` and on into profile/, for TensorBoard or Perfetto.

    Args:
        folder: the run folder.
        first: the step gone on from.
        count: how many steps are traced; 0: none.
    """

    def __init__(self, folder: pathlib.Path, first: int, count: int):
        self._folder, self._begin, self._end = folder / "profile", first + WARM_UP + 1, first + WARM_UP + count
        self._running, self._due = False, count > 0

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        if self._due:
            logging.warning("no step was traced: this start ended before step %d", self._begin)

    def _stop(self) -> None:
        if self._running:
            self._running = False
            with self._told():
                jax.profiler.stop_trace()
                logging.info("the trace is in %s: tensorboard --logdir %s", self._folder, self._folder)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """A trace that cannot be written is no reason to end a run."""
        try:
            yield
        except (RuntimeError, OSError) as error:
            logging.warning("%s: no trace is written (%s)", self._folder, first_line(error))
            self._end = 0

    def step(self, number: int) -> Any:
        """A context for one step: a name in the trace, or nothing."""
        if self._begin <= number <= self._end and not self._running:
            self._due = False
            with self._told():
                jax.profiler.start_trace(str(self._folder))
                self._running = True
        if number > self._end:
            self._stop()
        return jax.profiler.StepTraceAnnotation("train", step_num=number) if self._running else contextlib.nullcontext()
