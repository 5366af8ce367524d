"""Which pictures an assessor gets wrong: the confusion matrix, or a regression's scatter, with examples."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from latentjax.report.drawing import new_figure, short, write

EXAMPLES = 6  # pictures of a cell, or of a regression
ACROSS = 3  # of them side by side
MOST_CLASSES = 10  # more leave no room for pictures
MOST_COUNTS = 40  # nor for numbers
THUMBNAIL = 192  # pixels
WIDEST = 14.0  # inches of the matrix


def examples_of(probability: np.ndarray, labels: np.ndarray) -> dict[tuple[int, int], list[int]]:
    """(label, predicted) -> the pictures to show there, the most confident first; none for many classes.

    Args:
        probability: [N, n] of the classes.
        labels: [N].
    """
    if probability.shape[1] > MOST_CLASSES:
        return {}
    predicted, cells = probability.argmax(1), {}
    for i in np.argsort(-probability.max(1), kind="stable"):
        cells.setdefault((int(labels[i]), int(predicted[i])), []).append(int(i))
    return {cell: found[:EXAMPLES] for cell, found in cells.items()}


def largest_errors(predicted: np.ndarray, true: np.ndarray) -> list[int]:
    """The pictures of the largest errors of a regression, the worst first."""
    return np.argsort(-abs(predicted - true), kind="stable")[:EXAMPLES].tolist()


def draw_matrix(
    path: str | os.PathLike,
    matrix: Sequence[Sequence[int]],
    names: Sequence[str],
    pictures: Mapping[tuple[int, int], Sequence[np.ndarray]],
) -> None:
    """Draws the matrix: counts, their share of the row as colour, and the pictures of each cell.

    Args:
        path: the PNG to write.
        matrix: [label][predicted], counts.
        names: of the classes; any characters.
        pictures: (label, predicted) -> uint8 [h, w, 3] each.
    """
    counts, n = np.asarray(matrix), len(names)
    # two rows of square pictures and a line of text are lower than wide
    side, tall = _cell_size(n, with_pictures=bool(pictures)), 0.84 if pictures else 1.0
    figure = new_figure(n * side, n * side * tall, layout=None)
    from matplotlib import colormaps

    axes = figure.add_axes((0, 0, 1, 1))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # the darkest blue still leaves black numbers legible
    colours = colormaps["Blues"](shares if n > MOST_COUNTS else 0.55 * shares)
    axes.imshow(colours, extent=(0, n, n * tall, 0))
    size = min(12.0, 72 * side * (0.28 if n > MOST_CLASSES else 0.09 if pictures else 0.13))
    for label, predicted in np.argwhere((counts > 0) | (n <= MOST_CLASSES)) if n <= MOST_COUNTS else ():
        count, top = counts[label, predicted], label * tall
        text = f"{count}" if n > MOST_CLASSES else f"{count} ({100 * shares[label, predicted]:.0f} %)"
        y = top + (0.1 if pictures else 0.5)
        axes.text(predicted + 0.5, y, text, ha="center", va="center", fontsize=size)
        _place(axes, pictures.get((label, predicted), ()), predicted + 0.03, top + 0.18, 0.94, tall - 0.2)
    axes.set(xlim=(0, n), ylim=(n * tall, 0), aspect="auto", xlabel="predicted", ylabel="label")
    _name(axes, [f"{i}: {short(name)}" for i, name in enumerate(names)], counts.sum(1), side, tall)
    if n <= MOST_COUNTS:
        axes.set_xticks(np.arange(n + 1), minor=True)
        axes.set_yticks(np.arange(n + 1) * tall, minor=True)
        axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    write(figure, path)


def _cell_size(n: int, *, with_pictures: bool) -> float:
    """Inches of a cell's width."""
    if n > MOST_CLASSES:
        return min(0.34, WIDEST / n)
    return min(3.2, max(1.25, 7.5 / n)) if with_pictures else min(1.3, max(0.8, 4 / n))


def _name(axes: Any, names: Sequence[str], counts: np.ndarray, side: float, tall: float) -> None:
    """Names along both axes, across turned where they are too wide; none where they would overlap."""
    size, middles = min(10.0, 60 * side), np.arange(len(names)) + 0.5
    if size < 5.5:
        return
    rows = [f"{name} ({count})" for name, count in zip(names, counts, strict=True)]
    axes.set_yticks(middles * tall, rows, fontsize=size)
    columns, turned = names, {}
    if len(names) > MOST_CLASSES:
        columns, turned = [str(i) for i in range(len(names))], {"rotation": 90 if len(names) > MOST_COUNTS else 0}
    elif max(map(len, names)) * 0.6 * size / 72 > 0.95 * side:
        turned = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(middles, columns, fontsize=size, **turned)
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set_parse_math(False)


def _place(axes: Any, pictures: Sequence[np.ndarray], left: float, top: float, width: float, height: float) -> None:
    """Pictures in a box of the axes, `ACROSS` of them in a row, each with its own proportions."""
    rows = EXAMPLES // ACROSS
    for i, picture in enumerate(pictures):
        thumbnail = Image.fromarray(picture)
        thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
        scale = 0.96 * min(width / ACROSS / thumbnail.width, height / rows / thumbnail.height)
        w, h = scale * thumbnail.width, scale * thumbnail.height
        x, y = left + (i % ACROSS + 0.5) * width / ACROSS, top + (i // ACROSS + 0.5) * height / rows
        axes.imshow(np.asarray(thumbnail), extent=(x - w / 2, x + w / 2, y + h / 2, y - h / 2), aspect="auto", zorder=3)


def draw_scatter(
    path: str | os.PathLike, predicted: np.ndarray, true: np.ndarray, pictures: Mapping[int, np.ndarray]
) -> None:
    """Draws predicted against true numbers [N], and beside them pictures (index -> uint8 [h, w, 3]) with both."""
    down = math.ceil(len(pictures) / ACROSS)
    figure = new_figure(10 if pictures else 5, 5)
    parts = figure.subfigures(1, 2) if pictures else [figure]
    axes = parts[0].add_subplot()
    axes.scatter(true, predicted, s=12, alpha=min(1.0, max(0.15, 60 / len(true))), linewidth=0)
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, color="grey", linestyle="--", linewidth=1)
    axes.set(xlabel="true", ylabel="predicted")
    axes.grid(alpha=0.3)
    for i, (index, picture) in enumerate(pictures.items()):
        shown = parts[1].add_subplot(down, ACROSS, i + 1)
        shown.imshow(picture)
        shown.set_axis_off()
        shown.set_title(f"true {true[index]:.3g}\npredicted {predicted[index]:.3g}", fontsize=9)
    if pictures:
        axes.scatter(true[list(pictures)], predicted[list(pictures)], s=40, facecolor="none", edgecolor="C3")
        parts[1].suptitle("largest errors", fontsize=10, color="C3")
    write(figure, path)
