"""Figures from the files of finished evaluations: curves of several, and strips by the change that was achieved."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from latentjax import pictures
from latentjax.errors import InputError
from latentjax.report import curves
from latentjax.report.finished_runs import by_common_latents, notes_of, read, read_alike

WIDEST = 2400  # pixels of a strip in a figure of several: eleven tiles whose scores can be read


def draw_curves(out: os.PathLike | str, runs: Mapping[str, pathlib.Path]) -> None:
    """One figure of several evaluations of the same latents, whose noise may differ: label -> folder.

    Raises:
        InputError: one is not finished, or they are not of the same latents, alphas, generator, assessor and masks.
    """
    found = read_alike(runs)
    first, (latents, values) = next(iter(found.values())), by_common_latents(found)
    strips = " or ".join(str(count) for count in sorted({len(run.records) for run in found.values()}))
    title = f"{strips} strips of {len(latents)} latents"
    curves.draw(out, first.facts["alphas"], values, title=title, bounded=first.bounded, notes=notes_of(values))


def draw_strips(out: os.PathLike | str, folder: pathlib.Path, count: int) -> None:
    """Strips at evenly spaced ranks of the change from the lowest to the highest alpha, the most changed first.

    Raises:
        InputError: no finished evaluation there, or a picture is missing or damaged.
    """
    run = read(folder)
    ranked = most_changed(run.measured()["score"], run.facts["alphas"])
    ranks = even_ranks(len(ranked), count)
    images = [_picture(folder / "grids" / run.records[ranked[rank]]["file"]) for rank in ranks]
    pictures.save(pictures.overview(images, [f"rank {rank + 1}" for rank in ranks]), out)


def most_changed(scores: np.ndarray, alphas: Sequence[float]) -> np.ndarray:
    """The rows of scores [N, A] in the order of their change from the lowest to the highest alpha, the largest first.

    Alphas may be in any order.
    """
    changes = scores[:, np.argmax(alphas)] - scores[:, np.argmin(alphas)]
    return np.argsort(-changes, kind="stable")


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
        np.asarray(pictures.overview([_narrowed(path) for path in strips.values()], list(strips), title=title))
        for title, strips in groups
    ]
    width = max(sheet.shape[1] for sheet in sheets)
    padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in sheets]
    pictures.save(Image.fromarray(np.concatenate(padded)), out)


def _picture(path: pathlib.Path) -> Image.Image:
    try:
        with Image.open(path) as file:
            return file.convert("RGB")
    except OSError as error:
        raise InputError(path, f"is missing or damaged ({error!r:.200})", "run its evaluation again") from error


def _narrowed(path: pathlib.Path) -> Image.Image:
    """A strip's picture, at most `WIDEST` pixels wide."""
    image = _picture(path)
    if image.width <= WIDEST:
        return image
    return image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
