"""Checkpoints that cannot be read or written for now: nothing is taken for damaged, nothing is lost."""

import errno

import jax
import pytest
from etils import epath

from latentjax import distributed
from latentjax.checkpoints import Checkpoints
from latentjax.errors import InputError
from tests.test_checkpoints import LOSSES, files_of, halve, kept, restored, write


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "checkpoints", LOSSES)
    return tmp_path / "checkpoints"


TENSORSTORE = "RESOURCE_EXHAUSTED: Error opening \"zarr\" driver: Too many open files [os_error_code='24']"
TROUBLES = [OSError(errno.EMFILE, "Too many open files"), PermissionError(errno.EACCES, "No"), ValueError(TENSORSTORE)]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: type(trouble).__name__)
@pytest.mark.parametrize("part", ["_record_of", "_read"])
def test_what_keeps_a_step_from_being_read_for_now_is_no_damage(folder, part, trouble, monkeypatch):
    def fails(*_):
        raise trouble

    before = sorted(folder.iterdir())
    monkeypatch.setattr(Checkpoints, part, fails)
    with pytest.raises(InputError, match=r"cannot be read \(.*; mend that, and run the same command again to go on"):
        restored(folder)
    assert sorted(folder.iterdir()) == before
    monkeypatch.undo()
    assert restored(folder)[0] == 50


def test_nor_is_a_step_that_cannot_be_listed_for_now(folder, monkeypatch):
    kind = type(epath.Path(folder))
    iterdir = kind.iterdir

    def fails(path):
        if path.name == "50":
            raise OSError(errno.EMFILE, "Too many open files")
        return iterdir(path)

    monkeypatch.setattr(kind, "iterdir", fails)
    with pytest.raises(InputError, match=r"cannot be read .*Too many open files"):
        restored(folder)
    monkeypatch.undo()
    assert restored(folder)[0] == 50


@pytest.mark.parametrize("folder", ["/nowhere/run", "gs://bucket/run"])
def test_a_process_that_was_lost_in_a_save_is_no_fault_of_the_folder(folder, monkeypatch):
    monkeypatch.setattr(distributed, "several", lambda: True)
    checkpoints = Checkpoints.__new__(Checkpoints)
    checkpoints.folder = folder
    with pytest.raises(jax.errors.JaxRuntimeError, match="async_write_complete barrier"), checkpoints._told():
        raise TimeoutError("Timed out while waiting for async_write_complete barrier.")  # Orbax's words


def test_a_damaged_step_that_cannot_be_moved_is_told_and_stays(folder, monkeypatch):
    halve(files_of(folder / "50", "default"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Checkpoints, "_move_aside", full)
    with pytest.raises(InputError, match=r"could not be written .*No space left on device"):
        restored(folder)
    assert 50 in kept(folder)
