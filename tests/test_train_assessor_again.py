"""An assessor's run that is started again: what is there is left alone, what is missing is made; one folder for all."""

import json
import os
import pathlib
import shutil

import pytest

from latentjax.jobs import train_assessor
from tests import process_groups, tiny_runs
from tests.conversion import shorten_assessors
from tests.test_train_assessor import arguments, config, paint_both

FIELDS = {"assessor_training__num_steps": 4, "assessor_training__validate_every": 2}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return paint_both(tmp_path_factory.mktemp("pictures"), 12)


@pytest.fixture(scope="module", autouse=True)
def short_networks(tmp_path_factory):
    with tiny_runs.shared_compilations(tmp_path_factory.mktemp("cache")), pytest.MonkeyPatch.context() as patch:
        shorten_assessors(patch)
        yield


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    """A finished run; not to be changed."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    said = train_assessor.run(config(pictures, **FIELDS), str(workdir))
    assert said in ("an assessor of step 2", "an assessor of step 4")
    return workdir


@pytest.fixture
def workdir(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "run")


def made(workdir: pathlib.Path) -> dict[str, int]:
    """When each file that is made at the end was made."""
    files = [path for name in ("assessor", "report") for path in (workdir / name).rglob("*")]
    return {str(path): os.stat(path).st_mtime_ns for path in files}


def again(pictures, workdir, **fields) -> str:
    return str(train_assessor.run(config(pictures, **FIELDS | fields), str(workdir)))


def test_a_finished_run_started_again_has_nothing_to_do(pictures, workdir, monkeypatch):
    before = made(workdir)
    monkeypatch.setattr(train_assessor, "export", lambda *_: pytest.fail("exports again"))
    assert again(pictures, workdir) == "nothing to train, step 4 was reached before"
    assert made(workdir) == before


@pytest.mark.parametrize("lost", ["assessor", "assessor/weights.safetensors", "report/index.html", "report"])
def test_what_a_finished_run_lost_is_made_again(pictures, workdir, lost):
    path = workdir / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert again(pictures, workdir).startswith("an assessor of step ")
    assert path.exists()
    assert again(pictures, workdir) == "nothing to train, step 4 was reached before"


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("part", ["export", "write"])
def test_killed_after_more_steps_it_reports_on_them(pictures, workdir, monkeypatch, part):
    def killed(*_):
        raise KilledError

    where = train_assessor if part == "export" else train_assessor.assessor_report
    with monkeypatch.context() as patch:
        patch.setattr(where, part, killed)
        with pytest.raises(KilledError):
            again(pictures, workdir, assessor_training__num_steps=6)
    assert again(pictures, workdir, assessor_training__num_steps=6).startswith("an assessor of step ")
    curves = json.loads((workdir / "report" / "report.json").read_text())["curves"]
    assert [step for step, _ in curves["validation"]] == [2, 4, 6]
    said = again(pictures, workdir, assessor_training__num_steps=6)
    assert said == "nothing to train, step 6 was reached before"


def test_one_that_no_longer_gets_better_has_nothing_to_do_either(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(train_assessor.classification, "selection", lambda _: 0.5)
    fields = {"assessor_training__patience": 1, "assessor_training__num_steps": 20}
    assert again(pictures, tmp_path / "run", **fields) == "an assessor of step 4"  # the newest of equals
    assert again(pictures, tmp_path / "run", **fields) == "nothing to train, step 4 was reached before"


def test_a_workdir_on_each_machine_is_refused_before_the_pictures_are_prepared(pictures, tmp_path):
    port, started = process_groups.free_port(), []
    for index in range(2):
        command = arguments(pictures, tmp_path / f"machine{index}" / "run")
        command += [f"--config.data.folder={tmp_path / 'data'}", f"--config.checkpoints.folder={tmp_path / 'bucket'}"]
        flags = [f"--coordinator_address=localhost:{port}", "--num_processes=2", f"--process_id={index}"]
        started += process_groups.start([*command, *flags], processes=1, devices=1)
    for index, process in enumerate(process_groups.ended(started, timeout=120)):
        assert process.code == 2, process.log
        what = "is not one folder for all processes (1 of 2 do not see it); name a --workdir that all of them share"
        assert process.log.splitlines()[-1] == f"error: {tmp_path / f'machine{index}' / 'run'}: {what}"
    assert not (tmp_path / "data").exists()
