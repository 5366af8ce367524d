"""Checkpoints outside of the workdir: one writer there too, and a new workdir may go on with another's."""

import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from latentjax import checkpoint_folder, locks
from latentjax.errors import InputError
from latentjax.jobs import train
from tests import tiny_runs
from tests.test_locks import HOLDER

SHORT = {"train__num_steps": 4, "train__checkpoint_every": 2, "train__log_every": 2}


@pytest.fixture
def held(tmp_path):
    """Has another process lock a folder; gives the process."""
    started = []

    def hold(folder):
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", HOLDER, str(folder)]
        started.append(subprocess.Popen(command, cwd=tiny_runs.ROOT, stdout=subprocess.PIPE))
        assert started[-1].stdout.readline() == b"held\n"
        return started[-1]

    yield hold
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run_in(generator, tmp_path):
    """Trains in a workdir of this name, with its checkpoints in `shared`."""

    def run(name, **fields):
        fields = SHORT | {"checkpoints__folder": str(tmp_path / "shared")} | fields
        return train.run(tiny_runs.config(generator, **fields), str(tmp_path / name))

    return run


def test_a_second_run_with_the_same_folder_is_told_who_writes_before_it_begins(run_in, held, tmp_path):
    process = held(tmp_path / "shared")
    said = (
        rf"^{tmp_path}/shared: is being written by process {process.pid} on .* another --config\.checkpoints\.folder$"
    )
    with pytest.raises(InputError, match=said):
        run_in("run")
    assert not (tmp_path / "run").exists()


def test_so_is_one_that_names_the_own_folder_of_a_run_at_work(run_in, held, tmp_path):
    process = held(tmp_path / "first")
    (tmp_path / "first" / "config.json").write_text("{}")
    with pytest.raises(InputError, match=f"^{tmp_path}/first: is being written by process {process.pid} on "):
        run_in("run", checkpoints__folder=str(tmp_path / "first" / "checkpoints"))
    assert not (tmp_path / "run").exists()


def test_whoever_is_a_moment_later_is_told_too(held, tmp_path):
    process = held(tmp_path)
    with pytest.raises(InputError, match=f"^{tmp_path}: is being written by process {process.pid} on "):
        checkpoint_folder.take(str(tmp_path))


def test_a_new_workdir_goes_on_with_them_and_says_so_once(run_in, held, tmp_path, caplog):
    held(tmp_path / "shared").send_signal(signal.SIGKILL)
    run_in("one")
    assert "another workdir" not in caplog.text
    said = f"{tmp_path}/shared: holds step 4 of another workdir's run; going on with it"
    assert run_in("two", train__num_steps=6).startswith("trained steps 4 to 6")
    assert [record.levelname for record in caplog.records if record.getMessage() == said] == ["WARNING"]
    caplog.clear()
    run_in("two", train__num_steps=8)
    assert "another workdir" not in caplog.text
    # the lock is given up, and no step
    assert (tmp_path / "shared" / ".lock").read_text() == ""
    assert {path.name for path in (tmp_path / "shared").iterdir() if path.name.isdigit()} >= {"6", "8"}


def test_only_the_primary_process_takes_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_folder.distributed, "is_primary", lambda: False)
    monkeypatch.setattr(locks, "hold", lambda *_: pytest.fail("the primary process has the lock"))
    checkpoint_folder.take(str(tmp_path))
    checkpoint_folder.check(str(tmp_path), pathlib.Path("run"))


def test_the_own_folder_of_a_run_is_under_the_run_s_lock(run_in, tmp_path):
    run_in("run", checkpoints__folder="")
    assert not (tmp_path / "run" / "checkpoints" / ".lock").exists()
    assert (tmp_path / "run" / ".lock").exists()


def test_an_own_folder_that_cannot_be_written_is_told_before_the_run_goes_on(run_in, tmp_path):
    run_in("run", checkpoints__folder="")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "checkpoints").symlink_to(tmp_path / "unmounted")
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(InputError, match=f"^{tmp_path}/run/checkpoints: cannot be written .*; mend that, and run the"):
        run_in("run", checkpoints__folder="")
    assert (tmp_path / "run" / "run.json").read_bytes() == before
