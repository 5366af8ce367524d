"""Work that overlaps: the device has its next batch before the last one is fetched; threads write what was fetched."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], count: int = 1) -> Iterator[T]:
    """The same items, each given out after the next `count` were begun."""
    begun: list[T] = []
    for item in items:
        begun.append(item)
        if len(begun) > count:
            yield begun.pop(0)
    yield from begun


def in_threads(function: Callable[..., T], calls: Iterable[tuple[Any, ...]], most: int) -> Iterator[T]:
    """function(*call) of each call, computed in threads and given out in the order of the calls.

    Args:
        function: what a thread does.
        calls: its arguments, taken as they are needed.
        most: how many calls may wait, arguments in memory.
    """
    with ThreadPoolExecutor(max(4, os.cpu_count() or 0)) as pool:
        waiting = []
        for call in calls:
            waiting.append(pool.submit(function, *call))
            while waiting and (waiting[0].done() or len(waiting) > most):
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
