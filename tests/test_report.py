"""Figures from finished evaluations."""

import numpy as np
import pytest
from PIL import Image

from latentjax.errors import InputError
from latentjax.report import __main__ as report
from latentjax.report import curves, figures
from tests.finished_evaluations import ALPHAS, COUNT, evaluation, scores_of


@pytest.fixture
def drawn(monkeypatch):
    """What `curves.draw` was given: its last call's alphas, values and settings; it draws all the same."""
    seen, draw = {}, curves.draw

    def watched(out, alphas, values, **told):
        seen.update(told, alphas=alphas, values=values)
        draw(out, alphas, values, **told)

    monkeypatch.setattr(curves, "draw", watched)
    return seen


def test_curves_of_several_runs(tmp_path, drawn):
    scores = {"one": scores_of(0.5), "two": scores_of(0.1)}
    runs = [f"{label}={evaluation(tmp_path / label, array)}" for label, array in scores.items()]
    report.command(["curves", str(tmp_path / "out.png"), *runs])
    assert Image.open(tmp_path / "out.png").width > 500
    for label, array in scores.items():
        assert list(drawn["values"][label]) == ["score", "redness", "object size"]
        np.testing.assert_array_equal(drawn["values"][label]["score"], array)
    assert (drawn["title"], drawn["bounded"], drawn["notes"]) == (f"{COUNT} strips of {COUNT} latents", True, {})


def test_curves_of_runs_with_other_noise_are_of_the_same_latents(tmp_path, drawn):
    scores = scores_of(0.5, count=5)
    runs = {"one": evaluation(tmp_path / "x", scores), "three": evaluation(tmp_path / "y", scores, seeds=3)}
    figures.draw_curves(tmp_path / "out.png", runs)
    assert drawn["title"] == "5 or 15 strips of 5 latents"
    np.testing.assert_allclose(drawn["values"]["one"]["score"], drawn["values"]["three"]["score"])


def test_curves_of_unbounded_scores_are_asked_for_without_bounds(tmp_path, drawn):
    figures.draw_curves(tmp_path / "out.png", {"one": evaluation(tmp_path / "x", scores_of(0.5), bounded=False)})
    assert drawn["bounded"] is False


def test_curves_are_of_the_latents_that_all_runs_know_and_say_so(tmp_path, drawn):
    scores = scores_of(0.5, count=4)
    runs = {f"{lost}": evaluation(tmp_path / f"{lost}", scores, missing=(lost,)) for lost in (0, 2)}
    figures.draw_curves(tmp_path / "out.png", runs)
    for values in drawn["values"].values():
        assert np.isfinite(values["object size"]).all(axis=1).tolist() == [False, True, False, True]
        assert np.isfinite(values["score"]).all()
    assert drawn["notes"] == {"object size": "n = 2 of 4 latents, in all runs"}


def test_two_runs_of_one_label_are_refused(tmp_path):
    folder = evaluation(tmp_path / "x", scores_of(0.5))
    with pytest.raises(InputError, match="'x' twice"):
        report.command(["curves", str(tmp_path / "out.png"), str(folder), f"x={folder}"])


def test_curves_of_different_latents_are_refused(tmp_path):
    scores = scores_of(0.5)
    runs = [f"x={evaluation(tmp_path / 'x', scores)}", f"y={evaluation(tmp_path / 'y', scores, prefix='other')}"]
    with pytest.raises(InputError, match="other latents"):
        report.command(["curves", str(tmp_path / "out.png"), *runs])


@pytest.mark.parametrize("alphas", [ALPHAS, ALPHAS[::-1], [0.0, 0.3, -0.5, 0.5, -0.3]])
def test_strips_are_chosen_by_rank_of_the_change_whatever_the_order_of_alphas(tmp_path, alphas):
    # strip i, whose red is 20 i, changes by i / 10 over an alpha of 1
    scores = 0.5 + np.arange(5)[:, None] * np.array(alphas) / 10
    folder = evaluation(tmp_path / "e", scores, alphas=alphas)
    report.command(["strips", str(tmp_path / "out.png"), str(folder), "--count=3"])
    sheet = np.asarray(Image.open(tmp_path / "out.png"))
    assert [int(sheet[row, -45, 0]) for row in (10, 30, 50)] == [80, 40, 0]


def test_a_strip_without_its_picture_is_told(tmp_path):
    folder = evaluation(tmp_path / "e", scores_of(0.5, count=1))
    (folder / "grids" / "latent0-0.png").unlink()
    with pytest.raises(InputError, match=r"latent0-0\.png: is missing or damaged"):
        figures.draw_strips(tmp_path / "out.png", folder, 1)


def test_a_folder_that_is_no_evaluation_is_refused(tmp_path):
    with pytest.raises(InputError, match="no finished evaluation"):
        report.command(["strips", str(tmp_path / "out.png"), str(tmp_path)])


def test_wide_strips_are_made_smaller_and_groups_are_above_one_another(tmp_path):
    for name, colour in (("a", 200), ("b", 100)):
        Image.new("RGB", (2 * figures.WIDEST, 400), (colour, 0, 0)).save(tmp_path / f"{name}.png")
    groups = [("first", {"one": tmp_path / "a.png"}), ("second", {"one": tmp_path / "b.png"})]
    figures.draw_groups(tmp_path / "out.png", groups)
    sheet = np.asarray(Image.open(tmp_path / "out.png"))
    assert figures.WIDEST < sheet.shape[1] < 1.3 * figures.WIDEST
    half = sheet.shape[0] // 2
    assert [int(sheet[row, -10, 0]) for row in (half - 10, 2 * half - 10)] == [200, 100]
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.png: is missing or damaged"):
        figures.draw_groups(tmp_path / "out.png", groups)
