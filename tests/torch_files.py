"""PyTorch files for tests: as torch writes them, and with claims of our choice."""

import collections
import io
import json
import pickle
import struct
import zipfile

import ml_dtypes
import pytest
import torch

from converters import containers, torch_file
from latentjax.errors import InputError

FORMATS = pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])


def save(path, value, new=True):
    torch.save(value, path, _use_new_zipfile_serialization=new)
    return path


def write_zip(path, pickled, storages=(), extra=()):
    members = {"archive/data.pkl": pickled, "archive/byteorder": b"little", **dict(extra)}
    members.update({f"archive/data/{key}": data for key, data in enumerate(storages)})
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


class Pickler(pickle.Pickler):
    """Writes tensors as torch does, with claims of our choice."""

    def persistent_id(self, value):
        return value.pid if isinstance(value, Claim) else None

    def reducer_override(self, value):
        if isinstance(value, ClaimedTensor):
            return torch._utils._rebuild_tensor_v2, (*value.args, False, collections.OrderedDict())
        return NotImplemented


class Claim:
    def __init__(self, count, view=()):
        self.pid = ("storage", torch.FloatStorage, "0", "cpu", count, *view)


class ClaimedTensor:
    def __init__(self, count, offset, size, stride, view=()):
        self.args = (Claim(count, view), offset, size, stride)


def claimed(*tensors):
    file = io.BytesIO()
    Pickler(file, protocol=2).dump({f"w{i or ''}": tensor for i, tensor in enumerate(tensors)})
    return file.getvalue()


def write_safetensors(path, header, data=b"", length=None):
    """A header of our choice, as JSON or as bytes, and a length of it that need not be its own."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


def write_legacy(path, pickled, keys=("0",), storages=()):
    parts = [containers.LEGACY_MAGIC, containers.LEGACY_PROTOCOL, {"little_endian": True}]
    body = b"".join(pickle.dumps(part, protocol=2) for part in parts) + pickled + pickle.dumps(list(keys), protocol=2)
    body += b"".join(struct.pack("<q", len(data) // 4) + data for data in storages)
    path.write_bytes(body)
    return path


def assert_same(ours, theirs):
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        expected = ml_dtypes.bfloat16 if tensor.dtype == torch.bfloat16 else tensor.new_empty(0).numpy().dtype
        assert ours[name].dtype == expected
        assert ours[name].shape == tuple(tensor.shape)
        assert ours[name].tobytes() == tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()


def refused(path, match, call=torch_file.read):
    with pytest.raises(InputError, match=match) as caught:
        call(path)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.todo
    assert caught.value.where == str(path)
    return message
