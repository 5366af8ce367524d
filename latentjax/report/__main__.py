"""Figures from finished evaluations: python -m latentjax.report curves|strips|rebuild.

python -m latentjax.report curves OUT.png "z and y=runs/demo/evaluation/sampled-200" "z only=..."
python -m latentjax.report strips OUT.png runs/demo/evaluation/sampled-200
python -m latentjax.report rebuild runs/demo/evaluation/sampled-200
"""

import csv
import json
import os
import pathlib
import sys
from collections.abc import Mapping

import numpy as np
from PIL import Image

from latentjax import command_line, pictures
from latentjax.errors import InputError
from latentjax.report import curves, evaluation, statistics


def measures(folder: pathlib.Path) -> tuple[list[float], dict[tuple[str, str], dict[str, list[float]]]]:
    """The alphas of an evaluation folder, and name -> values along alpha of each of its strips.

    Raises:
        InputError: no evaluation there, or a damaged one.
    """
    try:
        alphas = json.loads((folder / "summary.json").read_text())["alphas"]
        strips: dict[tuple[str, str], dict[str, list[float]]] = {}
        for row in csv.DictReader((folder / "scores.csv").read_text().splitlines()):
            strip = strips.setdefault((row.pop("name"), row.pop("noise_seed")), {})
            del row["alpha"]
            for name, value in row.items():
                strip.setdefault(name, []).append(float(value))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(folder, f"is no finished evaluation ({error!r})", "give a folder under evaluation/") from error
    return alphas, strips


def draw_curves(out: os.PathLike | str, runs: Mapping[str, pathlib.Path]) -> None:
    """One figure of several evaluations of the same latents: label -> folder.

    Raises:
        InputError: they are not of the same latents, noise and alphas.
    """
    panels, known = {}, None
    for label, folder in runs.items():
        alphas, strips = measures(folder)
        if known not in (None, (alphas, sorted(strips))):
            raise InputError(folder, "is of other latents, noise or alphas than the first", "evaluate them alike")
        known = (alphas, sorted(strips))
        names = next(iter(strips.values()))
        latents = [name for name, _ in strips]
        panels[label] = {
            name: statistics.by_latent(np.array([strip[name] for strip in strips.values()]), latents) for name in names
        }
    assert known is not None
    count = len({name for name, _ in known[1]})
    curves.draw(out, known[0], panels, title=f"{len(known[1])} strips of {count} latents")


def draw_strips(out: os.PathLike | str, folder: pathlib.Path, count: int) -> None:
    """Strips at evenly spaced ranks of the change from the lowest to the highest alpha, the most changed first.

    Raises:
        InputError: no evaluation there.
    """
    _, strips = measures(folder)
    records = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    files = {(record["name"], str(record["noise_seed"])): record["strip"] for record in records}
    ranked = sorted(strips, key=lambda key: strips[key]["score"][0] - strips[key]["score"][-1])
    ranks = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    images = [Image.open(folder / "grids" / files[ranked[rank]]) for rank in ranks]
    pictures.save(pictures.overview(images, [f"rank {rank + 1}" for rank in ranks]), out)


def command(arguments: list[str]) -> None:
    """Parses the command line and draws."""
    parser = command_line.Parser(prog="python -m latentjax.report", description="Figures from finished evaluations.")
    kinds = parser.add_subparsers(dest="figure", required=True)
    lines = kinds.add_parser("curves", help="score and properties along alpha, one line an evaluation")
    lines.add_argument("out", help="the PNG to write")
    lines.add_argument("runs", nargs="+", metavar="LABEL=FOLDER", help="evaluation folders of the same latents")
    rows = kinds.add_parser("strips", help="strips at evenly spaced ranks of the achieved change")
    rows.add_argument("out", help="the PNG to write")
    rows.add_argument("folder", help="an evaluation folder")
    rows.add_argument("--count", type=int, default=5, help="how many strips (default 5)")
    page = kinds.add_parser("rebuild", help="curves, tables and page of an evaluation again, without making images")
    page.add_argument("folder", help="an evaluation folder")
    flags = parser.parse_args(arguments)
    if flags.figure == "rebuild":
        evaluation.rebuild(pathlib.Path(flags.folder))
        print(pathlib.Path(flags.folder) / "index.html")
        return
    if flags.figure == "curves":
        named = (run.rpartition("=") for run in flags.runs)
        draw_curves(flags.out, {label or pathlib.Path(folder).name: pathlib.Path(folder) for label, _, folder in named})
    else:
        draw_strips(flags.out, pathlib.Path(flags.folder), flags.count)
    print(flags.out)


if __name__ == "__main__":
    sys.exit(command_line.run(command))
