"""A direction that was fitted is taken from its evaluation's folder, by all processes or by none."""

import pathlib

import pytest

from latentjax.errors import InputError
from latentjax.jobs import evaluate, kept, samples
from latentjax.jobs.workbench import prepare
from tests import process_groups, tiny_runs

FIELDS = {"evaluate__method": "sefa", "evaluate__components": 1, "evaluate__count": 2, "evaluate__name": "mine"}


@pytest.fixture(scope="module")
def finished(generator, tmp_path_factory):
    """The folder of an evaluation of a fitted direction; not to be changed."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    evaluate.run(tiny_runs.config(generator, **FIELDS), str(workdir))
    return workdir / "evaluation" / "mine"


def found(generator, folder: pathlib.Path):
    """What moves the latents of an evaluation folder."""
    bench = prepare(tiny_runs.config(generator, **FIELDS), str(folder.parent.parent))
    return kept.transformer_of(bench, folder)


@pytest.fixture
def fits(monkeypatch) -> list[int]:
    """Gets the number of latents of each fit to samples that begins."""
    begun, scores_of = [], samples.Samples.scores_of
    monkeypatch.setattr(samples.Samples, "scores_of", lambda own, points: begun.append(1) or scores_of(own, points))
    return begun


def test_it_is_not_fitted_twice(generator, finished, fits):
    assert found(generator, finished) is not None
    assert not fits


def test_where_another_process_lacks_it_all_fit(generator, finished, fits, monkeypatch):
    asked = []
    monkeypatch.setattr(kept.distributed, "all_agree", asked.append)
    assert found(generator, finished) is not None
    assert fits
    assert asked == [True]


def test_a_process_without_it_tells_the_others(generator, tmp_path, fits, monkeypatch):
    asked = []
    monkeypatch.setattr(kept.distributed, "all_agree", lambda here: asked.append(here) or here)
    assert found(generator, tmp_path / "run" / "evaluation" / "mine") is not None
    assert fits
    assert asked == [False]


def test_a_damaged_folder_is_refused(generator, tmp_path, fits):
    bench = prepare(tiny_runs.config(generator, **FIELDS), str(tmp_path / "run"))
    (tmp_path / "mine" / "transformer").mkdir(parents=True)
    (tmp_path / "mine" / "evaluation.json").write_text("{")
    with pytest.raises(InputError, match=r"evaluation\.json: is damaged"):
        kept.transformer_of(bench, tmp_path / "mine")
    assert not fits


def apart(generator, folder: pathlib.Path, **fields) -> list[process_groups.Ended]:
    """Two processes, each with a workdir of its own, as on two machines."""
    port, started = process_groups.free_port(), []
    for index in range(2):
        flags = [f"--coordinator_address=localhost:{port}", "--num_processes=2", f"--process_id={index}"]
        c = tiny_runs.config(generator, **FIELDS | fields)
        arguments = tiny_runs.arguments(c, folder / f"machine{index}" / "run", "evaluate")
        started += process_groups.start([*arguments, *flags], processes=1, devices=1)
    return process_groups.ended(started, timeout=120)


@pytest.mark.slow
def test_machines_of_which_one_has_it_do_not_wait_for_each_other(generator, tmp_path):
    made = ["2 strips made, in ", "0 strips made, 2 were there before, in "]
    for said in made:
        for process in apart(generator, tmp_path):
            assert process.code == 0, process.log
            assert f"done: evaluate: {said}" in process.log
    assert not (tmp_path / "machine1" / "run" / "evaluation").exists()
    for process in apart(generator, tmp_path, evaluate__seed=3):  # the first machine's folder is of other latents
        assert process.code == 2, process.log
