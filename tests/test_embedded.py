"""What comes by name is found without its package's code, converted once and verified."""

import sys

import numpy as np
import PIL.Image
import pytest
import torch

import latentjax
from converters import torch_file
from converters.oracles import efficientnet
from latentjax import embedded
from latentjax.errors import InputError
from tests.conversion import nchw, worst


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENTJAX_CACHE", str(tmp_path))
    return tmp_path


def test_painted_eyes_are_converted_once_into_the_cache(cache):
    try:
        generator = latentjax.load_generator("embedded:painted-eyes")
    except InputError as error:
        pytest.skip(str(error))
    assert (generator.latent_dim, generator.num_classes, generator.resolution) == (100, 8, 128)
    assert "omniart_eye_generator" not in sys.modules
    (folder,) = (cache / "weights").iterdir()
    written = (folder / "weights.safetensors").stat().st_mtime_ns
    assert latentjax.load_generator("embedded:painted-eyes").sha256 == generator.sha256
    assert (folder / "weights.safetensors").stat().st_mtime_ns == written


def test_a_missing_package_is_one_line_with_the_command(cache, monkeypatch):
    absent = embedded.PACKAGED["painted-eyes"]._replace(package="no-such-package")
    monkeypatch.setitem(embedded.PACKAGED, "painted-eyes", absent)
    with pytest.raises(InputError, match=r"no-such-package: is not installed; pip install -r requirements-demo\.txt"):
        latentjax.load_generator("embedded:painted-eyes")


@pytest.mark.parametrize(("load", "name"), [("generator", "colourfulness"), ("assessor", "painted-eyes")])
def test_names_of_another_role_are_refused(cache, load, name):
    with pytest.raises(InputError, match=f"embedded:{name}: is no {load}"):
        getattr(latentjax, f"load_{load}")(f"embedded:{name}")


def test_settings_of_an_image_property():
    assessor = latentjax.load_assessor("embedded:brightness", centre=0.2, slope=3.0)
    assert (assessor.config["centre"], assessor.config["slope"]) == (0.2, 3.0)


def lite0():
    """The assessor, or skipped where its package is not installed."""
    try:
        return latentjax.load_assessor("embedded:lite0")
    except InputError as error:
        pytest.skip(str(error))


def photographs():
    """A palace and a flower [2, 224, 224, 3] in [-1, 1], cut to squares."""
    datasets = pytest.importorskip("sklearn.datasets")
    cut = []
    for pixels in datasets.load_sample_images().images:
        picture = PIL.Image.fromarray(pixels)
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        square = picture.crop((left, top, left + side, top + side)).resize((224, 224), PIL.Image.Resampling.BICUBIC)
        cut.append(np.asarray(square, np.float32) / 127.5 - 1)
    return np.stack(cut)


PALACE, DAISY = 698, 985


def test_lite0_names_what_is_in_a_photograph(cache):
    best = np.argsort(-np.asarray(lite0().logits(photographs())), axis=1)[:, :5]
    assert PALACE in best[0]
    assert DAISY in best[1]


def test_lite0_agrees_with_pytorch(cache):
    assessor, images = lite0(), photographs()
    packaged = embedded.PACKAGED["lite0"]
    file = torch_file.read(embedded.packaged_file(packaged.package, packaged.file))
    model = efficientnet.EfficientNet("lite0", padding="native-same")
    model.load_state_dict({key: torch.from_numpy(array.copy()) for key, array in torch_file.state_dict(file).items()})
    x = efficientnet.preprocess(nchw(images), mean=assessor.config["mean"], std=assessor.config["std"])
    with torch.no_grad():
        theirs = model(x).numpy()
        broken = efficientnet.EfficientNet("lite0", padding="symmetric")
        broken.load_state_dict(model.state_dict())
        assert worst(assessor.logits(images), broken(x)) > 1e-2
    assert worst(assessor.logits(images), theirs) <= 1e-4
