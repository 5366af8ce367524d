"""Seconds from starting the demo's training to its first step: with an empty cache, and again.

    python -m benchmarks.start --json=start.json

The cache holds compiled programs and the converted weights; it and the run folders are temporary. The demo's evaluation
of the untrained map, which comes before the first step, is left out.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

from tqdm import tqdm

from benchmarks import command
from benchmarks.compiled import ROOT
from benchmarks.sides import Spread
from latentjax import command_line
from latentjax.errors import InputError
from latentjax.files import write_json

STARTS = 6  # the first with an empty cache


def seconds_to_first_step(folder: pathlib.Path, workdir: str) -> float:
    """Until the first step's loss is in metrics.jsonl; the run is ended then.

    Raises:
        InputError: the training stopped before.
    """
    changes = ["--config.evaluate.before_train=False", "--config.train.log_every=1"]
    flags = ["--config=configs/demo.py", f"--workdir={folder / workdir}", *changes]
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "launch.py", *flags],
        cwd=ROOT,
        env=os.environ | {"LATENTJAX_CACHE": str(folder / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        metrics = folder / workdir / "metrics.jsonl"
        while not (metrics.exists() and metrics.stat().st_size):
            if process.poll() is not None:
                raise InputError("launch.py", "stopped before its first step", f"run it with {' '.join(flags)}")
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        process.kill()
    return seconds


def main(words: list[str]) -> None:
    """Measures and tells.

    Raises:
        InputError: a flag is wrong, or the training does not start.
    """
    parser = command_line.Parser("python -m benchmarks.start", description=__doc__)
    parser.add_argument("--json", type=pathlib.Path, help="a file for the numbers")
    chosen = parser.parse_args(words)
    command.check_numbers_and_json(chosen)
    with tempfile.TemporaryDirectory() as folder:
        first, *others = (
            seconds_to_first_step(pathlib.Path(folder), str(n)) for n in tqdm(range(STARTS), unit=" starts")
        )
    print(f"seconds to the first step: {first:.1f} with an empty cache, then {Spread.of(others)}")
    if chosen.json:
        machine = {"machine": command.machine(len(os.sched_getaffinity(0))), "versions": command.versions()}
        write_json(chosen.json, {**machine, "first_seconds": first, "second_seconds": others})


if __name__ == "__main__":
    sys.exit(command_line.run(main))
