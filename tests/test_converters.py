"""python -m converters turns PyTorch files into model folders, or says in one line why not and writes nothing."""

import json
import os
import pathlib
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

import converters
import latentjax
from converters import __main__ as command
from converters.oracles import biggan, dcgan, efficientnet, fixtures, transformer
from latentjax.errors import InputError
from latentjax.files import sha256_of

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Small PyTorch files: state dicts of every kind, and an assessor as a whole pickled module."""
    folder = tmp_path_factory.mktemp("files")
    generator = biggan.BigGAN(128, num_classes=10, channels=8)
    eyes = dcgan.DCGAN(6, 3, (8, 4))
    moving = transformer.Transformer(6, 3, noise_dim=2, noise_dim_y=5)
    for seed, module in enumerate((generator, eyes, moving)):
        fixtures.randomise(module, seed)
    assessor = efficientnet.EfficientNet("b0", 2)
    for name, module in {"biggan": generator, "dcgan": eyes, "transformer": moving, "efficientnet": assessor}.items():
        torch.save(module.state_dict(), folder / f"{name}.pth")
    torch.save(eyes.state_dict(), folder / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"w": torch.randn(1, 6)}, folder / "vector.pth")
    torch.save(nn.Linear(3, 4).state_dict(), folder / "linear.pth")
    for name, module in assessor.named_modules():
        if name.endswith(("_conv_stem", "_depthwise_conv")):  # as efficientnet_pytorch keeps its padding
            module.static_padding = nn.ZeroPad2d(module.pads(0, 0))
    torch.save(assessor, folder / "module.pth")
    return folder


def changed(path, change, to):
    """Saves the file's state dict after `change` has been made to it."""
    state = torch.load(path)
    change(state)
    torch.save(state, to)
    return to


# ---- what converts


@pytest.mark.parametrize(
    ("file", "options", "kind", "config"),
    [
        ("biggan", {}, "biggan", {"resolution": 128, "num_classes": 10, "channels": 8, "embedding_dim": 128}),
        ("biggan", {"kind": "biggan", "num_classes": 10}, "biggan", None),
        ("dcgan", {"num_classes": 3}, "dcgan", {"latent_dim": 6, "num_classes": 3, "widths": [8, 4]}),
        ("legacy", {"num_classes": 3}, "dcgan", {"latent_dim": 6, "num_classes": 3, "widths": [8, 4]}),
        (
            "transformer",
            {},
            "transformer",
            {
                "latent_dim": 6,
                "num_classes": 3,
                "noise_dim": 2,
                "noise_dim_y": 5,
                "z": "two_layer(z, noise)",
                "y": "two_layer(y, noise)",
                "class_reg": 1000.0,
                "renorm": "batch",
            },
        ),
        (
            "vector",
            {"num_classes": 3, "renorm": "sample", "class_reg": 2.0},
            "transformer",
            {"latent_dim": 6, "num_classes": 3, "z": "vector", "y": "none", "class_reg": 2.0, "renorm": "sample"},
        ),
    ],
)
def test_the_kind_and_the_sizes_are_read_from_the_file(files, tmp_path, file, options, kind, config):
    source = files / f"{file}.pth"
    done = converters.convert(source, tmp_path / "deep" / "model", **options)
    record = json.loads((tmp_path / "deep" / "model" / "model.json").read_text())
    assert record["kind"] == done["kind"] == kind
    assert record["config"] == done["config"]
    assert config is None or config == done["config"]
    assert record["source"] == {"file": source.name, "sha256": sha256_of(source)}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]


def test_a_converted_generator_is_loaded_and_makes_images(files, tmp_path):
    converters.convert(files / "dcgan.pth", tmp_path / "eyes", num_classes=3)
    G = latentjax.load_generator(tmp_path / "eyes")
    images = G(jnp.ones((2, 6)), jnp.eye(3)[:2])
    assert images.shape == (2, 16, 16, 3)
    assert jnp.all(jnp.abs(images) <= 1)


def test_zip_and_legacy_files_give_the_same_weights(files, tmp_path):
    for name in ("dcgan", "legacy"):
        converters.convert(files / f"{name}.pth", tmp_path / name, num_classes=3)
    one, other = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("dcgan", "legacy"))
    assert one == other


def test_the_command_tells_what_it_made(files, tmp_path, monkeypatch, capsys):
    arguments = [str(files / "dcgan.pth"), str(tmp_path / "eyes"), "--num-classes=3"]
    monkeypatch.setattr(sys, "argv", ["converters", *arguments])
    assert command.main() == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path}/eyes: dcgan {{'latent_dim': 6")
    assert out.endswith(", 1,880 parameters\n")  # 9 * 16 * 8 + 16 * 8 * 4 + 16 * 4 * 3 and norms' 2 * (8 + 4)
    assert err == ""


def test_a_whole_module_brings_its_own_padding(files, tmp_path, refused):
    source = files / "module.pth"
    line = refused(command.main, source, tmp_path / "model", "--padding=same")
    assert line == "--padding: same contradicts the module's own symmetric; leave the flag out\n"
    line = refused(command.main, source, tmp_path / "model", "--bn-epsilon=1e-5")
    assert line == "--bn-epsilon: 1e-05 contradicts the module's own 0.001; leave the flag out\n"
    done = converters.convert(source, tmp_path / "model", padding="symmetric")
    preprocessing = {"image_size": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    network = {"variant": "b0", "num_classes": 2, "padding": "symmetric", "bn_epsilon": 1e-3}
    assert done["config"] == network | preprocessing


def test_a_module_that_pads_unlike_any_known_one_is_refused(files, tmp_path, refused):
    module = torch.load(files / "module.pth", weights_only=False)
    for padding in ((0, 0, 0, 0), (1, 1)):
        module._conv_stem.static_padding.padding = padding
        torch.save(module, tmp_path / "odd.pth")
        line = refused(command.main, tmp_path / "odd.pth", tmp_path / "model")
        assert line.startswith(f"{tmp_path}/odd.pth: pads its convolutions in no known way; ")
    module._bn0.eps = 1e-5
    torch.save(module, tmp_path / "odd.pth")
    line = refused(command.main, tmp_path / "odd.pth", tmp_path / "model")
    assert line.startswith(f"{tmp_path}/odd.pth: has norms of different epsilons")


# ---- transformers

VECTOR = {"w": [1, 6]}
LINEAR_Y = {"NN_output_y.weight": [3, 3], "NN_output_y.bias": [3]}
NOT_IN_THE_FILE = {"class_reg": 1000.0, "renorm": "batch"}


def lone(inputs, outputs=6):
    return {"NN_output.weight": [outputs, inputs], "NN_output.bias": [outputs]}


def z_and_y(inputs_of_z, inputs_of_y, z="NN_output_z"):
    linear_z = {f"{z}.weight": [6, inputs_of_z], f"{z}.bias": [6]}
    return linear_z | {"NN_output_y.weight": [3, inputs_of_y], "NN_output_y.bias": [3]}


def two_layers(inputs_of_z, inputs_of_y):
    shapes = {"NN_output_z.0.weight": [6, inputs_of_z], "NN_output_z.2.weight": [6, 6]}
    shapes |= {"NN_output_y.0.weight": [3, inputs_of_y], "NN_output_y.2.weight": [3, 3]}
    return shapes | {key.replace("weight", "bias"): shape[:1] for key, shape in shapes.items()}


def several(count, *layers):
    one = {f".{layer}weight": [6, 6] for layer in layers} | {f".{layer}bias": [6] for layer in layers}
    return {f"directions.{k}{key}": shape for k in range(count) for key, shape in (one or {"": [1, 6]}).items()}


def saved(shapes, folder):
    torch.manual_seed(0)
    torch.save({key: torch.randn(shape) for key, shape in shapes.items()}, folder / "transformer.pth")
    return folder / "transformer.pth"


@pytest.mark.parametrize(
    ("shapes", "options", "config"),
    [
        (VECTOR, {}, {"num_classes": 1000, "z": "vector", "y": "none"}),
        (VECTOR | LINEAR_Y, {}, {"z": "vector", "y": "linear(y)"}),
        (VECTOR | LINEAR_Y, {"kind": "OneDirectionZAdaptiveY"}, {"z": "vector", "y": "linear(y)"}),
        (VECTOR | LINEAR_Y | {"NN_output_y.weight": [3, 9]}, {}, {"z": "vector", "y": "linear(z, y)"}),
        (lone(6), {}, {"num_classes": 1000, "z": "linear(z)", "y": "none"}),
        (lone(6), {"num_classes": 3}, {"z": "linear(z)", "y": "none"}),
        (lone(6), {"num_classes": 6, "kind": "linear"}, {"num_classes": 6, "z": "linear(z)", "y": "none"}),
        (lone(6), {"kind": "class_dependent"}, {"num_classes": 6, "z": "linear(y)", "y": "none"}),
        (lone(6), {"num_classes": 6, "kind": "ClassDependent"}, {"num_classes": 6, "z": "linear(y)", "y": "none"}),
        (lone(9), {"num_classes": 3}, {"z": "linear(z, y)", "y": "none"}),
        (lone(9), {"num_classes": 9}, {"num_classes": 9, "z": "linear(y)", "y": "none"}),
        (lone(9), {"kind": "AdaptiveDirectionZ_zy"}, {"z": "linear(z, y)", "y": "none"}),
        (lone(9), {"kind": "ClassDependent"}, {"num_classes": 9, "z": "linear(y)", "y": "none"}),
        (lone(3), {"num_classes": 3}, {"z": "linear(y)", "y": "none"}),
        (lone(1006), {}, {"num_classes": 1000, "z": "linear(z, y)", "y": "none"}),
        (lone(1000), {}, {"num_classes": 1000, "z": "linear(y)", "y": "none"}),
        (
            lone(6) | {"NN_output2.weight": [6, 6], "NN_output2.bias": [6]},
            {"num_classes": 3},
            {"z": "two_layer(z)", "y": "none"},
        ),
        (z_and_y(9, 3, "NN_output"), {}, {"z": "linear(z, y)", "y": "linear(y)"}),
        (z_and_y(9, 9, "NN_output"), {}, {"z": "linear(z, y)", "y": "linear(z, y)"}),
        # the published formula gives y int(noise_dim 3 / 6) entries of noise
        (
            z_and_y(8, 4),
            {},
            {"z": "linear(z, noise)", "y": "linear(y, noise)", "noise_dim": 2, "noise_dim_y": 1},
        ),
        (
            z_and_y(8, 10),
            {},
            {"z": "linear(z, noise)", "y": "linear(z, y, noise)", "noise_dim": 2, "noise_dim_y": 1},
        ),
        # by it and not by what else fits
        (
            z_and_y(22, 11),
            {},
            {"z": "linear(z, noise)", "y": "linear(y, noise)", "noise_dim": 16, "noise_dim_y": 8},
        ),
        (
            z_and_y(7, 9),
            {},
            {"z": "linear(z, noise)", "y": "linear(z, y)", "noise_dim": 1, "noise_dim_y": 0},
        ),
        (z_and_y(7, 3), {}, {"z": "linear(z, noise)", "y": "linear(y)", "noise_dim": 1, "noise_dim_y": 0}),
        (z_and_y(6, 3), {}, {"z": "linear(z)", "y": "linear(y)", "noise_dim": 0, "noise_dim_y": 0}),
        (z_and_y(6, 9), {}, {"z": "linear(z)", "y": "linear(z, y)", "noise_dim": 0, "noise_dim_y": 0}),
        # another size, but too little to hold z
        (
            z_and_y(8, 8),
            {},
            {"z": "linear(z, noise)", "y": "linear(y, noise)", "noise_dim": 2, "noise_dim_y": 5},
        ),
        (
            z_and_y(8, 11),
            {"kind": "AdaptiveDirectionZAdaptiveDirectionY"},
            {"z": "linear(z, noise)", "y": "linear(y, noise)", "noise_dim": 2, "noise_dim_y": 8},
        ),
        (
            z_and_y(8, 11),
            {"kind": "linear_noise_y_of_zy"},
            {"z": "linear(z, noise)", "y": "linear(z, y, noise)", "noise_dim": 2, "noise_dim_y": 2},
        ),
        (two_layers(6, 3), {}, {"z": "two_layer(z)", "y": "two_layer(y)"}),
        (
            two_layers(7, 3),
            {},
            {"z": "two_layer(z, noise)", "y": "two_layer(y)", "noise_dim": 1, "noise_dim_y": 0},
        ),
        (several(3), {"num_classes": 3}, {"z": "vector", "y": "none", "num_directions": 3}),
        (several(1), {"num_classes": 3}, {"z": "vector", "y": "none", "num_directions": 1}),
        (several(12, ""), {"num_classes": 3}, {"z": "linear(z)", "y": "none", "num_directions": 12}),
        (several(2, "0.", "2."), {"num_classes": 3}, {"z": "two_layer(z)", "y": "none", "num_directions": 2}),
    ],
)
def test_a_transformers_forms_are_read_from_keys_and_shapes(tmp_path, shapes, options, config):
    done = converters.convert(saved(shapes, tmp_path), tmp_path / "model", **options)
    assert done["config"] == {"latent_dim": 6, "num_classes": 3} | config | NOT_IN_THE_FILE
    latentjax.load_transformer(tmp_path / "model")


@pytest.mark.parametrize(
    ("shapes", "flags", "said"),
    [
        (
            lone(9),
            [],
            "{file}: has NN_output.weight [6, 9], and how many of the inputs are classes is not in the file; "
            "add --num-classes=3 (linear(z, y)) or --num-classes=9 (linear(y))\n",
        ),
        (
            lone(3),
            [],
            "{file}: has NN_output.weight [6, 3], and how many of the inputs are classes is not in the file; "
            "add --num-classes=3 (linear(y))\n",
        ),
        (
            lone(9),
            ["--num-classes=4"],
            "--num-classes: 4 classes do not fit {file}, which has NN_output.weight [6, 9]; "
            "give --num-classes=3 (linear(z, y)) or --num-classes=9 (linear(y))\n",
        ),
        (
            lone(6),
            ["--num-classes=6"],
            "{file}: has NN_output.weight [6, 6], which fits 2 kinds; add --kind=AdaptiveDirectionZ (z linear(z), "
            "y none) or --kind=ClassDependent (z linear(y), y none)\n",
        ),
        (
            lone(1000, 1000),
            [],
            "{file}: has NN_output.weight [1000, 1000], which fits 2 kinds; add --kind=AdaptiveDirectionZ (",
        ),
        (
            z_and_y(8, 11),
            [],
            "{file}: has NN_output_z.weight [6, 8], NN_output_y.weight [3, 11], which fits 2 kinds; "
            "add --kind=AdaptiveDirectionZAdaptiveDirectionY (z linear(z, noise), y linear(y, noise)) "
            "or --kind=AdaptiveDirectionZAdaptiveDirectionY_zy (z linear(z, noise), y linear(z, y, noise))\n",
        ),
        (
            lone(9),
            ["--kind=linear"],
            "--kind: linear contradicts {file}, which has NN_output.weight [6, 9]; leave the flag out\n",
        ),
        (lone(6), ["--kind=AdaptiveDirectionZ_zy"], "--kind: AdaptiveDirectionZ_zy contradicts {file}, which has NN_"),
        (
            VECTOR,
            ["--kind=linear"],
            "--kind: linear contradicts {file}, whose keys are those of OneDirectionZ; leave the flag out\n",
        ),
        (
            z_and_y(8, 5),
            ["--kind=linear_noise_y_of_zy"],
            "--kind: linear_noise_y_of_zy contradicts {file}, which has NN_output_z.weight [6, 8], NN_output_y.weight ",
        ),
        (lone(9), ["--kind=ClassDependent", "--num-classes=3"], "--num-classes: 3 contradicts {file}, which has 9; "),
        (VECTOR | LINEAR_Y, ["--num-classes=4"], "--num-classes: 4 contradicts {file}, which has 3; leave"),
        (
            VECTOR | LINEAR_Y | {"NN_output_y.weight": [3, 8]},
            [],
            "{file}: has the shapes of no published transformer (w [1, 6], NN_output_y.weight [3, 8]); give the whole",
        ),
        (z_and_y(8, 3, "NN_output"), [], "{file}: has the shapes of no published transformer (NN_output.weight [6, 8]"),
        (z_and_y(5, 3), [], "{file}: has the shapes of no published transformer (NN_output_z.weight [6, 5]"),
        (two_layers(6, 2), [], "{file}: has the shapes of no published transformer (NN_output_z.0.weight [6, 6]"),
        ({"w": [6]}, [], "{file}: has w of shape [6]; give the published state dict\n"),
        ({"w": [2, 6]}, [], "{file}: does not fit transformer: 1 of wrong shape, [2, 6] (w); give the whole"),
        ({"w": [1, 6, 1]}, [], "{file}: does not fit transformer: 1 of wrong shape, [1, 6, 1] (w); give the whole"),
        (VECTOR | {"extra": [1]}, [], "{file}: does not fit transformer: 1 unexpected (extra); give the whole"),
        (VECTOR | {"directions.0": [1, 6]}, [], "{file}: does not fit transformer: 1 unexpected (directions.0); "),
        (LINEAR_Y, [], "{file}: lacks w; give the whole state dict\n"),
        (
            {"NN_output.weight": [6, 6]},
            [],
            "{file}: does not fit transformer: 1 missing (NN_output.bias); give the whole",
        ),
        (
            lone(6) | {"NN_output2.weight": [6, 6]},
            [],
            "{file}: does not fit transformer: 1 missing (NN_output2.bias); give the whole",
        ),
        (
            lone(6) | {"NN_output2.weight": [6, 5], "NN_output2.bias": [6]},
            [],
            "{file}: does not fit transformer: 1 of wrong shape, [6, 5] (NN_output2.weight); give the whole",
        ),
        (
            {"directions.0": [1, 6], "directions.2": [1, 6]},
            [],
            "{file}: does not fit transformer: 1 missing (directions.1), 1 unexpected (directions.2); give the whole",
        ),
        ({"directions.1": [1, 6]}, [], "{file}: lacks directions.0; give the whole state dict\n"),
        ({"directions.0": [1, 6], "directions.01": [1, 6]}, [], "{file}: does not fit transformer: 1 missing (direc"),
        (
            {"directions.0": [1, 6], "directions.1": [1, 5]},
            [],
            "{file}: does not fit transformer: 1 of wrong shape, [1, 5] (directions.1); give the whole",
        ),
        ({"directions.first": [1, 6]}, [], "{file}: lacks "),
    ],
)
def test_a_transformer_that_is_open_or_does_not_fit_is_refused(tmp_path, refused, shapes, flags, said):
    source = saved(shapes, tmp_path)
    assert refused(command.main, source, tmp_path / "model", *flags).startswith(said.format(file=source))


# ---- files that do not fit

BAR = "GBlock.1.conv0.module.weight_bar"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("attention.gamma"), "1 missing (attention.gamma)"),
        (lambda s: s.pop("colorize.module.weight_bar"), "1 missing (colorize.module.weight_bar)"),
        (lambda s: s.pop("GBlock.1.conv0.module.weight_u"), "1 missing (GBlock.1.conv0.module.weight_u)"),
        (lambda s: s.pop("GBlock.1.conv0.module.weight_v"), "1 missing (GBlock.1.conv0.module.weight_v)"),
        (lambda s: s.pop("GBlock.2.HyperBN.bn.running_var"), "1 missing (GBlock.2.HyperBN.bn.running_var)"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 unexpected (extra)"),
        (lambda s: s.update({BAR: torch.zeros(3, 3)}), "of wrong shape, [3, 3] (" + BAR),
        (lambda s: s.update({BAR: torch.zeros(3)}), "of wrong shape, [3] (" + BAR),
        (
            lambda s: s.update({"GBlock.1.conv0.module.weight_u": torch.zeros(3)}),
            "of wrong shape, [3] (GBlock.1.conv0.module.weight_u)",
        ),
        (lambda s: s[BAR].view(-1)[5].fill_(float("nan")), f"1 not finite ({BAR})"),
        (lambda s: s["linear.weight"].view(-1)[5].fill_(float("inf")), "1 not finite (linear.weight)"),
        (
            lambda s: s["GBlock.1.conv0.module.weight_u"][0].fill_(float("nan")),
            "1 not finite (GBlock.1.conv0.module.weight_u)",
        ),
        (lambda s: s[BAR].zero_(), f"1 whose norm is zero or too large ({BAR})"),
        (lambda s: s[BAR].fill_(3e38), f"1 whose norm is zero or too large ({BAR})"),
        (lambda s: s.update({BAR: s[BAR][:0]}), "of wrong shape, [0, "),
        (lambda s: s["GBlock.2.HyperBN.bn.running_var"].neg_(), "1 below zero (GBlock.2.HyperBN.bn.running_var)"),
        (lambda s: s.pop("linear.weight"), ": lacks linear.weight; give the whole state dict"),
        (lambda s: s.pop("ScaledCrossReplicaBN.weight"), ": lacks ScaledCrossReplicaBN.weight; "),
        (
            lambda s: [s.pop(key) for key in list(s) if key.startswith("GBlock.4.")],
            ": has 4 blocks, expected 5 (128 pixels), 6 (256) or 7 (512); ",
        ),
    ],
)
def test_a_tensor_at_fault_is_named(files, tmp_path, refused, recwarn, change, said):
    source = changed(files / "biggan.pth", change, tmp_path / "odd.pth")
    line = refused(command.main, source, tmp_path / "model")
    assert line.startswith(f"{source}: ")
    assert said in line
    assert not recwarn.list


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("main.5.running_var"), "1 missing (main.5.running_var)"),
        (lambda s: s.pop("main.5.running_mean"), "1 missing (main.5.running_mean)"),
        (lambda s: s.pop("main.5.bias"), "1 missing (main.5.bias)"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 unexpected (extra)"),
        (lambda s: s.update({"main.20.weight": torch.zeros(2, 2, 4, 4)}), "has 4 convolutions and 2 norms"),
        (lambda s: s.pop("main.4.weight"), "has 2 convolutions and 2 norms"),
        (lambda s: s.update({"main.0.weight": torch.zeros(9, 8, 2, 8)}), "of wrong shape, [9, 8, 2, 8] (main.0.weight"),
        (lambda s: s["main.1.bias"][0].fill_(float("nan")), "1 not finite (main.1.bias)"),
    ],
)
def test_a_dcgan_that_does_not_fit_is_refused(files, tmp_path, refused, change, said):
    source = changed(files / "dcgan.pth", change, tmp_path / "odd.pth")
    line = refused(command.main, source, tmp_path / "model", "--num-classes=3")
    assert line.startswith(f"{source}: ")
    assert said in line


def with_classes(files, count, to):
    """The EfficientNet's file with a head of so many outputs."""

    def change(state):
        state["_fc.weight"], state["_fc.bias"] = torch.zeros(count, 1280), torch.zeros(count)

    return changed(files / "efficientnet.pth", change, to)


@pytest.mark.parametrize(
    ("classes", "flags", "said"),
    [
        (1, [], "{file}: has one output, and what it means is not in the file; add --output=sigmoid (it is a l"),
        (1, ["--output=softmax"], "--output: softmax compares classes, and {file} has one output; give sigmoid or reg"),
        (1, ["--output=margin"], "--output: margin compares classes, and {file} has one output; give sigmoid or reg"),
        (1, ["--output=sigmoid", "--output-class=1"], "--output-class: 1 is no class of {file}, whose head has 1; "),
        (3, ["--output-class=3"], "--output-class: 3 is no class of {file}, whose head has 3; give 0 to 2"),
        (3, ["--output-class=-1"], "--output-class: -1 is no class of {file}, whose head has 3; give 0 to 2"),
        (3, ["--output=tanh"], "--output: invalid choice: 'tanh' (choose from "),
    ],
)
def test_an_output_that_the_head_does_not_have_is_refused(files, tmp_path, refused, classes, flags, said):
    source = with_classes(files, classes, tmp_path / "odd.pth")
    line = refused(command.main, source, tmp_path / "model", "--padding=same", *flags)
    assert line.startswith(said.format(file=source))


@pytest.mark.parametrize(
    ("classes", "options"),
    [
        (1, {"output": "sigmoid"}),
        (1, {"output": "regression", "output_class": 0}),
        (3, {}),
        (3, {"output_class": 2}),
        (3, {"output": "margin", "output_class": 0}),
    ],
)
def test_what_the_score_of_an_assessor_is_goes_into_its_config(files, tmp_path, classes, options):
    source = with_classes(files, classes, tmp_path / "head.pth")
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command.run([str(source), str(tmp_path / "model"), "--padding=same", *flags])
    A = latentjax.load_assessor(tmp_path / "model")
    scoring = {name: value for name, value in A.config.items() if name.startswith("output")}
    assert (A.config["num_classes"], scoring) == (classes, options)
    assert (A.output.kind, A.output.output_class) == (options.get("output", "softmax"), options.get("output_class"))


def test_a_foreign_architecture_is_refused(files, tmp_path, refused):
    line = refused(command.main, files / "linear.pth", tmp_path / "model")
    assert line.startswith(f"{files}/linear.pth: is of no known architecture (2 tensors: weight, bias); give one of ")
    assert ", ".join(converters.kinds.KINDS) in line


def test_keys_of_any_length_and_form_make_one_short_line(tmp_path, refused):
    for length, said in ((400, "2 tensors: a b [2J, ccc"), (10_000, "has an impossible name, 'ccc")):
        torch.save({"a\nb\x1b[2J": torch.zeros(1), "c" * length: torch.zeros(1)}, tmp_path / "odd.pth")
        line = refused(command.main, tmp_path / "odd.pth", tmp_path / "model")
        assert said in line
        assert len(line) < 500


# ---- damaged files


def test_a_truncated_file_is_refused(files, tmp_path, refused):
    for name in ("biggan", "legacy"):
        whole = (files / f"{name}.pth").read_bytes()
        for part in (0.0, 0.001, 0.1, 0.5, 0.9, 0.999):
            (tmp_path / "cut.pth").write_bytes(whole[: int(len(whole) * part)])
            line = refused(command.main, tmp_path / "cut.pth", tmp_path / "model", "--num-classes=3")
            assert line.startswith(f"{tmp_path}/cut.pth: ")


def test_a_flipped_bit_in_a_zip_file_is_refused_or_harmless(files, tmp_path, refused):
    converters.convert(files / "dcgan.pth", tmp_path / "whole", num_classes=3)
    expected = (tmp_path / "whole" / "weights.safetensors").read_bytes()
    whole = (files / "dcgan.pth").read_bytes()
    noticed = 0
    for position in np.random.default_rng(0).integers(len(whole), size=60):
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        (tmp_path / "bad.pth").write_bytes(data)
        try:
            converters.convert(tmp_path / "bad.pth", tmp_path / "model", num_classes=3)
        except InputError:
            line = refused(command.main, tmp_path / "bad.pth", tmp_path / "model", "--num-classes=3")
            assert line.startswith(f"{tmp_path}/bad.pth: ")
            noticed += 1
        else:  # padding between members, and their dates, mean nothing
            assert (tmp_path / "model" / "weights.safetensors").read_bytes() == expected
            for file in (tmp_path / "model").iterdir():
                file.unlink()
    assert noticed > 15


class Malicious:
    """Its pickle calls os.system."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_a_pickle_that_calls_os_system_is_refused_and_not_run(files, tmp_path, refused, new):
    state = dict(torch.load(files / "dcgan.pth")) | {"main.20.weight": Malicious(f"touch {tmp_path}/ran")}
    torch.save(state, tmp_path / "evil.pth", _use_new_zipfile_serialization=new)
    line = refused(command.main, tmp_path / "evil.pth", tmp_path / "model", "--num-classes=3")
    assert line.startswith(f"{tmp_path}/evil.pth: ")
    assert "system" in line
    assert not (tmp_path / "ran").exists()
    # the attack works where a pickle is trusted
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert (tmp_path / "ran").exists()


# ---- flags


@pytest.mark.parametrize(
    ("file", "flags", "said"),
    [
        ("efficientnet", [], "{file}: is a bare state dict, which does not hold its padding; add --padding=symmetric"),
        ("dcgan", [], "{file}: takes 9 inputs, and how many of them are classes is not in the file; add --num-class"),
        ("dcgan", ["--num-classes=9"], "--num-classes: 9 classes do not fit the 9 inputs of {file}; give 1 to 8"),
        ("dcgan", ["--num-classes=0"], "--num-classes: is 0; give a positive number"),
        ("dcgan", ["--num-classes=three"], "--num-classes: invalid int value: 'three'; see "),
        ("dcgan", ["--num-classes=3", "--padding=same"], "--padding: is not for {file}, whose kind is dcgan; leave"),
        ("dcgan", ["--kind=biggan"], "--kind: biggan contradicts {file}, whose keys are those of kind dcgan; leave"),
        ("biggan", ["--num-classes=9"], "--num-classes: 9 contradicts {file}, which has 10; leave the flag out"),
        ("biggan", ["--output=margin"], "--output: is not for {file}, whose kind is biggan; leave the flag out"),
        ("dcgan", ["--output-class=1"], "--output-class: is not for {file}, whose kind is dcgan; leave the flag out"),
        ("biggan", ["--renorm=batch"], "--renorm: is not for {file}, whose kind is biggan; leave the flag out"),
        ("biggan", ["--kind=stylegan"], "--kind: 'stylegan' is unknown; use one of biggan, "),
        ("transformer", ["--num-classes=9"], "--num-classes: 9 contradicts {file}, which has 3; leave the flag out"),
        ("transformer", ["--class-reg=0"], "--class-reg: is 0.0; give a positive number"),
        ("transformer", ["--class-reg=nan"], "--class-reg: is nan; give a positive number"),
        ("transformer", ["--class-reg=1e999"], "--class-reg: is inf; give a positive number"),
        ("transformer", ["--renorm=rows"], "--renorm: invalid choice: 'rows' (choose from "),
        ("efficientnet", ["--padding=valid"], "--padding: invalid choice: 'valid' (choose from "),
        ("efficientnet", ["--padding=same", "--bn-epsilon=-1"], "--bn-epsilon: is -1.0; give a positive number"),
        ("linear", ["--kind=biggan"], "{file}: has 0 blocks, expected 5 (128 pixels), 6 (256) or 7 (512); give a"),
        ("linear", ["--kind=dcgan"], "{file}: has 0 convolutions and 0 norms"),
        ("linear", ["--kind=efficientnet"], "{file}: lacks _conv_head.weight; give the whole state dict"),
        ("linear", ["--kind=transformer"], "{file}: has no tensor of a published transformer (weight, bias); give "),
        ("linear", ["--kind=ClassDependent"], "{file}: has no tensor of a published transformer (weight, bias); give "),
        ("dcgan", ["--kind=ClassDependent"], "--kind: ClassDependent contradicts {file}, whose keys are those of kind"),
        ("transformer", ["--kind=biggan"], "--kind: biggan contradicts {file}, whose keys are those of kind transf"),
        ("transformer", ["--kind=directions"], "--kind: directions contradicts {file}, whose keys are those of Adap"),
        ("transformer", ["--kind=two_layer_both"], "--kind: two_layer_both contradicts {file}, which has NN_output_"),
        ("transformer", ["--padding=same"], "--padding: is not for {file}, whose kind is transformer; leave the"),
        ("vector", ["--kind=OneDirectionZ", "--num-classes=-1"], "--num-classes: is -1; give a positive number"),
        ("dcgan", ["--number=3"], "--number=3: is not understood; see python -m converters --help"),
        ("dcgan", ["--num=3"], "--num=3: is not understood; see python -m converters --help"),
        ("dcgan", ["another"], "another: is not understood; see python -m converters --help"),
        ("dcgan", ["--inspect"], "--inspect: converts nothing; give it a file and nothing else"),
        ("nowhere", [], "{file}: does not exist; check the path"),
    ],
)
def test_flags_that_are_missing_unknown_or_contradict_the_file_are_refused(files, tmp_path, refused, file, flags, said):
    source = files / f"{file}.pth"
    line = refused(command.main, source, tmp_path / "model", *flags)
    assert line.startswith(said.format(file=source))


def test_missing_words_are_named(files, refused):
    assert refused(command.main) == "source: is missing; see python -m converters --help\n"
    assert refused(command.main, files / "dcgan.pth") == "destination: is missing; name the folder to make\n"


def test_a_destination_that_is_there_is_kept(files, tmp_path, refused):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("")
    source = files / "dcgan.pth"
    line = refused(command.main, source, tmp_path / "model", "--num-classes=3")
    assert line == f"{tmp_path}/model: is there already; name another folder, or move it away\n"
    line = refused(command.main, source, tmp_path / "file", "--num-classes=3")
    assert line.startswith(f"{tmp_path}/file: is there already; ")
    line = refused(command.main, source, tmp_path / "file" / "model", "--num-classes=3")
    assert line.startswith(f"{tmp_path}/file/model: cannot be written (")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "stylegan"}, "--kind: 'stylegan' is unknown; use one of biggan, "),
        ({"kind": "OneDirectionZ"}, "--kind: OneDirectionZ contradicts "),
        ({"padding": "valid"}, "--padding: 'valid' is unknown; use one of symmetric, native-same, same"),
        ({"renorm": "rows"}, "--renorm: 'rows' is unknown; use one of "),
        ({"output": "tanh"}, "--output: 'tanh' is unknown; use one of softmax, sigmoid, regression, margin"),
    ],
)
def test_convert_checks_what_the_command_line_would(files, tmp_path, options, said):
    with pytest.raises(InputError) as caught:
        converters.convert(files / "dcgan.pth", tmp_path / "model", **options)
    assert str(caught.value).startswith(said)


def test_help_is_no_error(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["converters", "--help"])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "python -m converters biggan-512.pth weights/biggan512" in out
    assert "python -m converters --export runs/creativity transformer.pth" in out


def test_debug_shows_the_traceback(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["converters", str(files / "linear.pth"), str(tmp_path / "model"), "--debug"])
    assert command.main() == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert "\nerror: " in err


def test_as_a_process_bad_input_is_one_line_and_exit_code_2(tmp_path):
    arguments = [sys.executable, "-m", "converters", str(tmp_path / "nowhere.pth"), str(tmp_path / "model")]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    line = f"error: {tmp_path}/nowhere.pth: does not exist; check the path\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
    assert not list(tmp_path.iterdir())


# ---- looking into a file


def inspected(monkeypatch, capsys, source):
    monkeypatch.setattr(sys, "argv", ["converters", "--inspect", str(source)])
    assert command.main() == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


@pytest.mark.parametrize(
    ("file", "form", "kind"),
    [
        ("biggan", "zip format, state dict", "biggan"),
        ("legacy", "legacy format, state dict", "dcgan"),
        ("linear", "zip format, state dict", "unknown to latentjax"),
        ("module", "zip format, converters.oracles.efficientnet.EfficientNet", "efficientnet"),
    ],
)
def test_inspect_tells_what_is_in_a_file(files, monkeypatch, capsys, file, form, kind):
    source = files / f"{file}.pth"
    head, architecture, counted, *tensors = inspected(monkeypatch, capsys, source)
    assert head == f"{source}: {form}, sha256 {sha256_of(source)}"
    assert architecture == f"architecture: {kind}"
    assert counted.startswith(f"{len(tensors)} tensors (")
    state = torch.load(source, weights_only=file != "module")
    expected = state if isinstance(state, dict) else state.state_dict()
    assert len(tensors) == len(expected)
    for line, (name, tensor) in zip(tensors, expected.items(), strict=True):
        assert line.split() == f"{name} {str(tensor.dtype)[6:]} {list(tensor.shape)}".split()


def test_inspect_prints_a_name_on_one_line(tmp_path, monkeypatch, capsys):
    torch.save({"a\nb": torch.zeros(1)}, tmp_path / "odd.pth")
    assert inspected(monkeypatch, capsys, tmp_path / "odd.pth")[3].startswith("  a b ")


def test_inspect_refuses_what_it_cannot_read(files, tmp_path, refused):
    (tmp_path / "text.pth").write_text("not a checkpoint")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    assert refused(command.main, "--inspect", tmp_path / "text.pth").startswith(f"{tmp_path}/text.pth: is not a PyTor")
    assert refused(command.main, "--inspect", tmp_path / "empty.pth").startswith(f"{tmp_path}/empty.pth: ")
    assert refused(command.main, "--inspect") == "source: is missing; see python -m converters --help\n"


# ---- full size

CONVERT = """
import sys
from converters import __main__ as command
code = command.main()
# ru_maxrss would count what the parent process held when it started this one
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print("peak_kilobytes", peak[0].split()[1])
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="needs Linux to measure memory")
def test_a_biggan_512_of_full_width_converts_in_a_minute_and_three_gigabytes(tmp_path, capsys):
    torch.save(biggan.BigGAN(512).state_dict(), tmp_path / "biggan-512.pth")
    start = time.perf_counter()
    arguments = [sys.executable, "-c", CONVERT, str(tmp_path / "biggan-512.pth"), str(tmp_path / "biggan512")]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    assert (done.returncode, done.stderr) == (0, "")
    assert ", 82,296,804 parameters\n" in done.stdout
    gigabytes = int(done.stdout.split()[-1]) * 1024 / 1e9
    with capsys.disabled():
        print(f"\nBigGAN 512 converted in {seconds:.1f} s with at most {gigabytes:.2f} GB")
    assert seconds < 60
    assert gigabytes < 3
    G = latentjax.load_generator(tmp_path / "biggan512")
    images = np.asarray(G(jnp.ones((1, 128)), jnp.eye(1000)[:1]))
    assert images.shape == (1, 512, 512, 3)
    assert np.isfinite(images).all()
    assert np.abs(images).max() <= 1
