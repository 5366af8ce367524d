"""python -m tests.fuzz_converters --minutes 5: damaged files are read rightly or refused, and nothing else happens.

Valid files of each format are damaged in many ways and read as a conversion reads them. What must hold:

    zip           the tensors of the valid file, or an InputError: its checksums notice the rest
    resealed      zip files whose members were damaged before they got their checksums, so that the code behind these is
                  reached; legacy, safetensors: formats without checksums. Any tensors, or an InputError
    all           no other exception, two seconds of the processor, a gigabyte of memory

A flipped bit inside the numbers of a format without checksums cannot be noticed; there only the structure counts.
A failure is written aside with its seed and index, which make it again: --seed SEED --first INDEX --count 1.
"""

import argparse
import collections
import contextlib
import functools
import json
import os
import pathlib
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import converters
from converters import torch_file
from latentjax import weights
from latentjax.errors import InputError
from tests.damaged_files import OF_FORM, Mutant, mutant
from tests.valid_files import Tensors, originals

SECONDS, BYTES = 2.0, 10**9  # of the processor and of memory, for one file
OPTIONS = dict.fromkeys(converters.kinds.SETTINGS) | {"num_classes": 3}


class Failure(NamedTuple):
    """A file that was not treated as it must be."""

    index: int
    form: str
    what: str
    path: str


class TooSlowError(BaseException):
    """Reading takes longer than it may; no `except Exception` holds it."""


def tensors_of(path: pathlib.Path) -> Tensors:
    """The tensors of a file, after all that a conversion does with it before it writes."""
    file = torch_file.read(path)
    tensors = torch_file.state_dict(file)
    collections.deque(torch_file.modules(file), maxlen=0)
    state, prefix = torch_file.without_prefix(tensors, converters.kinds.recognised)
    with contextlib.suppress(InputError):
        converters.network_in(file, state, prefix, None, OPTIONS)
    return tensors


def same(ours: Tensors, theirs: Tensors) -> bool:
    """Whether names, dtypes, shapes and all bits are equal; reads every byte of both."""
    looks = [
        [(name, array.dtype, array.shape, array.tobytes()) for name, array in sorted(tensors.items())]
        for tensors in (ours, theirs)
    ]
    return looks[0] == looks[1]


def outcome(changed: Mutant, path: pathlib.Path) -> str:
    """What reading gives: "refused", "same" or "other" tensors.

    Raises:
        AssertionError: what must not happen, and is no exception by itself.
    """
    try:
        equal = same(tensors_of(path), changed.original.tensors)
    except InputError as error:
        line = str(error)
    else:
        assert equal or changed.form != "zip", "other tensors in spite of the checksums"
        return "same" if equal else "other"
    assert "does not fit into memory" not in line, line
    assert "\n" not in line, "the message has several lines"
    assert len(line) < 2000, "the message is long"
    return "refused"


def too_slow(*_: Any) -> None:
    """Ends what takes too long."""
    raise TooSlowError(f"takes more than {SECONDS:g} seconds of the processor")


def fuzz(
    seed: int, first: int, indices: Iterator[int], aside: pathlib.Path
) -> tuple[collections.Counter, list[Failure]]:
    """Outcomes by format, and failures, whose files are kept in `aside`.

    Args:
        seed: of all mutants.
        first: added to each index.
        indices: when it ends, so does the fuzzing.
        aside: an existing folder.
    """
    failures: list[Failure] = []
    outcomes: collections.Counter = collections.Counter()
    shapes_of = weights.shapes_of
    cached = functools.lru_cache(1000)(lambda kind, config: shapes_of(kind, json.loads(config)))
    before = signal.signal(signal.SIGPROF, too_slow)
    # which takes longer than all else, and sees nothing of the file but these sizes
    weights.shapes_of = lambda kind, config: cached(kind, json.dumps(config))
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "mutant"
            valid = originals(pathlib.Path(folder), tensors_of)
            for index in indices:
                changed = mutant(valid, seed, first + index)
                path.write_bytes(changed.data)
                try:
                    signal.setitimer(signal.ITIMER_PROF, SECONDS)
                    found = outcome(changed, path)
                    signal.setitimer(signal.ITIMER_PROF, 0)
                    outcomes[changed.form, found] += 1
                except (Exception, TooSlowError) as error:
                    signal.setitimer(signal.ITIMER_PROF, 0)
                    kept = aside / f"{changed.original.name}-{changed.form}-{seed}-{first + index}"
                    kept.write_bytes(changed.data)
                    outcomes[changed.form, "failed"] += 1
                    failures.append(Failure(first + index, changed.form, f"{type(error).__name__}: {error}", str(kept)))
    finally:
        weights.shapes_of = shapes_of
        signal.signal(signal.SIGPROF, before)
    return outcomes, failures


def until(seconds: float, count: int | None) -> Iterator[int]:
    """0, 1, 2 and so on, until the time is over or so many are given."""
    end = time.monotonic() + seconds
    index = 0
    while time.monotonic() < end and index != count:
        yield index
        index += 1


def main() -> int:
    """Returns 0, or 1 if something went wrong."""
    parser = argparse.ArgumentParser("python -m tests.fuzz_converters", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default 1)")
    parser.add_argument("--count", type=int, help="no more mutants than this")
    parser.add_argument("--seed", type=int, help="of the mutants (default: another one each time)")
    parser.add_argument("--first", type=int, default=0, help="index of the first mutant (default 0)")
    args = parser.parse_args()
    seed = int.from_bytes(os.urandom(4)) if args.seed is None else args.seed
    if os.path.exists("/proc/self/statm"):
        used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    aside = pathlib.Path(tempfile.mkdtemp(prefix="fuzz_converters_"))
    begin = time.monotonic()
    outcomes, failures = fuzz(seed, args.first, until(60 * args.minutes, args.count), aside)
    seconds = time.monotonic() - begin
    for failure in failures:
        print(f"{failure.path}: {failure.what} ({failure.form}, seed {seed}, index {failure.index})")
    if not failures:
        aside.rmdir()
    forms = [
        f"{form} " + ", ".join(f"{outcomes[form, found]:,} {found}" for found in ("refused", "same", "other", "failed"))
        for form in OF_FORM
    ]
    total = outcomes.total()
    print(f"{total:,} mutants of seed {seed}, {total / seconds:.0f} a second: {'; '.join(forms)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
