"""What the benchmark commands share: flags, the machine, the table and the JSON."""

import importlib.metadata
import os
import pathlib
import re
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from benchmarks.sides import Measured, Spread, ratio
from latentjax import command_line
from latentjax.errors import InputError
from latentjax.files import write_json

GIB = 2**30


def parser(name: str, description: str, sides: Sequence[str]) -> command_line.Parser:
    """A command line with the flags that every benchmark takes."""
    cores = len(os.sched_getaffinity(0))
    p = command_line.Parser(f"python -m benchmarks.{name}", description=description)
    p.add_argument("--repeats", type=int, default=5, help="runs of every side (default 5)")
    p.add_argument("--steps", type=int, help="of a run, timed together (default 1 on a CPU, 10 on a GPU)")
    p.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    p.add_argument("--threads", type=int, default=cores, help=f"cores for every side (default {cores}, all)")
    p.add_argument("--sides", default=",".join(sides), help=f"some of {','.join(sides)} (default: all)")
    p.add_argument("--models", type=pathlib.Path, help="a folder that keeps the random weights (default: none does)")
    p.add_argument("--json", type=pathlib.Path, help="a file for the numbers")
    return p


def parsed(p: command_line.Parser, words: list[str]) -> Namespace:
    """The flags, checked; `sides` becomes a list, `cpus` the cores to use.

    Raises:
        InputError: naming the flag.
    """
    known = p.get_default("sides").split(",")
    chosen = p.parse_args(words)
    chosen.sides = chosen.sides.split(",")
    for side in chosen.sides:
        if side not in known:
            raise InputError("--sides", f"{side!r} is unknown", f"use some of {','.join(known)}")
    if chosen.steps is None:
        chosen.steps = 10 if chosen.device == "gpu" else 1
    check_numbers_and_json(chosen)
    cores = sorted(os.sched_getaffinity(0))
    if chosen.threads > len(cores):
        raise InputError("--threads", f"is {chosen.threads}", f"there are {len(cores)} cores to use")
    if chosen.models and chosen.models.exists() and not chosen.models.is_dir():
        raise InputError("--models", f"{chosen.models} is a file", "name a folder")
    chosen.cpus = cores[: chosen.threads]
    return chosen


def check_numbers_and_json(chosen: Namespace) -> None:
    """Refuses a number below 1, and a file for the JSON that has no folder or is one.

    Raises:
        InputError: naming the flag.
    """
    for flag, value in vars(chosen).items():
        if isinstance(value, int) and not isinstance(value, bool) and value < 1:
            raise InputError(f"--{flag.replace('_', '-')}", f"is {value}", "give 1 or more")
    if chosen.json and not chosen.json.absolute().parent.is_dir():
        raise InputError("--json", f"{chosen.json} has no folder", "make it first")
    if chosen.json and chosen.json.is_dir():
        raise InputError("--json", f"{chosen.json} is a folder", "name a file")


def machine(threads: int, gpu: str | None = None) -> dict[str, Any]:
    """Processor, cores, memory and GPU."""
    text = pathlib.Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    found = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = {"cores": os.cpu_count(), "threads": threads}
    return {"cpu": found[1] if found else "unknown", **cores, "memory_gib": round(memory / GIB, 1), "gpu": gpu}


def versions() -> dict[str, str]:
    """Of what is compared."""
    return {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "torch")}


def result(
    measured: dict[str, Measured], compared: dict[str, tuple[str, str]], threads: int, **settings: Any
) -> dict[str, Any]:
    """What goes into the JSON: settings, machine, ratios, and every side's facts and raw times.

    Args:
        measured: by side.
        compared: name of a ratio to its two sides, numerator first; left out where a side was.
        threads: that each side could use.
        settings: what was measured.
    """
    gpus = [each.facts["device"] for each in measured.values() if each.facts.get("device")]
    found: dict[str, Any] = {
        **settings,
        "machine": machine(threads, gpus[0] if gpus else None),
        "versions": versions(),
        "peak_rss": {name: each.facts["peak_rss"] for name, each in measured.items()},
    }
    for name, (one, other) in compared.items():
        if one in measured and other in measured:
            for kind in ("cpu", "wall"):
                spread = ratio(measured[one], measured[other], kind)
                found[f"{kind}_ratio_{name}"] = spread.median
                found[f"{kind}_ratio_{name}_range"] = [spread.low, spread.high]
    found["sides"] = {
        name: {**each.facts, "cpu_seconds": each.series("cpu"), "wall_seconds": each.series("wall")}
        for name, each in measured.items()
    }
    return found


def where(found: dict[str, Any]) -> str:
    """The machine and the versions of a JSON, on one line."""
    on = found["machine"]
    gpu = f"; {on['gpu']}" if on["gpu"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return f"{on['cpu']}, {on['threads']} of {on['cores']} cores, {on['memory_gib']} GiB{gpu}; {versions}"


def table(found: dict[str, Any], compared: dict[str, tuple[str, str]]) -> str:
    """`result` for the eye: what on, a line a side, a line a ratio."""
    ratios = {name: f"{one} / {other}" for name, (one, other) in compared.items() if f"cpu_ratio_{name}" in found}
    width = 2 + max(map(len, [*found["sides"], *ratios.values()]))
    lines = [
        where(found),
        "medians [min, max]",
        f"{'':{width}}{'CPU seconds':26}{'wall seconds':26}{'set-up s':>9}{'peak GiB':>10}",
    ]
    for name, side in found["sides"].items():
        times = [f"{Spread.of(side[f'{kind}_seconds'])!s:26}" for kind in ("cpu", "wall")]
        setup = side["setup_seconds"] + side["first_seconds"]
        lines.append(f"{name:{width}}{''.join(times)}{setup:9.1f}{side['peak_rss'] / GIB:10.2f}")
    for name, label in ratios.items():
        spreads = [
            Spread(found[f"{kind}_ratio_{name}"], *found[f"{kind}_ratio_{name}_range"]) for kind in ("cpu", "wall")
        ]
        lines.append(f"{label:{width}}{''.join(f'{spread!s:26}' for spread in spreads)}")
    return "\n".join(lines)


def told(found: dict[str, Any], compared: dict[str, tuple[str, str]], title: str, file: pathlib.Path | None) -> None:
    """Prints the table under its title and writes the JSON where it is asked for."""
    print(f"{title}\n{table(found, compared)}", flush=True)
    if file:
        write_json(file, found)
