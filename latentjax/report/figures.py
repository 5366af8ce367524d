"""Figures from the files of finished evaluations: curves of several, and strips by the change that was achieved."""

import csv
import json
import os
import pathlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

from latentjax import pictures
from latentjax.errors import InputError
from latentjax.report import curves, statistics


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
