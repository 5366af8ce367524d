"""Figures without pyplot, so that a notebook's backend is left alone, with texts of any characters."""

import functools
import io
import os
from collections.abc import Sequence
from typing import Any, Literal

from PIL import Image

from latentjax.errors import InputError
from latentjax.pictures import save


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Any:
    """An empty matplotlib Figure of so many inches; without a layout, axes lie where they are put.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("matplotlib", "is not installed", "run: pip install matplotlib") from error
    return Figure(figsize=(width, height), dpi=120, layout=layout)


def write(figure: Any, path: str | os.PathLike) -> str:
    """Writes a figure as a PNG that appears only when complete; the sha256 of the file, in hex.

    One without a layout is cut to what is drawn, which may reach beyond the figure.
    """
    with io.BytesIO() as file:
        figure.savefig(file, format="png", bbox_inches=None if figure.get_layout_engine() else "tight")
        return save(Image.open(file).convert("RGB"), path)


@functools.cache
def _font() -> Any:
    from matplotlib import font_manager

    return font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))


def drawable(text: str) -> str:
    """The text with what the font lacks escaped: its letters would all be the same box."""
    known = _font().get_char_index
    # lone surrogates, which undecodable file names have, are in no font, and matplotlib refuses them
    return "".join(c if known(ord(c)) else c.encode("ascii", "backslashreplace").decode() for c in text)


def short(text: str, length: int = 22) -> str:
    """`drawable` on one line, shortened in the middle (names differ at both ends) to so many characters."""
    text = drawable(" ".join(text.split()))
    kept = length - 3
    return text if len(text) <= length else text[: (kept + 1) // 2] + "..." + text[len(text) - kept // 2 :]


def legend(owner: Any, handles: Sequence[Any], labels: Sequence[str], **place: Any) -> None:
    """A legend of a figure or axes, whose labels may have any characters."""
    # Texts are set afterwards: matplotlib hides labels that start with "_" and reads "$" as mathematics.
    drawn = owner.legend(list(handles), [" "] * len(labels), **place)
    for text, label in zip(drawn.get_texts(), labels, strict=True):
        text.set_parse_math(False)
        text.set_text(drawable(label))
