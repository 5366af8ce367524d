"""python -m tests.fuzz_latents: damaged files of latents are read rightly or refused, and nothing else happens.

Valid files are damaged in many ways, 50,000 times in their bytes and 1,000 times in what their JSON says, and read
from a file as evaluation reads them. What must hold:

    refused   one line below 2000 characters, of a file that a plain reading of the rules finds bad too
    read      what the plain reading gives: names, truncations and all bits of z and y
    all       no other exception, a second of the processor, a gibibyte of memory

The plain reading takes no side where float32 sums round and beyond 200 levels of brackets: such a file may be refused.
With LATENTJAX_REFERENCE set, the published latents are damaged too. A failure is written aside and told with what makes
it again.
"""

import argparse
import collections
import hashlib
import itertools
import json
import math
import os
import pathlib
import re
import resource
import signal
import string
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from latentjax import latents
from latentjax.errors import InputError
from tests.damaged_latents import BOM, FORMS, MIB, Mutant, mutant, originals
from tests.fuzz_converters import TooSlowError

SECONDS, BYTES = 1.0, 2**30  # of the processor and of memory, for one file
SURE_DEPTH = 200  # Python reads some 1000, fewer where the caller is deep itself
FLOAT32 = np.finfo(np.float32)
OUTCOMES = ("refused", "read", "failed")


class Point(NamedTuple):
    """A latent, as comparable as can be."""

    name: str
    z: bytes
    y: bytes
    truncation: float | None
    source: dict[str, str]


class Failure(NamedTuple):
    """A file that was not treated as it must be."""

    index: int
    form: str
    what: str
    path: str


# ---- the plain reading


def plain(data: bytes, latent_dim: int, num_classes: int) -> tuple[list[Point], bool]:
    """The latents of a file called "mutant.json", and whether they must be taken.

    Raises:
        ValueError: they must be refused.
    """
    check(len(data) <= MIB, "size")
    text = data.removeprefix(BOM).decode()
    try:
        content = json.loads(text, parse_constant=no_constant, parse_int=whole, object_pairs_hook=once)
    except RecursionError:
        raise ValueError("depth") from None
    entries = content if type(content) is list else [content]
    check(len(entries) > 0, "empty")
    source = {"file": "mutant.json", "sha256": hashlib.sha256(data).hexdigest()}
    sure = levels(text) <= SURE_DEPTH
    points = []
    for i, entry in enumerate(entries):
        check(type(entry) is dict, "entry")
        z = vector(entry.get("latent"), latent_dim)
        square = float(np.sum(z.astype(np.float64) ** 2))
        check(float(FLOAT32.tiny) * 0.999 < square < float(FLOAT32.max) * 1.001, "norm")
        sure = sure and float(FLOAT32.tiny) * 1.001 < square < float(FLOAT32.max) * 0.999
        y = weights(entry.get("classes"), num_classes)
        truncation = number(entry["truncation"])[0] if "truncation" in entry else None
        check(truncation is None or 0 < truncation <= 1, "truncation")
        name = entry.get("name", "mutant" if type(content) is dict else f"mutant-{i:05d}")
        check(type(name) is str and name != "", "name")
        name = "".join(char if char.isprintable() else "_" for char in name)
        points.append(Point(name, z.tobytes(), y.tobytes(), truncation, source))
    check(len({file_name(point.name) for point in points}) == len(points), "names")
    return points, sure


def check(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def no_constant(text: str) -> float:
    raise ValueError(text)


def whole(digits: str) -> int | float:
    """An integer; as a float where int() would take for ever."""
    return int(digits) if len(digits) < 4000 else float(digits)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    check(len({key for key, _ in pairs}) == len(pairs), "doubled key")
    return dict(pairs)


def levels(text: str) -> int:
    """How many brackets are open at once."""
    signs = re.findall(r"[\[\]{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text))
    return max(itertools.accumulate(1 if sign in "[{" else -1 for sign in signs), default=0)


def number(value: Any) -> tuple[float, np.float32]:
    """As float64 and as float32, both finite."""
    check(type(value) in (int, float) and abs(value) < 1e300, "number")
    with np.errstate(over="ignore", under="ignore"):
        single = np.float32(float(value))
    check(math.isfinite(single), "float32")
    return float(value), single


def vector(numbers: Any, length: int) -> np.ndarray:
    check(type(numbers) is list and len(numbers) == length, "latent")
    return np.array([number(x)[1] for x in numbers], np.float32)


def weights(pairs: Any, count: int) -> np.ndarray:
    check(type(pairs) is list and (len(pairs) > 0) == (count > 0), "classes")
    y = np.zeros(count, np.float32)
    seen = []
    for pair in pairs:
        check(type(pair) is list and len(pair) == 2 and type(pair[0]) is int and 0 <= pair[0] < count, "pair")
        check(pair[0] not in seen, "class twice")
        seen.append(pair[0])
        y[pair[0]] = number(pair[1])[1]
    return y


def file_name(name: str) -> str:
    allowed = string.ascii_letters + string.digits + "._-"
    safe = "".join(char if char in allowed else "_" for char in name[:120])
    return "_" + safe[1:] if safe.startswith(".") else safe


# ---- the reader against it


def found(path: pathlib.Path, latent_dim: int, num_classes: int) -> list[Point]:
    """What the reader gives, within the time that it has."""
    before = signal.signal(signal.SIGPROF, too_slow)
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        points = latents.read(path, latent_dim, num_classes)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    for point in points:
        assert (point.z.dtype, point.y.dtype) == (np.float32, np.float32), "not float32"
        assert (point.z.shape, point.y.shape) == ((latent_dim,), (num_classes,)), "another shape"
    return [Point(each.name, each.z.tobytes(), each.y.tobytes(), each.truncation, each.source) for each in points]


def too_slow(*_: Any) -> None:
    """Ends what takes too long."""
    raise TooSlowError(f"takes more than {SECONDS:g} seconds of the processor")


def outcome(changed: Mutant, path: pathlib.Path) -> str:
    """What reading gives: "refused" or "read".

    Raises:
        AssertionError: what must not happen, and is no exception by itself.
    """
    sizes = changed.original.latent_dim, changed.original.num_classes
    try:
        expected, sure = plain(changed.data, *sizes)
    except ValueError:
        expected, sure = None, True
    try:
        points = found(path, *sizes)
    except InputError as error:
        line = str(error)
        assert line.isprintable(), "the message is not one printable line"
        assert len(line) < 2000, "the message is long"
        assert expected is None or not sure, f"a good file is refused: {line}"
        return "refused"
    assert expected is not None, "a bad file is read"
    assert points == expected, "other latents than a plain reading gives"
    return "read"


def fuzz(
    seed: int, numbers: Iterator[tuple[str, int]], aside: pathlib.Path
) -> tuple[collections.Counter, list[Failure]]:
    """Outcomes by form, and failures, whose files are kept in `aside`.

    Args:
        seed: of all mutants.
        numbers: (form, index) of each mutant; when they end, so does the fuzzing.
        aside: an existing folder.
    """
    failures: list[Failure] = []
    outcomes: collections.Counter = collections.Counter()
    valid = originals()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "mutant.json"
        for form, index in numbers:
            changed = mutant(valid, seed, form, index)
            path.write_bytes(changed.data)
            try:
                outcomes[form, outcome(changed, path)] += 1
            except (Exception, TooSlowError) as error:
                kept = aside / f"{changed.original.name}-{form}-{seed}-{index}"
                kept.write_bytes(changed.data)
                outcomes[form, "failed"] += 1
                failures.append(Failure(index, form, f"{type(error).__name__}: {error}", str(kept)))
    return outcomes, failures


def numbered(first: int, counts: dict[str, int], minutes: float) -> Iterator[tuple[str, int]]:
    """(form, index) of so many mutants of each form, or of fewer when the time is over."""
    end = time.monotonic() + 60 * minutes
    for form in FORMS:
        for index in range(first, first + counts[form]):
            if time.monotonic() > end:
                return
            yield form, index


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.fuzz_latents", description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=50_000, help="damaged in their bytes (default 50000)")
    parser.add_argument("--structured", type=int, default=1_000, help="damaged in what they say (default 1000)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="no longer than this (default: to the end)")
    parser.add_argument("--seed", type=int, help="of the mutants (default: another one each time)")
    parser.add_argument("--first", type=int, default=0, help="index of the first mutant of each form (default 0)")
    return parser.parse_args()


def main() -> int:
    """Returns 0, or 1 if something went wrong."""
    args = arguments()
    seed = int.from_bytes(os.urandom(4)) if args.seed is None else args.seed
    if os.path.exists("/proc/self/statm"):
        used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    aside = pathlib.Path(tempfile.mkdtemp(prefix="fuzz_latents_"))
    counts = {"structured": args.structured, "bytes": args.mutants}
    begin = time.monotonic()
    outcomes, failures = fuzz(seed, numbered(args.first, counts, args.minutes), aside)
    seconds = time.monotonic() - begin
    for failure in failures:
        flags = {"bytes": "--mutants=1 --structured=0", "structured": "--mutants=0 --structured=1"}[failure.form]
        print(f"{failure.path}: {failure.what}; again: {flags} --seed={seed} --first={failure.index}")
    if not failures:
        aside.rmdir()
    forms = [
        f"{form} " + ", ".join(f"{outcomes[form, which]:,} {which}" for which in OUTCOMES) for form in reversed(FORMS)
    ]
    total = outcomes.total()
    print(f"{total:,} mutants of seed {seed}, {total / seconds:.0f} a second: {'; '.join(forms)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
