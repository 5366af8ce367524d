"""EfficientNets of torchvision and timm: every name, the logits, and what a whole module tells of itself."""

import copy

import jax
import numpy as np
import pytest
import torch
from torch import nn

from converters import efficientnet, efficientnet_names, rules, torch_file
from converters.oracles import efficientnet as oracle
from converters.torch_names import Stub
from latentjax import weights
from latentjax.errors import InputError
from tests import other_packages
from tests.conversion import nchw, network, recipe_of, state_of
from tests.torch_files import save

TIMM = {"padding": "symmetric", "bn_epsilon": 1e-5, "preprocessing": "imagenet"}
RELATIVE = 1e-9  # in float64; a wrong padding or epsilon makes a thousand times as much and more
TF = {"padding": "same", "bn_epsilon": 1e-3, "preprocessing": "imagenet"}


def randomised(name):
    """A package's network whose norms all do something."""
    model = other_packages.network(name)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1, generator=generator)
                part.running_var.uniform_(0.5, 1.5, generator=generator)
                part.weight.normal_(1, 0.1, generator=generator)
                part.bias.normal_(0, 0.1, generator=generator)
    return model


def wide_logits(assessor, images):
    """Ours in float64: these random networks are deep, and in float32 the packages lose their own logits."""
    with jax.enable_x64(True):
        weights64 = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), assessor.state)
        return np.asarray(jax.jit(lambda w, x: assessor.apply(w, x, method="logits"))(weights64, images))


def logits_of(model, images, mean, std):
    """In float64, of images [B, H, W, 3] in [-1, 1]."""
    x = (nchw(images).double() + 1) / 2
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (mean, std))
    x = (x - mean) / std
    with torch.no_grad():
        return copy.deepcopy(model).double()(x).numpy()


@pytest.mark.parametrize("variant", ["b0", *(pytest.param(f"b{i}", marks=pytest.mark.slow) for i in range(1, 8))])
@pytest.mark.parametrize("package", ["torchvision:efficientnet_", "timm:tf_efficientnet_"])
def test_every_key_has_its_name(package, variant):
    with torch.device("meta"):
        theirs = other_packages.network(f"{package}{variant}").state_dict()
        ours = oracle.EfficientNet(variant).state_dict()
    table = efficientnet_names.table(package.partition(":")[0], variant)
    assert set(table) == set(theirs)
    assert {table[key]: list(tensor.shape) for key, tensor in theirs.items()} == {
        key: list(tensor.shape) for key, tensor in ours.items()
    }


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("torchvision:efficientnet_b0", {}),
        pytest.param("torchvision:efficientnet_b5", {}, marks=pytest.mark.slow),
        pytest.param("timm:efficientnet_b0", TIMM, marks=pytest.mark.slow),
        pytest.param("timm:tf_efficientnet_b1", TF, marks=pytest.mark.slow),
        pytest.param("timm:tf_efficientnet_lite0", TF | {"preprocessing": "inception"}, marks=pytest.mark.slow),
    ],
)
def test_logits_are_the_packages(name, options):
    model = randomised(name)
    options = options | {"image_size": 224}
    ours = network("efficientnet", "assessor", state_of(model), **options)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 224, 224, 3))
    theirs = logits_of(model, images, ours.config["mean"], ours.config["std"])
    assert np.abs(wide_logits(ours, images) - theirs).max() <= RELATIVE * theirs.std()
    if options.get("padding"):
        wrong = {"padding": "same" if options["padding"] == "symmetric" else "symmetric"}, {"bn_epsilon": 1e-4}
        for change in wrong:
            broken = network("efficientnet", "assessor", state_of(model), **options | change)
            assert np.abs(wide_logits(broken, images) - theirs).max() > 1e3 * RELATIVE * theirs.std()


@pytest.mark.parametrize(("name", "options"), [("timm:efficientnet_b0", TIMM), ("timm:tf_efficientnet_b0", TF)])
def test_a_whole_module_of_timm_brings_its_own_padding_and_epsilon(tmp_path, name, options):
    module = other_packages.network(name)
    file = torch_file.read(save(tmp_path / "a.pth", module))
    state = torch_file.state_dict(file)
    assert list(state) == list(module.state_dict())
    config = recipe_of("efficientnet", state, root=file, preprocessing="imagenet").config
    assert {setting: config[setting] for setting in ("padding", "bn_epsilon")} == {
        setting: options[setting] for setting in ("padding", "bn_epsilon")
    }
    with pytest.raises(InputError, match=r"--bn-epsilon: 0\.5 contradicts the module's own"):
        recipe_of("efficientnet", state, root=file, preprocessing="imagenet", bn_epsilon=0.5)


def test_a_whole_module_of_timm_that_pads_otherwise_is_refused(tmp_path):
    module = other_packages.network("timm:tf_efficientnet_b0")
    module.blocks[0][0].conv_dw.padding = (0, 0)
    file = torch_file.read(save(tmp_path / "a.pth", module))
    with pytest.raises(InputError, match="pads its convolutions in no known way"):
        efficientnet.pickled_settings(file, "b0", "a.pth")


@pytest.mark.parametrize("lacking", TIMM)
def test_what_timms_keys_do_not_tell_is_asked_for(lacking):
    state = state_of(other_packages.network("timm:efficientnet_b0"))
    with pytest.raises(InputError, match=f"add .*--{lacking.replace('_', '-')}="):
        recipe_of("efficientnet", state, **{name: value for name, value in TIMM.items() if name != lacking})


def test_a_key_that_is_missing_is_told_by_its_own_name():
    state = state_of(other_packages.network("torchvision:efficientnet_b0"))
    del state["features.6.1.block.2.fc1.bias"]
    recipe = recipe_of("efficientnet", state)
    with pytest.raises(InputError, match=r"1 missing \(features\.6\.1\.block\.2\.fc1\.bias\)"):
        rules.apply(recipe, weights.shapes_of(recipe.kind, recipe.config), "state")


def test_an_option_that_contradicts_the_keys_is_refused():
    state = state_of(other_packages.network("torchvision:efficientnet_b0"))
    with pytest.raises(InputError, match="--padding: same contradicts"):
        recipe_of("efficientnet", state, padding="same")


@pytest.mark.parametrize("sides", [(1, 1, 1), "wide", (np.arange(2), 1, 1, 1), (None, 1, 1, 1)], ids=str)
def test_paddings_that_are_no_numbers_are_not_known(sides):
    conv, padding = Stub("torch.nn.Conv2d", ()), Stub("torch.nn.ZeroPad2d", ())
    conv.state, padding.state = {}, {"padding": sides}
    assert efficientnet.padding_of({"a": conv, "a.static_padding": padding}, "a") is None
    padding.state = {"padding": (1, 2, 3, 4)}
    assert efficientnet.padding_of({"a": conv, "a.static_padding": padding}, "a") == ((3, 4), (1, 2))


def test_a_module_with_a_digit_that_is_no_number_in_its_name_is_refused(tmp_path):
    norm = nn.Sequential(nn.BatchNorm2d(3))
    norm.add_module("\u00b2_depthwise_conv", nn.Conv2d(1, 1, 1))
    norm.add_module("\u00b2", nn.Sequential())
    norm.get_submodule("\u00b2").add_module("_conv_stem", nn.Conv2d(1, 1, 1))
    file = torch_file.read(save(tmp_path / "a.pth", norm))
    with pytest.raises(InputError, match="pads its convolutions in no known way"):
        efficientnet.pickled_settings(file, "b0", "a.pth")
