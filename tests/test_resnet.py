"""ResNets are PyTorch's, with torchvision's names; the classifier of painted eyes is its package's."""

import numpy as np
import PIL.Image
import pytest
import torch

import latentjax
from converters import kinds, resnet, rules, torch_file
from converters.oracles import efficientnet as efficientnet_oracle
from converters.oracles import fixtures
from converters.oracles import resnet as oracle
from latentjax import embedded, weights
from latentjax.errors import InputError
from tests import other_packages
from tests.conversion import filled, nchw, state_of, worst

TOLERANCE = 1e-4  # float32 sums in another order: 6e-6 was seen where logits reach 14, and other CPUs add otherwise


@pytest.fixture(scope="module")
def eyes():
    """A narrow ResNet with the head of the eye classifier, and its tensors as that package names them."""
    model = oracle.ResNet(10, depths=(1, 2, 1, 1), width=8, hidden=12)
    fixtures.randomise(model, seed=1)
    return model, {f"layers.{key}": array for key, array in state_of(model).items()}


@pytest.fixture(scope="module")
def images():
    """[3, 64, 64, 3] in [-1, 1], with edges that antialias tells."""
    return np.random.default_rng(0).uniform(-1, 1, (3, 64, 64, 3)).astype(np.float32)


def converted(state, **options):
    recipe = resnet.recipe(state, "net.pth", **options)
    arrays = rules.apply(recipe, weights.shapes_of("resnet", recipe.config), "net.pth")
    return filled("resnet", "assessor", recipe.config, arrays)


def inputs(assessor, images, **changes):
    """What the network sees, by PyTorch."""
    config = assessor.config
    settings = {"size": config["image_size"], "mean": config["mean"], "std": config["std"], "antialias": True}
    return efficientnet_oracle.preprocess(nchw(images), **settings | changes)


@pytest.mark.parametrize("size", [32, 96])  # smaller and larger than the pictures
def test_logits_and_features_are_the_oracles(eyes, images, size):
    model, state = eyes
    assessor = converted(state, image_size=size)
    assert (assessor.config["mean"], assessor.config["std"]) == ([0.0] * 3, [1.0] * 3)
    with torch.no_grad():
        x = inputs(assessor, images)
        theirs = model(x).numpy()
        assert worst(assessor.logits(images), theirs) <= TOLERANCE
        assert worst(assessor.features(images), model.features(x)) <= TOLERANCE
        # the guard: another preprocessing is seen
        aliased = model(inputs(assessor, images, antialias=False)).numpy()
        assert (worst(theirs, aliased) > 0.01) == (size == 32)


def test_a_single_layer_as_head_is_torchvisions(images):
    model = oracle.ResNet(3, depths=(1, 1, 1, 1), width=4)
    fixtures.randomise(model, seed=2)
    assessor = converted(state_of(model), image_size=64, output_class=2)
    assert (assessor.config["hidden"], assessor.config["classes"]) == (None, None)
    assert (assessor.config["mean"], assessor.config["std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        theirs = model(inputs(assessor, images))
    assert worst(assessor.logits(images), theirs) <= TOLERANCE
    assert worst(assessor(images), theirs.softmax(1)[:, 2]) <= TOLERANCE


@pytest.mark.parametrize(("name", "depths"), [("resnet18", (2, 2, 2, 2)), ("resnet34", (3, 4, 6, 3))])
def test_the_oracle_has_torchvisions_names_and_shapes(name, depths):
    with torch.device("meta"):
        theirs = other_packages.network(f"torchvision:{name}").state_dict()
        ours = oracle.ResNet(1000, depths).state_dict()
    assert {key: tensor.shape for key, tensor in theirs.items()} == {key: tensor.shape for key, tensor in ours.items()}


def test_resnets_are_recognised_and_bottlenecks_are_not(eyes):
    assert kinds.infer_kind(eyes[1], "net.pth") == "resnet"
    with torch.device("meta"):
        wide = dict.fromkeys(other_packages.network("torchvision:resnet50").state_dict(), np.zeros(1))
    assert not resnet.recognises(wide)


@pytest.mark.parametrize(("table", "hidden"), [(resnet.RULES, 5), (resnet.SINGLE, None)])
def test_every_path_comes_from_one_key(table, hidden):
    paths = list(weights.shapes_of("resnet", {"num_classes": 3, "width": 4, "hidden": hidden}))
    keys = [rules.source_of(table, path) for path in paths]
    assert len(set(keys)) == len(paths)
    assert [rules.find(table, key)[1] for key in keys] == paths


def without(state, *keys):
    return {key: array for key, array in state.items() if not key.startswith(keys)}


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (
            lambda state: without(state, "layers.layer2.0.bn1.weight"),
            {},
            r"net.pth: does not fit resnet: 1 missing \(layer2.0.bn1.weight\)",
        ),
        (
            lambda state: state | {"layers.layer2.0.extra.weight": np.zeros(3)},
            {},
            r"1 unexpected \(layers.layer2.0.extra.weight\)",
        ),
        (lambda state: without(state, "layers.layer3"), {}, "net.pth: lacks a stage of a ResNet"),
        (lambda state: without(state, "layers.fc"), {}, "net.pth: lacks fc.weight"),
        (lambda state: state, {"preprocessing": "imagenet"}, "--preprocessing: imagenet contradicts net.pth"),
        (lambda state: state, {"output_class": 10}, "--output-class: 10 is no class of net.pth"),
    ],
)
def test_what_does_not_fit_is_refused(eyes, change, options, said):
    with pytest.raises(InputError, match=said):
        converted(change(eyes[1]), **options)


@pytest.fixture(scope="module")
def eye_colours():
    try:
        return latentjax.load_assessor("embedded:eye-colours")
    except InputError as error:
        pytest.skip(str(error))


def packaged_model():
    """The package's network in PyTorch."""
    packaged = embedded.PACKAGED["eye-colours"]
    file = torch_file.read(embedded.packaged_file(packaged.package, packaged.file))
    tensors = {key.removeprefix("layers."): array.copy() for key, array in torch_file.state_dict(file).items()}
    model = oracle.ResNet(10, hidden=256)
    model.load_state_dict({key: torch.from_numpy(array) for key, array in tensors.items()})
    return model


def test_eye_colours_are_the_packages(eye_colours):
    assert eye_colours.config["classes"][:2] == ["amber", "blue"]
    try:
        generator = latentjax.load_generator("embedded:painted-eyes")
    except InputError as error:
        pytest.skip(str(error))
    z = np.random.default_rng(0).normal(size=(3, 100)).astype(np.float32)
    pictures = np.asarray(generator(z, np.eye(8, dtype=np.float32)[:3]))
    ours, model = np.asarray(eye_colours.logits(pictures)), packaged_model()
    # as the package looks at pictures: Pillow's bilinear, in eight bits
    levels = [PIL.Image.fromarray(np.uint8(np.round((picture + 1) * 127.5))) for picture in pictures]
    seen = np.stack([np.float32(level.resize((224, 224), PIL.Image.Resampling.BILINEAR)) / 255 for level in levels])
    with torch.no_grad():
        assert worst(ours, model(inputs(eye_colours, pictures))) <= TOLERANCE
        assert (model(nchw(seen)).argmax(1).numpy() == ours.argmax(1)).all()
