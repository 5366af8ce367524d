"""The quality of edits as a figure: a panel for each thing that was measured, runs as in curves.png."""

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from latentjax.report.curves import style
from latentjax.report.drawing import drawable, legend, new_figure, write

COLUMNS = 3
BARS = 0.8  # of the distance between classes
Quality = Mapping[str, Any]


def _line(axes: Any, run: int, part: Quality, x: Any, y: Any, ci95: Any) -> None:
    """A line through means in the order of a part's alphas, with their bands."""
    x, y, band = _ascending(part, x, y, ci95)
    axes.plot(x, y, **style(run))
    axes.errorbar(x, y, yerr=np.abs(band.T - y), color=style(run)["color"], linewidth=0, elinewidth=1)


def _ascending(part: Quality, *fields: Any) -> list[np.ndarray]:
    """Values of a part in the order of its alphas, so that lines do not run back."""
    order = np.argsort(part["alphas"])
    return [np.asarray(values, np.float64)[order] for values in fields]


def _diagonal(axes: Any) -> None:
    """Where both axes are equal."""
    axes.axline((0, 0), slope=1, color="grey", linestyle="--", linewidth=1)


def _calibration(axes: Any, parts: Mapping[int, Quality]) -> None:
    for run, part in parts.items():
        _line(axes, run, part, part["requested"], part["achieved"], part["ci95"])
    _diagonal(axes)
    axes.set(xlabel="requested change of the score", ylabel="achieved change")


def _identity(axes: Any, parts: Mapping[int, Quality]) -> None:
    for run, part in parts.items():
        similarity = part["similarity"]
        _line(axes, run, part, part["change"], similarity["mean"], similarity["ci95"])
    axes.set(xlabel="achieved change of the score", ylabel="identity (cosine of features)")


def _class_kept(axes: Any, parts: Mapping[int, Quality]) -> None:
    for run, part in parts.items():
        share = part["share"]
        _line(axes, run, part, part["alphas"], share["mean"], share["ci95"])
    axes.set(xlabel="alpha", ylabel="share of strips", ylim=(-0.03, 1.03))


def _drift(axes: Any, parts: Mapping[int, Quality]) -> None:
    for run, part in parts.items():
        alphas, distance = _ascending(part, part["alphas"], part["distance"])
        axes.plot(alphas, distance, **style(run))
        if part["floor"] is not None:
            axes.axhline(part["floor"], color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="alpha (dotted: two halves of the unedited set)", ylabel="Frechet distance to the unedited set")


def _held_out(axes: Any, parts: Mapping[int, Quality]) -> None:
    for run, part in parts.items():
        first, change = _ascending(part, part["first_change"], part["change"])
        axes.plot(first, change, **style(run))
    _diagonal(axes)
    axes.set(xlabel="change of the score", ylabel="change of the held-out score")


def _failures(axes: Any, parts: Mapping[int, Quality]) -> None:
    classes = sorted({row["class"] for part in parts.values() for row in part["by_class"]})
    width = BARS / len(parts)
    for i, (run, part) in enumerate(parts.items()):
        x = [classes.index(row["class"]) + (i - (len(parts) - 1) / 2) * width for row in part["by_class"]]
        axes.bar(x, [row["share"] for row in part["by_class"]], width, color=style(run)["color"])
    step = math.ceil(len(classes) / 20)  # of many classes, some have their number told
    axes.set_xticks(range(0, len(classes), step), classes[::step])
    axes.set(xlabel="class", ylabel="share of strips", ylim=(0, 1.03))


# part of a quality, title of its panel, how it is drawn
PANELS: tuple[tuple[str, str, Callable[[Any, Mapping[int, Quality]], None]], ...] = (
    ("calibration", "requested and achieved", _calibration),
    ("failures", "strips that achieve less than a quarter", _failures),
    ("identity", "identity kept", _identity),
    ("class_kept", "class kept", _class_kept),
    ("drift", "drift of the whole set", _drift),
    ("held_out", "a held-out assessor", _held_out),
)


def draw(path: str | os.PathLike, qualities: Mapping[str, Quality]) -> str:
    """Draws what was measured of the quality of one or several runs, each run in its `curves.style`.

    Args:
        path: the PNG to write; it appears only when complete.
        qualities: label -> what `quality.measure` gave.

    Returns:
        The sha256 of the file, in hex.

    Raises:
        InputError: matplotlib is not installed.
    """
    panels = []
    for name, title, drawn in PANELS:
        parts = {run: quality[name] for run, quality in enumerate(qualities.values()) if quality.get(name) is not None}
        if parts:
            panels.append((title, drawn, parts))
    columns = min(COLUMNS, max(len(panels), 1))
    rows = max(math.ceil(len(panels) / COLUMNS), 1)
    figure = new_figure(4.2 * columns, 3.4 * rows + 0.5)
    for i, (title, drawn, parts) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        drawn(axes, parts)
        axes.set_title(drawable(title), parse_math=False)
        axes.grid(alpha=0.3)
    if not panels:
        figure.text(0.5, 0.5, "not measured: 0 is outside the range of alphas", ha="center")
    if len(qualities) > 1:
        _name_runs(figure, list(qualities))
    return write(figure, path)


def _name_runs(figure: Any, labels: list[str]) -> None:
    """The runs' colours and markers, below the panels."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], **style(run)) for run in range(len(labels))]
    legend(figure, lines, labels, loc="outside lower center", ncols=COLUMNS)
