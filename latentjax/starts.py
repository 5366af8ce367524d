"""Every start of a run, in run.json: when, from which step to which, how it ended; and what share of it counted."""

import pathlib
import time
from typing import Any, NamedTuple

from latentjax.files import read_json

KEPT = 1000  # starts that are listed one by one
NUMBERS = ("began", "ended", "from_step", "step", "seconds", "time")
launched: float | None = None  # when this process began, where a command says so; for its first start


class Goodput(NamedTuple):
    """What all starts of a run came to."""

    starts: int
    seconds: float  # of all starts
    useful: float  # of them, spent on steps that no later start had to do again

    @property
    def share(self) -> float:
        """In [0, 1]."""
        return self.useful / self.seconds if self.seconds else 0.0


def known(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The starts before this one; one that was killed ended, as far as is known, at its last heartbeat."""
    listed = read(folder / "run.json").get("starts")
    starts = [start for start in listed if _sound(start, "began")] if isinstance(listed, list) else []
    if starts and "ended" not in starts[-1]:
        last, heartbeat = {"ended": starts[-1]["began"]}, read(folder / "heartbeat.json")
        if _sound(heartbeat, "time", "step", "seconds") and heartbeat["time"] >= last["ended"]:
            last["ended"] = heartbeat["time"]
            # that of an evaluation after training counts strips
            trained = ("step", "seconds") if heartbeat.get("doing") == "train" else ()
            last |= {name: heartbeat[name] for name in trained}
        starts[-1] = {**starts[-1], "how": "killed", **last}
    return starts[-KEPT:]


def _sound(record: Any, *needed: str) -> bool:
    """Whether it has the fields needed, and no number of it is damaged."""
    if not isinstance(record, dict) or any(name not in record for name in needed):
        return False
    numbers = [record[name] for name in NUMBERS if name in record]
    return all(type(number) in (int, float) and 0 <= number < 1e18 for number in numbers)


def read(file: pathlib.Path) -> dict[str, Any]:
    """A JSON object; empty where there is none, or a damaged one: it is only for the record."""
    try:
        return read_json(file)
    except (OSError, ValueError):
        return {}


def begun(command: list[str]) -> dict[str, Any]:
    """The record of this start."""
    global launched
    began, launched = launched or time.time(), None
    return {"began": began, "command": command}


def goodput(starts: list[dict[str, Any]]) -> Goodput:
    """Of all starts that trained, the last one until now.

    A start took `seconds` for the steps after `from_step` up to `step`; those after the `from_step` of the next start
    were lost with it, and so was all its time besides: imports, compilation, restoring, saving at the end.
    """
    trained = [start for start in starts if "from_step" in start]
    useful = 0.0
    for i, start in enumerate(trained):
        first, last = start["from_step"], start.get("step", start["from_step"])
        kept = min(last, trained[i + 1]["from_step"]) if i + 1 < len(trained) else last
        if last > first:
            useful += start.get("seconds", 0.0) * max(0, kept - first) / (last - first)
    whole = sum(start.get("ended", time.time()) - start["began"] for start in trained)
    return Goodput(len(trained), whole, min(useful, whole))
