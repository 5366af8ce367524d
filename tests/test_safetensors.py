"""Safetensors files: the same numbers as their own library reads, mapped, and nothing but whole ones."""

import json
import mmap

import numpy as np
import pytest
import safetensors.torch
import torch

import converters
from converters import torch_file
from converters.oracles import dcgan, fixtures, transformer
from tests.test_inputs import written
from tests.torch_files import assert_same, refused, save, write_safetensors


@pytest.fixture(scope="module")
def eyes():
    """A small DCGAN with random weights."""
    module = dcgan.DCGAN(6, 3, (8, 4))
    fixtures.randomise(module, 0)
    return module


def numbers():
    """Tensors of every dtype that the format and we know, with any bits."""
    bits = torch.randint(0, 256, (24 * 8,), dtype=torch.uint8)
    dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
    dtypes += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
    return {str(dtype): bits.view(dtype)[:24].reshape(2, 3, 4).clone() for dtype in dtypes} | {"b": bits[:5] > 127}


def test_safetensors_of_every_dtype_equal_torch_bit_for_bit(tmp_path):
    state = {**numbers(), "scalar": torch.randn(()), "empty": torch.zeros(0, 3)}
    safetensors.torch.save_file(state, tmp_path / "a.bin", metadata={"format": "pt"})
    file = torch_file.read(tmp_path / "a.bin")
    assert file.format == "safetensors"
    ours = torch_file.state_dict(file)
    assert_same({name: ours[name] for name in state}, state)
    assert len(ours) == len(state)
    assert not any(tensor.flags.writeable for tensor in ours.values())
    assert not list(torch_file.modules(file))


def memory_of(tensor):
    """What a tensor is a view of, in the end."""
    while isinstance(tensor, np.ndarray | memoryview):
        tensor = tensor.base if isinstance(tensor, np.ndarray) else tensor.obj
    return tensor


def test_safetensors_are_mapped_and_not_read(tmp_path, eyes):
    safetensors.torch.save_file(eyes.state_dict(), tmp_path / "a.safetensors")
    tensors = torch_file.state_dict(torch_file.read(tmp_path / "a.safetensors"))
    memories = [memory_of(tensor) for tensor in tensors.values()]
    assert all(isinstance(memory, mmap.mmap) for memory in memories)
    assert len({id(memory) for memory in memories}) == 1


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
TWO = json.dumps(ONE).encode()


@pytest.mark.parametrize(
    ("header", "size", "match"),
    [
        ({"a": ONE}, 7, "not fully covered|damaged"),
        ({"a": ONE}, 9, "not fully covered"),
        ({"a": ONE, "b": ONE}, 8, "invalid offset"),  # they overlap
        ({"a": ONE, "b": ONE | {"data_offsets": [12, 20]}}, 20, "invalid offset"),  # a hole between them
        ({"a": ONE | {"data_offsets": [8, 0]}}, 8, "invalid offset"),
        ({"a": ONE | {"shape": [3]}}, 8, "damaged"),
        ({"a": ONE | {"shape": [-2]}}, 8, "integer `-2`"),
        ({"a": ONE | {"shape": [2.0]}}, 8, "floating point"),
        ({"a": ONE | {"shape": [1 << 62, 1 << 62]}}, 8, "overflow"),
        ({"a": ONE | {"shape": [0, 1 << 62, 1 << 62], "data_offsets": [0, 0]}}, 0, "damaged"),
        ({"a": ONE | {"shape": [1] * 100 + [2]}}, 8, "damaged"),
        ({"a": ONE | {"dtype": "F99"}}, 8, "unknown variant `F99`"),
        ({"a": ONE | {"dtype": "F8_E4M3", "shape": [8]}}, 8, "holds numbers of type F8_E4M3"),
        ({"a": ONE | {"dtype": "C64", "shape": [1]}}, 8, "holds numbers of type C64"),
        ({"__metadata__": {"a": 1}, "a": ONE}, 8, "damaged"),
        ({}, 0, "holds no tensors"),
        (b'{"a":%s,"a":%s}' % (TWO, TWO), 8, "one name twice"),
        (b'{"a":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}}', 8, "duplicate field"),
        (b'{"\xff":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8, "UTF-8"),
        (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}', 8, "damaged"),
    ],
)
def test_damaged_safetensors_are_refused(tmp_path, header, size, match):
    path = write_safetensors(tmp_path / "a.safetensors", header, bytes(size))
    refused(path, match, lambda path: torch_file.state_dict(torch_file.read(path)))


def test_safetensors_are_refused_at_every_length(tmp_path, eyes):
    safetensors.torch.save_file(eyes.state_dict(), tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    for length in [*range(1, 40), *range(40, len(data), 97), len(data) - 1]:
        (tmp_path / "cut").write_bytes(data[:length])
        refused(tmp_path / "cut", "damaged|not a PyTorch file")


def test_safetensors_convert_as_the_same_state_dict_does(tmp_path, eyes):
    save(tmp_path / "a.pth", eyes.state_dict())
    safetensors.torch.save_file(eyes.state_dict(), tmp_path / "a.safetensors")
    assert written(tmp_path / "a.safetensors", tmp_path, "one") == written(tmp_path / "a.pth", tmp_path, "other")


def test_a_transformer_in_safetensors_is_read(tmp_path):
    module = transformer.Transformer(6, 3, noise_dim=2, noise_dim_y=5)
    safetensors.torch.save_file(module.state_dict(), tmp_path / "a.safetensors")
    assert converters.convert(tmp_path / "a.safetensors", tmp_path / "model")["kind"] == "transformer"
