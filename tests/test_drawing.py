"""Texts and figures as they are drawn."""

import numpy as np
import pytest
from PIL import Image

from latentjax.report.drawing import drawable, new_figure, short, write


def test_letters_that_the_font_lacks_are_escaped():
    assert drawable("größe αβ $x$\nb") == "größe αβ $x$\nb"
    assert drawable("漢字 \udcff") == "\\u6f22\\u5b57 \\udcff"


@pytest.mark.parametrize("length", [10, 11])
def test_long_names_keep_both_ends(length):
    text = short("abcdefghijklmnopqrstuvwxyz", length)
    assert len(text) == length
    first, last = text.split("...")
    assert "abcdefghijklmnopqrstuvwxyz".startswith(first)
    assert "abcdefghijklmnopqrstuvwxyz".endswith(last)
    assert short("two\nlines", length) == "two lines"


def test_a_figure_without_layout_is_cut_to_what_is_drawn(tmp_path):
    sizes = {}
    for layout in ("constrained", None):
        figure = new_figure(4, 2, layout=layout)
        axes = figure.add_subplot() if layout else figure.add_axes((0, 0, 1, 1))
        axes.set_ylabel("a name\nof several\nlines")
        write(figure, tmp_path / "figure.png")
        sizes[layout] = Image.open(tmp_path / "figure.png").size
    assert sizes["constrained"] == (480, 240)
    assert (np.array(sizes[None]) > (480, 240)).all()
