"""One writer at a time: the second is told who is there, and a lock that was left over locks nothing."""

import os
import signal
import subprocess
import sys

import pytest

from configs import default
from latentjax import locks
from latentjax.errors import InputError
from latentjax.run_folder import RunFolder
from tests import tiny_runs

HOLDER = """
import pathlib, sys, time
from latentjax import locks
locks.hold(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has locked tmp_path."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=tiny_runs.ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_second_process_is_told_who_writes(holder, tmp_path):
    said = rf"^{tmp_path}: is being written by process {holder.pid} on \S+, since [^;]+; wait until it is done, stop it"
    for take in (locks.hold, locks.refuse_taken):
        with pytest.raises(InputError, match=said):
            take(tmp_path)


def test_a_run_folder_in_use_is_refused_before_anything_is_loaded(holder, tmp_path):
    with pytest.raises(InputError, match=f"is being written by process {holder.pid}"):
        RunFolder(str(tmp_path), default.get_config())


def test_launch_refuses_it_in_one_line(holder, tmp_path):
    command = [sys.executable, "launch.py", "--config=configs/demo.py", f"--workdir={tmp_path}"]
    ended = subprocess.run(command, cwd=tiny_runs.ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {tmp_path}: is being written by process {holder.pid} on ")
    assert ended.stderr.count("\n") == 1


def test_the_lock_of_a_killed_process_is_taken_over(holder, tmp_path, caplog):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    locks.refuse_taken(tmp_path)
    caplog.set_level("INFO")
    with locks.released():
        locks.hold(tmp_path)
        assert f"process {holder.pid} on " in caplog.text
        assert "ended without a word; going on in its place" in caplog.text


def test_it_is_given_up_at_the_end_and_leaves_no_word(tmp_path, caplog):
    caplog.set_level("INFO")
    for _ in range(2):
        with locks.released():
            locks.hold(tmp_path)
            locks.hold(tmp_path)  # again by the same process
            assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    assert (tmp_path / ".lock").read_text() == ""
    assert caplog.text == ""


def test_a_folder_without_a_lock_is_free(tmp_path):
    locks.refuse_taken(tmp_path)
    assert not list(tmp_path.iterdir())
