"""Writes state dicts as `torch.save` does, without PyTorch.

The zip format, with members archive/data.pkl, archive/byteorder, archive/data/KEY for each tensor's numbers and
archive/version. The pickle is an OrderedDict of calls of `torch._utils._rebuild_tensor_v2`, as every PyTorch since
1.6 reads it, with `weights_only` too. The same tensors give the same bytes.
"""

import io
import math
import os
import pathlib
import pickle
import zipfile

import numpy as np

from latentjax.errors import InputError
from latentjax.files import refuse_existing


def write(path: os.PathLike | str, tensors: dict[str, np.ndarray]) -> None:
    """Writes a .pth file that is whole or not there.

    Args:
        path: the file; refused if there.
        tensors: float32, by key.

    Raises:
        InputError: the file is there already, or cannot be written.
    """
    path = pathlib.Path(path)
    refuse_existing(path, "file")
    data = serialised(tensors)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.write_bytes(data)
            refuse_existing(path, "file")  # another process may have been faster
            os.rename(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(path, f"cannot be written ({error.strerror})", "free space or name another file") from error


def serialised(tensors: dict[str, np.ndarray]) -> bytes:
    """The file's content."""
    members = {"data.pkl": pickled(tensors), "byteorder": b"little"}
    for i, array in enumerate(tensors.values()):
        members[f"data/{i}"] = np.ascontiguousarray(array, "<f4").tobytes()
    members["version"] = b"3\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)  # dated 1980, whenever it is made
    return buffer.getvalue()


def pickled(tensors: dict[str, np.ndarray]) -> bytes:
    """The OrderedDict; the numbers of tensor i are in the storage of key i."""
    items = [text(key) + tensor(str(i), array.shape) for i, (key, array) in enumerate(tensors.items())]
    return b"".join(
        (pickle.PROTO, b"\x02", EMPTY_ORDERED_DICT, pickle.MARK, *items, pickle.SETITEMS, pickle.STOP),
    )


def tensor(storage: str, shape: tuple[int, ...]) -> bytes:
    """A whole, contiguous storage as a tensor: storage, offset, size, stride, requires_grad, hooks."""
    stride = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    floats = name("torch", "FloatStorage")
    place = sequence(text("storage"), floats, text(storage), text("cpu"), integer(math.prod(shape)))
    arguments = sequence(
        place + pickle.BINPERSID,
        integer(0),
        sequence(*map(integer, shape)),
        sequence(*map(integer, stride)),
        pickle.NEWFALSE,
        EMPTY_ORDERED_DICT,
    )
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + pickle.REDUCE


def name(module: str, attribute: str) -> bytes:
    """A global of PyTorch or Python."""
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def sequence(*parts: bytes) -> bytes:
    """A tuple."""
    return pickle.MARK + b"".join(parts) + pickle.TUPLE


def text(value: str) -> bytes:
    """A str."""
    encoded = value.encode()
    return pickle.BINUNICODE + len(encoded).to_bytes(4, "little") + encoded


def integer(value: int) -> bytes:
    """An int of any size."""
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return pickle.LONG1 + bytes([len(encoded)]) + encoded


EMPTY_ORDERED_DICT = name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
