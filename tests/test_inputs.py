"""What the converters take besides a plain state dict: safetensors, folders, prefixes, wrappers, optimisers' state."""

import json
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import converters
from converters import __main__ as command
from converters import torch_file
from converters.oracles import biggan_deep, dcgan, fixtures
from latentjax import weights
from latentjax.errors import InputError
from tests.torch_files import FORMATS, assert_same, refused, save


@pytest.fixture(scope="module")
def eyes():
    """A small DCGAN with random weights."""
    module = dcgan.DCGAN(6, 3, (8, 4))
    fixtures.randomise(module, 0)
    return module


def written(source, tmp_path, name="model", **options):
    """The weights file that a conversion writes."""
    converters.convert(source, tmp_path / name, num_classes=3, **options)
    return (tmp_path / name / "weights.safetensors").read_bytes()


def test_the_content_and_not_the_name_tells_the_format(tmp_path, eyes):
    for name in ("a.safetensors", "a.bin", "a.ckpt", "a"):
        save(tmp_path / name, eyes.state_dict())
        assert torch_file.read(tmp_path / name).format == "zip"


# ---- views of shared storages


@FORMATS
def test_tensors_that_share_overlap_or_are_no_block_of_memory_come_out_right(tmp_path, new):
    torch.manual_seed(0)
    base = torch.randn(6, 8)
    state = {
        "transposed": base.T,
        "expanded": base[:, :1].expand(6, 5),
        "expanded_in_front": base[0].expand(4, 8),
        "sliced": base[1::2, 3:],
        "reversed_twice": base.flip(0),
        "tied": base,
        "tied_too": base,
        "overlapping": base.as_strided((5, 4), (2, 3), 7),
        "windows": base.flatten().unfold(0, 9, 4),
        "diagonal": base.diagonal(),
        "empty": base[:, 8:],
        "scalar": base[2, 3],
    }
    assert_same(torch_file.state_dict(torch_file.read(save(tmp_path / "a.pth", state, new))), state)


@FORMATS
def test_a_transposed_kernel_converts_as_its_copy_does(tmp_path, eyes, new):
    state = eyes.state_dict()
    moved = {name: value.mT.contiguous().mT if value.ndim == 4 else value for name, value in state.items()}
    assert not moved["main.0.weight"].is_contiguous()
    save(tmp_path / "a.pth", state, new)
    save(tmp_path / "b.pth", moved, new)
    assert written(tmp_path / "a.pth", tmp_path, "one") == written(tmp_path / "b.pth", tmp_path, "other")


# ---- prefixes and wrappers


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "_orig_mod.module.", "model._orig_mod.module."])
@FORMATS
def test_a_prefix_of_all_keys_is_left_out(tmp_path, eyes, prefix, new):
    save(tmp_path / "plain.pth", eyes.state_dict(), new)
    save(tmp_path / "a.pth", {f"{prefix}{name}": value for name, value in eyes.state_dict().items()}, new)
    assert written(tmp_path / "a.pth", tmp_path, "one") == written(tmp_path / "plain.pth", tmp_path, "other")


def test_a_prefix_of_some_keys_or_of_known_ones_stays():
    one = np.zeros(1)
    some = {"module.a": one, "b": one}
    assert torch_file.without_prefix(some, lambda state: False) == (some, "")
    known = {"model.a": one, "model.b": one}
    assert torch_file.without_prefix(known, lambda state: "model.a" in state) == (known, "")
    assert torch_file.without_prefix(known, lambda state: "a" in state) == ({"a": one, "b": one}, "model.")
    assert torch_file.without_prefix({"modules.a": one}, lambda state: False)[1] == ""
    deep = {"module." * 50 + "a": one}
    assert torch_file.without_prefix(deep, lambda state: False)[1] == "module." * 4


@FORMATS
def test_a_network_in_data_parallel_is_read(tmp_path, eyes, new):
    save(tmp_path / "plain.pth", eyes, new)
    save(tmp_path / "a.pth", nn.DataParallel(eyes), new)
    assert written(tmp_path / "a.pth", tmp_path, "one") == written(tmp_path / "plain.pth", tmp_path, "other")


def test_a_checkpoint_of_lightning_is_read(tmp_path, eyes):
    optimiser = torch.optim.Adam(eyes.parameters())
    eyes(torch.randn(2, 6), torch.eye(3)[:2]).sum().backward()
    optimiser.step()
    checkpoint = {
        "epoch": 3,
        "global_step": 1200,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {f"model.{name}": value for name, value in eyes.state_dict().items()},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 4}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'fid'}": {"best_model_score": torch.tensor(17.5), "kth_value": None}},
        "optimizer_states": [optimiser.state_dict()],
        "lr_schedulers": [],
        "hyper_parameters": {"path": tmp_path, "scores": np.arange(3.0), "rate": np.float64(0.5)},
    }
    save(tmp_path / "last.ckpt", checkpoint)
    save(tmp_path / "plain.pth", eyes.state_dict())
    assert written(tmp_path / "last.ckpt", tmp_path, "one") == written(tmp_path / "plain.pth", tmp_path, "other")
    save(tmp_path / "nested.ckpt", {"step": 3, "model": {"state_dict": eyes.state_dict(), "version": 2}})
    assert written(tmp_path / "nested.ckpt", tmp_path, "two") == written(tmp_path / "plain.pth", tmp_path, "three")


def test_errors_of_a_file_with_a_prefix_tell_it(tmp_path, eyes, monkeypatch, capsys):
    state = {f"module.{name}": value for name, value in eyes.state_dict().items()}
    path = save(tmp_path / "a.pth", state | {"module.main.1.bias": torch.zeros(9)})
    told = "main.1.bias) (keys are given without their 'module.')"
    assert told in refused(path, "does not fit dcgan", lambda path: written(path, tmp_path))
    path = save(tmp_path / "b.pth", {"module.0.weight": torch.zeros(2), "module.0.bias": torch.zeros(2)})
    told = "(2 tensors: 0.weight, 0.bias) (keys are given without their 'module.')"
    assert told in refused(path, "no known architecture", lambda path: written(path, tmp_path))
    monkeypatch.setattr(sys, "argv", ["converters", "--inspect", str(tmp_path / "a.pth")])
    assert command.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "architecture: dcgan under the prefix 'module.'"
    assert lines[3].startswith("  module.main.0.weight ")


@FORMATS
@pytest.mark.parametrize(
    "form",
    [lambda optimiser: optimiser, lambda optimiser: optimiser.state_dict(), lambda o: {"state_dict": o.state_dict()}],
    ids=["whole", "state", "wrapped state"],
)
def test_an_optimisers_state_is_refused_by_name(tmp_path, eyes, new, form):
    path = save(tmp_path / "a.pth", form(torch.optim.Adam(eyes.parameters())), new)
    line = refused(path, "is an optimiser's state, not a network", lambda path: written(path, tmp_path))
    assert line.endswith("; give the file of the network's state_dict()")


# ---- folders from Hugging Face


def test_a_folder_with_one_file_of_weights_is_that_file(tmp_path, eyes):
    save(tmp_path / "plain.pth", eyes.state_dict())
    expected = written(tmp_path / "plain.pth", tmp_path, "plain")
    for number, name in enumerate(("pytorch_model.bin", "model.safetensors")):
        folder = tmp_path / f"folder{number}"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "README.md").write_text("")
        save(folder / name, eyes.state_dict())
        assert torch_file.read(folder).path == str(folder / name)
        assert written(folder, tmp_path, f"model{number}") == expected
        assert weights.read_record(tmp_path / f"model{number}", "generator")["source"]["file"] == name


def test_a_biggan_deep_of_no_published_size_is_read_with_the_config_in_its_folder(tmp_path):
    layers = [(False, 16, 16), (True, 16, 8), (True, 8, 4), (True, 4, 2), (True, 2, 1)]
    model = biggan_deep.BigGANDeep(layers, 2, num_classes=3, channels=4, latent_dim=8, rows=3)
    fixtures.randomise(model, 0)
    config = json.dumps({"layers": layers, "attention_layer_position": 2, "eps": 1e-4})
    for number, name in enumerate(("pytorch_model.bin", "model.safetensors")):
        folder = tmp_path / f"folder{number}"
        folder.mkdir()
        if number:
            safetensors.torch.save_file(model.state_dict(), folder / name)
        else:
            save(folder / name, model.state_dict())
        with pytest.raises(InputError, match=r"no config\.json beside it"):
            converters.convert(folder, tmp_path / f"model{number}")
        (folder / "config.json").write_text(config)
        assert converters.convert(folder, tmp_path / f"model{number}")["config"]["layers"] == list(map(list, layers))
    one, other = (tmp_path / f"model{number}" / "weights.safetensors" for number in range(2))
    assert one.read_bytes() == other.read_bytes()


def test_a_config_of_impossible_sizes_is_refused(tmp_path):
    layers = [[True, 10**400, 5 * 10**399]]
    (tmp_path / "config.json").write_text(json.dumps({"layers": layers, "attention_layer_position": 0}))
    with pytest.raises(InputError, match="layers that do not lead from 16 to 1"):
        converters.biggan_deep.read_config(tmp_path / "config.json")


@pytest.mark.parametrize("repeated", [[[True, 16, 16]] * 12, [[False, 16, 16]] * 70], ids=["pixels", "layers"])
def test_a_config_of_endless_layers_is_refused(tmp_path, repeated):
    layers = [*repeated, *([False, n, n // 2] for n in (16, 8, 4, 2))]
    (tmp_path / "config.json").write_text(json.dumps({"layers": layers, "attention_layer_position": 0}))
    with pytest.raises(InputError, match="more than 64 layers, or images of more than 8,192 pixels"):
        converters.biggan_deep.read_config(tmp_path / "config.json")


def test_folders_that_do_not_name_one_file_are_refused(tmp_path, eyes):
    refused(tmp_path, r"is a folder without pytorch_model\.bin or model\.safetensors; name the PyTorch file in it")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    refused(tmp_path, r"weights are in several files \(model\.safetensors\.index\.json\); save them in one file")
    for name in ("pytorch_model.bin", "model.safetensors"):
        save(tmp_path / name, eyes.state_dict())
    refused(tmp_path, r"is a folder with pytorch_model\.bin and model\.safetensors; name the one you mean")


def test_a_folder_in_place_of_the_file_of_weights_is_refused(tmp_path):
    (tmp_path / "pytorch_model.bin").mkdir()
    with pytest.raises(InputError, match="is not a regular file") as caught:
        torch_file.read(tmp_path)
    assert caught.value.where == str(tmp_path / "pytorch_model.bin")
