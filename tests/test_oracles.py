"""Our PyTorch versions of the published networks give the published numbers."""

import pathlib

import numpy as np
import pytest
import torch
from torch import nn

from converters import torch_file
from converters.oracles.biggan import BigGAN, SpectralWeight
from converters.oracles.dcgan import DCGAN
from converters.oracles.efficientnet import VARIANTS, EfficientNet, PaddedConv, assess, same_padding
from converters.oracles.fixtures import calibrate_head, randomise, sample_inputs
from converters.oracles.radam import RAdam
from converters.oracles.training import training_step
from converters.oracles.transformer import PUBLISHED, Transformer
from latentjax.errors import InputError


def tensors(path: pathlib.Path) -> dict[str, torch.Tensor]:
    with np.load(path) as arrays:
        return {name: torch.as_tensor(arrays[name]) for name in arrays}


def load(module: nn.Module, path: pathlib.Path) -> nn.Module:
    module.load_state_dict(torch.load(path), strict=True)
    return module


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a.double() - b.double()).abs().max().item()


@pytest.fixture(scope="module")
def creative(reference: pathlib.Path) -> EfficientNet:
    """The golden assessor; tests that change it must copy it."""
    arrays = torch_file.state_dict(torch_file.read(reference / "golden" / "best_v070.pth"))
    model = EfficientNet("b0", num_classes=2, padding="symmetric")
    model.load_state_dict({name: torch.as_tensor(np.array(value)) for name, value in arrays.items()}, strict=True)
    return model


# Against the published systems' numbers


@pytest.mark.parametrize("resolution", [128, 256, 512])
def test_biggan_gives_the_published_images(reference, resolution):
    model = load(BigGAN(resolution, channels=8), reference / "golden" / f"biggan{resolution}_ch8.pth")
    golden = tensors(reference / "golden" / f"biggan{resolution}_ch8.npz")
    with torch.no_grad():
        images = model(golden["z"], golden["y"])
    # 2e-6 on the machine where this was written; float64 is 2e-5 away, which is the golden file's own noise.
    assert distance(images, golden["images_nchw"]) <= 1e-5


@pytest.mark.parametrize("size", [512, 128])
def test_assessor_gives_the_published_logits_and_scores(reference, creative, size):
    golden = tensors(reference / "golden" / "assessor_b0_v070.npz")
    images = golden[f"images{size}_uint8_nhwc"].permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        logits, scores = assess(creative, images)
    # EfficientNet-B0's float32 noise is about 5e-6 in the logits.
    assert distance(logits, golden[f"logits{size}"]) <= 5e-5
    assert distance(scores, golden[f"scores{size}"]) <= 2e-5


def test_the_other_padding_has_the_same_keys_and_other_scores(reference, creative):
    golden = tensors(reference / "golden" / "assessor_b0_v070.npz")
    other = EfficientNet("b0", num_classes=2, padding="native-same")
    other.load_state_dict(creative.state_dict(), strict=True)
    with torch.no_grad():
        logits, _ = assess(other, golden["images512_uint8_nhwc"].permute(0, 3, 1, 2) / 127.5 - 1)
    assert distance(logits, golden["logits512"]) > 0.1


@pytest.mark.parametrize("kind", PUBLISHED)
def test_transformer_gives_the_published_latents(reference, kind):
    golden = tensors(reference / "golden" / f"transformer_{kind}.npz")
    z, y, alpha = golden["z"], golden["y"], golden["alpha"]
    path = reference / "golden" / f"transformer_{kind}.pth"
    model = load(Transformer(z.shape[1], y.shape[1], kind=kind), path)
    noise = golden.get("noise_z"), golden.get("noise_y")
    assert [0 if part is None else part.shape[1] for part in noise] == [model.noise_dim, model.noise_dim_y]
    with torch.no_grad():
        moved_z, moved_y = model(z, y, alpha, *noise, direction=int(golden.get("direction", 0)))
    # Equal to the bit where this was written; one unit in the last place of values up to 4 elsewhere.
    assert distance(moved_z, golden["z_out"]) <= 1e-6
    # Without y_out the kind leaves y alone.
    assert distance(moved_y, golden.get("y_out", y)) <= 1e-6


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_radam_follows_the_published_trajectory(reference, decay):
    golden = tensors(reference / "golden" / f"radam_wd{decay}.npz")
    param = nn.Parameter(golden["p0"].clone())
    optimizer = RAdam([param], lr=float(golden["lr"]), weight_decay=decay)
    for grad, expected in zip(golden["grads"], golden["params"], strict=True):
        param.grad = grad
        optimizer.step()
        # Equal to the bit where this was written; a fused multiply-add may round otherwise.
        assert distance(param, expected) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["OneDirectionZ", "AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear"])
def test_training_follows_the_published_trajectory(reference, creative, kind):
    golden = tensors(reference / "golden" / f"trajectory_{kind}.npz")
    start = torch.load(reference / "golden" / f"trajectory_{kind}_start.pth")
    generator = load(BigGAN(128, 100, 8), reference / "golden" / "biggan128_ch8_100classes.pth")
    assessor = EfficientNet("b0", num_classes=2, padding="symmetric")
    head = {"_fc.weight": golden["head_weight"], "_fc.bias": golden["head_bias"]}
    assessor.load_state_dict(creative.state_dict() | head, strict=True)
    transformer = Transformer(120, 100, kind=kind)
    transformer.load_state_dict(start, strict=True)
    optimizer = RAdam(transformer.parameters(), lr=float(golden["lr"]))
    for step, alpha in enumerate(golden["alpha"]):
        y = nn.functional.one_hot(golden["label"][step], 100).float()
        noise = [golden[name][step] if name in golden else None for name in ("noise_z", "noise_y")]
        result = training_step(
            generator,
            lambda images: assess(assessor, images)[1],
            transformer,
            optimizer,
            golden["z"][step],
            y,
            alpha,
            *noise,
        )
        # A change of z in its last place moves these scores by about 1e-5.
        for name in ("score", "target", "score_edited", "loss"):
            assert distance(result[name], golden[name][step]) <= 1e-4
    for name, param in transformer.named_parameters():
        end, change = golden[f"end.{name}"], golden[f"end.{name}"] - start[name]
        # Adam's steps have the size of lr whatever the gradient, so that float32 noise in gradients near zero
        # counts in full: up to 3.5e-3 of the change for z's map, 3.3e-2 for y's (whose gradients are the least).
        limit = 6e-2 if name.startswith("NN_output_y") else 7e-3
        assert (param.detach() - end).norm() / change.norm() <= limit


# Against packages and facts, without reference data


@pytest.mark.parametrize("variant", ["b0", "b1", "b2"])
def test_efficientnet_agrees_with_the_package_0_7_1(variant):
    package = pytest.importorskip("efficientnet_pytorch")
    ours = EfficientNet(variant, num_classes=10, padding="native-same")
    randomise(ours, seed=1)
    theirs = package.EfficientNet.from_name(f"efficientnet-{variant}", num_classes=10).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        # The same operations in the same order, up to float32 rounding of logits near 1.
        assert distance(ours(images), theirs(images)) <= 1e-5


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if not variant.startswith("lite")])
def test_efficientnet_has_the_names_and_shapes_of_the_package(variant):
    package = pytest.importorskip("efficientnet_pytorch")
    with torch.device("meta"):
        ours = EfficientNet(variant).state_dict()
        theirs = package.EfficientNet.from_name(f"efficientnet-{variant}").state_dict()
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in theirs.items()}


@pytest.mark.parametrize(("variant", "count"), [("b0", 0), ("b1", 1), ("b2", 3), ("b6", 1)])
def test_native_padding_differs_from_same_at_224_in_known_convolutions(variant, count):
    with torch.device("meta"):
        model, images = EfficientNet(variant, padding="native-same"), torch.zeros(1, 3, 224, 224)
    differing = []

    def compare(conv: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        assert isinstance(conv, PaddedConv)
        extent = inputs[0].shape[-1]
        same = same_padding(extent, conv.kernel_size[0], conv.stride[0])
        differing.append(conv.pads(extent, extent) != same + same)

    for conv in model.modules():
        if isinstance(conv, PaddedConv) and conv.stride != (1, 1):
            conv.register_forward_pre_hook(compare)
    model(images)
    assert (len(differing), sum(differing)) == (5, count)


@pytest.mark.parametrize(("resolution", "count"), [(128, 70_433_988), (256, 82_097_604), (512, 82_296_804)])
def test_biggan_at_full_width_has_the_published_number_of_parameters(resolution, count):
    with torch.device("meta"):
        model = BigGAN(resolution)
    assert sum(param.numel() for param in model.parameters()) == count


def test_dcgan_has_the_published_names_and_size():
    with torch.device("meta"):
        model = DCGAN()
        assert model(*sample_inputs(model, 2)).shape == (2, 3, 128, 128)
    shapes = {name: tuple(param.shape) for name, param in model.named_parameters()}
    assert [name for name, shape in shapes.items() if len(shape) == 4] == [
        f"main.{n}.weight" for n in (0, 4, 7, 10, 13, 16)
    ]
    assert [name for name in shapes if name.endswith("bias")] == [f"main.{n}.bias" for n in (1, 5, 8, 11, 14)]
    assert sum(param.numel() for param in model.parameters()) == 12_917_632


def test_spectral_norm_takes_one_iteration_and_keeps_the_stored_u():
    weight = SpectralWeight((6, 4, 3, 3), bias=False).double()
    randomise(weight, seed=0)
    u, matrix = weight.weight_u.clone(), weight.weight_bar.detach().flatten(1)
    v = matrix.T @ u
    v /= v.norm() + 1e-4
    renewed = matrix @ v
    renewed /= renewed.norm() + 1e-4
    first, second = weight(), weight()
    assert torch.equal(first, second)
    assert torch.equal(weight.weight_u, u)
    torch.testing.assert_close(weight.weight_bar / (renewed @ matrix @ v), first)
    # Two ways to get it wrong are far outside any tolerance: the stored u as it is, or the exact norm.
    for wrong in (u @ matrix @ v, torch.linalg.matrix_norm(matrix, 2)):
        assert ((weight.weight_bar / wrong) / first - 1).abs().max() > 1e-3


def test_radam_differs_from_torchs_only_by_epsilon():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(7, generator=generator, dtype=torch.float64)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    # Gradients near 1 against an epsilon of 1e-14: where it is added does not show.
    optimizers = RAdam([ours], 1e-2, eps=1e-14), torch.optim.RAdam([theirs], 1e-2, eps=1e-14)
    for _ in range(12):
        ours.grad = theirs.grad = torch.randn(7, generator=generator, dtype=torch.float64)
        for optimizer in optimizers:
            optimizer.step()
    assert distance(ours, theirs) <= 1e-10


# Transformers by specification


def test_a_specification_reads_its_inputs_in_order():
    model = Transformer(6, 10, z="linear(z, y, noise)", y="vector", noise_dim=3, renorm="none", class_reg=4.0)
    z, y, noise, alpha = torch.randn(2, 6), torch.randn(2, 10), torch.randn(2, 3), torch.tensor([0.3, -0.2])
    moved_z, moved_y = model(z, y, alpha, noise)
    step = alpha[:, None]
    change = torch.cat([z, y, noise], dim=1) @ model.NN_output_z.weight.T + model.NN_output_z.bias
    torch.testing.assert_close(moved_z, z + step * change)
    torch.testing.assert_close(moved_y, y + step * model.w_y / 4.0)


def test_the_default_noise_of_y_grows_with_the_classes():
    assert Transformer(128, 1000).noise_dim_y == 62
    assert Transformer(100, 8).noise_dim_y == 0
    assert Transformer(100, 8, noise_dim_y=4).noise_dim_y == 4


@pytest.mark.parametrize("renorm", ["batch", "sample"])
def test_rescaling_keeps_the_norm(renorm):
    model = Transformer(6, 10, z="two_layer(z)", y="none", renorm=renorm)
    z, y = torch.randn(4, 6), torch.randn(4, 10)
    moved, kept = model(z, y, torch.full((4,), 0.5))
    dims = (0, 1) if renorm == "batch" else (1,)
    torch.testing.assert_close(moved.norm(dim=dims), z.norm(dim=dims))
    assert torch.equal(kept, y)


@pytest.mark.parametrize(
    "bad", [{"z": "linear"}, {"y": "mlp(y)"}, {"renorm": "row"}, {"kind": "TwoDirections"}, {"z": "linear(w)"}]
)
def test_an_unknown_transformer_is_refused(bad):
    with pytest.raises(InputError):
        Transformer(6, 10, **bad)


def test_missing_noise_is_refused():
    with pytest.raises(InputError, match="noise"):
        Transformer(6, 100)(torch.randn(2, 6), torch.randn(2, 100), torch.zeros(2))


# Fixtures


GENERATORS = {
    "biggan128": lambda: BigGAN(128, 50, 8),
    "biggan512": lambda: BigGAN(512, 50, 8),
    "dcgan": lambda: DCGAN(widths=(64, 32, 16, 16, 8)),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_random_generators_make_images_neither_saturated_nor_flat(name):
    model = GENERATORS[name]()
    randomise(model, seed=0)
    with torch.no_grad():
        z, y = sample_inputs(model, 4, torch.Generator().manual_seed(1))
        images = model(z, y)
        assert 0.2 < images.std() < 0.6
        assert (images.abs() > 0.99).float().mean() < 0.05
        assert (model(z.roll(1, 0), y) - images).std() > 0.05
        assert (model(z, (y.argmax(1)[:, None] != torch.arange(y.shape[1])).float()) - images).std() > 0.02


def test_the_seed_decides_the_weights():
    models = [DCGAN(widths=(16, 8)) for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        randomise(model, seed)
    same, again, other = (model.state_dict() for model in models)
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert not torch.equal(same["main.0.weight"], other["main.0.weight"])


def test_random_weights_in_float64():
    generator, assessor = BigGAN(128, 10, 8).double(), EfficientNet("b0", 2).double()
    randomise(generator, seed=0)
    randomise(assessor, seed=0)
    with torch.no_grad():
        logits, scores = assess(assessor, generator(*sample_inputs(generator, 1)))
    assert logits.dtype == scores.dtype == torch.float64


def test_a_calibrated_head_spreads_the_scores():
    generator, assessor = BigGAN(128, 50, 8), EfficientNet("b0", 2)
    randomise(generator, seed=0)
    randomise(assessor, seed=0)
    with torch.no_grad():
        images = generator(*sample_inputs(generator, 12, torch.Generator().manual_seed(1)))
        calibrate_head(assessor, images)
        logits, scores = assess(assessor, images)
    difference = logits[:, 1] - logits[:, 0]
    # The head's weights grow by tens, and float32 noise with them.
    assert difference.mean().item() == pytest.approx(0, abs=1e-3)
    assert difference.std(correction=0).item() == pytest.approx(1.5, abs=1e-3)
    assert scores.min() < 0.4 < 0.6 < scores.max()


def test_a_training_step_moves_the_transformer_alone():
    generator, transformer = DCGAN(widths=(16, 8)), Transformer(100, 8, noise_dim_y=2, class_reg=1.0)
    randomise(generator, seed=0)
    randomise(transformer, seed=1)
    before = {name: value.clone() for name, value in transformer.state_dict().items()}
    frozen = {name: value.clone() for name, value in generator.state_dict().items()}
    z, y = sample_inputs(generator, 3)
    alpha = torch.tensor([-0.4, 0.1, 0.5])
    result = training_step(
        generator,
        lambda images: torch.sigmoid(images.mean((1, 2, 3))),
        transformer,
        RAdam(transformer.parameters(), lr=1e-2),
        z,
        y,
        alpha,
        torch.randn(3, 8),
        torch.randn(3, 2),
    )
    torch.testing.assert_close(result["target"], result["score"] + alpha)
    torch.testing.assert_close(result["loss"], (result["score_edited"] - result["target"]).square().mean())
    assert all(not torch.equal(value, before[name]) for name, value in transformer.state_dict().items())
    assert all(torch.equal(value, frozen[name]) for name, value in generator.state_dict().items())
    assert all(param.grad is None for param in generator.parameters())
