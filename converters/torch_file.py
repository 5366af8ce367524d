"""Reads PyTorch checkpoint files without PyTorch and without running anything that is inside them.

Two formats exist. The zip format (PyTorch 1.6 and later) stores a pickle and one member per storage, each
with a CRC-32, which is checked for every member read. The legacy format is a row of pickles, then storages.
LEGACY FILES CARRY NO CHECKSUMS: a cut or a broken structure is noticed, a flipped bit inside the numbers is
not; only comparing `TorchFile.sha256` with a published value can tell.

What a pickle may do is in `torch_pickle`. No size that a file claims is allocated before it was compared with
the file's own size. Source: the layout that `torch.save` writes (zip: NAME/data.pkl, NAME/data/KEY and
NAME/byteorder; legacy: magic number, protocol, system facts, object, storage keys, then for each key an int64
count and the elements, little-endian).
"""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

import numpy as np

from converters.torch_pickle import AGAIN, RESAVE, Stub, Unpickler, refusal
from latentjax.errors import InputError

__all__ = ["WRAPPERS", "Stub", "TorchFile", "modules", "read", "state_dict"]

WRAPPERS = ("state_dict", "model", "netG_state_dict", "generator", "params")

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_DEPTH, _MAX_NAMES = 100, 100_000  # a module that holds itself has no end
_NOT_TORCH = "name a file written by torch.save"


@dataclass(frozen=True, eq=False)
class TorchFile:
    """What a PyTorch file holds.

    Attributes:
        path: the file, as it was given.
        sha256: of the whole file, in hexadecimal.
        format: "zip" or "legacy".
        root: dicts, lists, tuples, sets, scalars, strings; tensors as read-only numpy arrays in torch's order
            of dimensions (a transposed or expanded tensor is a strided view); a `Stub` for anything else.
    """

    path: str
    sha256: str
    format: Literal["zip", "legacy"]
    root: Any = field(repr=False)


def read(path: str | os.PathLike) -> TorchFile:
    """Reads a file written by `torch.save`; nothing in it is run.

    Raises:
        InputError: for anything that keeps the file from being read: it is missing, a folder, no PyTorch
            file, cut short, damaged, or of a kind that is not supported. Nothing else leaves this function.
    """
    where = str(path)
    try:
        if os.path.isdir(path):
            raise refusal("is a folder", "name the PyTorch file in it")
        if os.path.exists(path) and not os.path.isfile(path):
            raise refusal("is not a regular file", "copy it to one")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            kind = _sniff(file.read(512))
            file.seek(0)
            root = _read_zip(file, size) if kind == "zip" else _read_legacy(file, size)
            file.seek(0)
            return TorchFile(where, hashlib.file_digest(file, "sha256").hexdigest(), kind, root)
    except InputError as error:
        raise InputError(where, error.what, error.todo) from error
    except FileNotFoundError as error:
        raise InputError(where, "does not exist", "check the path") from error
    except OSError as error:
        raise InputError(where, f"cannot be read ({error.strerror or error})", "check the file") from error
    except MemoryError as error:
        raise InputError(where, "does not fit into memory", "read it on a larger machine") from error
    except EOFError as error:
        raise InputError(where, "is cut short", AGAIN) from error
    except Exception as error:  # a damaged pickle or zip directory can raise any type
        detail = ascii(f"{type(error).__name__}: {error}")[1:-1][:200]
        raise InputError(where, f"is damaged ({detail})", AGAIN) from error


def _sniff(head: bytes) -> Literal["zip", "legacy"]:
    """Tells the format by the first 512 bytes of a file, before any more of it is read."""
    text = head.lstrip().lower()
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(b"\x80") and _LEGACY_MAGIC.to_bytes(10, "little") in head[:32]:
        return "legacy"
    if not head:
        raise refusal("is empty")
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise refusal("is a web page, not a PyTorch file", "download the file that the page leads to")
    if head.startswith(b"version https://git-lfs"):
        raise refusal("is a Git LFS pointer, not the file itself", "run: git lfs pull")
    if head[257:262] == b"ustar":
        raise refusal("is in the tar format that PyTorch wrote before 0.4", RESAVE)
    if head[8:10] == b'{"':
        raise refusal("is a safetensors file, not a PyTorch file", _NOT_TORCH)
    raise refusal("is not a PyTorch file", _NOT_TORCH)


def _read_zip(file: BinaryIO, size: int) -> Any:
    if not zipfile.is_zipfile(file):
        raise EOFError
    with zipfile.ZipFile(file) as archive:
        members = _check_members(archive, size)
        folders = [name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl")]
        if len(folders) != 1:
            raise refusal("is a zip file without a PyTorch data.pkl", _NOT_TORCH)
        folder = folders[0]
        if f"{folder}/constants.pkl" in members:
            raise refusal("is a TorchScript archive", RESAVE)

        def member(name: str) -> bytes:
            info = members.get(f"{folder}/{name}")
            if info is None:
                raise refusal(f"lacks its member {name!r:.60}")
            with archive.open(info) as stream:
                data = stream.read(info.file_size)  # zipfile compares the CRC at the member's end
            if len(data) != info.file_size:
                raise EOFError
            return data

        storages: dict[str, np.ndarray] = {}

        def load_storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
            if key not in storages:
                storages[key] = np.frombuffer(member(f"data/{key}"), np.uint8)
            if count * dtype.itemsize > storages[key].size:
                raise refusal(f"has too few bytes for storage {key!r:.40}")
            return storages[key]

        if f"{folder}/byteorder" in members and member("byteorder") != b"little":
            raise refusal("was written by a big-endian machine", RESAVE)
        return Unpickler(io.BytesIO(member("data.pkl")), load_storage).load()


def _check_members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by name, after checks that make it safe to read each of them once."""
    infos = archive.infolist()
    for info in infos:
        if ".." in info.filename.split("/") or info.filename.startswith("/") or "\\" in info.filename:
            raise refusal(f"has a member with an unsafe name, {info.filename!r:.60}", "do not use this file")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise refusal("has compressed members, which torch.save does not write")
    members = {info.filename: info for info in infos}
    if len(members) != len(infos) or sum(info.file_size for info in infos) > size:
        raise refusal("has a damaged directory: members overlap or are cut short")
    return members


class _Bounded:
    """A file whose read never allocates more than is left in it."""

    def __init__(self, file: BinaryIO, size: int):
        self.file, self.size = file, size
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        if count > self.size - self.file.tell():
            raise EOFError
        return self.file.read(count)


def _read_legacy(file: Any, size: int) -> Any:
    stream = _Bounded(file, size)
    storages: dict[str, tuple[np.ndarray, int]] = {}
    claimed = 0

    def load_storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
        # The elements come after the pickle: tensors are views of memory that is filled below.
        nonlocal claimed
        nbytes = count * dtype.itemsize
        if key not in storages:
            claimed += nbytes
            if claimed > size:
                raise refusal("names storages larger than the file")
            storages[key] = np.empty(nbytes, np.uint8), count
        if storages[key][0].size != nbytes:
            raise refusal("gives two sizes for one storage")
        return storages[key][0]

    magic, protocol, _ = (Unpickler(stream, load_storage).load() for _ in range(3))
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
        raise refusal("is of an unknown protocol", RESAVE)
    root = Unpickler(stream, load_storage).load()
    keys = Unpickler(stream, load_storage).load()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise refusal("has a damaged list of storages")
    if len(keys) != len(storages) or set(keys) != set(storages):
        raise refusal("does not hold the storages that its tensors name")
    for key in keys:
        data, count = storages[key]
        if int.from_bytes(stream.read(8), "little", signed=True) != count:
            raise refusal("gives two sizes for one storage")
        if file.readinto(data) != data.size:
            raise EOFError
    return root


def state_dict(file_or_root: Any) -> dict[str, np.ndarray]:
    """The tensors by torch's dotted names, in torch's order: of a state dict, or of a whole pickled network.

    A dict that holds one of these under a single key of `WRAPPERS` is unwrapped, whatever stands beside it.

    Args:
        file_or_root: what `read` returned, or its `root`.

    Raises:
        InputError: if it is neither.
    """
    where, root = _unwrap(file_or_root)
    if _parts(root):
        named = _network_tensors(root)
    elif isinstance(root, dict):
        named = root.items()
    else:
        raise InputError(where, f"holds {_describe(root)}, not a state dict or a network", RESAVE)
    tensors = {}
    for name, value in named:
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise InputError(where, f"holds {_describe(value)} at {_shorten(name)}, not a tensor", RESAVE)
        tensors[name] = value
        if len(tensors) > _MAX_NAMES:
            raise InputError(where, f"holds more than {_MAX_NAMES} tensors", RESAVE)
    if not tensors:
        raise InputError(where, "holds no tensors", "name a file that holds a network's weights")
    return tensors


def modules(file_or_root: Any) -> Iterator[tuple[str, Stub]]:
    """Dotted name and stub of a pickled network (name "") and of each of its sub-modules, parents first.

    Unlike torch's `named_modules`, a module that is shared appears under each of its names. Nothing is
    yielded for a state dict.

    Raises:
        InputError: if the modules do not form a tree of a reasonable size.
    """
    where, root = _unwrap(file_or_root)
    pending = [("", 0, root)] if _parts(root) else []
    seen = 0
    while pending:
        name, depth, module = pending.pop()
        seen += 1
        if depth > _MAX_DEPTH or seen + len(pending) > _MAX_NAMES:
            raise InputError(where, "has modules nested without end", RESAVE)
        yield name, module
        for key, child in reversed(module.state["_modules"].items()):
            child_name = f"{name}.{key}" if name else str(key)
            if child is not None and not _parts(child):
                raise InputError(where, f"holds {_describe(child)} at {_shorten(child_name)}, not a module", RESAVE)
            if child is not None:
                pending.append((child_name, depth + 1, child))


def _network_tensors(root: Stub) -> Iterator[tuple[str, Any]]:
    for prefix, module in modules(root):
        parameters, buffers, unsaved = _parts(module)
        kept = [(name, value) for name, value in buffers.items() if name not in unsaved]
        for name, value in [*parameters.items(), *kept]:
            if value is not None:
                yield f"{prefix}.{name}" if prefix else name, value


def _parts(module: Any) -> tuple:
    """Parameters, buffers and the names of the unsaved buffers of a pickled module; () for all else."""
    state = module.state if isinstance(module, Stub) else None
    if not isinstance(state, dict):
        return ()
    if not all(isinstance(state.get(key), dict) for key in ("_parameters", "_buffers", "_modules")):
        return ()
    unsaved = state.get("_non_persistent_buffers_set")  # PyTorch before 1.6 has none
    return state["_parameters"], state["_buffers"], unsaved if isinstance(unsaved, set) else set()


def _unwrap(file_or_root: Any) -> tuple[str, Any]:
    where, root = "the checkpoint", file_or_root
    if isinstance(root, TorchFile):
        where, root = root.path, root.root
    for _ in WRAPPERS:  # a dict may hold itself
        inner = root if isinstance(root, dict) else {}
        found = [key for key in WRAPPERS if isinstance(inner.get(key), dict) or _parts(inner.get(key))]
        if len(found) > 1:
            raise InputError(where, f"holds several networks ({', '.join(found)})", "save the one you mean alone")
        if found:
            root = inner[found[0]]
    return where, root


def _describe(value: Any) -> str:
    return f"something of type {value.cls if isinstance(value, Stub) else type(value).__name__:.60}"


def _shorten(name: Any) -> str:
    return repr(name)[:60] if isinstance(name, str | int) else f"a key of type {type(name).__name__}"
