"""Score and image properties along alpha, as a figure (paper, Figure 1)."""

import math
import os
from collections.abc import Mapping, Sequence

import numpy as np

from latentjax.errors import InputError
from latentjax.properties import PROPERTIES
from latentjax.report.drawing import drawable, legend, new_figure, write
from latentjax.report.statistics import at, bootstrap_ci, complete

COLUMNS = 3


def _names(runs: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    """Every measured name once: the score, the image properties, then the rest in the order met."""
    met = dict.fromkeys(name for values in runs.values() for name in values)
    first = [name for name in ("score", *PROPERTIES) if name in met]
    return first + [name for name in met if name not in first]


def _panel(axes, name: str, alphas: np.ndarray, runs: Mapping[str, Mapping[str, np.ndarray]], bounded: bool) -> None:
    """Mean and band of one name for every run that has it; for the score also what was requested."""
    for index, values in enumerate(runs.values()):
        kept = complete(values[name]) if name in values else np.empty((0, len(alphas)))
        if not len(kept):
            continue
        colour, (lo, hi) = f"C{index}", bootstrap_ci(kept)
        axes.plot(alphas, kept.mean(axis=0), color=colour, marker="o", markersize=3)
        axes.fill_between(alphas, lo, hi, color=colour, alpha=0.2, linewidth=0)
        start = at(0.0, alphas, kept) if name == "score" else None
        if start is not None:
            requested = start.mean() + alphas
            axes.plot(
                alphas, np.clip(requested, 0, 1) if bounded else requested, color=colour, linestyle="--", linewidth=1
            )
    axes.set_title(drawable(name), parse_math=False)
    axes.set_xlabel("alpha")
    axes.grid(alpha=0.3)


def _legend(figure, labels: Sequence[str]) -> None:
    """Names the runs' colours (when there are several) and the dashed line, below the panels."""
    from matplotlib.lines import Line2D

    entries = [(Line2D([], [], color="grey", linestyle="--"), "requested: score at 0, plus alpha")]
    if len(labels) > 1:
        lines = [Line2D([], [], color=f"C{index}", marker="o", markersize=3) for index in range(len(labels))]
        entries = [*zip(lines, labels, strict=True), *entries]
    handles, texts = zip(*entries, strict=True)
    legend(figure, handles, texts, loc="outside lower center", ncols=COLUMNS)


def draw(
    path: str | os.PathLike,
    alphas: Sequence[float],
    runs: Mapping[str, Mapping[str, np.ndarray]],
    *,
    title: str,
    bounded: bool = True,
) -> str:
    """Draws one panel for each measured name: the mean over latents with its 95 % bootstrap band.

    The score comes first, with a dashed line for what was requested: the mean score at alpha = 0 plus alpha,
    clipped to [0, 1]. Rows with a NaN are left out, as in `statistics.summarise`.

    Args:
        path: the PNG to write; it appears only when complete.
        alphas: A numbers.
        runs: label -> name -> values [N, A], names being "score" and image properties; one colour a run.
        title: above the panels; any characters.
        bounded: whether scores cannot leave [0, 1].

    Returns:
        The sha256 of the file, in hex.

    Raises:
        InputError: nothing to draw, or matplotlib is not installed.
    """
    names = _names(runs)
    if not names:
        raise InputError("curves", "have nothing to draw", "give at least one run with scores")
    order = np.argsort(alphas)
    ascending = np.asarray(alphas, np.float64)[order]
    runs = {
        label: {name: np.asarray(array)[:, order] for name, array in values.items()} for label, values in runs.items()
    }
    columns, rows = min(COLUMNS, len(names)), math.ceil(len(names) / COLUMNS)
    figure = new_figure(4.2 * columns, 3.2 * rows + 0.8)
    for index, name in enumerate(names):
        _panel(figure.add_subplot(rows, columns, index + 1), name, ascending, runs, bounded)
    _legend(figure, list(runs))
    figure.suptitle(drawable(title), parse_math=False, wrap=True)
    return write(figure, path)
