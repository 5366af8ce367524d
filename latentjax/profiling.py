"""Traces of a few steps by jax.profiler, on request."""

import contextlib
import pathlib
from typing import Any

import jax
from absl import logging

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
        self._running = False

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *_: object) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
            logging.info("the trace is in %s: tensorboard --logdir %s", self._folder, self._folder)

    def step(self, number: int) -> Any:
        """A context for one step: a name in the trace, or nothing."""
        if self._begin <= number <= self._end and not self._running:
            jax.profiler.start_trace(str(self._folder))
            self._running = True
        if number > self._end:
            self.__exit__()
        return jax.profiler.StepTraceAnnotation("train", step_num=number) if self._running else contextlib.nullcontext()
