"""Model folders on disk: weights.safetensors and model.json, verified when read.

    model.json   {"format", "kind", "config", "source": {"file", "sha256"}, "weights_sha256"}

model.json is written last, and the folder appears by one rename: a folder that is there is whole.
"""

import hashlib
import json
import mmap
import os
import pathlib
from typing import Any

import jax
import ml_dtypes
import numpy as np
import safetensors.numpy
from flax import nnx
from safetensors import SafetensorError

from latentjax import assessors, generators, remote
from latentjax.errors import InputError
from latentjax.files import read_json, sha256_of, staged
from latentjax.transformers import Transformer

FORMAT = "latentjax-model-1"
ROLES = {
    "generator": generators.KINDS,
    "assessor": assessors.KINDS,
    "transformer": {"transformer": Transformer},
}
CLASSES = {kind: cls for kinds in ROLES.values() for kind, cls in kinds.items()}
ROLE_OF = {kind: role for role, kinds in ROLES.items() for kind in kinds}
DTYPES = {  # by their names in safetensors
    **{"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(ml_dtypes.bfloat16)},
    **{"I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1")},
    **{"U8": np.dtype("u1"), "BOOL": np.dtype("?")},
}
Shapes = dict[str, tuple[int, ...]]


def build(kind: str, config: dict[str, Any], *, seed: int = 0) -> nnx.Module:
    """A module with random weights."""
    return CLASSES[kind](**config, rngs=nnx.Rngs(seed))


class OneKey:
    """Stands for nnx.Rngs where only shapes are wanted: its counters cost seconds when they are traced."""

    def __init__(self) -> None:
        self._key = jax.random.key(0)

    def params(self) -> jax.Array:
        """The same key for every weight."""
        return self._key


def abstract(kind: str, config: dict[str, Any]) -> nnx.Module:
    """The module with shapes in place of weights: the exact tree that a file must fill."""
    return nnx.eval_shape(lambda: CLASSES[kind](**config, rngs=OneKey()))


def abstract_of(folder: os.PathLike | str, record: dict[str, Any]) -> nnx.Module:
    """`abstract` of a model folder's record.

    Raises:
        InputError: there is no such module.
    """
    try:
        return abstract(record["kind"], record["config"])
    except Exception as error:  # model.json has no checksum: its config may hold anything
        where = remote.within(folder, "model.json")
        raise InputError(where, f"is damaged (config: {error!r:.200})", "convert or copy the model again") from error


def named(state: Any) -> dict[str, Any]:
    """Path ("blocks/0/conv0/kernel") to array, or shape, of every weight of a module's state."""
    return {"/".join(map(str, path)): variable.get_value() for path, variable in nnx.to_flat_state(state)}


def shapes_of(kind: str, config: dict[str, Any]) -> Shapes:
    """Path to shape of every weight of a kind."""
    return _shapes(abstract(kind, config))


def _shapes(module: nnx.Module) -> Shapes:
    return {path: tuple(leaf.shape) for path, leaf in named(nnx.state(module)).items()}


def digest(arrays: dict[str, Any]) -> str:
    """The sha256 that the weights file of these arrays has."""
    contiguous = {path: np.ascontiguousarray(array) for path, array in arrays.items()}
    return hashlib.sha256(safetensors.numpy.save(contiguous)).hexdigest()


def fill(module: nnx.Module, weights: dict[str, Any]) -> None:
    """Puts arrays into a module, path by path; the caller has checked that they match."""
    state = nnx.state(module)
    for path, variable in nnx.to_flat_state(state):
        variable.set_value(jax.numpy.asarray(weights["/".join(map(str, path))]))
    nnx.update(module, state)


def save(
    folder: os.PathLike | str,
    weights: dict[str, Any],
    kind: str,
    config: dict[str, Any],
    source: dict[str, Any],
    *,
    card: str = "",
    replace: bool = False,
) -> None:
    """Writes a model folder.

    Args:
        folder: where; refused if there, unless `replace`.
        weights: path to array.
        kind, config: the class and its arguments, see `CLASSES`.
        source: what it was made from, for the record.
        card: README.md, where given.
        replace: swap an existing folder for the new one.

    Raises:
        InputError: the folder is there already, or cannot be written.
    """
    with staged(folder, replace=replace) as temporary:
        file = temporary / "weights.safetensors"
        try:
            safetensors.numpy.save_file({path: np.ascontiguousarray(array) for path, array in weights.items()}, file)
        except SafetensorError as error:
            raise InputError(folder, f"cannot be written ({error})", "free space, or name another folder") from error
        record = {
            "format": FORMAT,
            "kind": kind,
            "config": config,
            "source": source,
            "weights_sha256": sha256_of(file),
        }
        if card:
            (temporary / "README.md").write_text(card)
        (temporary / "model.json").write_text(json.dumps(record, indent=2) + "\n")


def holds(folder: pathlib.Path, arrays: dict[str, Any]) -> bool:
    """Whether a model folder is there, whole, with these weights."""
    try:
        known, file = read_json(folder / "model.json"), folder / "weights.safetensors"
        return known.get("weights_sha256") == digest(arrays) == sha256_of(file)
    except (OSError, ValueError):
        return False


def read_record(folder: os.PathLike | str, role: str) -> dict[str, Any]:
    """model.json of a folder, here or on gs://, checked for its format and role.

    Raises:
        InputError: no model folder, or one of another role.
    """
    return _record(_model_json(folder, role), folder, role)


def _model_json(folder: os.PathLike | str, role: str) -> bytes:
    path = remote.within(folder, "model.json")
    try:
        if remote.is_remote(folder):
            return remote.read(path)
        if not os.path.exists(folder):
            raise InputError(folder, "does not exist", f"give the {role}'s model folder")
        if not os.path.isdir(folder):
            todo = "give a model folder (python -m converters SOURCE DESTINATION makes one from a PyTorch file)"
            raise InputError(folder, "is a file", todo)
        return path.read_bytes()
    except FileNotFoundError:
        todo = "give a folder that python -m converters or a training run wrote"
        raise InputError(folder, f"is not a {role} folder (no model.json)", todo) from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "check its permissions") from error


def _record(model_json: bytes, folder: os.PathLike | str, role: str) -> dict[str, Any]:
    path = remote.within(folder, "model.json")
    try:
        record = json.loads(model_json.decode("utf-8"))
        kind, found = record["kind"], record["format"]
        known = found == FORMAT and kind in CLASSES
        _ = {**record["config"]}, {**record["source"]}, record["weights_sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(path, f"is damaged ({error!r})", "convert or copy the model again") from error
    if not known:
        raise InputError(path, f"has unknown format {found!r} or kind {kind!r}", "use the latentjax that wrote it")
    if kind not in ROLES[role]:
        fitting = ROLE_OF[kind]
        what = f"holds a model for the role {fitting} ({kind}), not {role}"
        raise InputError(folder, what, "give another folder")
    return record


def mapped(file: os.PathLike | str) -> mmap.mmap | bytes:
    """The bytes of a file, in memory when they are looked at."""
    with open(file, "rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) if size else b""


def views(data: mmap.mmap | bytes) -> dict[str, np.ndarray]:
    """Path to array of a safetensors file; the arrays are parts of `data`, nothing is copied.

    Raises:
        InputError: without a file name, for a dtype that is not among `DTYPES` or a name that is there twice. What is
            damaged raises any exception: the sizes are to be checked before.
    """
    begin = 8 + int.from_bytes(data[:8], "little")
    arrays = {}
    for path, entry in json.loads(data[8:begin], object_pairs_hook=_unique).items():
        if path != "__metadata__":
            if entry["dtype"] not in DTYPES:
                raise InputError("", f"holds numbers of type {entry['dtype']}", f"save them as {', '.join(DTYPES)}")
            dtype, (start, end) = DTYPES[entry["dtype"]], entry["data_offsets"]
            flat = np.frombuffer(data, dtype, (end - start) // dtype.itemsize, begin + start)
            arrays[path] = flat.reshape(entry["shape"])
    return arrays


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a name that is there twice, JSON readers keep either."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InputError("", "has a header with one name twice", "do not use this file")
    return found


def placed(array: np.ndarray, dtype: np.dtype) -> jax.Array:
    """The array on the device, in the dtype; one that has it already is not copied before."""
    return jax.device_put(np.asarray(array, dtype), may_alias=False)


def load(folder: os.PathLike | str, role: str) -> tuple[nnx.Module, dict[str, Any]]:
    """The module of a model folder and its record; weights stored in half precision become the module's float32.

    Args:
        folder: a model folder, or the address of one on gs://, which is brought into the cache.
        role: "generator", "assessor" or "transformer".

    Raises:
        InputError: missing, damaged (checksum, tensors) or of another role.
    """
    model_json = _model_json(folder, role)
    record = _record(model_json, folder, role)
    todo = "convert or copy the model again"
    if remote.is_remote(folder):
        folder = remote.fetched(folder, model_json, record["weights_sha256"])
        todo = f"delete {folder}: it is fetched again"
    file = pathlib.Path(folder) / "weights.safetensors"
    try:
        data = mapped(file)
        whole = hashlib.sha256(data).hexdigest() == record["weights_sha256"]
        weights = views(data) if whole else {}
    except Exception as error:  # the checksum that model.json gives may be that of anything
        raise InputError(file, f"cannot be read ({error!r:.200})", "convert or copy the model again") from error
    if not whole:
        raise InputError(file, "does not match the checksum in model.json", todo)
    module = abstract_of(folder, record)
    if {path: array.shape for path, array in weights.items()} != _shapes(module):
        raise InputError(file, "has other tensors than its model.json states", "convert or copy the model again")
    # from the file to the device, with no copy of all of them on the way; not shared with the file, which may change
    dtypes = {path: leaf.dtype for path, leaf in named(nnx.state(module)).items()}
    fill(module, {path: placed(array, dtypes[path]) for path, array in weights.items()})
    return module, record
