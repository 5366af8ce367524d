"""What several processes tell each other before and between their common work: short texts, and what one refuses.

By their own service: a computation on all devices would wait for ever for a process that has failed, or meet another
computation that it is at.
"""

import itertools
import json
from typing import Any

import jax
import orbax.checkpoint as ocp

from latentjax import preemption
from latentjax.errors import InputError

_exchanges = itertools.count()  # the same on all processes, which exchange the same things in the same order
ended = False  # whether all know that this job has ended for one of them


class RefusedElsewhereError(InputError):
    """Another process refuses its input.

    Args:
        index: of that process.
        where, what, todo: as it tells it.
    """

    def __init__(self, index: int, where: str, what: str, todo: str):
        super().__init__(where, f"{what} (for process {index})", todo)


def exchanged(text: str, timeout: int = 3600) -> list[str]:
    """What every process says, in the order of the processes.

    Args:
        text: what this one says; short.
        timeout: in seconds.

    Raises:
        RefusedElsewhereError: another process has refused its input, see `refuse_everywhere`.
        Stopped: another process has ended, see `end_everywhere`.
        RuntimeError: not all came.
    """
    global ended
    told = _told_to_all(["said", text], timeout, preemption.STOPPED)
    for index, (kind, *rest) in enumerate(told):
        if kind == "refused":
            raise RefusedElsewhereError(index, *rest)
        if kind == "ended":
            ended = True
            raise preemption.Stopped(f"stopped because process {index} ended (exit code {rest[0]})")
    return [found for _, found in told]


def refuse_everywhere(error: InputError, timeout: int = 20) -> None:
    """Tells the others, which wait for this process or soon will, what it refuses.

    Raises:
        RuntimeError: they are not waiting; what they are computing together then fails.
    """
    # who was told so by another need not tell it
    if not isinstance(error, RefusedElsewhereError):
        _told_to_all(["refused", error.where, error.what, error.todo], timeout, code=2)


def end_everywhere(code: int, timeout: int) -> None:
    """Tells the others that the job has ended for this process, and lets them end alike.

    Raises:
        RuntimeError: they do not come.
    """
    _told_to_all(["ended", code], timeout, code)


def _told_to_all(message: list[Any], timeout: int, code: int) -> list[list[Any]]:
    """Leaves the message with the service, waits for all, and takes theirs; a signal meanwhile ends it with `code`."""
    client, key = ocp.multihost.get_jax_distributed_client(), f"latentjax-{next(_exchanges)}"
    client.key_value_set(f"{key}/{jax.process_index():08d}", json.dumps(message))
    with preemption.at_once(code):
        client.wait_at_barrier(key, 1000 * timeout)
        return [json.loads(found) for _, found in sorted(client.key_value_dir_get(f"{key}/"))]
