"""python -m tests.soak: a long run with many restarts: memory stays flat, and most of the time goes into steps.

The demo learns for 2,000 steps and is stopped by SIGTERM every 200; the same command goes on. The memory of each
process is looked at twice a second. What one start takes differs by some 10 % from the next, and pictures are drawn in
between; so it is flat where the last quarter of the steps takes at most 5 % more than the first half in the median
start, and where the later half of the starts takes at most 5 % more than the earlier, the first aside, which compiles.
"""

import argparse
import json
import math
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from tqdm import tqdm

from latentjax import starts
from tests import tiny_runs
from tests.process_groups import step_reached

DEMO = ["--config=configs/demo.py", "--config.evaluate.before_train=false", "--config.evaluate.after_train=false"]
MORE = 1.05  # that memory may grow by


class Start(NamedTuple):
    """One process: the steps it began and ended with, its exit code, and (step, MiB) twice a second."""

    first: int
    last: int
    code: int
    seconds: float
    seen: list[tuple[int, float]]

    def memory(self, begin: float, end: float) -> float:
        """The most that it took between two shares of its steps, after the first line of its log; 0: never looked."""
        low, high = (self.first + share * (self.last - self.first) for share in (begin, end))
        return max((used for step, used in self.seen if step > self.first and low <= step <= high), default=0.0)

    @property
    def most(self) -> float:
        """Of the whole start."""
        return max(used for _, used in self.seen)

    @property
    def growth(self) -> float:
        """What it took at the end, as a share of what it took before; nan for a start of a few steps."""
        before, end = self.memory(0, 0.5), self.memory(0.75, 1)
        return end / before if before and end else math.nan


def memory_of(process: subprocess.Popen) -> float | None:
    """MiB; None when it is over."""
    try:
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), None)


def logged(workdir: pathlib.Path) -> int:
    """The last step in metrics.jsonl."""
    file = workdir / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    try:
        return int(json.loads(lines[-1])["step"]) if lines else 0
    except (ValueError, KeyError):
        return 0  # it is being written


def start(arguments: list[str], workdir: pathlib.Path, until: int, bar: tqdm) -> Start:
    """Runs the command, and stops it when step `until` is logged."""
    first, began, seen, asked = step_reached(workdir), time.monotonic(), [], False
    command = [sys.executable, "launch.py", f"--workdir={workdir}", *arguments]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, cwd=tiny_runs.ROOT, stderr=log) as process:
        while process.poll() is None:
            step = logged(workdir)
            if (used := memory_of(process)) is not None:
                seen.append((step, used))
            bar.update(step - bar.n)
            if step >= until and not asked:
                process.send_signal(signal.SIGTERM)
                asked = True
            time.sleep(0.5)
        log.seek(0)
        if process.returncode not in (0, 75):
            sys.stderr.write(log.read().decode(errors="replace"))
    return Start(first, step_reached(workdir), process.returncode, time.monotonic() - began, seen)


def soak(arguments: list[str], workdir: pathlib.Path, steps: int, every: int) -> list[Start]:
    """Starts until the run is finished."""
    found: list[Start] = []
    with tqdm(total=steps, unit=" steps", desc="soak") as bar:
        while not found or found[-1].code == 75:
            until = (step_reached(workdir) // every + 1) * every
            found.append(start(arguments, workdir, until, bar))
    return found


def wrong(found: list[Start], steps: int) -> list[str]:
    """What is not as it must be."""
    said = []
    if found[-1].code != 0 or found[-1].last != steps:
        said.append(f"ended with exit code {found[-1].code} at step {found[-1].last}")
    growth = [each.growth for each in found if not math.isnan(each.growth)]
    if growth and statistics.median(growth) > MORE:
        said.append(f"the median start took {statistics.median(growth):.2f} times as much memory at its end")
    most = [each.most for each in found[1:]]
    half = len(most) // 2
    if half and statistics.median(most[-half:]) > MORE * statistics.median(most[:half]):
        said.append("the later starts took more memory than the earlier")
    return said


def main() -> int:
    """Returns 0, or 1 if memory grew or the run did not finish."""
    parser = argparse.ArgumentParser("python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000, help="in all (default 2000)")
    parser.add_argument("--every", type=int, default=200, help="steps from stop to stop (default 200)")
    parser.add_argument("--workdir", help="an empty folder (default: a temporary one)")
    args, arguments = parser.parse_known_args()
    workdir = pathlib.Path(args.workdir or tempfile.mkdtemp(prefix="soak_"))
    found = soak([*(arguments or DEMO), f"--config.train.num_steps={args.steps}"], workdir, args.steps, args.every)
    for i, each in enumerate(found, 1):
        memory = f"memory {each.memory(0, 0.5):.0f} MiB in the first half, {each.memory(0.75, 1):.0f} at the end"
        print(f"start {i}: steps {each.first} to {each.last}, {each.seconds:.0f} s, {memory}")
    most = [each.most for each in found]
    goodput = starts.goodput(starts.known(workdir))
    for each in (said := wrong(found, args.steps)):
        print(f"wrong: {each}")
    print(
        f"{len(found)} starts, {goodput.seconds:.0f} s, goodput {100 * goodput.share:.1f} %, "
        f"most memory of a start {min(most):.0f} to {max(most):.0f} MiB"
    )
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
