"""The job that compares: the same latents and noise for every run, one page, nothing made or fitted twice."""

import json
import re

import pytest

from latentjax.errors import InputError
from latentjax.jobs import comparison, evaluate, generate, methods, train
from latentjax.jobs import sweep as sweeps
from latentjax.report import evaluation as reports
from latentjax.report import strips
from tests import tiny_runs
from tests.test_evaluate import times

RUNS = ("learned", "svm", "ascent")
FIELDS = {
    "evaluate__noise_seeds": (0, 1),
    "evaluate__name": "all",
    "evaluate__arithmetic_count": 32,
    "evaluate__ascent_steps": 2,
    "evaluate__count": 6,
}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A transformer folder of one direction."""
    return tiny_runs.save_transformer(tmp_path_factory.mktemp("one"), z="vector", y="none")


@pytest.fixture(scope="module")
def config(generator, one, tmp_path_factory):
    learned = tiny_runs.save_transformer(tmp_path_factory.mktemp("learned"))

    def config(**fields):
        runs = {"evaluate__runs": (*RUNS, f"one direction={one}")}
        return tiny_runs.config(generator, transformer__weights=learned, **FIELDS | runs | fields)

    return config


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """A workdir with a comparison; not to be changed but by what should change nothing."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    evaluate.run(config(), str(workdir))
    return workdir / "evaluation" / "all"


def test_each_run_has_a_folder_and_one_page_shows_them_all(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert list(summary["runs"]) == [*RUNS, "one direction"]
    assert {path.name for path in finished.iterdir() if path.is_dir()} == {*RUNS, "one-direction"}
    for file in ("curves.png", "relative.png", "strips.png", "quality.png", "comparison.json"):
        assert (finished / file).stat().st_size > 0
    page = (finished / "index.html").read_text()
    for label, folder in {"svm": "svm", "one direction": "one-direction"}.items():
        assert f'"{label}"' in page
        assert f'"{folder}/"' in page
        assert f"evaluation/all/{folder}/manifest.jsonl:" in page


def test_only_runs_that_take_noise_have_several_strips_a_latent(finished):
    counts = {run: len(list((finished / run / "grids").iterdir())) for run in (*RUNS, "one-direction")}
    assert counts == {"learned": 12, "svm": 6, "ascent": 6, "one-direction": 6}


def test_all_runs_start_from_the_same_pictures(finished):
    found = {}
    for run in (*RUNS, "one-direction"):
        lines = [json.loads(line) for line in (finished / run / "manifest.jsonl").read_text().splitlines()]
        found[run] = {line["name"]: line["tile_sha256"] for line in lines if line["alpha"] == 0}
    assert len(found["learned"]) == 6
    # ascent's is another program, whose last digits may differ
    assert found["learned"] == found["svm"] == found["one-direction"]


def test_run_again_it_makes_and_fits_nothing(finished, config, monkeypatch):
    before = {run: times(finished / run) for run in (*RUNS, "one-direction")}
    summary = (finished / "summary.json").read_bytes()
    monkeypatch.setattr(sweeps.Sweep, "_measure", lambda *_: pytest.fail("something was computed"))
    monkeypatch.setattr(methods, "boundary_of", lambda *_: pytest.fail("something was fitted"))
    evaluate.run(config(), str(finished.parent.parent))
    assert {run: times(finished / run) for run in (*RUNS, "one-direction")} == before
    assert (finished / "summary.json").read_bytes() == summary


@pytest.mark.slow
def test_stopped_in_its_first_run_it_does_not_fit_again(finished, config, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(strips, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(config(), str(tmp_path / "run"))
    monkeypatch.undo()
    monkeypatch.setattr(methods, "boundary_of", lambda *_: pytest.fail("something was fitted"))
    evaluate.run(config(), str(tmp_path / "run"))
    again = tmp_path / "run" / "evaluation" / "all"
    assert (again / "summary.json").read_bytes() == (finished / "summary.json").read_bytes()


@pytest.mark.parametrize("run", ["svm", "one-direction"])
def test_a_tile_of_one_of_its_runs_is_made_again_exactly(finished, config, run, caplog):
    workdir = finished.parent.parent
    before = (workdir / "config.json").read_bytes()
    generate.run(config(generate__tile=f"evaluation/all/{run}/manifest.jsonl:4"), str(workdir))
    assert f"{run}-seed1-00000-alpha+0.25.png: every pixel as in the evaluation" in caplog.text
    assert (workdir / "config.json").read_bytes() == before


@pytest.mark.slow
def test_training_evaluates_what_was_learned_and_leaves_the_comparison_its_name(config, tmp_path):
    c = config(train__num_steps=2, evaluate__name="", evaluate__runs=("learned", "random"))
    c.transformer.weights = ""
    c.evaluate.update({"after_train": True, "before_train": True, "count": 2})
    train.run(c, str(tmp_path / "run"))
    folder = tmp_path / "run" / "evaluation"
    assert sorted(path.name for path in folder.iterdir()) == ["sampled-0", "sampled-2"]
    evaluate.run(c, str(tmp_path / "run"))
    assert json.loads((folder / "sampled-compared" / "summary.json").read_text())["latents"] == 2


def test_the_evaluation_of_one_run_does_not_go_into_its_folder(finished, config):
    page = (finished / "index.html").read_bytes()
    with pytest.raises(InputError, match="holds a comparison of several runs; choose another --config"):
        evaluate.run(config(evaluate__runs=()), str(finished.parent.parent))
    assert (finished / "index.html").read_bytes() == page


@pytest.mark.slow
def test_a_path_may_be_written_in_another_way(finished, config, one, monkeypatch):
    monkeypatch.setattr(sweeps.Sweep, "_measure", lambda *_: pytest.fail("something was computed"))
    evaluate.run(config(evaluate__runs=(*RUNS, f"one direction={one}/")), str(finished.parent.parent))


def test_the_same_seed_gives_the_same_summary_bit_for_bit(finished, config, tmp_path):
    evaluate.run(config(), str(tmp_path / "run"))
    again = tmp_path / "run" / "evaluation" / "all"
    for file in ("summary.json", "comparison.json", "svm/summary.json", "learned/manifest.jsonl"):
        assert (again / file).read_bytes() == (finished / file).read_bytes(), file


def test_what_is_written_about_it_is_rebuilt_without_images(finished, monkeypatch):
    summary, page = (finished / "summary.json").read_text(), (finished / "index.html").read_text()
    (finished / "index.html").unlink()
    monkeypatch.setattr(sweeps.Sweep, "_measure", lambda *_: pytest.fail("something was computed"))
    reports.rebuild(finished)
    assert (finished / "index.html").read_text() == page
    assert (finished / "summary.json").read_text() == summary


def test_a_wrong_entry_is_told_before_anything_is_written(config, tmp_path):
    with pytest.raises(
        InputError, match=r"config\.evaluate\.runs: names 'runs/none', which is no method and no folder"
    ):
        evaluate.run(config(evaluate__runs=("svm", "runs/none")), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("runs", "what"),
    [
        (("pca", 3), "config.evaluate.runs: has 3; give texts: a method, a folder, or LABEL=either"),
        (("a=pca", "a=svm"), "config.evaluate.runs: has the labels 'a' and 'a', which name one folder; give each"),
        (("x one=pca", "x-one=svm"), "has the labels 'x one' and 'x-one', which name one folder; give each its own"),
    ],
)
def test_entries_that_cannot_be_told_apart_are_refused(runs, what):
    with pytest.raises(InputError, match=re.escape(what)):
        comparison.entries_of(runs)


def test_an_entry_is_a_method_a_folder_or_either_with_a_label(tmp_path, monkeypatch):
    (tmp_path / "lr=0.1").mkdir()
    monkeypatch.chdir(tmp_path / "lr=0.1")
    entries = comparison.entries_of(("pca", "../lr=0.1", "one direction=runs/two", "here=."))
    assert [tuple(entry) for entry in entries] == [
        ("pca", "pca"),
        ("lr=0.1", "../lr=0.1"),
        ("one direction", "runs/two"),
        ("here", "."),
    ]
    assert [entry.folder for entry in entries] == ["pca", "lr_0.1", "one-direction", "here"]
    assert comparison.entries_of((".",))[0].label == "lr=0.1"
