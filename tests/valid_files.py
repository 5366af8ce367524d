"""Valid files of each format that the converters take, the same ones each time they are made."""

import io
import pathlib
import pickle
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import nn

from converters import torch_pickle
from converters.biggan_deep import PUBLISHED
from converters.oracles import biggan, biggan_deep, biggan_pytorch, dcgan, fixtures, transformer

Tensors = dict[str, np.ndarray]


class Original(NamedTuple):
    """A valid file."""

    name: str
    form: str
    data: bytes
    tensors: Tensors


def contents() -> dict[str, Any]:
    """What the files hold: state dicts, known ones too, whole modules, and a checkpoint with other things beside."""
    torch.manual_seed(0)
    base = torch.randn(6, 8)
    mixed = {
        "transposed": base.T,
        "expanded": base[:, :1].expand(6, 5),
        "sliced": base[1::2, 3:],
        "tied": base,
        "half": torch.randn(3).half(),
        "rounded": torch.randn(3).bfloat16(),
        "count": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "parameter": nn.Parameter(torch.randn(2, 2)),
    }
    eyes = dcgan.DCGAN(5, 3, (2, 2))
    moving = transformer.Transformer(4, 3, noise_dim=2, noise_dim_y=1)
    module = nn.DataParallel(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.Linear(2, 3))))
    optimiser = torch.optim.SGD(eyes.parameters(), 0.1)
    checkpoint = {
        "epoch": 3,
        "state_dict": {f"model.{name}": value for name, value in eyes.state_dict().items()},
        "optimizer_states": [optimiser.state_dict()],
        "callbacks": {
            "best": torch.tensor(0.5),
            "names": {"a"},
            "rate": np.float64(0.1),
            "path": pathlib.PurePath("x"),
        },
    }
    known = {"mixed": mixed, "dcgan": eyes.state_dict(), "transformer": moving.state_dict()}
    known["biggan"] = biggan.BigGAN(128, 3, channels=4).state_dict()
    known["biggan_pytorch"] = biggan_pytorch.BigGANPyTorch(128, 3, channels=4).state_dict()
    deep = biggan_deep.BigGANDeep(PUBLISHED[0], num_classes=3, channels=4, latent_dim=4, rows=2)
    fixtures.randomise(deep, seed=0)  # its spectral norms would be zero
    known["biggan_deep"] = deep.state_dict()
    return {**known, "vector": {"w": torch.randn(1, 6)}, "module": module, "checkpoint": checkpoint}


def originals(folder: pathlib.Path, tensors_of: Callable[[pathlib.Path], Tensors]) -> list[Original]:
    """The valid files, in each format that can hold them, and what is read from them."""
    found = []
    path = folder / "original"
    for name, value in contents().items():
        for form in ("zip", "legacy", "safetensors"):
            if form == "safetensors":
                if name in ("module", "checkpoint"):
                    continue
                safetensors.torch.save_file(
                    {key: tensor.detach().clone().contiguous() for key, tensor in value.items()}, path
                )
            else:
                torch.save(value, path, _use_new_zipfile_serialization=form == "zip")
            data = path.read_bytes()
            if form == "legacy":
                data = with_plain_keys(data)
                path.write_bytes(data)
            # a mapped file's tensors would change with the file
            tensors = {key: array.copy() for key, array in tensors_of(path).items()}
            found.append(Original(name, form, data, tensors))
    return found


def with_plain_keys(data: bytes) -> bytes:
    """A legacy file whose storages are not named and ordered by where they were in memory: a seed makes it again."""
    stream, sizes = io.BytesIO(data), {}

    def load_storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
        sizes[key] = count * dtype.itemsize
        return np.zeros(sizes[key], np.uint8)

    def unpickled() -> Any:
        return torch_pickle.Unpickler(stream, load_storage, len(data)).load()

    for _ in range(4):
        unpickled()
    head = data[: stream.tell()]
    numbers = {key: stream.read(8 + sizes[key]) for key in unpickled()}
    names = {key: f"{number:012d}" for number, key in enumerate(sizes)}
    for key, name in names.items():
        head = head.replace(struct.pack("<I", len(key)) + key.encode(), struct.pack("<I", len(name)) + name.encode())
    return head + pickle.dumps(list(names.values()), protocol=2) + b"".join(numbers[key] for key in sizes)
