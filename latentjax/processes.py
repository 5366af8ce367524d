"""Several processes, on one machine or many, brought together by jax.distributed: found, joined and left."""

import glob
import importlib.util
import logging as std_logging
import os
import re
import sys
import threading
from typing import Any, NamedTuple, NoReturn

import jax
from absl import logging

from latentjax import distributed, exchange, preemption
from latentjax.errors import InputError, first_line
from latentjax.preemption import STOPPED, Stopped

FLAGS = ("coordinator_address", "num_processes", "process_id")
LOST = jax.errors.JaxRuntimeError  # what JAX raises when what processes do together breaks off ...
BROKEN = (LOST, ValueError)  # ... the second where a program is started; its text then begins with a status ...
STATUS = "[A-Z_]{5,}: "
OWN = ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "UNIMPLEMENTED")  # ... and for these faults of one process
LOSSES = "DEADLINE_EXCEEDED|UNAVAILABLE|ABORTED|CANCELLED"  # how it begins while the processes come together
JOINING = 300  # seconds that the others may take to start
SILENCE = 30  # seconds without a sign of life after which a process counts as lost
# seconds at the end: a share of pictures may take far longer than another's; a stop is at the same step
WAITING = {0: 7 * 86_400, STOPPED: 8}
TOGETHER = "start every process within five minutes, with the address of process 0 that all can reach"
# jobs whose processes share the work
SHARED = ("train", "evaluate", "generate", "train_assessor")


_together = False  # since all have come, until one is lost


class Place(NamedTuple):
    """This process among the others; all None where jax.distributed finds it by itself."""

    coordinator_address: str | None = None
    num_processes: int | None = None
    process_id: int | None = None


def place(given: dict[str, Any], platform: str) -> Place | None:
    """Where this process is, by flags, else by the environment; None: it is alone.

    Args:
        given: values of `FLAGS`, None where a flag was not given.
        platform: the config's.

    Raises:
        InputError: some of address, number and index are given and others are not, or one is wrong.
    """
    environment = {name: os.environ.get(f"JAX_{name.upper()}") for name in FLAGS}
    values = {name: environment[name] if given[name] is None else given[name] for name in FLAGS}
    found = {name: value for name, value in values.items() if value not in (None, "")}
    if not found:
        return Place() if _in_cluster() or _on_tpu_vm(platform) else None
    if missing := [name for name in FLAGS if name not in found]:
        todo = f"give all of {', '.join(f'--{name}' for name in FLAGS)}, or none"
        raise InputError(f"--{missing[0]}", "is missing", todo)
    for name in FLAGS[1:]:
        if not str(found[name]).isdecimal():
            raise InputError(f"--{name}", f"is {found[name]!r}", "give a whole number")
    address, count, index = str(found[FLAGS[0]]), int(found[FLAGS[1]]), int(found[FLAGS[2]])
    port = re.fullmatch(r".+:(\d{1,5})", address)
    if port is None or not 0 < int(port[1]) < 2**16:
        raise InputError(f"--{FLAGS[0]}", f"is {address!r}", "give HOST:PORT of process 0")
    if not count:
        raise InputError("--num_processes", "is 0", "give how many processes share the job")
    if not index < count:
        raise InputError("--process_id", f"is {index} of {count}", f"give each process one of 0 to {count - 1}")
    return Place(address, count, index)


def _in_cluster() -> bool:
    """Whether srun or mpirun started this process as one of several."""
    step = "SLURM_STEP_NODELIST" in os.environ and os.environ.get("SLURM_NTASKS", "1") != "1"
    return step or os.environ.get("OMPI_COMM_WORLD_SIZE", "1") != "1"


def _on_tpu_vm(platform: str) -> bool:
    """Whether a TPU is in this machine; its metadata tell what other machines belong to it."""
    chips = glob.glob("/dev/accel[0-9]*") + glob.glob("/dev/vfio/[0-9]*")
    return platform in ("any", "tpu") and bool(chips) and importlib.util.find_spec("libtpu") is not None


def join(given: dict[str, Any], platform: str, job: str) -> None:
    """Joins the other processes, where there are any; before anything is computed.

    Raises:
        InputError: a flag is wrong, this process cannot take its place, or the job is for one process.
        Stopped: another process was lost meanwhile.
    """
    global _together
    found = place(given, platform)
    if found is None:
        return
    # its C++ handler would take the place of ours, which a second signal ends at once
    jax.config.update("jax_enable_preemption_service", False)
    std_logging.getLogger("jax").setLevel("WARNING")
    # XLA ends the process by a crash when its own time is over
    giving_up = threading.Timer(JOINING, give_up)
    giving_up.start()
    try:
        with preemption.at_once():
            jax.distributed.initialize(
                **found._asdict(), initialization_timeout=JOINING + 60, heartbeat_timeout_seconds=SILENCE
            )
    except Exception as error:
        if isinstance(error, LOST) and re.match(LOSSES, str(error)):
            what = "another process was lost, or has this one's --process_id"
            raise Stopped(f"stopped because {what} ({first_line(error)})") from error
        # a ValueError, or whatever asking the cloud's metadata server gives where there is none
        if found == Place() and not _in_cluster() and not isinstance(error, LOST):
            logging.info("this TPU's machine tells of no others: one process")
            return
        if not isinstance(error, ValueError | RuntimeError):
            raise
        raise not_found(found, first_line(error)) from error
    finally:
        giving_up.cancel()
    distributed.start(platform)
    _together = True
    if jax.process_count() > 1 and job not in SHARED:
        raise InputError("--job", f"{job} runs in one process", f"start it once; several share {', '.join(SHARED)}")


def not_found(asked: Place, why: str) -> InputError:
    """The others are not there."""
    what = f"the processes of this job do not find each other ({why})"
    if asked.coordinator_address:
        return InputError(f"--{FLAGS[0]}", what, TOGETHER)
    todo = f"start every process within five minutes, or give each --{', --'.join(FLAGS)}"
    return InputError("jax.distributed", what, todo)


def give_up() -> None:
    """Ends the process, whose main thread waits for the others: a preempted machine may be long in coming back."""
    end_unfinished(f"stopped after {JOINING} s in which not all processes came; {TOGETHER}")


def end_unfinished(why: str) -> NoReturn:
    """Ends the process with what it has done so far."""
    print(f"{why}; run the same command again to go on", file=sys.stderr, flush=True)
    os._exit(STOPPED)


def refuse_unless_lost(error: Exception) -> NoReturn:
    """A failure of one process of several, told as what it most likely is.

    Raises:
        Stopped: with several processes, where one that ends breaks off what all are computing.
        Exception: the error itself, in a process that is alone, or where it is its own fault.
    """
    of_jax = isinstance(error, LOST) or re.match(STATUS, str(error))
    if not together() or not of_jax or str(error).startswith(OWN):
        raise error
    global _together
    _together = False
    raise Stopped(f"stopped because another process was lost ({first_line(error)})") from error


def together() -> bool:
    """Whether this process shares the job with others, as far as it knows."""
    return _together and jax.process_count() > 1


def refuse(error: InputError) -> NoReturn:
    """What this process refuses, told to the others too.

    Raises:
        InputError: the error itself.
    """
    global _together
    if together():
        try:
            exchange.refuse_everywhere(error)
        except RuntimeError:
            _together = False
    raise error


def leave(code: int) -> None:
    """Leaves the others in order, and ends the process, where there are any.

    One that fails waits only for those that fail alike: the others notice, and waiting for them would be for ever.
    """
    if not jax.distributed.is_initialized():
        return
    sys.stdout.flush()
    sys.stderr.flush()
    # one that did not come to all cannot ask how many they are
    if together():
        try:
            if not code:
                exchange.exchanged("the end", WAITING[0])
            elif not exchange.ended:
                exchange.end_everywhere(code, WAITING.get(code, 5))
            jax.distributed.shutdown()
        except RuntimeError as error:  # not all came: one is still at work, or was lost
            if not code:
                end_unfinished(f"another process did not come to its end ({first_line(error)})")
        except exchange.RefusedElsewhereError as error:  # of a share that is not this process's
            print(f"error: {error}", file=sys.stderr, flush=True)
            code = 2
        except Stopped as stopped:
            end_unfinished(str(stopped))
    os._exit(code)
