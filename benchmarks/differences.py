"""Makes every measured number of docs/differences.md.

    python -m benchmarks.differences --json=differences.json          # all parts
    python -m benchmarks.differences noise painted --runs=runs/differences

One line a number. Parts that need the published systems' numbers look for them in $LATENTJAX_REFERENCE.
"""

import importlib.util
import json
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable

from absl import logging

from benchmarks import differences_published as published
from benchmarks import differences_trained as trained
from benchmarks.lab import Lab, Numbers
from configs import demo
from latentjax import command_line
from latentjax.errors import InputError
from latentjax.files import write_json
from latentjax.jobs import workbench

GOLDEN = (
    published.renorm_neighbours,
    published.optimizer,
    published.resize,
    published.padding,
    published.spectral_norm,
)
PARTS: dict[str, Callable[[Lab], Numbers]] = {
    part.__name__: part
    for part in (
        published.renorm_neighbours,
        trained.renorm_trained,
        trained.learning_rate,
        published.optimizer,
        trained.noise,
        trained.eight_bits,
        trained.painted,
        published.resize,
        published.padding,
        trained.angles,
        published.clipped,
        trained.class_reg,
        published.spectral_norm,
    )
}


def lacking(part: Callable[[Lab], Numbers]) -> str:
    """What a part needs and does not find; empty: nothing."""
    if part in GOLDEN and not os.environ.get("LATENTJAX_REFERENCE"):
        return "LATENTJAX_REFERENCE is not set"
    return "torch is not installed" if part is published.spectral_norm and not importlib.util.find_spec("torch") else ""


def parser() -> command_line.Parser:
    """The command line."""
    p = command_line.Parser("python -m benchmarks.differences", description="Measure the rows of docs/differences.md.")
    p.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)} (default: all)")
    p.add_argument("--json", type=pathlib.Path, help="a file for the numbers; parts measured now replace theirs in it")
    p.add_argument("--runs", type=pathlib.Path, help="a folder that keeps the trainings (default: a temporary one)")
    return p


def main(words: list[str]) -> None:
    """Measures the parts asked for.

    Raises:
        InputError: there is no such part, or the painted eyes are not installed.
    """
    chosen = parser().parse_args(words)
    if unknown := [name for name in chosen.parts if name not in PARTS]:
        raise InputError("PART", f"{unknown[0]!r} is unknown", f"use some of {', '.join(PARTS)}")
    workbench.start(demo.get_config())
    record = json.loads(chosen.json.read_text()) if chosen.json and chosen.json.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        lab = Lab(chosen.runs or pathlib.Path(temporary))
        lab.folder.mkdir(parents=True, exist_ok=True)
        names = chosen.parts or list(PARTS)
        for i, name in enumerate(names):
            if reason := lacking(PARTS[name]):
                print(f"{name}: skipped, {reason}", flush=True)
                continue
            logging.info("part %d of %d: %s", i + 1, len(names), name)
            started, values = time.perf_counter(), {}
            for what, value in PARTS[name](lab):
                values[what] = float(value)
                print(f"{name}: {what}: {value:.4g}", flush=True)
            record[name] = {"seconds": round(time.perf_counter() - started, 1), "values": values}
            print(f"{name}: seconds: {record[name]['seconds']:.0f}", flush=True)
            if chosen.json:
                write_json(chosen.json, record)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
