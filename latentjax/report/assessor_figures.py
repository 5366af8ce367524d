"""Figures of the report on an assessor: its calibration, how it learned, and the scores it gives."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from latentjax.report.classification import BINS, Bins
from latentjax.report.drawing import legend, new_figure, short, write

SCORE_BINS = 25


def draw_reliability(path: str | os.PathLike, curves: Mapping[str, Bins], probability: str, share: str) -> None:
    """What was predicted against what happened, above how often it was predicted.

    Args:
        path: the PNG to write.
        curves: label -> bins, one colour each.
        probability, share: names of the axes; any characters.
    """
    figure = new_figure(5.2, 6.2)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1)
    edges, handles = np.linspace(0, 1, BINS + 1), []
    for i, bins in enumerate(curves.values()):
        kept = bins.count > 0
        (line,) = top.plot(bins.predicted[kept], bins.observed[kept], color=f"C{i}", marker="o", markersize=4)
        bottom.stairs(bins.count / bins.count.sum(), edges, color=f"C{i}", linewidth=1.5)
        handles.append(line)
    legend(top, handles, list(curves), loc="upper left")
    top.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    top.set_ylabel(share, parse_math=False)
    bottom.set_ylabel("share of pictures")
    bottom.set_xlabel(probability, parse_math=False)
    for axes in (top, bottom):
        axes.grid(alpha=0.3)
    write(figure, path)


def draw_learning(
    path: str | os.PathLike,
    loss: Sequence[tuple[int, float]],
    validation: Sequence[tuple[int, float]],
    best: int | None,
    measure: str,
) -> None:
    """The training loss and what is measured at validations, over the steps.

    Args:
        path: the PNG to write.
        loss, validation: (step, value) each, in order.
        best: the step of the exported weights.
        measure: name of what is measured.
    """
    figure = new_figure(7.5, 3.6)
    axes = figure.add_subplot()
    right: Any = axes.twinx()
    for side, points, colour, label in ((axes, loss, "C0", "training loss"), (right, validation, "C1", measure)):
        steps, values = zip(*points, strict=True) if points else ((), ())
        side.plot(steps, values, color=colour, marker="o" if len(steps) < 40 else None, markersize=3)
        side.set_ylabel(label, color=colour)
        side.tick_params(axis="y", labelcolor=colour)
    if best is not None:
        line = axes.axvline(best, color="grey", linestyle="--", linewidth=1)
        legend(axes, [line], [f"best, step {best}"], loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    write(figure, path)


def draw_scores(
    path: str | os.PathLike,
    groups: Mapping[str, np.ndarray],
    score: str,
    *,
    bounded: bool,
    saturated: Sequence[tuple[float, float]] = (),
) -> None:
    """Histograms of scores, each as shares of its own group.

    Args:
        path: the PNG to write.
        groups: label -> scores [N]; empty ones are left out. A label may have any characters.
        score: name of the axis.
        bounded: whether scores lie in [0, 1].
        saturated: from where to where they have hardly a gradient; shaded.
    """
    groups = {label: values for label, values in groups.items() if len(values)}
    everything = np.concatenate(list(groups.values()))
    edges = np.linspace(0, 1, SCORE_BINS + 1) if bounded else np.histogram_bin_edges(everything, SCORE_BINS)
    figure = new_figure(7.5, 3.8)
    axes = figure.add_subplot()
    handles, labels = [], []
    for i, (label, values) in enumerate(groups.items()):
        shares = np.histogram(values, edges)[0] / len(values)
        handles.append(axes.stairs(shares, edges, color=f"C{i}", linewidth=2))
        axes.stairs(shares, edges, color=f"C{i}", alpha=0.12, fill=True)
        labels.append(f"{short(label, 28)} ({len(values)})")
    zones = [axes.axvspan(*zone, color="grey", alpha=0.3, linewidth=0) for zone in saturated]
    if zones:
        handles, labels = [*handles, zones[0]], [*labels, "hardly a gradient here"]
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel(score, parse_math=False)
    axes.set_ylabel("share of the group")
    axes.grid(alpha=0.3)
    legend(axes, handles, labels, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    write(figure, path)
