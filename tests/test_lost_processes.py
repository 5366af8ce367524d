"""One of two processes fails, or is stopped, alone: both come to their end soon, and the same command goes on."""

import pathlib
import signal
import time

import numpy as np
import pytest

from tests import process_groups, tiny_runs

pytestmark = pytest.mark.slow

# a fault, in process 1 alone
FAULTY = """
import errno, sys
import launch
from latentjax import command_line
from latentjax.checkpoints import Checkpoints
from latentjax.metrics import Log
write, record_of = Log.write, Checkpoints._record_of
fault = next(word for word in sys.argv if word.startswith("fault=")).removeprefix("fault=")
sys.argv.remove(f"fault={fault}")
mine = any(word == "--process_id=1" for word in sys.argv)
def write_or_fail(log, step):
    if step >= 30 and fault == "disk":
        raise OSError(errno.ENOSPC, "No space left on device")
    if step >= 30 and fault == "bug":
        raise KeyError("a bug")
    return write(log, step)
def record_or_fail(checkpoints, step):
    if fault == "read" and step == max(checkpoints._manager.all_steps()):
        raise OSError(errno.EIO, "Input/output error")
    return record_of(checkpoints, step)
if mine:
    Log.write, Checkpoints._record_of = write_or_fail, record_or_fail
command_line.process(launch.main)
"""


@pytest.fixture(scope="module")
def config(generator):
    fields = {"train__num_steps": 60, "train__log_every": 10, "train__checkpoint_every": 20}
    return lambda **more: tiny_runs.config(generator, **fields | more)


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("alone") / "run"
    [ended] = process_groups.run(tiny_runs.arguments(config(), workdir), 1, 1)
    assert ended.code == 0, ended.log
    return workdir


def goes_on(config, workdir: pathlib.Path, alone: pathlib.Path) -> None:
    """Asserts that the same command comes to the same end."""
    for process in process_groups.run(tiny_runs.arguments(config(), workdir)):
        assert process.code == 0, process.log
    for name, array in tiny_runs.exported(alone).items():
        # means over a batch add up in another order
        np.testing.assert_allclose(tiny_runs.exported(workdir)[name], array, atol=1e-4, err_msg=name)


def with_fault(config, workdir: pathlib.Path, fault: str) -> tuple[process_groups.Ended, process_groups.Ended]:
    arguments = [*tiny_runs.arguments(config(), workdir), f"fault={fault}"]
    first, second = process_groups.ended(process_groups.start(arguments, program=("-c", FAULTY)), timeout=120)
    return first, second


def was_lost(process: process_groups.Ended) -> bool:
    """Told of it, or ended by JAX's own watch over the processes."""
    told = "stopped because another process was lost" in process.log and "run the same command again" in process.log
    return process.code < 0 or (process.code == 75 and told)


def test_a_disk_that_is_full_for_one_ends_both(config, alone, tmp_path):
    first, second = with_fault(config, tmp_path / "run", "disk")
    assert second.code == 2
    assert "error: " in second.log
    assert "cannot be written (No space left on device)" in second.log
    assert was_lost(first), first
    goes_on(config, tmp_path / "run", alone)


def test_a_bug_in_one_ends_both_and_is_shown(config, alone, tmp_path):
    first, second = with_fault(config, tmp_path / "run", "bug")
    assert second.code == 1
    assert "Traceback" in second.log
    assert "KeyError: 'a bug'" in second.log
    assert was_lost(first), first
    goes_on(config, tmp_path / "run", alone)


def test_a_step_that_one_cannot_read_is_damaged_for_both(config, tmp_path):
    for process in process_groups.run(tiny_runs.arguments(config(), tmp_path / "run")):
        assert process.code == 0, process.log
    for process in with_fault(lambda: config(train__num_steps=80), tmp_path / "run", "read"):
        assert process.code == 0, process.log
        assert "going on from step 40 of 80" in process.log
    assert (tmp_path / "run" / "checkpoints" / "damaged" / "60-0").is_dir()


@pytest.mark.parametrize("which", [0, 1])
def test_killed_in_a_save_the_other_goes_on_later(config, alone, which, tmp_path):
    arguments = tiny_runs.arguments(config(train__num_steps=100_000, train__checkpoint_every=2), tmp_path / "run")
    started = process_groups.start(arguments)
    folder = tmp_path / "run" / "checkpoints"
    while process_groups.step_reached(tmp_path / "run") < 4 or not list(folder.glob("*.orbax-checkpoint-tmp*")):
        assert all(process.poll() is None for process in started)
    started[which].send_signal(signal.SIGKILL)
    ended = process_groups.ended(started, timeout=150)
    assert was_lost(ended[1 - which]), ended[1 - which]
    reached = process_groups.step_reached(tmp_path / "run")
    steps = {"train__num_steps": reached + 10, "train__checkpoint_every": 2}
    for process in process_groups.run(tiny_runs.arguments(config(**steps), tmp_path / "run"), 1, 1):
        assert process.code == 0, process.log
        assert f"going on from step {reached} of" in process.log


@pytest.mark.parametrize("which", [0, 1])
def test_an_evaluation_stops_for_both_when_one_is_signalled(config, transformer, which, tmp_path):
    fields = {"transformer__weights": transformer, "evaluate__count": 4000, "evaluate__name": "mine"}
    started = process_groups.start(tiny_runs.arguments(config(**fields), tmp_path / "run", "evaluate"))
    log = tmp_path / "run" / "evaluation" / "mine" / "strips.jsonl"
    while tiny_runs.size(log) == 0:
        assert all(process.poll() is None for process in started)
        time.sleep(0.01)
    started[which].send_signal(signal.SIGTERM)
    for process in process_groups.ended(started, timeout=60):
        assert process.code == 75, process.log
        assert process.log.splitlines()[-1] == "stopped between two batches; run the same command again to go on"
    done = len(log.read_text().splitlines())
    assert 0 < done < 4000
