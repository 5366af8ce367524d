"""How a process finds the others, and what it says where they do not come."""

import jax
import pytest

from latentjax import distributed, processes
from latentjax.errors import InputError
from latentjax.preemption import Stopped
from tests import process_groups, tiny_runs


@pytest.fixture
def environment(monkeypatch):
    """None of the variables that tell of other processes."""
    for name in (*(f"JAX_{flag.upper()}" for flag in processes.FLAGS), "SLURM_STEP_NODELIST", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


NOTHING = dict.fromkeys(processes.FLAGS)


def test_without_flags_and_variables_a_process_is_alone(environment):
    assert processes.place(NOTHING, "cpu") is None


def test_flags_stand_above_variables(environment):
    environment.setenv("JAX_COORDINATOR_ADDRESS", "a:1")
    environment.setenv("JAX_NUM_PROCESSES", "3")
    environment.setenv("JAX_PROCESS_ID", "2")
    assert processes.place(NOTHING, "any") == ("a:1", 3, 2)
    assert processes.place(NOTHING | {"process_id": "1"}, "any") == ("a:1", 3, 1)


@pytest.mark.parametrize(
    "variables",
    [{"OMPI_COMM_WORLD_SIZE": "4"}, {"SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "2"}],
    ids=["mpirun", "srun"],
)
def test_in_a_cluster_jax_finds_the_others(environment, variables):
    for name, value in variables.items():
        environment.setenv(name, value)
    assert processes.place(NOTHING, "any") == (None, None, None)


@pytest.mark.parametrize("variables", [{"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, {"OMPI_COMM_WORLD_SIZE": "1"}])
def test_a_batch_script_without_srun_is_alone(environment, variables):
    for name, value in variables.items():
        environment.setenv(name, value)
    assert processes.place(NOTHING, "any") is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("a:1", None, None), r"^--num_processes: is missing; give all of --coordinator_address, --num_processes, --p"),
        ((None, "2", "0"), r"^--coordinator_address: is missing; "),
        (("a:1", "two", "0"), r"^--num_processes: is 'two'; give a whole number"),
        (("a:1", "2", "-1"), r"^--process_id: is '-1'; give a whole number"),
        (("a:1", "2", "2"), r"^--process_id: is 2 of 2; give each process one of 0 to 1"),
        (("a", "2", "0"), r"^--coordinator_address: is 'a'; give HOST:PORT of process 0"),
        (("a:b", "2", "0"), r"^--coordinator_address: is 'a:b'; give HOST:PORT"),
    ],
)
def test_what_cannot_be_joined_is_told(environment, given, said):
    with pytest.raises(InputError, match=said):
        processes.place(dict(zip(processes.FLAGS, given, strict=True)), "any")


LONELY = """
import sys
from latentjax import command_line, processes
processes.JOINING = 2
command_line.run(lambda words: processes.join(dict(zip(processes.FLAGS, words)), "cpu", "train"))
"""


@pytest.mark.parametrize("index", ["0", "1"])
def test_processes_that_never_come_are_told_of(index):
    ended = tiny_runs.python(LONELY, f"localhost:{process_groups.free_port()}", "2", index)
    assert ended.returncode == 75
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("stopped after 2 s in which not all processes came; start every process ")
    assert line.endswith("; run the same command again to go on")
    assert "Traceback" not in ended.stderr


@pytest.fixture
def failing(environment, monkeypatch):
    """Lets joining fail by an error."""

    def fail(error: Exception) -> None:
        def initialize(**_):
            raise error

        monkeypatch.setattr(jax.distributed, "initialize", initialize)
        processes.join(dict(zip(processes.FLAGS, ("localhost:1", "2", "0"), strict=True)), "cpu", "train")

    return fail


def test_what_passes_while_they_come_together_is_tried_again(failing):
    with pytest.raises(Stopped, match=r"another process was lost, or has this one's --process_id \(ABORTED: aborted"):
        failing(jax.errors.JaxRuntimeError("ABORTED: aborted"))


@pytest.mark.parametrize("error", [jax.errors.JaxRuntimeError("UNKNOWN: the port is taken"), ValueError("no address")])
def test_what_stays_wrong_is_refused(failing, error):
    with pytest.raises(InputError, match=r"^--coordinator_address: the processes of this job do not find each other"):
        failing(error)


def test_one_that_did_not_come_to_the_others_ends_without_them(failing, monkeypatch):
    def process_count():
        raise RuntimeError("it would look for devices with the others' help")

    ended = []
    with pytest.raises(Stopped):
        failing(jax.errors.JaxRuntimeError("UNAVAILABLE: gone"))
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", process_count)
    monkeypatch.setattr(processes.os, "_exit", ended.append)
    processes.leave(75)
    assert ended == [75]


TAKEN = "Unable to initialize backend 'tpu': ABORTED: The TPU is already in use by process with pid 7"
GONE = (
    "Unable to initialize backend 'cpu': DEADLINE_EXCEEDED: GetKeyValue() timed out with key: cpu:global_topology/cpu"
)


@pytest.mark.parametrize(("said", "kind"), [(TAKEN, InputError), (GONE, Stopped)])
def test_a_taken_device_is_wrong_and_a_lost_process_is_waited_for(said, kind, monkeypatch):
    def devices(*_):
        raise RuntimeError(said)

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    with pytest.raises(kind):
        distributed.start("tpu")
