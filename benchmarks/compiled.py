"""The training step as the TPU's compiler sees it: sizes, batches, slices, precisions and forms; nothing runs.

    python -m benchmarks.compiled                         # every cell that is not known yet; hours on one core
    python -m benchmarks.compiled --only=forms,batch      # some groups

Needs requirements-tpu.txt and no TPU. Each cell is kept in benchmarks/results/compiled.json as soon as it is there, so
that the command goes on where it stopped. A cell is compiled again when its program is another, or the compiler.
"""

import hashlib
import importlib.metadata
import json
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from latentjax import command_line
from latentjax.errors import InputError
from latentjax.files import write_json

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
FILE = RESULTS / "compiled.json"
CENTRE = {"size": 512, "share": 8, "precision": "bfloat16", "topology": "v5e:2x4", "forms": {}}
SLICES = ("v6e:2x4", "v5p:2x2x2", "v4:2x2x2")
SIZES = (512, 256, 128)
# fields of `Forms` that differ from the TPU's
FORMS: dict[str, dict[str, str]] = {
    "plain": {
        "upsample": "broadcast",
        "upsample_conv": "plain",
        "transposed": "dilated",
        "shortcut": "after",
        "few": "plain",
        "resize": "matmul",
    },
    "upsampled before its convolution": {"upsample_conv": "plain"},
    "dilated on all maps": {"transposed": "dilated"},
    "phase-decomposed": {"transposed": "phase", "transposed_gradient": "phase"},
    "four phases": {"transposed": "phases", "transposed_gradient": "phases"},
    "shortcut after the upsampling": {"shortcut": "after", "upsample": "broadcast"},
    "shortcut upsampled by broadcasting": {"upsample": "broadcast"},
    "shortcut upsampled by repeating": {"upsample": "repeat"},
    "depthwise as shifted products": {"depthwise": "shifted"},
    "last convolution plain": {"few": "plain"},
    "resize by matrix products": {"resize": "matmul"},
}
# where it has most scores
WHOLE_ATTENTION = {"size": 256, "forms": {"attention": "whole"}}


def cells() -> Iterator[tuple[str, dict[str, Any]]]:
    """Group and settings of every cell, the most telling first."""
    yield "forms", CENTRE
    for changed in FORMS.values():
        yield "forms", CENTRE | {"forms": changed}
    yield "forms", CENTRE | WHOLE_ATTENTION
    for size in SIZES:
        for share in (8, 1, 4, 16, 2):
            yield "batch", CENTRE | {"size": size, "share": share}
    for topology in SLICES:
        for size in SIZES:
            yield "slices", CENTRE | {"topology": topology, "size": size}
    for size in SIZES:
        yield "float32", CENTRE | {"precision": "float32", "size": size}
    for topology in ("v5e:2x2", "v5e:4x4", "v5e:8x8", "v5e:16x16"):
        yield "devices", CENTRE | {"topology": topology, "size": 128}


def known() -> list[dict[str, Any]]:
    """The cells compiled so far."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []


def find(records: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any] | None:
    """The cell of these settings."""
    return next((record for record in records if record["settings"] == settings), None)


def job(settings: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Config, devices and forms of a cell.

    Raises:
        InputError: the TPU's compiler is not there.
    """
    from configs import creativity
    from latentjax import distributed, forms
    from latentjax.topologies import devices_of

    mesh = distributed.data_mesh(devices_of(settings["topology"])[0])
    config = creativity.get_config(f"biggan{settings['size']}")
    config.precision, config.train.batch_size = settings["precision"], settings["share"] * mesh.size
    return config, mesh, forms.FORMS["tpu"]._replace(**settings["forms"])


def program(settings: dict[str, Any]) -> str:
    """A checksum of what a cell's compiler is given.

    Raises:
        InputError: the TPU's compiler is not there.
    """
    from latentjax import forms
    from latentjax.jobs import plan

    config, mesh, chosen = job(settings)
    with forms.using(chosen):
        text = plan.traced(config, mesh).lower().as_text()
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def compiled(settings: dict[str, Any]) -> dict[str, Any]:
    """Compiles a cell; float32 with little optimisation, else it takes a quarter of an hour, so without its cycles.

    Raises:
        InputError: the TPU's compiler is not there.
    """
    from latentjax import forms
    from latentjax.jobs import plan

    config, mesh, chosen = job(settings)
    quickly, started = settings["precision"] == "float32", time.perf_counter()
    with forms.using(chosen):
        found = plan.compiled(config, mesh, quickly=quickly)
    if found is None:
        return {"fits": False}
    return {
        "fits": True,
        "million_cycles": None if quickly else found.cycles / found.samples / 1e6,
        "gflop": found.flops / found.samples / 1e9,
        "gigabytes": found.bytes / found.samples / 1e9,
        "memory_gib": found.memory / plan.GIB,
        "collectives": {kind: list(counts) for kind, counts in found.collectives.items()},
        "compile_seconds": round(time.perf_counter() - started),
    }


def main(words: list[str]) -> None:
    """Compiles what is missing.

    Raises:
        InputError: a flag is wrong, or the TPU's compiler is not there.
    """
    groups = sorted({group for group, _ in cells()})
    parser = command_line.Parser("python -m benchmarks.compiled", description=__doc__)
    parser.add_argument("--only", default=",".join(groups), help=f"some of {','.join(groups)} (default: all)")
    only = parser.parse_args(words).only.split(",")
    for group in only:
        if group not in groups:
            raise InputError("--only", f"{group!r} is unknown", f"use some of {','.join(groups)}")
    import jax

    jax.config.update("jax_platforms", "cpu")  # the TPU is compiled for, not looked for
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        versions = {name: importlib.metadata.version(name) for name in ("jax", "libtpu")}
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(error.name, "is not installed", "pip install -r requirements-tpu.txt") from None
    wanted: list[dict[str, Any]] = []
    for group, settings in cells():
        if group in only and settings not in wanted:
            wanted.append(settings)
    RESULTS.mkdir(exist_ok=True)
    for settings in (bar := tqdm(wanted, unit=" cells")):
        bar.set_postfix_str(f"{settings['size']} pixels, {settings['share']} a chip, {settings['topology']}")
        old, now = find(known(), settings), versions | {"program": program(settings)}
        if old is None or old["versions"] != now:
            record = {"settings": settings, "versions": now, **compiled(settings)}
            write_json(FILE, [other for other in known() if other["settings"] != settings] + [record])


if __name__ == "__main__":
    sys.exit(command_line.run(main))
