"""The page on which people look at an evaluation."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from latentjax.report import pages


def write(folder: pathlib.Path, title: str, summary: Mapping[str, Any], strips: Sequence[Mapping[str, Any]]) -> None:
    """Writes index.html beside the files it shows.

    Args:
        folder: the evaluation folder.
        title: heading of the page.
        summary: the content of summary.json; its alphas may be in any order.
        strips: name, noise_seed, file (in grids/), scores of each strip.
    """
    alphas = summary["alphas"]
    low, high = alphas.index(min(alphas)), alphas.index(max(alphas))
    ranked = sorted(strips, key=lambda strip: strip["scores"][high] - strip["scores"][low])
    pages.write(folder, "gallery.html", title=title, summary=summary, strips=ranked)
