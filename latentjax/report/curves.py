"""Score and image properties along alpha, as a figure (paper, Figure 1)."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from latentjax.errors import InputError
from latentjax.properties import PROPERTIES
from latentjax.report.drawing import drawable, legend, new_figure, write
from latentjax.report.statistics import at, bootstrap_means, complete, interval, relative_change

COLUMNS, MOST_COLUMNS = 3, 4  # the paper's eight panels are two rows of four
MARKERS = "os^Dv<>ph"  # nine of them beside ten colours: ninety runs differ


def style(index: int) -> dict[str, Any]:
    """Colour and marker of a run by its place among the runs."""
    return {"color": f"C{index % 10}", "marker": MARKERS[index % len(MARKERS)], "markersize": 3}


def _names(runs: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    """Every measured name once: the score, the image properties, then the rest in the order met."""
    met = dict.fromkeys(name for values in runs.values() for name in values)
    first = [name for name in ("score", *PROPERTIES) if name in met]
    return first + [name for name in met if name not in first]


def _lines(axes: Any, alphas: np.ndarray, values: Sequence[np.ndarray | None], relative: bool) -> None:
    """Mean and band of each run that has any values [N, A]."""
    for index, array in enumerate(values):
        if array is None or not len(complete(array)):
            continue
        means = np.vstack([complete(array).mean(axis=0), bootstrap_means(array)])
        if relative:
            means = relative_change(alphas, means)
        if means is None or not np.isfinite(means[0]).all():
            continue
        lo, hi = interval(means[1:])
        axes.plot(alphas, means[0], **style(index))
        # fainter where many would cover one another
        shade = 0.2 if len(values) <= 3 else 0.1
        axes.fill_between(alphas, lo, hi, color=style(index)["color"], alpha=shade, linewidth=0)


def _requested(axes: Any, alphas: np.ndarray, scores: Sequence[np.ndarray | None], bounded: bool, rel: bool) -> None:
    """What was asked of the score, once for each mean score at alpha = 0: runs of the same latents share it."""
    found = [at(0.0, alphas, complete(array)) for array in scores if array is not None and len(complete(array))]
    for start in dict.fromkeys(round(float(start.mean()), 6) for start in found if start is not None):
        asked = np.clip(start + alphas, 0, 1) if bounded else start + alphas
        drawn = relative_change(alphas, asked[None]) if rel else asked[None]
        if drawn is not None:
            axes.plot(alphas, drawn[0], color="grey", linestyle="--", linewidth=1)


def _legend(figure: Any, labels: Sequence[str], columns: int) -> None:
    """Names the runs' colours (when there are several) and the dashed line, below the panels."""
    from matplotlib.lines import Line2D

    entries = [(Line2D([], [], color="grey", linestyle="--"), "requested: score at 0, plus alpha")]
    if len(labels) > 1:
        lines = [Line2D([], [], **style(index)) for index in range(len(labels))]
        entries = [*zip(lines, labels, strict=True), *entries]
    handles, texts = zip(*entries, strict=True)
    legend(figure, handles, texts, loc="outside lower center", ncols=columns)


def draw(
    path: str | os.PathLike,
    alphas: Sequence[float],
    runs: Mapping[str, Mapping[str, np.ndarray]],
    *,
    title: str,
    bounded: bool = True,
    relative: bool = False,
    notes: Mapping[str, str] | None = None,
) -> str:
    """Draws one panel for each measured name: the mean over latents with its 95 % bootstrap band.

    The score comes first, with a dashed line for what was requested: the mean score at alpha = 0 plus alpha,
    clipped to [0, 1]. Rows with a NaN are left out, as in `statistics.summarise`. Arrays with as many rows are
    taken to be of the same latents: their bands are of the same draws.

    Args:
        path: the PNG to write; it appears only when complete.
        alphas: A numbers.
        runs: label -> name -> values [N, A], names being "score" and image properties. A run's place among them
            gives its colour and marker.
        title: above the panels; any characters.
        bounded: whether scores cannot leave [0, 1].
        relative: draws (mean_alpha - mean_0) / mean_0, as the paper does; the band is that of the ratio. A run
            whose mean_0 is 0 has no line.
        notes: name -> a second line for its panel's title, see `finished_runs.notes_of`.

    Returns:
        The sha256 of the file, in hex.

    Raises:
        InputError: nothing to draw, no alpha = 0 to be relative to, or matplotlib is not installed.
    """
    names = _names(runs)
    if not names:
        raise InputError("curves", "have nothing to draw", "give at least one run with scores")
    order = np.argsort(alphas)
    ascending = np.asarray(alphas, np.float64)[order]
    if relative and at(0.0, ascending, ascending[None]) is None:
        raise InputError("alphas", "do not reach 0, to which changes are relative", "evaluate at 0 too")
    most = COLUMNS if len(names) <= 2 * COLUMNS else MOST_COLUMNS
    columns, rows = min(most, len(names)), math.ceil(len(names) / most)
    figure = new_figure(4.2 * columns, 3.2 * rows + 0.8)
    for index, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, index + 1)
        values = [np.asarray(run[name])[:, order] if name in run else None for run in runs.values()]
        _lines(axes, ascending, values, relative)
        if name == "score":
            _requested(axes, ascending, values, bounded, relative)
        _label(axes, name, (notes or {}).get(name, ""), relative)
    _legend(figure, list(runs), columns)
    figure.suptitle(drawable(title), parse_math=False, wrap=True)
    return write(figure, path)


def _label(axes: Any, name: str, note: str, relative: bool) -> None:
    """Title, axes and grid of a panel."""
    from matplotlib.ticker import PercentFormatter

    axes.set_title("\n".join(drawable(line) for line in (name, note) if line), parse_math=False)
    axes.set_xlabel("alpha")
    axes.grid(alpha=0.3)
    if relative:
        axes.set_ylabel("change relative to alpha 0")
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
