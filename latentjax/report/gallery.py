"""The page on which people look at an evaluation."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from latentjax.files import write_text

TEMPLATES = pathlib.Path(__file__).parent / "templates"


def write(folder: pathlib.Path, title: str, summary: Mapping[str, Any], strips: Sequence[Mapping[str, Any]]) -> None:
    """Writes index.html beside the files it shows.

    Args:
        folder: the evaluation folder.
        title: heading of the page.
        summary: the content of summary.json; its alphas may be in any order.
        strips: name, noise_seed, file (in grids/), scores of each strip.
    """
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    alphas = summary["alphas"]
    low, high = alphas.index(min(alphas)), alphas.index(max(alphas))
    ranked = sorted(strips, key=lambda strip: strip["scores"][high] - strip["scores"][low])
    page = environment.get_template("gallery.html").render(title=title, summary=summary, strips=ranked)
    write_text(folder / "index.html", page)
