"""python -m tests.campaign --minutes 20: training runs are killed, stopped, starved and damaged, and go on as if not.

Each run of the tiny generator is interrupted several times, in ways that seed and number decide, and gone on with by
the same command until it is finished:

    kill -9             at random moments, most of them after the first save, and at each point of `campaign_points`
    SIGTERM, SIGINT     exit code 75 within seconds, at a saved step; a second signal ends the process at once
    full disk           a small file system that another file fills (skipped where mounting is not permitted)
    short files         no file may grow beyond a random length
    damage              flipped bits and cut files in the newest checkpoint; all files cut in all of them

It must end bit for bit as an uninterrupted run, or say why not in one line, lose nothing saved and leave nothing
behind. A run that goes wrong is kept; --seed SEED --first NUMBER --count 1 does the same to another one, at the same
moments as far as a machine can.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import itertools
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from tqdm import tqdm

from tests import campaign_run, tiny_runs
from tests.campaign_checks import Whole
from tests.campaign_plan import FORMS, Plan, plan
from tests.campaign_points import POINTS
from tests.campaign_run import LAUNCHER, Run


class Wrong(NamedTuple):
    """A run that went wrong."""

    number: int
    what: str
    folder: pathlib.Path


class Tally:
    """What happened in all runs."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.longest = {"SIGTERM": 0.0, "SIGINT": 0.0}
        self.wrong: list[Wrong] = []
        self._lock = threading.Lock()

    def add(self, run: Run, wrong: Wrong | None) -> None:
        """A run that is over."""
        with self._lock:
            self.counts.update(run.counts)
            self.counts["runs"] += 1
            self.longest = {name: max(self.longest[name], run.longest[name]) for name in self.longest}
            self.wrong += [wrong] if wrong else []

    def share(self, part: str, of: str) -> str:
        """A count within another."""
        count = self.counts[part]
        return f"{count} ({100 * count / max(1, self.counts[of]):.0f} %)"

    def points(self) -> str:
        """How often each named point was reached."""
        return "; ".join(f"{name} {self.counts['point ' + name]}" for name in POINTS)

    def __str__(self) -> str:
        c = self.counts
        points = sum(c["point " + name] for name in POINTS)
        signals = ", ".join(f"{c[name]} {name} (longest {self.longest[name]:.1f} s)" for name in self.longest)
        return (
            f"{c['runs']} runs, {c['kills']} kills, {self.share('kills in a save', 'kills')} in a save; "
            f"{c['resumes']} resumes, {self.share('resumes from a step', 'resumes')} from a step after 0; "
            f"{points} named points, {signals}, {c['full disks']} full disks, {c['skipped']} skipped, "
            f"{c['short files']} short files, {c['damaged']} newest and {c['all damaged']} all checkpoints damaged; "
            f"{len(self.wrong)} wrong"
        )


class Campaign:
    """The runs of a seed, beside the uninterrupted ones that they are compared with.

    Args:
        base: an existing folder.
        seed: of the plans.
        launcher: the command of interrupted runs before its arguments.
        planned: (seed, number) -> plan.
    """

    def __init__(
        self,
        base: pathlib.Path,
        seed: int,
        launcher: tuple[str, ...] = LAUNCHER,
        planned: Callable[[int, int], Plan] = plan,
    ):
        self.base, self.seed, self.launcher, self.planned = base, seed, launcher, planned
        self.generator = tiny_runs.save_generator(base / "generator")
        self.tally = Tally()
        self._wholes: dict[int, Whole] = {}
        self._lock = threading.Lock()

    def whole(self, form: int) -> Whole:
        """The uninterrupted run of a form, made when it is first asked for."""
        with self._lock:
            if form not in self._wholes:
                self._wholes[form] = campaign_run.uninterrupted(self.base / f"whole{form}", self.generator, form)
            return self._wholes[form]

    def do(self, number: int, is_over: Callable[[], bool] = lambda: False) -> None:
        """One run; what goes wrong is kept and told of."""
        todo, folder, wrong = self.planned(self.seed, number), self.base / str(number), None
        run = Run(folder, self.generator, todo.form, self.launcher)
        try:
            campaign_run.interrupt(run, todo, self.whole(todo.form), is_over)
            shutil.rmtree(folder)
        except Exception as error:  # a fault of the campaign itself is not to pass as a run that went well
            wrong = Wrong(number, f"start {run.starts}: {type(error).__name__}: {error}", folder)
            tqdm.write(f"{folder}: {wrong.what} (--seed {self.seed} --first {number} --count 1)")
        self.tally.add(run, wrong)

    def run(self, numbers: Iterator[int], seconds: float, jobs: int) -> None:
        """Runs until the numbers or the seconds end, so many at a time."""
        end, lock = time.monotonic() + seconds, threading.Lock()

        def worker() -> None:
            while time.monotonic() < end:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                self.do(number, lambda: time.monotonic() > end)

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            workers = [pool.submit(worker) for _ in range(jobs)]
            self._show(workers, seconds)
        for each in workers:
            each.result()

    def _show(self, workers: list[concurrent.futures.Future], seconds: float) -> None:
        """A bar of the time, until the workers are done."""
        begin = time.monotonic()
        form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        with tqdm(total=round(seconds), desc="campaign", bar_format=form) as bar:
            while concurrent.futures.wait(workers, timeout=1).not_done:
                counts = self.tally.counts
                bar.set_postfix(runs=counts["runs"], kills=counts["kills"], wrong=len(self.tally.wrong), refresh=False)
                bar.update(min(round(time.monotonic() - begin), bar.total) - bar.n)


@contextlib.contextmanager
def quick_starts(base: pathlib.Path) -> Iterator[None]:
    """What is started in here shares compiled programs, and finds no torch, which it would load for tensorboard/."""
    hidden = base / "without_torch"
    hidden.mkdir()
    (hidden / "torch.py").write_text('raise ImportError("torch is left out")\n')
    with tiny_runs.shared_compilations(base / "cache"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(hidden), prepend=os.pathsep)
        yield


def main() -> int:
    """Returns 0, or 1 if a run went wrong."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m tests.campaign", description=__doc__, formatter_class=shape)
    parser.add_argument(
        "--minutes", type=float, default=20.0, help="how long; runs then come to their end (default 20)"
    )
    parser.add_argument("--count", type=int, help="no more runs than this")
    parser.add_argument("--seed", type=int, help="of what is done to the runs (default: another one each time)")
    parser.add_argument("--first", type=int, default=0, help="number of the first run (default 0)")
    parser.add_argument("--jobs", type=int, default=3, help="runs at a time (default 3)")
    args = parser.parse_args()
    seed = int.from_bytes(os.urandom(4)) if args.seed is None else args.seed
    # a shell that started this in the background ignores Ctrl-C, and so would all that is started here
    signal.signal(signal.SIGINT, signal.default_int_handler)
    base = pathlib.Path(tempfile.mkdtemp(prefix="campaign_"))
    numbers = itertools.count(args.first) if args.count is None else range(args.first, args.first + args.count)
    with quick_starts(base):
        campaign = Campaign(base, seed)
        campaign.run(iter(numbers), 60 * args.minutes, args.jobs)
    for part in [
        base / "cache",
        base / "without_torch",
        base / "generator",
        *(base / f"whole{form}" for form in range(len(FORMS))),
    ]:
        shutil.rmtree(part, ignore_errors=True)
    if not campaign.tally.wrong:
        base.rmdir()
    print(f"named points of seed {seed}: {campaign.tally.points()}")
    print(campaign.tally)
    return 1 if campaign.tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
