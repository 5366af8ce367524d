"""python -m tests.campaign_points POINT COUNT SIGNAL SECONDS ARGUMENTS: launch.py, which sends itself a signal.

It does so some seconds after it has come to one of POINTS for the COUNTth time. They are listed in a run's order.
"""

import inspect
import os
import pathlib
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import orbax.checkpoint as ocp
import safetensors.numpy
from orbax.checkpoint._src.path import deleter
from orbax.checkpoint._src.path.atomicity import AtomicRenameTemporaryPath
from orbax.checkpoint._src.serialization import serialization

import launch
from latentjax import command_line
from latentjax.checkpoints import Checkpoints
from latentjax.metrics import Log


class Point(NamedTuple):
    """Where a function is entered, or left."""

    owner: Any
    function: str
    left: bool = False
    is_there: Callable[..., bool] = lambda *_: True  # asked with the function's arguments
    counts: int = 4  # how often a short run comes here at least


def is_step(path: Any) -> bool:
    """Whether a folder of Orbax is a whole step, not an item of one."""
    return path.get_final().name.isdigit()


def of_item(path: Any) -> bool:
    """Whether a folder of Orbax holds the arrays of a step."""
    return path.get_final().name == "default"


def is_record(_: Any, path: Any) -> bool:
    """Whether a small file of the run folder takes its name."""
    return pathlib.Path(path).name in ("config.json", "run.json", "metrics.jsonl")


def is_transformer(_: Any, path: Any) -> bool:
    """Whether the staged transformer takes its name."""
    return pathlib.Path(path).name == "transformer" and not pathlib.Path(path).parent.name.startswith(".")


def half_deleted(self: Any, step: int) -> bool:
    """Takes a part of the step away before the process dies."""
    file = next(path for path in sorted((pathlib.Path(self._directory) / str(step)).rglob("*")) if path.is_file())
    file.unlink()
    return True


POINTS = {
    "record aside": Point(os, "replace", is_there=is_record, counts=3),
    "restoring": Point(ocp.CheckpointManager, "restore", counts=1),
    "reading an array": Point(serialization, "_read_shard", counts=10),
    "before metrics.jsonl": Point(Log, "write"),
    "before Orbax": Point(Checkpoints, "save"),
    "temporary folder": Point(AtomicRenameTemporaryPath, "create", True, is_step),
    "arrays written": Point(AtomicRenameTemporaryPath, "finalize", False, of_item),
    "before commit": Point(AtomicRenameTemporaryPath, "finalize", False, is_step),
    "committed": Point(AtomicRenameTemporaryPath, "finalize", True, is_step),
    "before deletion": Point(deleter.StandardCheckpointDeleter, "delete"),
    "half deleted": Point(deleter.StandardCheckpointDeleter, "delete", False, half_deleted, 1),
    "export staged": Point(safetensors.numpy, "save_file", True, counts=1),
    "export not renamed": Point(os, "rename", False, is_transformer, 1),
    # as before, when an earlier export is there: the old one has gone, the new one is not yet in its place
    "between renames": Point(os, "rename", False, is_transformer, 1),
}


SENT = "sent itself a signal"  # told on stderr


def send(number: int, seconds: float) -> None:
    """Now, or from another thread while the work goes on."""
    print(f"\n{SENT}", file=sys.stderr, flush=True)
    if seconds:
        later = threading.Timer(seconds, os.kill, (os.getpid(), number))
        later.daemon = True  # a process that ends before is not sent anything
        later.start()
    else:
        os.kill(os.getpid(), number)


def arm(point: Point, count: int, number: int, seconds: float) -> None:
    """Puts a signal at a point."""
    original, left = getattr(point.owner, point.function), [count]

    def pass_by(*words: Any) -> None:
        """Counts what comes here."""
        if left[0] and point.is_there(*words):
            left[0] -= 1
            if not left[0]:
                send(number, seconds)

    async def awaited(*words: Any, **named: Any) -> Any:
        if not point.left:
            pass_by(*words)
        result = await original(*words, **named)
        if point.left:
            pass_by(*words)
        return result

    def called(*words: Any, **named: Any) -> Any:
        if not point.left:
            pass_by(*words)
        result = original(*words, **named)
        if point.left:
            pass_by(*words)
        return result

    setattr(point.owner, point.function, awaited if inspect.iscoroutinefunction(original) else called)


def main() -> int:
    """Returns launch.py's exit code where the process lives on."""
    name, count, number, seconds, *arguments = sys.argv[1:]
    arm(POINTS[name], int(count), int(number), float(seconds))
    sys.argv[1:] = arguments
    return launch.main()


if __name__ == "__main__":
    command_line.process(main)
