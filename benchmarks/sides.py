"""Ours beside PyTorch, fairly: each side in a process of its own, every repeat runs all sides in turn.

A side sets up, runs once to warm up and then waits; while one runs the others are blocked, so that no pool of threads
disturbs another. CPU seconds are the process's own, all its threads together.
"""

import contextlib
import dataclasses
import importlib
import multiprocessing
import os
import resource
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

from latentjax.errors import InputError


@dataclasses.dataclass
class Task:
    """What a side does in its process.

    Args:
        run: does the work n times and waits for the device.
        facts: what is told of it once, as JSON takes it.
        tidy: called after each run, not timed.
        device_peak: the most bytes of the accelerator that were in use; 0 without one.
    """

    run: Callable[[int], None]
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    tidy: Callable[[], None] = lambda: None
    device_peak: Callable[[], int] = lambda: 0


class Side(NamedTuple):
    """A name, and how its process makes its task."""

    name: str
    make: str  # "module:function" -> Task; by name, for no process imports the other side's libraries
    arguments: dict[str, Any]

    def task(self) -> Task:
        """Makes it, here."""
        module, function = self.make.split(":")
        return getattr(importlib.import_module(module), function)(**self.arguments)


class Timing(NamedTuple):
    """Of one run, a step."""

    cpu: float  # seconds, all threads
    wall: float  # seconds


class Measured(NamedTuple):
    """A side's runs in order, and what it told of itself."""

    timings: list[Timing]
    facts: dict[str, Any]

    def series(self, kind: str) -> list[float]:
        """All repeats' "cpu" or "wall" seconds."""
        return [getattr(timing, kind) for timing in self.timings]


class Spread(NamedTuple):
    """A median and the range around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.low:.3g}, {self.high:.3g}]"


def ratio(one: Measured, other: Measured, kind: str) -> Spread:
    """one / other, repeat by repeat: what slows the machine down slows both."""
    return Spread.of([a / b for a, b in zip(one.series(kind), other.series(kind), strict=True)])


def cpu_seconds() -> float:
    """Of this process, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def serve(pipe: Any, side: Side, cpus: Sequence[int]) -> None:
    """A side's process: sets up, tells its facts, then runs n steps for each number n that it is sent."""
    os.sched_setaffinity(0, cpus)  # before any library counts the cores
    os.environ.update(OMP_NUM_THREADS=str(len(cpus)))
    try:
        started = time.perf_counter()
        task = side.task()
        made = time.perf_counter()
        task.run(1)
        task.tidy()
        seconds = {"setup_seconds": made - started, "first_seconds": time.perf_counter() - made}
        pipe.send(seconds | task.facts)
        while steps := pipe.recv():
            cpu, wall = cpu_seconds(), time.perf_counter()
            task.run(steps)
            timing = Timing((cpu_seconds() - cpu) / steps, (time.perf_counter() - wall) / steps)
            task.tidy()
            peaks = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, task.device_peak()
            pipe.send((timing, peaks))
    except InputError as error:
        pipe.send((error.where, error.what, error.todo))
    except Exception as error:
        traceback.print_exc()
        detail = f"stopped ({type(error).__name__}: {str(error).strip().splitlines()[0][:160] if str(error) else ''})"
        pipe.send((f"side {side.name}", detail, "see above; a smaller --batch needs less memory"))


class Worker:
    """A side's process, seen from outside.

    Raises:
        InputError: from every method, where the side stopped.
    """

    def __init__(self, side: Side, cpus: Sequence[int]):
        context = multiprocessing.get_context("spawn")
        self._side = side
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=serve, args=(end, side, cpus), daemon=True)
        self._process.start()
        end.close()
        self.facts: dict[str, Any] = {}

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            what = "was ended, most likely for lack of memory"
            raise InputError(f"side {self._side.name}", what, "try a smaller --batch, or fewer --sides") from None
        if isinstance(answer, tuple) and len(answer) == 3:
            raise InputError(*answer)
        return answer

    def ready(self) -> dict[str, Any]:
        """Waits for the set-up; the side's facts."""
        self.facts = self._answer()
        return self.facts

    def run(self, steps: int) -> Timing:
        """One timed run of so many steps."""
        self._pipe.send(steps)
        timing, (self.facts["peak_rss"], self.facts["peak_device_memory"]) = self._answer()
        return timing

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(OSError):
            self._pipe.send(0)
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()


@contextlib.contextmanager
def working(side: Side, cpus: Sequence[int]) -> Iterator[Worker]:
    """A worker that is ended with the block."""
    worker = Worker(side, cpus)
    try:
        yield worker
    finally:
        worker.close()


def alone(make: str, cpus: Sequence[int], **arguments: Any) -> dict[str, Any]:
    """The facts of one task, run once in a process of its own.

    Raises:
        InputError: it stopped.
    """
    with working(Side(make, make, arguments), cpus) as worker:
        return worker.ready()


def interleaved(sides: Sequence[Side], cpus: Sequence[int], repeats: int, steps: int) -> dict[str, Measured]:
    """Runs every side once in each repeat; the side that begins moves on by one each time.

    Args:
        sides: at least one.
        cpus: the cores that every side may use.
        repeats: how often each runs.
        steps: of a run, timed together.

    Raises:
        InputError: a side stopped.
    """
    with contextlib.ExitStack() as stack:
        workers: dict[str, Worker] = {}
        with tqdm(sides, desc="set up", unit="side") as bar:
            for side in bar:
                bar.set_postfix_str(side.name)
                workers[side.name] = stack.enter_context(working(side, cpus))
                workers[side.name].ready()  # one after the other: compilers would slow each other down
        timings: dict[str, list[Timing]] = {name: [] for name in workers}
        with tqdm(total=repeats * len(sides), desc="measure", unit="run") as bar:
            for repeat in range(repeats):
                names = list(workers)
                for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
                    bar.set_postfix_str(name)
                    timings[name].append(workers[name].run(steps))
                    bar.update()
        return {name: Measured(timings[name], worker.facts) for name, worker in workers.items()}
