"""A sign of life: every half minute a line in the log, and heartbeat.json for whoever watches from outside."""

import pathlib
import resource
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import jax
from absl import logging

from latentjax import distributed
from latentjax.files import write_json

EVERY = 30.0  # seconds
GIB = 2**30
T = TypeVar("T")


class Heartbeat:
    """Told of each unit of work that is done; every now and then it tells others.

    Args:
        folder: the run folder.
        doing: what is done, for the line.
        unit: of what is counted ("samples").
        size: units of each step.
        first: steps done before.
        total: steps in all.
    """

    def __init__(self, folder: pathlib.Path, doing: str, unit: str, size: int, first: int, total: int):
        self._file, self._doing, self._unit, self._size = folder / "heartbeat.json", doing, unit, size
        self._first, self._total = first, total
        self._began = self._told = time.monotonic()
        self.step = first
        if distributed.is_primary():
            self.note()  # compiling may take minutes

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self._began

    def begin(self, step: int) -> None:
        """Counts from here: the first step has compiled."""
        self._first, self._began = step, time.monotonic()

    def beat(self, step: int) -> None:
        """So many steps are done."""
        self.step = step
        if distributed.is_primary() and time.monotonic() - self._told > EVERY:
            self._told = time.monotonic()
            self.tell()

    def along(self, items: Iterable[T]) -> Iterator[T]:
        """The same items, with a beat after each."""
        for count, item in enumerate(items, self.step + 1):
            yield item
            self.beat(count)

    def tell(self) -> None:
        """Writes heartbeat.json, and the line."""
        record = self.note()
        left, memory = record["eta_seconds"], told(record)
        logging.info(
            "%s: %d of %d, %.4g %s/s, %s to go, %s",
            self._doing, self.step, self._total, record[f"{self._unit}_per_second"], self._unit,
            "?" if left is None else lasting(left), memory,
        )  # fmt: skip

    def close(self) -> None:
        """The work is over; heartbeat.json says where."""
        if distributed.is_primary():
            self.note()

    def note(self) -> dict[str, Any]:
        """Writes heartbeat.json."""
        rate = (self.step - self._first) / max(self.seconds, 1e-9)
        left = (self._total - self.step) / rate if rate else None
        record = {
            "time": time.time(),
            "doing": self._doing,
            "step": self.step,
            "of": self._total,
            f"{self._unit}_per_second": rate * self._size,
            "eta_seconds": left,
            "from_step": self._first,
            "seconds": self.seconds,
            **memory_of(jax.local_devices()),
        }
        write_json(self._file, record)
        return record


def memory_of(devices: list[Any]) -> dict[str, int]:
    """Bytes in use: of the fullest device where devices tell, and of this process."""
    found = {}
    stats = [stats for device in devices if (stats := device.memory_stats())]
    if stats:
        fullest = max(stats, key=lambda each: each.get("bytes_in_use", 0))
        found["device_memory"] = fullest.get("bytes_in_use", 0)
        found["device_memory_peak"] = fullest.get("peak_bytes_in_use", 0)
        found["device_memory_limit"] = fullest.get("bytes_limit", 0)
    pages = pathlib.Path("/proc/self/statm")
    if pages.exists():
        found["host_memory"] = int(pages.read_text().split()[1]) * resource.getpagesize()
    return found


def told(memory: dict[str, Any]) -> str:
    """The memory in words."""
    if "device_memory" in memory:
        return f"device memory {memory['device_memory'] / GIB:.2f} of {memory['device_memory_limit'] / GIB:.1f} GiB"
    return f"memory {memory.get('host_memory', 0) / GIB:.2f} GiB"


def lasting(seconds: float) -> str:
    """A length of time as people say it: "42 s", "3 min 20 s", "2 h 5 min", "4 d 3 h"."""
    seconds = round(seconds)
    for unit, size, smaller, part in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds} s"
