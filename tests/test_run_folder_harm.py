"""Damaged records of a run, a failing disk under it, what a kill left of it, and folders that appear late."""

import contextlib
import errno
import fcntl
import pathlib
import re
import shutil

import pytest

from configs import default
from latentjax import locks, run_folder, weights
from latentjax.errors import InputError
from latentjax.run_folder import RunFolder, job, refuse_other_facts
from tests.test_run_folder import DAMAGED, changed, refusal


@pytest.fixture
def workdir(tmp_path):
    """A run folder that no process writes to."""
    folder = tmp_path / "runs" / "one"
    with locks.released():
        RunFolder(str(folder), default.get_config()).create()
    return folder


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_run_json_is_named(workdir, text):
    (workdir / "run.json").write_bytes(text.encode("latin-1"))
    folder = RunFolder(str(workdir), default.get_config())
    with pytest.raises(InputError, match=r"run\.json: is damaged \(.*\); remove it: checkpoints know whose they are$"):
        folder.refuse_other_weights(generator_sha256="a")


def test_a_run_json_that_cannot_be_read_for_now_is_not_to_be_removed(workdir, monkeypatch):
    folder = RunFolder(str(workdir), default.get_config())
    folder.write_run(generator_sha256="a")

    def fails(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(run_folder, "read_json", fails)
    with pytest.raises(InputError, match=r"run\.json: cannot be read \(Input/output error\); mend that, and run the"):
        folder.refuse_other_weights(generator_sha256="a")


def test_a_damaged_config_json_is_that_of_a_new_workdir(workdir, tmp_path):
    (workdir / "config.json").write_text("{")
    (workdir / "checkpoints").mkdir()
    said = "is damaged (.*); start the same command with a new --workdir, stop it, and copy its config.json over this"
    assert re.search(said.replace("(", r"\(").replace(")", r"\)"), refusal(workdir, default.get_config()))
    with locks.released():
        RunFolder(str(tmp_path / "new"), default.get_config()).create()
    shutil.copy(tmp_path / "new" / "config.json", workdir / "config.json")
    RunFolder(str(workdir), default.get_config())


KINDS = [(name, "folder") for name in run_folder.FOLDERS] + [(name, "file") for name in run_folder.FILES]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_a_file_in_the_place_of_a_folder_or_the_reverse_is_told_before_work_begins(workdir, name, kind):
    if kind == "folder":
        (workdir / name).write_text("")
    else:
        (workdir / name).mkdir()
    said = f"{workdir}/{name}: is no {kind}, and a run makes a {kind} of this name; move it away"
    assert refusal(workdir, default.get_config()) == said


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_header_of_results_is_named(tmp_path, text):
    (tmp_path / "evaluation.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"evaluation\.json: is damaged \(.*\); choose another --config\.a"):
        refuse_other_facts(tmp_path / "evaluation.json", {}, "--config.a")


@pytest.mark.parametrize("text", [*DAMAGED, "{}", '{"weights_sha256": 3}'])
def test_a_damaged_model_folder_does_not_hold_the_weights(tmp_path, text):
    (tmp_path / "model.json").write_bytes(text.encode("latin-1"))
    (tmp_path / "weights.safetensors").write_bytes(b"")
    assert not weights.holds(tmp_path, {})


@pytest.fixture
def full(monkeypatch):
    """Fills up the disk: from now on run.json cannot be written."""
    write = run_folder.write_json

    def fails(path, value):
        if path.name == "run.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, value)

    return lambda: monkeypatch.setattr(run_folder, "write_json", fails)


@pytest.mark.parametrize("filled", ["before it starts", "while it runs"])
def test_a_record_that_cannot_be_written_is_told_in_one_line(workdir, full, filled):
    @job
    def run(config, workdir):
        folder = RunFolder(workdir, config)
        folder.create()
        if filled == "while it runs":
            folder.write_run()
        full()
        folder.note(step=3)
        folder.write_run()

    with pytest.raises(InputError) as caught:
        run(default.get_config(), str(workdir))
    assert str(caught.value) == (
        f"{workdir}: cannot be written (No space left on device); mend that, and run the same command again to go on"
    )


def test_what_was_done_counts_where_only_its_end_cannot_be_noted(workdir, full):
    @job
    def run(config, workdir):
        folder = RunFolder(workdir, config)
        folder.create()
        folder.write_run()
        full()
        return "did it"

    assert run(default.get_config(), str(workdir)) == "did it"


def test_a_signal_while_the_facts_are_gathered_ends_a_job_as_any_does(workdir, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder, "git_revision", interrupted)

    @job
    def run(config, workdir):
        folder = RunFolder(workdir, config)
        folder.create()
        folder.write_run()

    with pytest.raises(KeyboardInterrupt):
        run(default.get_config(), str(workdir))


@pytest.fixture
def torn(workdir):
    """A run folder whose process was killed between the two renames that replace its transformer."""
    for name in (".transformer.old.abc/transformer", ".transformer.xyz"):
        (workdir / name).mkdir(parents=True)
        (workdir / name / "model.json").write_text(name)
    return workdir


@contextlib.contextmanager
def locked(folder):
    """As by another process; refused where one has it."""
    with open(folder / locks.NAME, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def test_what_was_being_replaced_is_there_before_anything_is_read(torn):
    RunFolder(str(torn), default.get_config())
    assert (torn / "transformer" / "model.json").read_text() == ".transformer.old.abc/transformer"
    assert not list(torn.glob(".transformer*"))
    with locked(torn):
        pass  # it has given up its lock


def test_it_is_not_touched_under_another_process_or_config(torn, monkeypatch):
    before = sorted(torn.rglob("*"))
    assert "was made with another config" in refusal(torn, changed(train__seed=1))
    with monkeypatch.context() as patch:
        patch.setattr(run_folder.distributed, "is_primary", lambda: False)
        RunFolder(str(torn), default.get_config())
    assert sorted(torn.rglob("*")) == before
    with locked(torn):
        assert "is being written by" in refusal(torn, default.get_config())
    assert sorted(torn.rglob("*")) == before


# ---- several processes


def other_process(workdir, monkeypatch, meanwhile):
    """`create` of one that is not the primary, with what the primary does before."""
    folder = RunFolder(str(workdir), default.get_config())
    monkeypatch.setattr(run_folder.distributed, "is_primary", lambda: False)
    monkeypatch.setattr(run_folder.distributed, "wait_for_all", lambda what: meanwhile())
    folder.create()


def test_a_folder_that_was_not_there_a_moment_ago_is_seen(workdir, tmp_path, monkeypatch):
    def primary():
        shutil.copytree(workdir, tmp_path / "two")
        # as NFS says of names that were asked for before
        monkeypatch.setattr(pathlib.Path, "exists", lambda path: False)
        monkeypatch.setattr(locks, "hold", lambda folder: pytest.fail("the primary process has the lock"))

    other_process(tmp_path / "two", monkeypatch, primary)


def test_without_a_shared_disk_each_process_has_its_own_folder(tmp_path, monkeypatch):
    with locks.released():
        other_process(tmp_path / "two", monkeypatch, lambda: None)
    assert (tmp_path / "two" / "config.json").exists()
