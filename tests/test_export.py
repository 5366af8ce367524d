"""A transformer goes back into a PyTorch file that the published code loads, bit by bit and without PyTorch."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from flax import nnx

import converters
from converters import __main__ as command
from converters import torch_file
from converters.oracles import fixtures
from converters.oracles import transformer as oracle
from latentjax import transformers, weights
from latentjax.errors import InputError

ROOT = pathlib.Path(__file__).parent.parent
PUBLISHED = [kind.published for kind in transformers.KINDS.values()]


def oracle_of(kind, seed=0):
    """A small transformer of the published names, with random weights; Z = 6 and C = 20 give y 13 entries of noise."""
    model = oracle.Transformer(6, 20, kind=kind, noise_dim=4, num_directions=11)
    fixtures.randomise(model, seed)
    return model


def folder_of(config, place, **placement):
    """A transformer folder with random weights."""
    config = {"latent_dim": 6, "num_classes": 20, **config}
    arrays = weights.named(nnx.state(weights.build("transformer", config)))
    weights.save(place, arrays, "transformer", config, {}, **placement)
    return place


def assert_same(file, state):
    """The file holds exactly this state dict, whoever reads it."""
    for loaded in (torch.load(file, weights_only=True), torch.load(file, weights_only=False)):
        assert type(loaded).__name__ == "OrderedDict"
        assert loaded.keys() == state.keys()
        for key, tensor in state.items():
            assert (loaded[key].dtype, loaded[key].shape) == (torch.float32, tensor.shape)
            assert loaded[key].numpy().tobytes() == tensor.numpy().tobytes()
    ours = torch_file.state_dict(torch_file.read(file))
    assert {key: array.tobytes() for key, array in ours.items()} == {
        key: tensor.numpy().tobytes() for key, tensor in state.items()
    }


def assert_there_and_back(source, folder, num_classes, kind):
    """Published file, ours, published file, ours."""
    done = converters.convert(source, folder / "ours", num_classes=num_classes)
    exported = converters.export(folder / "ours", folder / "back.pth")
    assert (exported["kind"], exported["class_reg"], exported["renorm"]) == (kind, 1000.0, "batch")
    assert_same(folder / "back.pth", torch.load(source))
    again = converters.convert(folder / "back.pth", folder / "again", num_classes=num_classes)
    assert again == done
    one, other = (json.loads((folder / name / "model.json").read_text()) for name in ("ours", "again"))
    assert one["weights_sha256"] == other["weights_sha256"]


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_published_file_comes_back_bit_by_bit(reference, tmp_path, kind):
    num_classes = np.load(reference / "golden" / f"transformer_{kind}.npz")["y"].shape[1]
    assert_there_and_back(reference / "golden" / f"transformer_{kind}.pth", tmp_path, num_classes, kind)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_an_oracles_file_comes_back_and_is_loaded_by_the_oracle(tmp_path, kind):
    state = oracle_of(kind).state_dict()
    torch.save(state, tmp_path / "theirs.pth")
    assert_there_and_back(tmp_path / "theirs.pth", tmp_path, 20, kind)
    model = oracle_of(kind, seed=1)
    model.load_state_dict(torch.load(tmp_path / "back.pth"), strict=True)
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in state.items())


@pytest.mark.parametrize("name", transformers.KINDS)
def test_what_was_learned_here_comes_back_too(tmp_path, name):
    kind = transformers.KINDS[name]
    config = {"z": kind.z, "y": kind.y, "num_directions": 2 if kind.several else None}
    folder = folder_of(config | {"class_reg": 2.5, "renorm": "none"}, tmp_path / "run" / "transformer").parent
    done = converters.export(folder, tmp_path / "out.pth")
    assert (done["kind"], done["class_reg"], done["renorm"]) == (kind.published, 2.5, "none")
    assert done["fits"]
    converters.convert(tmp_path / "out.pth", tmp_path / "again", num_classes=20)
    one, other = (place / "weights.safetensors" for place in (folder / "transformer", tmp_path / "again"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("kind", "noise_dim", "num_classes"),
    [
        ("AdaptiveDirectionZAdaptiveDirectionY", 1, 5),  # the published formula gives y no noise
        ("AdaptiveDirectionZAdaptiveDirectionY", 4, 5),  # it would, but the file has none
        ("AdaptiveDirectionZAdaptiveDirectionY_zy", 1, 5),
        ("AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear", 1, 5),
    ],
)
def test_a_kind_with_noise_of_size_0_for_y_keeps_its_kind(tmp_path, kind, noise_dim, num_classes):
    model = oracle.Transformer(6, num_classes, kind=kind, noise_dim=noise_dim, noise_dim_y=0)
    fixtures.randomise(model)
    torch.save(model.state_dict(), tmp_path / "theirs.pth")
    assert_there_and_back(tmp_path / "theirs.pth", tmp_path, num_classes, kind)


def test_two_layers_without_any_noise_are_the_kind_without_noise(tmp_path):
    folder = folder_of({"noise_dim": 0}, tmp_path / "transformer")
    done = converters.export(folder, tmp_path / "out.pth")
    assert done["kind"] == "AdaptiveDirectionZAdaptiveDirectionY_nonlinear"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"y": "none"}, "z two_layer(z, noise), y none"),
        ({"z": "none", "y": "linear(y)"}, "z none, y linear(y)"),
        ({"z": "vector", "y": "vector"}, "z vector, y vector"),
        ({"z": "linear(z)", "y": "two_layer(y)"}, "z linear(z), y two_layer(y)"),
        ({"z": "linear(z, noise)", "y": "none", "num_directions": 2}, "2 directions of z linear(z, noise), y none"),
        ({"z": "vector", "y": "linear(y)", "num_directions": 3}, "3 directions of z vector, y linear(y)"),
        ({"z": "linear(y)", "y": "none", "num_directions": 1}, "1 directions of z linear(y), y none"),
        ({"num_classes": 0}, "z two_layer(z, noise), y none"),
    ],
)
def test_a_transformer_of_no_published_kind_is_refused(tmp_path, refused, config, said):
    folder = folder_of(config, tmp_path / "transformer")
    line = refused(command.main, "--export", folder, tmp_path / "out.pth")
    assert line.startswith(f"{folder}: is of no published kind ({said}); train one of the kinds one_direction, ")


def test_the_command_tells_what_the_file_does_not_hold(tmp_path, monkeypatch, capsys):
    folder = folder_of({"z": "vector", "y": "none", "class_reg": 1.0}, tmp_path / "transformer")
    monkeypatch.setattr(sys, "argv", ["converters", "--export", str(folder), str(tmp_path / "deep" / "out.pth")])
    assert command.main() == 0
    told = "class_reg 1 and renorm sample are not in it (the published script has 1000 and batch)"
    back = "to convert it back, add --num-classes=20"
    assert capsys.readouterr() == (f"{tmp_path}/deep/out.pth: OneDirectionZ; {told}\n{back}\n", "")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out.pth"]


@pytest.mark.parametrize(
    ("config", "fits", "flags"),
    [
        ({"z": "linear(z)", "y": "none", "num_classes": 1000}, True, []),
        ({"z": "linear(y)", "y": "none"}, True, ["--num-classes=20"]),
        ({"z": "linear(z)", "y": "none", "num_classes": 6}, True, ["--num-classes=6", "--kind=AdaptiveDirectionZ"]),
        ({"noise_dim_y": 4}, False, []),
        # of [y, noise], but as wide as [z, y, noise] with the published noise
        (
            {"z": "linear(z, noise)", "y": "linear(y, noise)", "noise_dim": 3, "noise_dim_y": 16},
            False,
            ["--num-classes=20", "--kind=AdaptiveDirectionZAdaptiveDirectionY"],
        ),
    ],
)
def test_what_the_published_script_or_the_way_back_needs_is_told(tmp_path, config, fits, flags):
    folder = folder_of(config, tmp_path / "transformer")
    done = converters.export(folder, tmp_path / "out.pth")
    assert (done["fits"], done["flags"]) == (fits, flags)
    told = {name.strip("-").replace("-", "_"): value for name, value in (flag.split("=") for flag in flags)}
    if "num_classes" in told:
        told["num_classes"] = int(told["num_classes"])
    again = converters.convert(tmp_path / "out.pth", tmp_path / "again", **told)["config"]
    expected = json.loads((folder / "model.json").read_text())["config"]
    assert {name: again[name] for name in config} == {name: expected[name] for name in config}


def test_the_same_weights_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        folder_of({}, tmp_path / name)
        converters.export(tmp_path / name, tmp_path / f"{name}.pth")
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()
    assert b"\x00\x00\x21\x00" in (tmp_path / "a.pth").read_bytes()[:20]  # 1980-01-01 00:00 and not now


def test_a_file_that_is_there_is_kept(tmp_path, refused):
    folder = folder_of({}, tmp_path / "transformer")
    (tmp_path / "thesis.pth").write_text("years of work")
    (tmp_path / "link.pth").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    for name in ("thesis.pth", "link.pth", "empty"):
        line = refused(command.main, "--export", folder, tmp_path / name)
        assert line == f"{tmp_path}/{name}: is there already; name another file, or move it away\n"
    line = refused(command.main, "--export", folder, tmp_path / "thesis.pth" / "out.pth")
    assert line.startswith(f"{tmp_path}/thesis.pth/out.pth: cannot be written (")


def test_a_file_made_meanwhile_is_kept(tmp_path, monkeypatch):
    folder = folder_of({}, tmp_path / "transformer")
    serialised = converters.torch_writer.serialised

    def slow(tensors):
        (tmp_path / "out.pth").write_text("faster")
        return serialised(tensors)

    monkeypatch.setattr(converters.torch_writer, "serialised", slow)
    with pytest.raises(InputError, match=r"out\.pth: is there already"):
        converters.export(folder, tmp_path / "out.pth")
    assert (tmp_path / "out.pth").read_text() == "faster"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.pth", "transformer"]


def test_what_is_no_transformer_is_refused(tmp_path, tiny_generator, refused):
    line = refused(command.main, "--export", tiny_generator, tmp_path / "out.pth")
    assert line.startswith(f"{tiny_generator}: holds a model for the role generator (dcgan), not transformer; ")
    line = refused(command.main, "--export", tmp_path / "nowhere", tmp_path / "out.pth")
    assert line.startswith(f"{tmp_path}/nowhere: does not exist; ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--export"], "source: is missing; see python -m converters --help\n"),
        (["--export", "runs/a"], "destination: is missing; name the file to write\n"),
        (["--export", "a", "b", "c"], "c: is not understood; see python -m converters --help\n"),
        (["--export", "a", "b", "--kind=OneDirectionZ"], "--export: has no settings; give it a folder, a file and "),
        (["--export", "a", "b", "--renorm=batch"], "--export: has no settings; give it a folder, a file and "),
        (["--export", "a", "--inspect"], "--inspect, --export, --prove: do not go together; give one of them\n"),
    ],
)
def test_flags_that_do_not_fit_an_export_are_refused(refused, arguments, said):
    assert refused(command.main, *arguments).startswith(said)


def test_torch_is_not_needed(tmp_path):
    folder = folder_of({}, tmp_path / "transformer")
    code = (
        "import sys; sys.modules['torch'] = None  # an import raises\n"
        "from converters import __main__ as command\n"
        "sys.exit(command.main())\n"
    )
    arguments = [sys.executable, "-c", code, "--export", str(folder), str(tmp_path / "out.pth")]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    model = oracle.Transformer(6, 20, kind="AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear")
    model.load_state_dict(torch.load(tmp_path / "out.pth"), strict=True)
