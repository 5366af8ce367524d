"""The figure of curves.png: its panels, lines, bands and texts."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from latentjax.errors import InputError
from latentjax.report import curves
from latentjax.report.curves import draw
from tests import finished_evaluations
from tests.finished_evaluations import scores_of

ALPHAS = [-0.3, 0.0, 0.3]
SCORES = np.array([[0.3, 0.5, 0.7], [0.7, 0.9, 0.8]])


def test_curves_have_one_panel_for_each_name_and_are_written_whole(tmp_path):
    path = tmp_path / "curves.png"
    digest = draw(path, ALPHAS, {"demo": {"score": SCORES}}, title="one")
    narrow = Image.open(path).size
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    measured = {"score": SCORES, "redness": SCORES, "brightness": SCORES, "object size": SCORES}
    draw(path, ALPHAS, {"demo": measured}, title="four panels")
    wide = Image.open(path).size
    assert wide[0] == pytest.approx(3 * narrow[0], abs=2)
    assert wide[1] > 1.5 * narrow[1]
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_runs_give_the_same_file_whatever_the_order_of_alphas(tmp_path):
    first = draw(tmp_path / "a.png", ALPHAS, {"demo": {"score": SCORES}}, title="t")
    again = draw(tmp_path / "b.png", ALPHAS[::-1], {"demo": {"score": SCORES[:, ::-1]}}, title="t")
    assert first == again


def test_a_second_run_adds_its_name(tmp_path):
    one = draw(tmp_path / "a.png", ALPHAS, {"learned": {"score": SCORES}}, title="t")
    two = draw(tmp_path / "b.png", ALPHAS, {"learned": {"score": SCORES}, "_x": {"score": SCORES}}, title="t")
    renamed = draw(tmp_path / "c.png", ALPHAS, {"learned": {"score": SCORES}, "_y": {"score": SCORES}}, title="t")
    assert len({one, two, renamed}) == 3


@pytest.mark.parametrize(
    "text", ["a $ sign_1", r"$\nosuch{$", "_hidden", "undecodable \udcff", "two\nlines", "é <b>?="]
)
def test_labels_and_titles_take_any_characters(tmp_path, text):
    runs = {text: {"score": SCORES, "size": np.full((2, 3), np.nan)}, "other": {"redness": SCORES}}
    draw(tmp_path / "curves.png", ALPHAS, runs, title=text)
    assert Image.open(tmp_path / "curves.png").width > 300


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(InputError, match="curves: have nothing to draw"):
        draw(tmp_path / "curves.png", ALPHAS, {}, title="t")


def lines_of(monkeypatch, draw):
    """Panel title -> its lines and its figure, of what `draw` writes."""
    seen = {}
    monkeypatch.setattr(curves, "write", lambda figure, path: seen.update({a.get_title(): a for a in figure.axes}))
    draw()
    return seen


def test_the_relative_figure_shows_the_ratio_of_means_and_its_band(monkeypatch):
    scores = np.array([[0.1, 0.2, 0.6], [0.5, 0.6, 0.6]])  # means .3 .4 .6; a mean of ratios would end at 1
    runs = {"demo": {"score": scores, "nothing": np.zeros((2, 3))}}
    panels = lines_of(monkeypatch, lambda: draw("x", [-0.5, 0, 0.5], runs, title="t", relative=True, bounded=False))
    line, requested = panels["score"].lines
    np.testing.assert_allclose(line.get_ydata(), [-0.25, 0, 0.5])
    np.testing.assert_allclose(requested.get_ydata(), [-1.25, 0, 1.25])
    # two latents: a draw is either of them or both, and a ratio of either .6 / .2 - 1 = 2 or 0
    band = panels["score"].collections[0].get_datalim(panels["score"].transData)
    assert (band.y0, band.y1) == pytest.approx((-0.5, 2))
    assert not panels["nothing"].lines


def test_the_order_of_runs_decides_their_colours(monkeypatch):
    runs = {name: {"score": scores_of(slope)} for name, slope in (("a", 0.1), ("b", 0.5), ("c", 0.9))}
    runs["b"] = {"redness": runs["b"]["score"]}  # a run that lacks a panel keeps its colour in the others
    panels = lines_of(monkeypatch, lambda: draw("x", finished_evaluations.ALPHAS, runs, title="t"))
    assert [line.get_color() for line in panels["score"].lines] == ["C0", "C2", "grey"]
    assert [line.get_color() for line in panels["redness"].lines] == ["C1"]


def test_eight_panels_are_two_rows_of_four(monkeypatch):
    runs = {"demo": {f"{i}": scores_of(0.1) for i in range(8)}}
    panels = lines_of(monkeypatch, lambda: draw("x", finished_evaluations.ALPHAS, runs, title="t"))
    grid = panels["7"].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == (2, 4)


def test_a_panel_tells_of_how_many_strips_it_is(monkeypatch):
    runs, notes = {"demo": {"size": scores_of(0.1)}}, {"size": "n = 3 of 4 strips"}
    panels = lines_of(monkeypatch, lambda: draw("x", finished_evaluations.ALPHAS, runs, title="t", notes=notes))
    assert list(panels) == ["size\nn = 3 of 4 strips"]
