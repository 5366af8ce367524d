"""Batches of pictures, by Grain: the batch of a step is a function of the seed and the step alone."""

import atexit
import hashlib
import os
import weakref
from collections.abc import Generator, Iterator
from typing import Any, Protocol

import numpy as np
from absl import flags

from latentjax.data import images
from latentjax.errors import InputError
from latentjax.packages import imported


class RandomAccess(Protocol):
    """What pictures are read from: dicts with `image` (bytes of a PNG or JPEG), `label` and `key`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> dict[str, Any]: ...


class Reader:
    """Reads some pictures of a source; it can be sent to other processes.

    Args:
        source: see `RandomAccess`.
        size: side in pixels of what is read.
    """

    def __init__(self, source: RandomAccess, size: int):
        self.source, self.size = source, size

    def __call__(self, indices: np.ndarray) -> dict[str, Any]:
        """`image` uint8 [n, size, size, 3], `label` int32 or float32 [n], and `key`, a list."""
        records = [self.source[int(index)] for index in indices]
        labels = [record["label"] for record in records]
        return {
            "image": np.stack([images.decoded(record["image"], self.size) for record in records]),
            "label": np.array(labels, np.float32 if isinstance(labels[0], float) else np.int32),
            "key": [record["key"] for record in records],
        }


class Step:
    """A batch for training, without keys."""

    def __init__(self, reader: Reader):
        self.reader = reader

    def __call__(self, indices: np.ndarray) -> dict[str, Any]:
        batch = self.reader(indices)
        return {name: batch[name] for name in ("image", "label")}


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def batches(
    source: RandomAccess,
    size: int,
    batch: int,
    seed: int,
    start: int = 0,
    process: tuple[int, int] = (0, 1),
    workers: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
    """Endless shuffled batches, from step `start` on.

    Epochs follow each other without a gap: each has every picture once, in an order of its own, and a batch may hold
    the end of one and the beginning of the next.

    Args:
        source: see `RandomAccess`.
        size: pictures are resized to this side, as when a set is prepared.
        batch: pictures a step, over all processes.
        seed: of the order.
        start: the first step; its batch is the one that a run from step 0 has there.
        process: (index p, count P): this process gets the rows p * batch / P to (p + 1) * batch / P.
        workers: processes that decode; 0: threads, which run side by side, because Pillow frees Python's lock.

    Yields:
        `image` uint8 [batch / P, size, size, 3] and `label` int32 or float32 [batch / P].

    Raises:
        InputError: there are no pictures, the batch cannot be shared by the processes, or Grain is missing.
    """
    grain = imported("grain")

    index, count = process
    if not len(source):
        raise InputError("data", "has no pictures in this split", "prepare a set with more")
    if batch % count:
        raise InputError("batch", f"{batch} is not divisible by the {count} processes", f"use a multiple of {count}")
    # Grain adds the epoch to the seed: unhashed, seed 1 would begin with the second epoch of seed 0
    hashed = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4])
    order = grain.MapDataset.range(len(source)).shuffle(seed=hashed).repeat()
    # without a remainder, or the length of batches of one would be too large a number
    rows = order.batch(batch // count, drop_remainder=True)
    steps = rows[start * count + index :: count].map(Step(Reader(source, size)))
    threads = cores() if workers == 0 else 1
    read = steps.to_iter_dataset(_read_options(threads))
    if workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain asks absl's flags, which a notebook does not parse
        read = read.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2))
    return _closing(iter(read))


def _read_options(threads: int) -> Any:
    """Batches are read by this many threads; one more waits."""
    grain = imported("grain")

    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 1)


def _closing(iterator: Any) -> Iterator[dict[str, np.ndarray]]:
    """The same, whose threads and processes end with it, or with Python before its modules are taken apart."""

    def opened() -> Generator[dict[str, np.ndarray], None, None]:
        try:
            yield from iterator
        finally:
            iterator.close()

    generator = opened()
    atexit.register(_close, weakref.ref(generator))
    return generator


def _close(reference: weakref.ref) -> None:
    if (generator := reference()) is not None:
        generator.close()


def in_order(source: RandomAccess, size: int, batch: int) -> Iterator[dict[str, Any]]:
    """All pictures once, in the source's order.

    The last batch is padded by its last picture.

    Yields:
        `image` uint8 [batch, size, size, 3], `label` [batch], `key` (a list), and `rows`, how many are real.

    Raises:
        InputError: Grain is missing.
    """
    grain = imported("grain")

    total, read = len(source), Reader(source, size)

    def padded(step: int) -> dict[str, Any]:
        indices = np.arange(step * batch, (step + 1) * batch)
        return {**read(np.minimum(indices, total - 1)), "rows": min(batch, total - step * batch)}

    steps = grain.MapDataset.range(-(-total // batch)).map(padded)
    return _closing(iter(steps.to_iter_dataset(_read_options(cores()))))
