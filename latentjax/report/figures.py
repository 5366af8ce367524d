"""Figures from the files of finished evaluations: curves of several, and strips by the change that was achieved."""

import csv
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from latentjax import pictures
from latentjax.errors import InputError
from latentjax.report import curves, statistics

WIDEST = 2400  # pixels of a strip in a figure of several: eleven tiles whose scores can be read


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
    """One figure of several evaluations of the same latents, whose noise may differ: label -> folder.

    Raises:
        InputError: they are not of the same latents and alphas.
    """
    panels, known, counts = {}, None, []
    for label, folder in runs.items():
        alphas, strips = measures(folder)
        names = sorted({name for name, _ in strips})
        if known not in (None, (alphas, names)):
            raise InputError(folder, "is of other latents or alphas than the first", "evaluate them alike")
        known = (alphas, names)
        counts.append(len(strips))
        ordered = sorted(strips)  # so that the rows of all runs are the same latents
        latents = [name for name, _ in ordered]
        panels[label] = {
            name: statistics.by_latent(np.array([strips[key][name] for key in ordered]), latents)
            for name in next(iter(strips.values()))
        }
    assert known is not None
    strips_of = " or ".join(f"{count}" for count in sorted(set(counts)))
    curves.draw(out, known[0], panels, title=f"{strips_of} strips of {len(known[1])} latents")


def draw_strips(out: os.PathLike | str, folder: pathlib.Path, count: int) -> None:
    """Strips at evenly spaced ranks of the change from the lowest to the highest alpha, the most changed first.

    Raises:
        InputError: no evaluation there.
    """
    _, strips = measures(folder)
    records = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    files = {(record["name"], str(record["noise_seed"])): record["strip"] for record in records}
    ranked = sorted(strips, key=lambda key: strips[key]["score"][0] - strips[key]["score"][-1])
    ranks = even_ranks(len(ranked), count)
    images = [Image.open(folder / "grids" / files[ranked[rank]]) for rank in ranks]
    pictures.save(pictures.overview(images, [f"rank {rank + 1}" for rank in ranks]), out)


def even_ranks(total: int, count: int) -> list[int]:
    """Up to `count` evenly spaced ranks of 0 ... total - 1, from the first to the last."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()


def draw_groups(out: os.PathLike | str, groups: Sequence[tuple[str, Mapping[str, pathlib.Path]]]) -> None:
    """Strips above one another in groups, made smaller where they are wider than `WIDEST`.

    Args:
        out: the PNG to write; it appears only when complete.
        groups: a title, and label -> picture of a strip; all groups have the same labels.

    Raises:
        InputError: a picture is missing or damaged.
    """
    sheets = [
        np.asarray(pictures.overview([_strip(path) for path in strips.values()], list(strips), title=title))
        for title, strips in groups
    ]
    width = max(sheet.shape[1] for sheet in sheets)
    padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in sheets]
    pictures.save(Image.fromarray(np.concatenate(padded)), out)


def _strip(path: pathlib.Path) -> Image.Image:
    """A strip's picture, at most `WIDEST` pixels wide."""
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except OSError as error:
        raise InputError(path, f"is missing or damaged ({error!r:.200})", "run its evaluation again") from error
    if image.width <= WIDEST:
        return image
    return image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
