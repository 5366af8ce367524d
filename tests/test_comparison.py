"""Several runs on the same latents: which differ beyond chance, and the figures of all."""

import json

import numpy as np
import pytest

from latentjax.errors import InputError
from latentjax.report import __main__ as report
from latentjax.report import comparison, curves, figures, statistics
from tests.finished_evaluations import ALPHAS, COUNT, evaluation, scores_of


@pytest.fixture
def runs(tmp_path):
    """Two runs of a wide difference, the first with two noise seeds."""
    wide = evaluation(tmp_path / "wide", scores_of(0.8), seeds=2)
    return {"wide": wide, "narrow": evaluation(tmp_path / "narrow", scores_of(0.2, seed=1))}


@pytest.fixture
def undrawn(monkeypatch):
    """File name -> what `curves.draw` was given, in place of drawing, which takes a second."""
    drawn = {}
    monkeypatch.setattr(curves, "draw", lambda path, alphas, values, **told: drawn.update({path.name: (values, told)}))
    return drawn


def test_a_paired_test_finds_a_small_difference_that_bands_cannot_show():
    spread = np.random.default_rng(3).normal(0.5, 0.3, (40, 1)) * np.array(ALPHAS) + 0.5
    better = spread + (0.02 + 0.005 * np.random.default_rng(4).normal(size=(40, 1))) * np.array(ALPHAS)
    achieved, pairs = comparison.compare({"better": better, "other": spread}, ALPHAS)
    assert achieved["better"]["ci95"][0] < achieved["other"]["mean"] < achieved["better"]["ci95"][1]
    found = pairs[0]["achieved"]
    assert found["difference"] == pytest.approx(0.02, abs=0.003)
    assert 0.015 < found["ci95"][0] < found["difference"] < found["ci95"][1] < 0.025
    assert found["p"] < 0.001
    # at alpha 0 both show the same picture
    assert pairs[0]["score"]["ci95"][2] == [0, 0]
    np.testing.assert_allclose(pairs[0]["score"]["difference"], 0.02 * np.array(ALPHAS), atol=0.002)


def test_a_run_does_not_differ_from_itself():
    scores = scores_of(0.5)
    _, pairs = comparison.compare({"a": scores, "b": scores.copy()}, ALPHAS)
    assert pairs[0]["achieved"] == {"difference": 0, "ci95": [0, 0], "p": 1, "p_holm": 1}


def test_every_run_is_compared_with_every_other_and_corrected():
    scores = {name: scores_of(slope, seed) for seed, (name, slope) in enumerate({"a": 0.5, "b": 0.5, "c": 0.9}.items())}
    _, pairs = comparison.compare(scores, ALPHAS)
    assert [(pair["first"], pair["second"]) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    corrected = statistics.holm([pair["achieved"]["p"] for pair in pairs])
    assert [pair["achieved"]["p_holm"] for pair in pairs] == corrected
    assert corrected[1] > pairs[1]["achieved"]["p"]


def test_alphas_that_do_not_reach_the_step_leave_the_scores_alone_to_compare():
    achieved, pairs = comparison.compare({"a": scores_of(0.5)[:, 2:], "b": scores_of(0.1)[:, 2:]}, ALPHAS[2:])
    assert achieved is None
    assert pairs[0]["achieved"] is None
    assert len(pairs[0]["score"]["difference"]) == 3


def test_a_latent_that_lacks_an_object_in_one_run_is_left_out_of_all_and_counted(tmp_path, undrawn):
    few = scores_of(0.5, count=4)
    runs = {"a": evaluation(tmp_path / "a", few, seeds=2, missing=(2, 6, 7)), "b": evaluation(tmp_path / "b", few)}
    summary = comparison.write(tmp_path / "out", runs, "t")
    assert summary["strips"] == {"a": 8, "b": 4}
    assert summary["left_out"]["a"] == {"score": 0, "redness": 0, "object size": 3}
    values, told = undrawn["curves.png"]
    # of latent 1 one noise is left, of latent 3 none in "a": "b" leaves it out too
    nan = np.nan
    for run in values.values():
        np.testing.assert_allclose(run["object size"], np.array([[0.1], [0.2], [0.3], [nan]]) * np.ones(5))
        assert np.isfinite(run["score"]).all()
    assert told["notes"] == {"object size": "n = 3 of 4 latents, in all runs"}
    for found in summary["runs"].values():
        np.testing.assert_allclose(found["properties"]["object size"]["mean"], [0.2] * 5)
        assert found["properties"]["object size"]["latents"] == 3
        assert found["properties"]["redness"]["latents"] == 4
    assert undrawn["relative.png"][1]["relative"]


def test_a_comparison_is_written_whole_and_the_same_every_time(tmp_path, runs):
    summary = comparison.write(tmp_path / "one", runs, "title")
    comparison.write(tmp_path / "two", runs, "title")
    files = ["comparison.json", "curves.png", "relative.png", "strips.png", "summary.json"]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == files
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert json.loads((tmp_path / "one" / "summary.json").read_text()) == summary
    assert summary["latents"] == COUNT
    own = json.loads((runs["wide"] / "summary.json").read_text())
    for values in own["properties"].values():
        del values["strips"]
    assert summary["runs"]["wide"] == own
    assert summary["achieved"]["wide"]["mean"] == pytest.approx(summary["runs"]["wide"]["achieved"])
    pairs = json.loads((tmp_path / "one" / "comparison.json").read_text())["differences"]
    change = summary["runs"]["wide"]["achieved"] - summary["runs"]["narrow"]["achieved"]
    assert pairs[0]["achieved"]["difference"] == pytest.approx(change)
    assert summary["differences"] == [{name: pairs[0][name] for name in ("first", "second", "achieved")}]


@pytest.mark.usefixtures("undrawn")
def test_latents_in_another_order_are_the_same_latents(tmp_path):
    scores = scores_of(0.5)
    first, second = (evaluation(tmp_path / name, scores) for name in "ab")
    facts = json.loads((second / "evaluation.json").read_text())
    (second / "evaluation.json").write_text(json.dumps(facts | {"strips": facts["strips"][::-1]}))
    pairs = comparison.write(tmp_path / "out", {"a": first, "b": second}, "t")["differences"]
    assert pairs[0]["achieved"]["ci95"] == [0, 0]


@pytest.mark.usefixtures("undrawn")
def test_strips_of_all_runs_are_of_latents_at_even_ranks_of_the_first_ones_change(tmp_path, runs, monkeypatch):
    groups = []
    monkeypatch.setattr(figures, "draw_groups", lambda path, found: groups.extend(found))
    comparison.write(tmp_path / "out", runs, "t")
    changes = scores_of(0.8)[:, -1] - scores_of(0.8)[:, 0]
    ranked = np.argsort(-changes)
    expected = [f"latent{ranked[rank]}" for rank in (0, 6, 11)]  # of 12; 5.5 is rounded to even
    assert [title.split(":")[0] for title, _ in groups] == expected
    assert [path.name for path in groups[0][1].values()] == [f"{expected[0]}-0.png"] * 2
    assert list(groups[0][1]) == ["wide", "narrow"]


def test_other_latents_alphas_or_assessors_are_refused_by_folder(tmp_path, runs):
    scores = scores_of(0.5)
    others = {
        "latents": evaluation(tmp_path / "l", scores, prefix="other"),
        "alphas": evaluation(tmp_path / "a", scores, alphas=[a + 0.1 for a in ALPHAS]),
        "assessor": evaluation(tmp_path / "s", scores, assessor="B"),
    }
    for what, folder in others.items():
        with pytest.raises(InputError, match=f"{folder}: is of other {what} than .*wide; ") as caught:
            comparison.write(tmp_path / "out", {**runs, "other": folder}, "t")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("file", ["evaluation.json", "strips.jsonl", "summary.json"])
def test_an_evaluation_that_is_not_finished_is_refused(tmp_path, runs, file):
    (runs["narrow"] / file).unlink()
    with pytest.raises(InputError, match="narrow: is no finished evaluation"):
        comparison.write(tmp_path / "out", runs, "t")


@pytest.mark.usefixtures("undrawn")
def test_the_command_compares_folders_of_separate_jobs(tmp_path, runs, capsys):
    words = [f"{label}={folder}" for label, folder in runs.items()]
    report.command(["compare", str(tmp_path / "out"), *words])
    printed = capsys.readouterr().out
    assert str(tmp_path / "out" / "index.html") in printed
    assert "../wide/" in (tmp_path / "out" / "index.html").read_text()
    assert list(json.loads((tmp_path / "out" / "summary.json").read_text())["runs"]) == ["wide", "narrow"]
    with pytest.raises(InputError, match="is there already"):
        report.command(["compare", str(tmp_path / "out"), *words])
    with pytest.raises(InputError, match="'wide' twice"):
        report.command(["compare", str(tmp_path / "other"), *words, words[0]])


@pytest.mark.usefixtures("undrawn")
def test_tables_tell_what_is_there_and_a_dash_for_what_is_not(tmp_path, runs):
    summary = comparison.write(tmp_path / "out", runs, "t")
    alphas = [-0.5, -0.3, 0.0, 0.3, 0.5]
    summary["runs"]["wide"]["quality"] = {
        "identity": {"alphas": alphas, "similarity": {"mean": [0.1, 0.4, 1, 0.8, 0.5]}},
        "class_kept": {"alphas": [-0.4, 0, 0.4], "share": {"mean": [0.6, 1, 0.2]}},
        "drift": {"alphas": [0, 0.3], "distance": [0, 7]},
        "held_out": {"achieved": 0.25},
    }
    head, wide, narrow = comparison.table(summary)
    assert head == comparison.HEAD
    # .6 and .2 at +-.4 are .7 and .4 at +-.3; alphas that do not reach -.3 tell nothing
    assert wide[5:] == ["0.600", "0.550", "-", "0.250"]
    assert narrow[5:] == ["-"] * 4
    assert wide[:2] == ["wide", f"{summary['runs']['wide']['achieved']:.3f}"]
    assert len(wide) == len(head)
    head, pair = comparison.differences_table(summary)
    found = summary["differences"][0]["achieved"]
    assert pair[:3] == ["wide", "narrow", f"{found['difference']:.3f}"]
    assert pair[4:] == [f"{found['p']:.4f}"] * 2
    assert len(pair) == len(head)


@pytest.mark.usefixtures("undrawn")
def test_comparison_json_tells_where_its_runs_are(tmp_path, runs):
    comparison.write(tmp_path / "out", runs, "t")
    listed = tmp_path / "out" / "comparison.json"
    assert comparison.folders(listed) == {"wide": "../wide", "narrow": "../narrow"}
    listed.write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        comparison.folders(listed)
