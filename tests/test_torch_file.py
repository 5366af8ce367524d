import collections
import os
import pathlib
import pickle
import random
import re
import struct
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from converters import torch_file
from latentjax.errors import InputError
from tests.torch_files import FORMATS, ClaimedTensor, assert_same, claimed, refused, save, write_legacy, write_zip

DTYPES = [
    *(torch.float16, torch.float32, torch.float64, torch.bfloat16, torch.bool),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8),
]


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("hidden", torch.ones(2), persistent=False)
        self.register_buffer("shown", torch.arange(3))
        self.register_buffer("absent", None)


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.late = None
        self.blocks = nn.ModuleList([Inner(), Inner()])
        self.again = self.blocks[0]
        self.head = nn.Linear(4, 4)
        self.head.weight = self.blocks[1].norm.weight
        self.scale = nn.Parameter(torch.randn(()))
        self.activation = torch.nn.functional.relu
        self.stride = torch.Size([2, 2])


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@FORMATS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_state_dicts_of_every_dtype_equal_torch_bit_for_bit(tmp_path, new, dtype):
    bits = torch.randint(0, 256, (24 * 8,), dtype=torch.uint8)
    tensor = (bits > 127) if dtype == torch.bool else bits.view(dtype)
    state = {
        "w": tensor[:24].reshape(2, 3, 4).clone(),
        "scalar": tensor[0].clone(),
        "empty": tensor[:0].clone(),
    }
    path = save(tmp_path / "a.pth", state, new)
    file = torch_file.read(path)
    assert file.format == ("zip" if new else "legacy")
    assert_same(torch_file.state_dict(file), torch.load(path, weights_only=True))


@FORMATS
def test_transposed_shared_sliced_and_expanded_tensors_are_read_rightly(tmp_path, new):
    base = torch.randn(4, 5, 6)
    state = {
        "transposed": base.permute(2, 0, 1),
        "sliced": base[1:3, ::2, 3],
        "shared": base,
        "parameter": nn.Parameter(base[0]),
        "expanded": torch.randn(3, 1).expand(3, 7),
        "channels_last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "alone": torch.randn(7),
    }
    file = torch_file.read(save(tmp_path / "a.pth", state, new))
    tensors = torch_file.state_dict(file)
    assert_same(tensors, state)
    assert np.shares_memory(tensors["transposed"], tensors["shared"])
    assert not any(tensor.flags.writeable for tensor in tensors.values())


def test_dtypes_without_a_storage_class_and_tensors_with_attributes_are_read(tmp_path):
    state = {"u16": torch.arange(6, dtype=torch.int32).to(torch.uint16), "tagged": torch.randn(3)}
    state["tagged"].tag = "kept nowhere"
    assert_same(torch_file.state_dict(torch_file.read(save(tmp_path / "a.pth", state))), state)


@FORMATS
def test_whole_pickled_networks_give_the_names_of_their_state_dict(tmp_path, new):
    torch.manual_seed(0)
    network = Outer()
    network.blocks[1].norm.running_mean += 1
    file = torch_file.read(save(tmp_path / "a.pth", network, new))
    assert file.root.cls.endswith("Outer")
    assert_same(torch_file.state_dict(file), network.state_dict())
    assert_same(torch_file.state_dict(file.root), network.state_dict())


@FORMATS
def test_modules_gives_every_sub_module_with_its_attributes(tmp_path, new):
    network = Outer()
    file = torch_file.read(save(tmp_path / "a.pth", network, new))
    ours = dict(torch_file.modules(file))
    assert list(ours) == [name for name, _ in network.named_modules(remove_duplicate=False)]
    assert ours["blocks.1.conv"].cls == "torch.nn.modules.conv.Conv2d"
    assert ours["blocks.1.conv"].state["kernel_size"] == (3, 3)
    assert ours[""].state["stride"] == (2, 2)
    assert ours[""].state["activation"].cls == "torch.nn.functional.relu"
    assert not list(torch_file.modules(torch_file.read(save(tmp_path / "b.pth", network.state_dict(), new))))


@pytest.mark.parametrize("key", torch_file.WRAPPERS)
def test_wrapped_state_dicts_and_networks_are_unwrapped(tmp_path, key):
    network = nn.Linear(2, 3)
    beside = {"epoch": 7, "best": torch.tensor(0.5), "optimizer": {"state": {0: {"step": 1}}}}
    for value in (network.state_dict(), network):
        for wrapped in ({key: value}, {**beside, key: value}):
            file = torch_file.read(save(tmp_path / "a.pth", wrapped))
            assert_same(torch_file.state_dict(file), network.state_dict())


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([torch.zeros(2)], "type list"),
        ({}, "no tensors"),
        (nn.ReLU(), "no tensors"),
        ({"a": torch.zeros(2), "epoch": 3}, "int at 'epoch'"),
        ({"model": {"a": torch.zeros(2)}, "params": {"a": torch.zeros(2)}}, "several networks"),
        (collections.Counter("ab"), "collections.Counter"),
        ({3: torch.zeros(2)}, "at 3"),
    ],
)
def test_what_is_neither_a_state_dict_nor_a_network_is_refused(tmp_path, value, match):
    path = save(tmp_path / "a.pth", value)
    refused(path, match, lambda path: torch_file.state_dict(torch_file.read(path)))


def test_a_module_that_holds_itself_is_refused():
    loop = torch_file.Stub("a.Loop", ())
    loop.state = {"_parameters": {}, "_buffers": {}, "_modules": {}}
    loop.state["_modules"] = {"left": loop, "right": loop}
    with pytest.raises(InputError, match="nested without end"):
        torch_file.state_dict(loop)
    wrapped = {}
    wrapped["model"] = wrapped
    with pytest.raises(InputError, match="not a tensor"):
        torch_file.state_dict(wrapped)


@FORMATS
def test_code_inside_a_file_is_not_run(tmp_path, new):
    marker = tmp_path / "was_run"
    root = torch_file.read(save(tmp_path / "a.pth", {"a": Hostile(marker)}, new)).root
    assert not marker.exists()
    assert re.fullmatch(r"(posix|nt|os)\.system", root["a"].cls)
    assert root["a"].args == (f"touch {marker}",)


def test_names_in_a_message_are_printable(tmp_path):
    pickled = claimed(ClaimedTensor(4, 0, (4,), (1,))).replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x00\n")
    refused(write_zip(tmp_path / "a.pth", pickled), "lacks its member")
    refused(write_zip(tmp_path / "a.pth", b"\x80\x04\x8c\x02a\n\x8c\x01b\x93."), "impossible name")


def test_reading_imports_neither_torch_nor_anything_that_the_file_names(tmp_path):
    path = save(tmp_path / "a.pth", {"a": nn.Linear(2, 2).state_dict(), "b": pathlib.PurePosixPath("x")})
    other = write_zip(tmp_path / "b.pth", b"\x80\x02cthis\ns\n.")
    code = (
        "import sys; from converters import torch_file;"
        f"torch_file.read({str(path)!r}); torch_file.read({str(other)!r});"
        "assert not {'torch', 'this'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@FORMATS
def test_a_truncated_file_is_refused_at_every_length(tmp_path, new):
    data = save(tmp_path / "whole.pth", {"w": torch.randn(40), "b": torch.randn(3)}, new).read_bytes()
    path = tmp_path / "cut.pth"
    for length in [*range(0, 40), *range(40, len(data), 37), len(data) - 1]:
        path.write_bytes(data[:length])
        refused(path, "cut short|empty|not a PyTorch file|damaged|does not hold")


@FORMATS
def test_a_flipped_byte_gives_the_same_tensors_or_one_clear_error(tmp_path, new):
    state = {"w": torch.randn(6, 5), "b": torch.arange(3)}
    data = save(tmp_path / "whole.pth", state, new).read_bytes()
    generator, path, refusals = random.Random(0), tmp_path / "flipped.pth", 0
    for _ in range(300):
        mutant = bytearray(data)
        mutant[generator.randrange(len(data))] ^= generator.randrange(1, 256)
        path.write_bytes(mutant)
        try:
            ours = torch_file.state_dict(torch_file.read(path))
        except InputError:
            refusals += 1
        else:
            if new:  # legacy files have no checksums: there only the kind of error is promised
                assert_same(ours, state)
    assert refusals > 50


@FORMATS
def test_a_storage_that_claims_two_gigabytes_is_not_allocated(tmp_path, new):
    pickled = claimed(ClaimedTensor(1 << 29, 0, (1 << 29,), (1,), () if new else (None,)))
    path = tmp_path / "a.pth"
    write_zip(path, pickled, [bytes(100)]) if new else write_legacy(path, pickled, storages=[bytes(100)])
    refused(path, "too few bytes|larger than the file")


@FORMATS
@pytest.mark.parametrize(
    ("offset", "size", "stride", "match"),
    [
        (0, (5, 5), (5, 1), "overruns"),
        (21, (4,), (1,), "overruns"),
        (0, (2, 3), (22, 1), "overruns"),
        (0, (4,), (-1,), "impossible"),
        (-1, (4,), (1,), "impossible"),
        (0, (4,), (1, 1), "impossible"),
        (0, (True,), (1,), "impossible"),
        (0, (1 << 40,), (0,), "expanded"),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(tmp_path, new, offset, size, stride, match):
    pickled = claimed(ClaimedTensor(24, offset, size, stride, () if new else (None,)))
    path = tmp_path / "a.pth"
    write_zip(path, pickled, [bytes(96)]) if new else write_legacy(path, pickled, storages=[bytes(96)])
    refused(path, match)


def test_a_storage_view_of_a_legacy_file_is_read_and_checked(tmp_path):
    numbers = np.arange(24, dtype=np.float32)
    pickled = claimed(ClaimedTensor(24, 1, (3,), (2,), (("view", 10, 6),)))
    path = write_legacy(tmp_path / "a.pth", pickled, storages=[numbers.tobytes()])
    assert torch_file.state_dict(torch_file.read(path))["w"].tolist() == [11, 13, 15]
    pickled = claimed(ClaimedTensor(24, 1, (3,), (2,), (("view", 20, 6),)))
    refused(write_legacy(path, pickled, storages=[numbers.tobytes()]), "view that overruns")


def test_a_legacy_file_whose_storages_do_not_match_its_pickle_is_refused(tmp_path):
    path, pickled = tmp_path / "a.pth", claimed(ClaimedTensor(24, 0, (24,), (1,), (None,)))
    refused(write_legacy(path, pickled, keys=[], storages=[]), "does not hold the storages")
    refused(write_legacy(path, pickled, keys=["0", "0"], storages=[bytes(96)] * 2), "does not hold the storages")
    refused(write_legacy(path, pickled, keys=[0], storages=[bytes(96)]), "list of storages")
    refused(write_legacy(path, pickled, storages=[bytes(92) + bytes(4) * 9]), "two sizes")
    refused(write_legacy(path, b"\x80\x02\x8e" + struct.pack("<Q", 1 << 40) + b"."), "cut short")


@pytest.mark.parametrize("depth", [10_000, 200_000])
def test_deep_nesting_does_not_crash(tmp_path, depth):
    lists = b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."
    file = torch_file.read(write_zip(tmp_path / "a.pth", lists))
    assert isinstance(file.root, list)
    assert len(repr(file)) < 1000
    refused(tmp_path / "a.pth", "type list", lambda path: torch_file.state_dict(torch_file.read(path)))
    refused(write_zip(tmp_path / "b.pth", b"\x80\x02})" + b"\x85" * depth + b"Ns."), "a key that is not")


def test_damaged_and_unsafe_zips_are_refused(tmp_path):
    path, empty = tmp_path / "a.pth", b"\x80\x02}."
    refused(write_zip(path, empty, extra=[("archive/../x", b"")]), "unsafe name")
    refused(write_zip(path, empty, extra=[("archive/byteorder", b"big")]), "big-endian")
    refused(write_zip(path, empty, extra=[("archive/constants.pkl", b"")]), "TorchScript")
    refused(write_zip(path, empty, extra=[("other/data.pkl", b"")]), r"without a PyTorch data\.pkl")
    refused(write_zip(path, claimed(ClaimedTensor(4, 0, (4,), (1,)))), "lacks its member 'data/0'")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", empty * 100)
    refused(path, "compressed members")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a PyTorch file"),
        (b"weights come later\n" * 9, "not a PyTorch file"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"PK\x03\x04" + bytes(100), "cut short"),
        (pickle.dumps({"a": 1}, protocol=2), "not a PyTorch file"),
    ],
)
def test_other_kinds_of_file_are_named(tmp_path, content, match):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    refused(path, match)


def test_other_things_than_files_are_named(tmp_path):
    refused(tmp_path, "is a folder")
    refused(tmp_path / "none.pth", "does not exist")
    refused(str(tmp_path / "a.pth") + "/b", "cannot be read|does not exist")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "regular file")
    with tarfile.open(tmp_path / "old.pth", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    refused(tmp_path / "old.pth", "tar format")


def test_a_dtype_that_is_not_supported_is_named(tmp_path):
    refused(save(tmp_path / "a.pth", {"w": torch.zeros(2, dtype=torch.complex64)}), "ComplexFloatStorage")


def test_golden_state_dicts_equal_torch(reference):
    files = [path for path in sorted((reference / "golden").glob("*.pth")) if path.name != "best_v070.pth"]
    assert files
    for path in files:
        assert_same(torch_file.state_dict(torch_file.read(path)), torch.load(path, weights_only=True))


def test_the_pickled_assessor_gives_its_names_and_its_padding(reference):
    file = torch_file.read(reference / "golden" / "best_v070.pth")
    tensors, modules = torch_file.state_dict(file), dict(torch_file.modules(file))
    assert len(tensors) == 360
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert tensors["_blocks.15._bn2.running_var"].shape == (320,)
    assert tensors["_bn1.num_batches_tracked"].dtype == np.int64
    assert list(tensors)[-2:] == ["_fc.weight", "_fc.bias"]
    assert tensors["_fc.weight"].shape == (2, 1280)
    strided = {name: stub for name, stub in modules.items() if tuple(stub.state.get("stride", ())) == (2, 2)}
    paddings = {name: modules[f"{name}.static_padding"].state["padding"] for name in strided}
    assert paddings == {
        "_conv_stem": (1, 1, 1, 1),
        "_blocks.1._depthwise_conv": (1, 1, 1, 1),
        "_blocks.3._depthwise_conv": (2, 2, 2, 2),
        "_blocks.5._depthwise_conv": (1, 1, 1, 1),
        "_blocks.11._depthwise_conv": (2, 2, 2, 2),
    }
    assert file.root.state["_global_params"].cls == "efficientnet_pytorch.utils.GlobalParams"
