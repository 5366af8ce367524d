"""Model folders come back as they were written, or are refused."""

import hashlib
import json
import re
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from latentjax import weights
from latentjax.errors import InputError

CONFIG = {"latent_dim": 6, "num_classes": 3, "widths": [8]}  # the fixture's
# reference.md, section 2: without running statistics
PUBLISHED_SIZES = {128: 70_433_988, 256: 82_097_604, 512: 82_296_804}


@pytest.fixture
def folder(tiny_generator, tmp_path):
    """A copy of the tiny generator that a test may damage."""
    return shutil.copytree(tiny_generator, tmp_path / "model")


def refusal(folder, role="generator"):
    with pytest.raises(InputError) as caught:
        weights.load(folder, role)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(folder, **changes):
    """Changes fields of model.json."""
    file = folder / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_weights_come_back_bit_for_bit(tmp_path):
    built = weights.named(nnx.state(weights.build("dcgan", CONFIG, seed=3)))
    source = {"file": "a.pth", "sha256": "abc"}
    weights.save(tmp_path / "model", built, "dcgan", CONFIG, source, card="# A card\n")
    module, record = weights.load(tmp_path / "model", "generator")
    loaded = weights.named(nnx.state(module))
    assert loaded.keys() == built.keys()
    for path, array in built.items():
        np.testing.assert_array_equal(loaded[path], array)
    assert (record["kind"], record["config"], record["source"]) == ("dcgan", CONFIG, source)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md",
        "model.json",
        "weights.safetensors",
    ]


def test_a_transposed_view_is_saved_as_it_reads(tmp_path):
    arrays = {path: np.zeros(shape, np.float32) for path, shape in weights.shapes_of("dcgan", CONFIG).items()}
    kernel = np.arange(9 * 128, dtype=np.float32).reshape(128, 9)
    weights.save(tmp_path / "model", arrays | {"input/kernel": kernel.T}, "dcgan", CONFIG, {})
    module, _ = weights.load(tmp_path / "model", "generator")
    np.testing.assert_array_equal(weights.named(nnx.state(module))["input/kernel"], kernel.T)


def test_a_folder_that_is_there_is_replaced_only_when_asked(folder):
    arrays = {path: np.zeros(shape, np.float32) for path, shape in weights.shapes_of("dcgan", CONFIG).items()}
    before = (folder / "weights.safetensors").read_bytes()
    with pytest.raises(InputError, match="model: is there already"):
        weights.save(folder, arrays, "dcgan", CONFIG, {})
    assert (folder / "weights.safetensors").read_bytes() == before
    weights.save(folder, arrays, "dcgan", CONFIG, {}, replace=True)
    module, _ = weights.load(folder, "generator")
    assert not jnp.any(weights.named(nnx.state(module))["input/kernel"])


def test_what_is_not_a_model_folder_is_refused(tmp_path):
    (tmp_path / "biggan.pth").write_text("")
    (tmp_path / "empty").mkdir()
    todo = "python -m converters SOURCE DESTINATION makes one from a PyTorch file"
    assert refusal(tmp_path / "nowhere") == f"{tmp_path}/nowhere: does not exist; give the generator's model folder"
    assert refusal(tmp_path / "biggan.pth") == f"{tmp_path}/biggan.pth: is a file; give a model folder ({todo})"
    assert refusal(tmp_path / "empty").startswith(f"{tmp_path}/empty: is not a generator folder (no model.json); ")


def test_a_model_of_another_role_is_refused(folder):
    line = refusal(folder, "assessor")
    assert line == f"{folder}: holds a model for the role generator (dcgan), not assessor; give another folder"


@pytest.mark.parametrize("position", [0, 9, 200, -1])
def test_a_flipped_bit_is_noticed(folder, position):
    file = folder / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)
    expected = f"{file}: does not match the checksum in model.json; convert or copy the model again"
    assert refusal(folder) == expected


@pytest.mark.parametrize("kept", [0, 5, 1000])
def test_weights_cut_short_are_noticed(folder, kept):
    file = folder / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert refusal(folder).startswith(f"{file}: does not match the checksum")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", bytes(range(64)), b"[" * 100_000, b'{"a": {"dtype": "I8"}}'])
def test_weights_of_another_format_are_refused_though_their_checksum_fits(folder, data):
    data = len(data).to_bytes(8, "little") + data
    (folder / "weights.safetensors").write_bytes(data)
    edit(folder, weights_sha256=hashlib.sha256(data).hexdigest())
    assert re.match(r".*/weights\.safetensors: (cannot be read \(|has other tensors than)", refusal(folder))


def test_loaded_weights_stay_when_their_file_changes(folder):
    module, _ = weights.load(folder, "generator")
    before = {path: np.array(array) for path, array in weights.named(nnx.state(module)).items()}
    with open(folder / "weights.safetensors", "r+b") as file:
        file.write(bytes((folder / "weights.safetensors").stat().st_size))
    for path, array in weights.named(nnx.state(module)).items():
        np.testing.assert_array_equal(array, before[path])


def test_missing_weights_are_noticed(folder):
    (folder / "weights.safetensors").unlink()
    assert refusal(folder).startswith(f"{folder}/weights.safetensors: ")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"kind": "dcgan"}', "\xff", "[" * 100_000])
def test_a_damaged_model_json_is_noticed(folder, text):
    (folder / "model.json").write_bytes(text.encode("latin-1"))
    assert refusal(folder).startswith(f"{folder}/model.json: is damaged (")


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_truncated_model_json_is_noticed(folder, cut):
    file = folder / "model.json"
    file.write_bytes(file.read_bytes().rstrip()[:-cut])
    assert refusal(folder).startswith(f"{file}: is damaged (")


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": ["dcgan"]},
        {"config": None},
        {"config": [1]},
        {"source": 3},
        {"config": {}},
        {"config": CONFIG | {"depth": 3}},
        {"config": CONFIG | {"rngs": 3}},
        {"config": CONFIG | {"widths": []}},
        {"config": CONFIG | {"widths": [0]}},
        {"config": CONFIG | {"widths": "wide"}},
        {"config": CONFIG | {"latent_dim": -20}},
        {"config": CONFIG | {"latent_dim": "six"}},
        {"config": CONFIG | {"latent_dim": 7}},
        {"kind": "biggan", "config": {"resolution": 100}},
        {"kind": "biggan", "config": {"resolution": 128, "channels": 10**9}},
    ],
)
def test_a_model_json_that_does_not_describe_the_weights_is_refused(folder, changes):
    edit(folder, **changes)
    line = refusal(folder)
    assert line.startswith((f"{folder}/model.json: is damaged", f"{folder}/weights.safetensors: has other tensors"))
    assert len(line) < 600


def test_a_format_or_kind_of_another_version_is_refused(folder):
    edit(folder, kind="stylegan")
    assert "has unknown format 'latentjax-model-1' or kind 'stylegan'" in refusal(folder)
    edit(folder, kind="dcgan", format="latentjax-model-2")
    assert refusal(folder).endswith("; use the latentjax that wrote it")


@pytest.mark.parametrize(("resolution", "size"), PUBLISHED_SIZES.items())
def test_biggan_has_the_published_number_of_parameters(resolution, size):
    shapes = weights.shapes_of("biggan", {"resolution": resolution})
    counted = {path: shape for path, shape in shapes.items() if not path.endswith(("/mean", "/var"))}
    assert sum(int(np.prod(shape)) for shape in counted.values()) == size
