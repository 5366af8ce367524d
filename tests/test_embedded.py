"""What comes by name is found without its package's code, converted once and verified."""

import sys

import pytest

import latentjax
from latentjax import embedded
from latentjax.errors import InputError


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
