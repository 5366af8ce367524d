"""The assessor's logits and scores are the published ones, with the padding of the file."""

import jax
import numpy as np
import pytest
import torch

from converters import rules, torch_file
from converters.oracles import efficientnet as oracle
from converters.oracles import fixtures
from latentjax import networks, weights
from latentjax.assessors.efficientnet import VARIANTS
from latentjax.errors import InputError
from tests.conversion import nchw, network, recipe_of, shorten_assessors, state_of, worst

# B0's own float32 noise in the logits is 5e-6; 1e-4 leaves room for another order of sums
LOGITS, SCORES = 1e-4, 2e-5


def published(reference, **options):
    file = torch_file.read(reference / "golden" / "best_v070.pth")
    return network("efficientnet", "assessor", torch_file.state_dict(file), root=file.root, **options)


def pictures(batch: int, size: int) -> np.ndarray:
    """Smooth random images [batch, size, size, 3] in [-1, 1]."""
    coarse = np.random.default_rng(0).uniform(-1, 1, (batch, 8, 8, 3))
    return np.asarray(jax.image.resize(coarse.astype(np.float32), (batch, size, size, 3), "cubic")).clip(-1, 1) * 0.95


@pytest.mark.parametrize("size", [512, 128])
def test_logits_and_scores_are_the_published_ones(reference, size):
    golden = np.load(reference / "golden" / "assessor_b0_v070.npz")
    images = golden[f"images{size}_uint8_nhwc"].astype(np.float32) / 127.5 - 1
    assessor = published(reference)
    assert assessor.config["padding"] == "symmetric"
    assert "output" not in assessor.config
    assert worst(assessor.logits(images), golden[f"logits{size}"]) <= LOGITS
    assert worst(assessor(images), golden[f"scores{size}"]) <= SCORES


def test_guard_tf_same_padding_for_070(reference):
    golden = np.load(reference / "golden" / "assessor_b0_v070.npz")
    images = golden["images512_uint8_nhwc"].astype(np.float32) / 127.5 - 1
    state = torch_file.state_dict(torch_file.read(reference / "golden" / "best_v070.pth"))
    broken = network("efficientnet", "assessor", state, padding="native-same")
    assert worst(broken.logits(images), golden["logits512"]) > 100 * LOGITS


@pytest.fixture(scope="module")
def random_b0():
    model = oracle.EfficientNet("b0", num_classes=2, padding="symmetric").eval()
    fixtures.randomise(model, seed=3)
    return model


@pytest.mark.parametrize("size", [128, pytest.param(300, marks=pytest.mark.slow)])
def test_logits_and_scores_are_the_oracles(random_b0, size):
    images = pictures(2, size)
    with torch.no_grad():
        logits, scores = oracle.assess(random_b0, nchw(images))
    assessor = network("efficientnet", "assessor", state_of(random_b0), padding="symmetric")
    assert worst(assessor.logits(images), logits) <= LOGITS
    assert worst(assessor(images), scores) <= SCORES


def test_guard_padding_without_reference(random_b0):
    images = pictures(2, 224)
    with torch.no_grad():
        logits, _ = oracle.assess(random_b0, nchw(images))
    broken = network("efficientnet", "assessor", state_of(random_b0), padding="same")
    assert worst(broken.logits(images), logits) > 10 * LOGITS


@pytest.mark.parametrize("variant", ["b0", *(pytest.param(f"b{i}", marks=pytest.mark.slow) for i in range(1, 8))])
def test_logits_are_those_of_efficientnet_pytorch_071(variant):
    package = pytest.importorskip("efficientnet_pytorch")
    varied = oracle.EfficientNet(variant, num_classes=2)
    fixtures.randomise(varied, seed=3)
    model = package.EfficientNet.from_name(f"efficientnet-{variant}", num_classes=2).eval()
    model.load_state_dict(varied.state_dict())
    images = pictures(2, 224)
    with torch.no_grad():
        mean, std = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
        logits = model(((nchw(images) + 1) / 2 - mean) / std)
    assessor = network("efficientnet", "assessor", state_of(model), padding="native-same", image_size=224)
    assert worst(assessor.logits(images), logits) <= LOGITS
    # the comparison sees both the picture and the padding
    assert worst(logits[0], logits[1]) > 10 * LOGITS
    broken = network("efficientnet", "assessor", state_of(model), padding="symmetric", image_size=224)
    assert worst(broken.logits(images), logits) > 10 * LOGITS


SIZES = {"b0": 224, "b1": 240, "b2": 260, "b3": 300, "b4": 380, "b5": 456, "b6": 528, "b7": 600, "lite0": 224}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_the_oracles_tensors_and_its_own_size(variant):
    with torch.device("meta"):
        model = oracle.EfficientNet(variant, num_classes=3)
    state = {name: np.broadcast_to(np.float32(1), tensor.shape) for name, tensor in model.state_dict().items()}
    recipe = recipe_of("efficientnet", state, padding="same")
    assert (recipe.config["variant"], recipe.config["image_size"]) == (variant, SIZES[variant])
    assert recipe_of("efficientnet", state, padding="same", image_size=96).config["image_size"] == 96
    assert rules.apply(recipe, weights.shapes_of(recipe.kind, recipe.config), "state")


def test_gradients_to_the_image_are_the_oracles(random_b0):
    images = pictures(1, 128)
    theirs = nchw(images).requires_grad_()
    oracle.assess(random_b0, theirs)[0][:, 1].sum().backward()
    assessor = network("efficientnet", "assessor", state_of(random_b0), padding="symmetric")
    ours = jax.jit(jax.grad(lambda x: assessor.apply(assessor.state, x, method="logits")[:, 1].sum()))(images)
    expected = np.moveaxis(theirs.grad.numpy(), 1, -1)
    # float32 backward passes of 80 layers differ in their last three digits
    assert worst(ours, expected) <= 1e-2 * np.abs(expected).max()


@pytest.fixture(scope="module")
def three_classes():
    with pytest.MonkeyPatch.context() as monkeypatch:
        shorten_assessors(monkeypatch)
        model = oracle.EfficientNet("b0", num_classes=3, padding="symmetric").eval()
        fixtures.randomise(model, seed=4)
        yield network("efficientnet", "assessor", state_of(model), padding="symmetric")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"output_class": 2}, lambda x: np.exp(x[:, 2]) / np.exp(x).sum(1)),
        ({"output": "sigmoid", "output_class": 0}, lambda x: 1 / (1 + np.exp(-x[:, 0]))),
        ({"output": "regression", "output_class": 1, "centre": 3.0, "slope": 0.1}, lambda x: 0.1 * (x[:, 1] - 3)),
        ({"output": "margin", "output_class": 0}, lambda x: 1 / (1 + np.exp(x[:, 1:].max(1) - x[:, 0]))),
    ],
)
def test_the_score_is_the_stated_output_of_the_same_logits(three_classes, settings, expected):
    images = pictures(2, 64)
    assessor = networks.with_settings(three_classes, **settings)
    logits = np.asarray(three_classes.logits(images))
    scores = assessor(images)
    assert (scores.shape, scores.dtype) == ((2,), np.float32)
    assert worst(scores, expected(logits.astype(np.float64))) <= SCORES


def test_several_classes_give_logits_but_no_score_without_a_class(three_classes):
    images = pictures(1, 64)
    assert three_classes.logits(images).shape == (1, 3)
    with pytest.raises(
        InputError, match=r"config\.assessor\.output_class: is not set, and the assessor has 3 classes; say"
    ):
        three_classes(images)
