"""Model folders in half precision: half the space, one rounding, the same networks."""

import sys
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import converters
import latentjax
from converters import __main__ as command
from converters import rules
from converters.oracles import biggan, dcgan, fixtures
from converters.rules import Recipe, Rule
from latentjax import weights
from latentjax.errors import InputError


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small BigGAN and a small DCGAN."""
    folder = tmp_path_factory.mktemp("files")
    for name, module in (
        ("biggan", biggan.BigGAN(128, num_classes=10, channels=8)),
        ("dcgan", dcgan.DCGAN(6, 3, (8, 4))),
    ):
        fixtures.randomise(module, 0)
        torch.save(module.state_dict(), folder / f"{name}.pth")
    return folder


def arrays_of(folder):
    return weights.views(weights.mapped(folder / "weights.safetensors"))


def recipe():
    return Recipe("example", {}, (Rule(r"fc\.(weight|bias)", r"fc/\1"), Rule("norm.var", "norm/var")), {})


def test_what_is_rounded_stays_within_the_stated_bound():
    generator = np.random.default_rng(0)
    magnitudes = 10.0 ** generator.uniform(-12, 4.8, 100_000)
    exact = np.float32(magnitudes * generator.choice([-1, 1], magnitudes.shape))
    half = rules.halved({"fc/weight": exact}, recipe(), "a.pth")["fc/weight"]
    error = np.abs(half.astype(np.float64) - exact)
    large = np.abs(exact) >= 2.0**-14
    assert half.dtype == np.float16
    assert (error[large] <= 2.0**-11 * np.abs(exact[large])).all()
    assert (error[~large] <= 2.0**-25).all()
    assert error.max() > 0


def test_values_beyond_the_range_are_refused_by_name():
    exact = {"fc/weight": np.float32([1, 65519]), "norm/var": np.float32([1e6])}
    stored = rules.halved(exact, recipe(), "a.pth")
    assert stored["fc/weight"].tolist() == [1, 65504]
    assert stored["norm/var"].dtype == np.float32
    with pytest.raises(InputError) as caught:
        rules.halved(exact | {"fc/bias": np.float32([65520])}, recipe(), "a.pth")
    told = "a.pth: has 1 tensors beyond float16's range, 65504 (fc.bias); leave --dtype=float16 out"
    assert str(caught.value) == told


def test_a_value_beyond_the_range_is_named_as_in_the_file():
    fc = Rule(r"_fc\.bias", "classifier/bias")
    renamed = Recipe("example", {}, (fc,), {}, names={"_fc.bias": "classifier.1.bias"})
    with pytest.raises(InputError, match=r"beyond float16's range, 65504 \(classifier\.1\.bias\)"):
        rules.halved({"classifier/bias": np.float32([1e5])}, renamed, "a.pth")


@pytest.mark.parametrize(("name", "options"), [("biggan", {}), ("dcgan", {"num_classes": 3})])
def test_the_weights_come_back_in_float32_from_half_the_space(files, tmp_path, name, options):
    for dtype in ("float32", "float16"):
        converters.convert(files / f"{name}.pth", tmp_path / dtype, dtype=dtype, **options)
    exact, stored = arrays_of(tmp_path / "float32"), arrays_of(tmp_path / "float16")
    module, _ = weights.load(tmp_path / "float16", "generator")
    loaded = weights.named(nnx.state(module))
    statistics = [path for path in exact if path.endswith(("/mean", "/var"))]
    assert len(statistics) >= 2
    for path, array in exact.items():
        assert exact[path].dtype == loaded[path].dtype == np.float32
        assert stored[path].dtype == (np.float32 if path in statistics else np.float16)
        np.testing.assert_array_equal(loaded[path], array if path in statistics else np.float32(np.float16(array)))
    halved = [
        sum(array.nbytes for path, array in arrays.items() if path not in statistics) for arrays in (exact, stored)
    ]
    assert halved[0] == 2 * halved[1]


def test_images_of_half_precision_stay_close(files, tmp_path):
    for dtype in ("float32", "float16"):
        converters.convert(files / "dcgan.pth", tmp_path / dtype, num_classes=3, dtype=dtype)
    z, y = np.random.default_rng(0).standard_normal((16, 6), np.float32), jnp.eye(3)[np.arange(16) % 3]
    exact, rounded = (latentjax.load_generator(tmp_path / dtype)(z, y) for dtype in ("float32", "float16"))
    assert exact.dtype == rounded.dtype == jnp.float32
    difference = np.abs(exact - rounded).max()
    assert 0 < difference < 2e-3  # of a range of 2: a quarter of a step of 8 bits


def test_the_command_takes_the_dtype_and_refuses_others(files, tmp_path, monkeypatch, refused):
    arguments = [str(files / "dcgan.pth"), str(tmp_path / "model"), "--num-classes=3", "--dtype=float16"]
    monkeypatch.setattr(sys, "argv", ["converters", *arguments])
    assert command.main() == 0
    assert arrays_of(tmp_path / "model")["input/kernel"].dtype == np.float16
    line = refused(command.main, files / "dcgan.pth", tmp_path / "other", "--dtype=bfloat16")
    assert line.startswith("--dtype: invalid choice: 'bfloat16' (choose from ")
    line = refused(command.main, "--export", tmp_path / "model", tmp_path / "out.pth", "--dtype=float16")
    assert line.startswith("--export: has no settings")
    with pytest.raises(InputError, match=r"--dtype: 'int8' is unknown; use one of float32, float16"):
        converters.convert(files / "dcgan.pth", tmp_path / "other", num_classes=3, dtype="int8")
    state = torch.load(files / "dcgan.pth")
    state["main.0.weight"][0, 0, 0, 0] = 1e5
    torch.save(state, tmp_path / "large.pth")
    line = refused(command.main, tmp_path / "large.pth", tmp_path / "other", "--num-classes=3", "--dtype=float16")
    assert "has 1 tensors beyond float16's range, 65504 (main.0.weight); " in line


def test_a_folder_in_float32_is_loaded_without_a_copy_on_the_way(tmp_path):
    config = {"latent_dim": 60, "num_classes": 4, "widths": [512, 256]}
    arrays = {path: np.ones(shape, np.float32) for path, shape in weights.shapes_of("dcgan", config).items()}
    peaks = {}
    for dtype in (np.float32, np.float16):
        folder = tmp_path / dtype.__name__
        weights.save(folder, {path: array.astype(dtype) for path, array in arrays.items()}, "dcgan", config, {})
        weights.load(folder, "generator")
        tracemalloc.start()
        weights.load(folder, "generator")
        peaks[dtype] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    largest = max(array.nbytes for array in arrays.values())
    assert peaks[np.float32] < largest / 2
    assert largest < peaks[np.float16] < 1.5 * largest  # one array at a time
