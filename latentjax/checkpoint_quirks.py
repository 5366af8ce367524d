"""Where Orbax does otherwise than a run needs: an unreadable loss, a lost process, what it leaves half done."""

import logging as std_logging
import math
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
from orbax.checkpoint import checkpoint_managers

from latentjax import distributed
from latentjax.errors import first_line


class LowestLoss(checkpoint_managers.PreservationPolicy):
    """Keeps the step with the lowest loss, the newest of equals; unlike Orbax's own it survives an unreadable loss."""

    def __init__(self) -> None:
        self.losses: dict[int, float] = {}

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        best = min(steps, key=lambda step: (self.losses.get(step, math.inf), -step), default=None)
        return [step == best for step in steps]


@contextmanager
def losses_told() -> Iterator[None]:
    """Where another process was lost Orbax tells of a time that is over.

    Raises:
        JaxRuntimeError: in place of that.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        if distributed.several() and re.search("barrier|DEADLINE|Timed out", str(error)):
            raise jax.errors.JaxRuntimeError(first_line(error)) from error
        raise


def quiet_leftovers() -> None:
    """Where one array cannot be read or written Orbax leaves others half done, and Python complains of them later."""
    warnings.filterwarnings("ignore", r"coroutine .* was never awaited", RuntimeWarning)
    before = sys.unraisablehook
    if getattr(before, "quiet", False):
        return

    def hook(unraisable: Any) -> None:
        if not (isinstance(unraisable.exc_value, RuntimeError) and "Event loop is closed" in str(unraisable.exc_value)):
            before(unraisable)

    hook.quiet = True  # pyright: ignore[reportFunctionMemberAccess]
    sys.unraisablehook = hook
    std_logging.getLogger("asyncio").addFilter(lambda record: "never retrieved" not in record.getMessage())
