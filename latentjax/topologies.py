"""TPU slices that need not be there: their devices for the compiler, and what their maker states of a chip."""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from latentjax.errors import InputError


class Chip(NamedTuple):
    """What its maker states of a TPU chip."""

    memory: float  # GiB
    flops: float  # bfloat16, a second
    bandwidth: float  # bytes a second
    clock: float  # cycles a second, at which its matrix units reach `flops`


CHIPS = {
    "v4": Chip(32, 275e12, 1.228e12, 1.05e9),
    "v5e": Chip(16, 197e12, 0.819e12, 1.5e9),
    "v5p": Chip(95, 459e12, 2.765e12, 1.75e9),
    "v6e": Chip(32, 918e12, 1.64e12, 1.75e9),
}
# both cores of a chip are one device; of the later chips, they are in any case
AS_ONE_DEVICE = {"v4": {"chip_config_name": "megacore"}}


def devices_of(topology: str) -> tuple[list[Any], Chip | None]:
    """The devices to compile for: a named slice's, or those that are here.

    Raises:
        InputError: no such slice, or its compiler is not installed.
    """
    if not topology:
        return jax.devices(), None
    name = topology.partition(":")[0]
    if name not in CHIPS or not re.fullmatch(r"\w+:\d+(x\d+)*", topology):
        todo = f"write one such as v5e:2x4; known chips are {', '.join(CHIPS)}"
        raise InputError("config.plan.topology", f"{topology!r} is unknown", todo)
    from jax.experimental import topologies

    # else libtpu asks the cloud's metadata server what machine this is, and wants the TPU for itself
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    try:
        with quiet_stderr():
            found = topologies.get_topology_desc(topology, platform="tpu", **AS_ONE_DEVICE.get(name, {}))
        return found.devices, CHIPS[name]
    except Exception as error:  # libtpu's own errors have no common class
        if "libtpu" in str(error).lower() or "unknown backend" in str(error).lower():
            todo = "pip install -r requirements-tpu.txt (no TPU is needed)"
            raise InputError("config.plan.topology", "needs the TPU's compiler", todo) from error
        what = f"{topology!r} is no slice ({str(error).splitlines()[0][:120]})"
        raise InputError("config.plan.topology", what, "write one such as v5e:2x4") from error


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """libtpu tells on stderr that it finds no TPU, which is known."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def memory_of(devices: list[Any], chip: Chip | None) -> float | None:
    """Bytes of one device, where known."""
    if chip:
        return chip.memory * 2**30
    stats = devices[0].memory_stats() if devices[0].platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) if devices[0].platform == "cpu" else None
