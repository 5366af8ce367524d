"""What a certificate says: right networks of every kind pass, wrong ones do not (`test_prove_command` has the rest)."""

import json
import math

import ml_dtypes
import numpy as np
import pytest
import torch

from converters import (
    biggan,
    biggan_deep,
    biggan_pytorch,
    dcgan,
    efficientnet,
    rules,
    spectral_norm,
    transformer,
)
from converters.oracles import biggan as biggan_oracle
from converters.oracles import biggan_deep as deep_oracle
from converters.oracles import biggan_pytorch as pytorch_oracle
from converters.oracles import fixtures, of_recipe, proof, proof_networks
from converters.oracles.dcgan import DCGAN
from converters.oracles.efficientnet import EfficientNet
from converters.oracles.reading import Reading
from converters.oracles.transformer import PUBLISHED, Transformer
from latentjax import transformers
from tests import other_packages
from tests.conversion import shorten_assessors, state_of

QUANTITIES = ["images", "logits", "scores", "gradient to the latent", "training step"]
KIND = "AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear"
SEVERAL = "MultiDirectionZ_nonlinear"
READ = Reading("as PyTorch reads it", True)


@pytest.fixture
def short_assessors(monkeypatch):
    shorten_assessors(monkeypatch)


def subject(kind):
    """A random network's tensors, and the converter that reads them."""
    made = {
        "biggan": lambda: biggan_oracle.BigGAN(128, 10, channels=8),
        "biggan_deep": lambda: deep_oracle.BigGANDeep(
            biggan_deep.PUBLISHED[0], num_classes=10, channels=8, latent_dim=16
        ),
        "biggan_pytorch": lambda: pytorch_oracle.BigGANPyTorch(128, 10, channels=8),
        "dcgan": lambda: DCGAN(20, 4, (16, 8)),
        "efficientnet": lambda: EfficientNet("b0", num_classes=3),
        "lite0": lambda: EfficientNet("lite0", num_classes=5, padding="native-same"),
        "transformer": lambda: Transformer(20, 4, kind=KIND, noise_dim=8, noise_dim_y=1),
        "several": lambda: Transformer(20, 4, kind=SEVERAL),
    }
    readers = {
        "biggan": lambda state: biggan.recipe(state, "state"),
        "biggan_deep": lambda state: biggan_deep.recipe(state, "state"),
        "biggan_pytorch": lambda state: biggan_pytorch.recipe(state, "state"),
        "dcgan": lambda state: dcgan.recipe(state, "state", 4),
        "efficientnet": lambda state: efficientnet.recipe(state, "state", None, "symmetric"),
        "lite0": lambda state: efficientnet.recipe(state, "state", None, None),
        "transformer": lambda state: transformer.recipe(state, "state", 4, None, None),
        "several": lambda state: transformer.recipe(state, "state", 4, None, None),
    }
    torch.manual_seed(0)
    module = made[kind]()
    fixtures.randomise(module, seed=1)
    return proof_networks.Read(state_of(module), readers[kind])


def passed(found):
    """The quantities that agree."""
    return {figure["quantity"] for figure in found["figures"] if figure["passed"]}


def certificate(read):
    return proof.certificate("file.pth", "0" * 64, READ, read)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["dcgan", "biggan", "biggan_deep", "biggan_pytorch", "efficientnet", "lite0", "transformer", "several"]
)
def test_a_right_network_of_every_kind_passes(kind):
    found = certificate(subject(kind))
    assert found["passed"], found["figures"]


@pytest.mark.slow
def test_every_row_of_a_transformers_file_depends_on_it(short_assessors, monkeypatch):
    monkeypatch.setattr(transformers.Transformer, "rescale", lambda self, moved, z, alpha: moved)
    assert passed(certificate(subject("transformer"))) == set()


@pytest.mark.slow
def test_a_wrong_spectral_norm_does_not_pass(monkeypatch):
    stored = spectral_norm.renewed_once
    monkeypatch.setattr(spectral_norm, "renewed_once", lambda matrix, u, n: stored(matrix, u, n) * (1 + 1e-4))
    assert "images" not in passed(certificate(subject("biggan")))


@pytest.mark.slow
def test_logits_that_leave_the_scores_as_they_are_do_not_pass(short_assessors):
    state, reader = subject("efficientnet")
    wrong = rules.Rule(r"_fc\.bias", "classifier/bias", lambda array: array + 1)  # no softmax tells

    def recipe(state):
        right = reader(state)
        right.rules = [wrong, *right.rules]
        return right

    assert passed(certificate(proof_networks.Read(state, recipe))) == {*QUANTITIES} - {"logits"}


# ---- figures


def test_errors_are_relative_to_the_largest_value_of_the_truth():
    truth = np.array([4.0, -8.0])
    sides = {"float32": truth + 8e-4, "pytorch_float32": truth, "float64": truth}
    assert proof.row("images", truth, sides)["float32"] == pytest.approx(1e-4)
    assert not proof.row("images", truth, sides)["passed"]
    assert proof.row("images", truth, sides | {"pytorch_float32": truth - 4e-4})["passed"]
    assert not proof.row("images", truth, sides | {"float32": truth, "float64": truth + 1e-7})["passed"]


@pytest.mark.parametrize("odd", [math.nan, math.inf])
@pytest.mark.parametrize("side", ["float32", "pytorch_float32", "float64", "truth"])
def test_what_is_no_number_does_not_pass_and_is_null(odd, side):
    values = {name: np.ones(3) for name in ("float32", "pytorch_float32", "float64", "truth")}
    values[side] = np.array([1, odd, 1])
    found = proof.row("scores", values.pop("truth"), values)
    assert not found["passed"]
    assert None in found.values()
    json.dumps(found, allow_nan=False)


def test_what_is_zero_everywhere_does_not_pass():
    zeros = dict.fromkeys(("float32", "pytorch_float32", "float64"), np.zeros(2))
    assert not proof.row("scores", np.zeros(2), zeros)["passed"]


# ---- which PyTorch version a file is compared with


def read_transformer(kind, num_classes=3, noise_dim=2, noise_dim_y=1):
    torch.manual_seed(0)
    theirs = Transformer(
        6, num_classes, kind=kind, noise_dim=noise_dim, noise_dim_y=noise_dim_y, class_reg=7.0, num_directions=2
    )
    return theirs, transformer.recipe(state_of(theirs), "state", num_classes, 7.0, "sample", kind)


@pytest.mark.parametrize("kind", PUBLISHED)
@pytest.mark.parametrize("num_classes", [3, 6])  # as many as z has entries, so that shapes do not tell
def test_a_transformers_kind_is_found_by_its_forms(kind, num_classes):
    theirs, recipe = read_transformer(kind, num_classes)
    found = proof_networks.loaded(recipe, state_of(theirs))
    assert (found.kind, found.renorm, found.class_reg) == (kind, "sample", 7.0)
    theirs.renorm = "sample"
    given = torch.randn(2, 6), torch.randn(2, num_classes), torch.tensor([0.3, -0.2])
    noise = torch.randn(2, 2), torch.randn(2, 1)
    for one, other in zip(theirs(*given, *noise, 0), found(*given, *noise, 0), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", [name for name, plan in PUBLISHED.items() if "noise" in plan.z])
def test_noise_of_size_0_is_no_input(kind):
    theirs, recipe = read_transformer(kind, noise_dim=0, noise_dim_y=0)
    assert "noise" not in recipe.config["z"] + recipe.config["y"]
    found = proof_networks.loaded(recipe, state_of(theirs))
    moved, _ = found(torch.randn(2, 6), torch.randn(2, 3), torch.tensor([0.3, -0.2]))
    assert moved.shape == (2, 6)


def test_a_dcgan_without_dropout_has_other_numbers():
    state, reader = subject("dcgan")
    plain = {key.replace("main.4.", "main.3.").replace("main.5.", "main.4."): array for key, array in state.items()}
    plain = {key.replace("main.7.", "main.6."): array for key, array in plain.items()}
    assert set(plain) != set(state)
    found = of_recipe.renamed(reader(plain), plain, DCGAN(20, 4, (16, 8)))
    assert {key: array.tolist() for key, array in found.items()} == {key: a.tolist() for key, a in state.items()}


def test_numbers_of_every_type_are_taken():
    state, reader = subject("dcgan")
    dtypes = (ml_dtypes.bfloat16, np.float16, np.float64, np.int32)
    mixed = {
        key: array if array.dtype.kind == "i" else array.astype(dtypes[i % len(dtypes)])
        for i, (key, array) in enumerate(state.items())
    }
    assert {array.dtype.type for array in mixed.values()} >= set(dtypes)
    found = proof_networks.cast_for(mixed, reader)
    for key, tensor in found.generator.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), mixed[key].astype(tensor.numpy().dtype))


def test_keys_of_another_package_are_read_by_the_converter_on_our_side():
    state = state_of(other_packages.network("torchvision:efficientnet_b0"))
    scene = proof_networks.cast_for(state, lambda state: efficientnet.recipe(state, "state", None, None))
    ours = proof.network_of("assessor", scene.reads["assessor"], np.float32)
    assert (ours.config["padding"], ours.config["bn_epsilon"]) == ("symmetric", 1e-5)
    np.testing.assert_array_equal(ours.state["stem"]["kernel"][...], rules.conv(state["features.0.0.weight"]))
    np.testing.assert_array_equal(scene.assessor._conv_stem.weight.detach(), state["features.0.0.weight"])


@pytest.mark.parametrize(
    ("generator", "resolution"),
    [
        (lambda: biggan_oracle.BigGAN(512, 4, channels=4), 512),
        (lambda: deep_oracle.BigGANDeep(biggan_deep.PUBLISHED[2], num_classes=4, channels=4, latent_dim=8), 512),
        (lambda: pytorch_oracle.BigGANPyTorch(256, 4, channels=4), 256),
        (lambda: DCGAN(6, 3, (8, 4)), 16),
    ],
)
def test_large_images_are_made_one_at_a_time(generator, resolution):
    with torch.device("meta"):
        made = generator()
        assert made(torch.zeros(1, made.latent_dim), torch.zeros(1, made.num_classes)).shape[2:] == (resolution,) * 2
    assert made.resolution == resolution
    mover = Transformer(made.latent_dim, made.num_classes, kind="AdaptiveDirectionZ")
    scene = proof_networks.Cast(made, EfficientNet("b0", 2), mover, {}, {})
    assert len(proof_networks.draws_for(scene, scene.batch)["z"]) == (1 if resolution == 512 else 2)
