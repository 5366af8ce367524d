"""SIGTERM and Ctrl-C: what was computed is saved at the next step, the same command goes on; a second one ends it."""

import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from latentjax import preemption
from tests import process_groups, tiny_runs

ENDLESS = 100_000
STUBBORN = """
import sys, time
from latentjax import preemption
with preemption.listening(), preemption.deferred():
    print("ready", flush=True)
    for _ in range(600):
        time.sleep(0.1)
"""
BUSY = """
import ctypes, os, signal, sys, time
from latentjax import preemption
with preemption.listening():
    if "before" in sys.argv:
        with preemption.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
            with preemption.at_once(int(sys.argv[1])):
                sys.exit("waited all the same")
    with preemption.at_once(int(sys.argv[1])):
        mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
        libc.pthread_mutex_lock(mutex)
        print("ready", flush=True)
        libc.pthread_mutex_lock(mutex)  # no signal breaks into this
"""

LONELY = """
import sys
from latentjax import command_line, processes
def join(words):
    print("ready", flush=True)
    processes.join(dict(zip(processes.FLAGS, words)), "cpu", "train")
sys.exit(command_line.run(join))
"""


@pytest.fixture(scope="module")
def config(generator):
    fields = {"train__log_every": 7, "train__checkpoint_every": 50}
    return lambda **more: tiny_runs.config(generator, **fields | more)


def launched(config, workdir, job="train", **fields) -> subprocess.Popen:
    [process] = process_groups.start(tiny_runs.arguments(config(**fields), workdir, job), processes=1, devices=1)
    return process


def stopped(process, number) -> process_groups.Ended:
    process.send_signal(number)
    [ended] = process_groups.ended([process], timeout=60)
    return ended


@pytest.fixture(scope="module", params=[signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)], ids=str)
def interrupted(request, config, tmp_path_factory):
    """A run that was stopped after step 50, and how it ended."""
    workdir = tmp_path_factory.mktemp("interrupted") / "run"
    process = launched(config, workdir, train__num_steps=ENDLESS)
    while process_groups.step_reached(workdir) < 50:
        assert process.poll() is None
        time.sleep(0.005)
    return workdir, stopped(process, request.param)


def test_a_signal_saves_the_step_that_was_reached(interrupted):
    workdir, ended = interrupted
    assert ended.code == 75, ended.log
    reached = process_groups.step_reached(workdir)
    last = ended.log.splitlines()[-1]
    assert last == f"stopped at step {reached} of {ENDLESS}, which is saved; run the same command again to go on"
    assert "stopping at the next step; once more ends it at once" in ended.log
    [start] = json.loads((workdir / "run.json").read_text())["starts"]
    assert (start["how"], start["step"], start["from_step"]) == ("stopped", reached, 0)


def test_a_stopped_run_ends_as_one_that_was_not(interrupted, config, tmp_path):
    workdir, _ = interrupted
    steps = process_groups.step_reached(workdir) + 20
    resumed = launched(config, workdir, train__num_steps=steps)
    whole = launched(config, tmp_path / "run", train__num_steps=steps)
    for process in process_groups.ended([resumed, whole]):
        assert process.code == 0, process.log
    one, other = (tiny_runs.saved_state(folder, steps) for folder in (workdir, tmp_path / "run"))
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    # also the line of the log that the stop fell into
    assert lines_of(workdir) == lines_of(tmp_path / "run")


def lines_of(workdir) -> list[dict[str, float]]:
    """metrics.jsonl in all but its speed."""
    return [line | {"samples_per_second": None} for line in tiny_runs.metrics(workdir)]


def test_without_its_terminal_a_run_goes_on_and_a_hangup_stops_it_in_order(config, tmp_path):
    process = launched(config, tmp_path / "run", train__num_steps=ENDLESS)
    while process_groups.step_reached(tmp_path / "run") < 50:
        assert process.poll() is None
        time.sleep(0.005)
    process.stderr.close()
    while process_groups.step_reached(tmp_path / "run") < 200:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 75
    [start] = json.loads((tmp_path / "run" / "run.json").read_text())["starts"]
    assert (start["how"], start["step"]) == ("stopped", process_groups.step_reached(tmp_path / "run"))


@pytest.mark.parametrize("nohup", [[], ["nohup"]], ids=["plain", "nohup"])
def test_nohup_is_heeded(nohup):
    code = """
import os, signal, sys
from latentjax import command_line
def main(_):
    os.kill(os.getpid(), signal.SIGHUP)
    print("went on")
command_line.process(lambda: command_line.run(main))
"""
    done = subprocess.run([*nohup, sys.executable, "-c", code], cwd=tiny_runs.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == ((0, "went on\n") if nohup else (75, "")), done.stderr


def test_a_signal_before_training_ends_it_with_nothing_lost(config, tmp_path):
    process = launched(config, tmp_path / "run", train__num_steps=20)
    for line in process.stderr:
        if "device(s)" in line:
            break
    ended = stopped(process, signal.SIGTERM)
    assert ended.code == 75, ended.log
    assert re.search(
        r"stopped (by SIGTERM|at step \d+ of 20, which is saved); run the same", ended.log.splitlines()[-1]
    )
    [ended] = process_groups.run(tiny_runs.arguments(config(train__num_steps=20), tmp_path / "run"), 1, 1)
    assert ended.code == 0, ended.log


def test_an_evaluation_stops_where_it_is_and_goes_on(config, transformer, tmp_path):
    fields = {"transformer__weights": transformer, "evaluate__count": 400, "evaluate__name": "mine"}
    process = launched(config, tmp_path / "run", "evaluate", **fields)
    log = tmp_path / "run" / "evaluation" / "mine" / "strips.jsonl"
    while tiny_runs.size(log) == 0:
        assert process.poll() is None
        time.sleep(0.005)
    ended = stopped(process, signal.SIGTERM)
    assert ended.code == 75, ended.log
    assert ended.log.splitlines()[-1] == "stopped by SIGTERM; run the same command again to go on"
    done = len(log.read_text().splitlines())
    assert 0 < done < 400
    assert json.loads((tmp_path / "run" / "run.json").read_text())["starts"][-1]["how"] == "stopped"


@pytest.mark.parametrize("pair", [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)], ids=str)
def test_a_second_signal_ends_it_at_once(pair):
    command = [sys.executable, "-c", STUBBORN]
    with subprocess.Popen(command, cwd=tiny_runs.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(pair[0])
        assert process.stderr.readline() == b"\n"
        assert process.stderr.readline() == b"stopping at the next step; once more ends it at once\n"
        process.send_signal(pair[0])  # as who signals a process and its group sends it
        time.sleep(2 * preemption.TWICE)
        assert process.poll() is None
        process.send_signal(pair[1])
        assert process.wait(timeout=10) == 128 + pair[1]


def test_handlers_are_those_of_the_command_alone():
    before = [signal.getsignal(number) for number in preemption.SIGNALS]
    with preemption.listening():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in preemption.SIGNALS] == before


def test_a_signal_breaks_in_and_into_a_deferred_block_at_its_end():
    reached = []

    def work():
        with preemption.deferred() as outer:
            with preemption.deferred() as inner:
                signal.raise_signal(signal.SIGTERM)
                reached.append((inner.asked, outer.asked))
            reached.append(outer.asked)

    with preemption.listening(), pytest.raises(preemption.Stopped):
        work()
    assert reached == [(True, False), True]
    with preemption.listening(), pytest.raises(preemption.Stopped, match="stopped by SIGINT"):
        signal.raise_signal(signal.SIGINT)


def test_a_signal_that_a_callback_swallows_comes_again():
    class Last:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    def work():
        last = Last()
        del last
        for _ in range(1000):
            time.sleep(0.001)
        pytest.fail("it was swallowed")

    with preemption.listening(), pytest.raises(preemption.Stopped):
        work()


def test_a_block_that_answers_is_not_asked_again():
    def work():
        with preemption.deferred() as stop:
            signal.raise_signal(signal.SIGTERM)
            if stop.asked:
                raise preemption.Stopped("at step 7")

    with preemption.listening(), pytest.raises(preemption.Stopped, match="at step 7"):
        work()


def test_when_all_is_done_a_signal_stops_nothing():
    code = (
        "import os, signal, sys; from latentjax import command_line; import atexit; "
        "atexit.register(os.kill, os.getpid(), signal.SIGTERM); command_line.process(lambda: 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tiny_runs.ROOT, check=False).returncode == 0


def test_in_a_thread_nothing_is_installed():
    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(handler_within).result() is before


def handler_within():
    with preemption.listening():
        return signal.getsignal(signal.SIGTERM)


@pytest.mark.parametrize("index", ["0", "1"])
def test_a_process_that_waits_for_the_others_is_stopped_at_once(index):
    address = f"localhost:{process_groups.free_port()}"
    command = [sys.executable, "-c", LONELY, address, "2", index]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tiny_runs.ROOT)
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)  # it is in C++ by then; where it is not, the first signal stops it too
    ended = stopped(process, signal.SIGTERM)
    assert ended.code == 75, ended.log
    assert ended.log.splitlines()[-1].endswith("run the same command again to go on")


@pytest.mark.parametrize("code", [75, 2])
def test_who_waits_in_c_is_ended_with_the_code_that_was_on_its_way(code):
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, str(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tiny_runs.ROOT,
    )
    assert process.stdout.readline() == "ready\n"
    ended = stopped(process, signal.SIGTERM)
    assert ended.code == code
    assert ended.log.strip() == ("stopped; run the same command again to go on" if code == 75 else "")


def test_who_was_signalled_before_does_not_wait():
    ended = tiny_runs.python(BUSY, "75", "before")
    assert ended.returncode == 75, ended.stderr
    assert "waited" not in ended.stderr


SWALLOWED = """
import os, signal, sys, time
from latentjax import command_line
from latentjax.errors import InputError
def imports(_):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    except BaseException as error:
        raise {"ImportError": ImportError("while initializing"), "InputError": InputError("a", "b", "c")}[sys.argv[1]]
sys.exit(command_line.run(imports))
"""


@pytest.mark.parametrize("error", ["ImportError", "InputError"])
def test_a_signal_of_which_an_import_made_another_error_is_a_stop(error):
    ended = tiny_runs.python(SWALLOWED, error)
    assert ended.returncode == 75, ended.stderr
    assert ended.stderr.strip() == "stopped; run the same command again to go on"
