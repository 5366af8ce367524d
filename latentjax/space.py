"""Room on the disk: what a job will write, told before it begins, and whether there is room at all."""

import pathlib
import shutil
from collections.abc import Callable, Iterable
from typing import NamedTuple

from absl import logging

from latentjax.errors import InputError

# bytes a pixel of three channels, about: of pictures with much detail
BYTES_A_PIXEL = {"png": 2.0, "array_record": 2.0, "jpeg": 0.5}
SURELY = 0.25  # of an estimate for pictures: plain ones take less


def of_pictures(count: int, side: int, kind: str) -> int:
    """Bytes that so many square pictures take, about."""
    return int(count * side * side * BYTES_A_PIXEL[kind])


class Need(NamedTuple):
    """What is to be written, see `check`."""

    folder: pathlib.Path
    what: str
    needed: int
    surely: int = 0


Ahead = Callable[[int], list[Need]]  # what a job writes from a step on


def check_together(needs: Iterable[Need]) -> None:
    """`check` of the sum of what goes to one disk, for each disk.

    Raises:
        InputError: there is less than is surely needed.
    """
    disks: dict[int, list[Need]] = {}
    for need in needs:
        if need.needed:
            disks.setdefault(need.folder.stat().st_dev, []).append(need)
    for found in disks.values():
        what = ", ".join(need.what for need in found)
        check(found[0].folder, what, sum(need.needed for need in found), sum(need.surely for need in found))


def check(folder: pathlib.Path, what: str, needed: int, surely: int | None = None) -> None:
    """Tells how much room is needed and how much there is.

    Args:
        folder: where it is written; it is there.
        what: for the line.
        needed: bytes, about.
        surely: bytes without which it is of no use to begin; by default the share `SURELY` of `needed`.

    Raises:
        InputError: there is less.
    """
    free = shutil.disk_usage(folder).free
    told = f"{what} need about {size(needed)}, and {size(free)} are free"
    if free < (SURELY * needed if surely is None else surely):
        raise InputError(folder, told, "free space, or name a folder on another disk")
    (logging.warning if free < needed else logging.info)("%s: %s", folder, told)


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.3g} {unit}"
