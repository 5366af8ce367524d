"""Devices: which platform, the mesh over them, where arrays live, padding of uneven batches; several processes.

Several processes are `jax.distributed`; `processes.py` brings them together. Here is what they tell each other.
"""

import base64
import functools
import hashlib
import pathlib
import re
import secrets
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from latentjax import overlap
from latentjax.errors import InputError, first_line
from latentjax.exchange import exchanged
from latentjax.preemption import Stopped

# what to do where a platform is not found
MEND = {
    "any": "see what JAX_PLATFORMS is set to",
    "cpu": "see what JAX_PLATFORMS is set to",
    "gpu": "pip install -r requirements-cuda.txt, or use any",
    "tpu": "pip install -r requirements-tpu.txt, or use any",
}
# of what JAX says where processes tell each other of their devices and one has gone
EXCHANGE = "_topology/|[Cc]oordination|KeyValue"


def start(platform: str) -> list[Any]:
    """Initialises JAX on the platform asked for, without silent fallback.

    Args:
        platform: "any", "cpu", "gpu" or "tpu".

    Raises:
        InputError: the platform is not there.
        Stopped: another process was lost meanwhile.
    """
    try:
        if platform == "cpu":
            jax.config.update("jax_platforms", "cpu")
        devices = jax.devices() if platform == "any" else jax.devices(platform)
    except RuntimeError as error:
        if jax.distributed.is_initialized() and re.search(EXCHANGE, str(error)):
            raise Stopped(f"stopped because another process was lost ({first_line(error)})") from error
        what = f"{platform} was asked for, and JAX finds none ({first_line(error)})"
        raise InputError("config.platform", what, MEND[platform]) from None
    if platform != "any" and jax.default_backend() != platform:
        raise InputError("config.platform", f"is {platform}, but JAX runs on {jax.default_backend()}", "use any")
    return devices


def data_mesh(devices: list[Any] | None = None) -> Mesh:
    """All devices along one axis, `data`."""
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """One copy on every device: weights and training state."""
    return NamedSharding(mesh, PartitionSpec())


def by_row(mesh: Mesh) -> NamedSharding:
    """Rows spread over the devices: batches."""
    return NamedSharding(mesh, PartitionSpec("data"))


def compiler_options(mesh: Mesh) -> dict[str, str]:
    """What XLA is told beside its defaults: TPUs with 128 MiB of vector memory fuse more when lent 32 than 16."""
    roomy = {"TPU v5 lite", "TPU v6 lite"}
    lent = {device.device_kind for device in mesh.devices.flat} <= roomy
    return {"xla_tpu_scoped_vmem_limit_kib": "32768"} if lent else {}


def check_divisible(batch: int, mesh: Mesh, field: str) -> None:
    """Refuses a batch that the devices cannot share evenly.

    Raises:
        InputError: naming the field.
    """
    if batch % mesh.size:
        near = max(mesh.size, batch // mesh.size * mesh.size)
        raise InputError(field, f"{batch} is not divisible by the {mesh.size} devices", f"use {near}")


def shareable(batch: int, mesh: Mesh) -> int:
    """The next batch that the devices can share evenly."""
    return -(-batch // mesh.size) * mesh.size


def padded(array: np.ndarray, rows: int) -> np.ndarray:
    """The array with its last row repeated up to `rows` rows."""
    missing = rows - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array


def ahead(batches: Iterable[Any], mesh: Mesh, count: int = 2) -> Iterator[Any]:
    """Batches of NumPy arrays, each process's share of the rows, spread over the devices `count` batches early."""
    place = functools.partial(jax.make_array_from_process_local_data, by_row(mesh))
    return overlap.ahead((jax.tree.map(place, batch) for batch in batches), count)


def constrain(tree: Any, sharding: NamedSharding) -> Any:
    """Every array of a tree, inside jit, spread as `sharding` says."""
    return jax.tree.map(lambda array: jax.lax.with_sharding_constraint(array, sharding), tree)


def several() -> bool:
    """Whether this process shares its work with others."""
    return jax.process_count() > 1


def is_primary() -> bool:
    """Whether this process writes logs, pictures and all else that is written once."""
    # asking for the index would choose a platform, where nothing has yet
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def wait_for_all(what: str, timeout: int = 600) -> None:
    """Returns when every process is here.

    Args:
        what: is waited for; the same for all.
        timeout: in seconds.
    """
    if several():
        exchanged(what, timeout)


def all_agree(here: bool) -> bool:
    """Whether it is so on every process."""
    return here if not several() else all(found == str(True) for found in exchanged(str(here)))


def told_by_primary(array: np.ndarray) -> np.ndarray:
    """The primary's array, on every process; theirs must have its shape and dtype."""
    if not several():
        return array
    packed = base64.b85encode(zlib.compress(array.tobytes())).decode() if is_primary() else ""
    data = zlib.decompress(base64.b85decode(exchanged(packed)[0]))
    return np.frombuffer(data, array.dtype).reshape(array.shape)


def placed(tree: Any, sharding: NamedSharding) -> Any:
    """Arrays that every process has whole, on the devices of all; `jax.device_put` would gather them from everyone."""
    if not several():
        return jax.device_put(tree, sharding)

    def place(array: Any) -> jax.Array:
        whole = np.asarray(array)
        return jax.make_array_from_callback(whole.shape, sharding, whole.__getitem__)

    return jax.tree.map(place, tree)


def refuse_other_input(text: str, where: str, todo: str = "start all of them with the same command") -> None:
    """Processes that were started with different input would not compute one thing.

    Raises:
        InputError: on all of them, where `text` differs from one to another.
    """
    if not several():
        return
    if len(set(exchanged(hashlib.sha256(text.encode()).hexdigest()))) > 1:
        raise InputError(where, "is not the same for all processes", todo)


def refuse_other_files(text: str, where: str) -> None:
    """The same of files, where `text` stands for what is in them.

    Raises:
        InputError: on all processes, where one has others.
    """
    refuse_other_input(text, where, "give all of them the same files")


def refuse_unshared(folder: pathlib.Path, todo: str) -> None:
    """A folder into which all processes write is one folder.

    Raises:
        InputError: a process does not see what the primary puts there.
        OSError: nothing can be put there.
    """
    if not several():
        return
    sign = folder / f".seen-{exchanged(secrets.token_hex(4))[0]}"
    if is_primary():
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".seen-*"):  # by a process that was killed
            left.unlink(missing_ok=True)
        sign.touch()
    wait_for_all("the sign")
    seen = [found == str(True) for found in exchanged(str(sign.exists()))]
    if is_primary():
        sign.unlink()
    if not all(seen):
        what = f"is not one folder for all processes ({seen.count(False)} of {len(seen)} do not see it)"
        raise InputError(folder, what, todo)


def fetched(tree: Any) -> Any:
    """Arrays as NumPy's, whole on every process; rows may be spread over the devices of all."""
    if not several():
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


class Agreement:
    """Whether any process asks for something, told to all of them at the same step.

    It is told one call later, so that no step is waited for before the next one is on the devices.

    Args:
        mesh: of all devices.
    """

    def __init__(self, mesh: Mesh):
        self._alone, self._rows, self._before = not several(), by_row(mesh), None
        self._any = jax.jit(lambda asked: asked.max(), out_shardings=replicated(mesh))

    def __call__(self, asked: bool) -> bool:
        if self._alone:
            return asked
        mine = np.full(jax.local_device_count(), asked, np.int32)
        found = self._any(jax.make_array_from_process_local_data(self._rows, mine))
        before, self._before = self._before, settled(found)
        return before is not None and bool(before)

    def now(self, asked: bool) -> bool:
        """The same, of this call and the ones before; waits for what the devices are at."""
        return any([self(asked), self(asked)])


def settled(tree: Any) -> Any:
    """The same tree; on several CPU processes, when it is computed: programs that wait for each other there use up the
    few threads and stop for ever.
    """
    if several() and jax.default_backend() == "cpu":
        return jax.block_until_ready(tree)
    return tree
