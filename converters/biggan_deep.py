"""BigGAN-deep of Hugging Face's port: pytorch_model.bin, and the config.json beside it."""

import itertools
import json
import pathlib
import re
from typing import Any

import numpy as np

from converters import spectral_norm
from converters.rules import Recipe, Rule, State, conv, dimension, linear
from latentjax.errors import InputError

STORED = spectral_norm.Stored("weight_orig", "weight_u", "weight_v")
LAYER = r"generator\.layers\.(?P<i>\d+)"
RULES = (
    Rule(r"embeddings\.weight", "embedding/kernel", linear),
    Rule(r"generator\.gen_z\.weight_orig", "input/kernel", linear),
    Rule(r"generator\.gen_z\.bias", "input/bias"),
    Rule(rf"{LAYER}\.bn_(?P<n>\d)\.running_(?P<statistic>mean|var)s", r"layers/\g<i>/norms/\g<n>/\g<statistic>"),
    Rule(rf"{LAYER}\.bn_(?P<n>\d)\.scale\.weight_orig", r"layers/\g<i>/norms/\g<n>/gain/kernel", linear),
    Rule(rf"{LAYER}\.bn_(?P<n>\d)\.offset\.weight_orig", r"layers/\g<i>/norms/\g<n>/bias/kernel", linear),
    Rule(rf"{LAYER}\.conv_(?P<n>\d)\.weight_orig", r"layers/\g<i>/convs/\g<n>/kernel", conv),
    Rule(rf"{LAYER}\.conv_(?P<n>\d)\.bias", r"layers/\g<i>/convs/\g<n>/bias"),
    Rule(rf"{LAYER}\.gamma", r"layers/\g<i>/gamma"),
    Rule(rf"{LAYER}\.snconv1x1_(?P<n>theta|phi|g)\.weight_orig", r"layers/\g<i>/\g<n>/kernel", conv),
    Rule(rf"{LAYER}\.snconv1x1_o_conv\.weight_orig", r"layers/\g<i>/o/kernel", conv),
    Rule(r"generator\.bn\.running_(mean|var)s", r"last_norm/\1"),
    Rule(r"generator\.bn\.weight", "last_norm/scale"),
    Rule(r"generator\.bn\.bias", "last_norm/bias"),
    # it has as many outputs as inputs, of which the first three are the colours
    Rule(r"generator\.conv_to_rgb\.weight_orig", "last_conv/kernel", lambda array: conv(array[:3])),
    Rule(r"generator\.conv_to_rgb\.bias", "last_conv/bias", lambda array: array[:3]),
)
Layer = tuple[bool, int, int]  # whether it doubles the map, channels before and after it
_BEGIN: tuple[Layer, ...] = ((False, 16, 16), (True, 16, 16), (False, 16, 16), (True, 16, 8), (False, 8, 8))
_END: tuple[Layer, ...] = ((True, 8, 4), (False, 4, 4), (True, 4, 2), (False, 2, 2), (True, 2, 1))
_256 = (*_BEGIN, (True, 8, 8), (False, 8, 8), *_END)
MAX_LAYERS, MAX_DOUBLINGS = 64, 11  # from 4 to 8,192 pixels
PUBLISHED = ((*_BEGIN, *_END), _256, (*_256, (False, 1, 1), (True, 1, 1)))


def recognises(state: State) -> bool:
    """Whether the keys are this port's."""
    return any(key.startswith("generator.gen_z.") for key in state)


def recipe(state: State, where: object, compat: str | None = None) -> Recipe:
    """Layers from config.json or, of a published size, from the shapes; all else from the shapes.

    Args:
        state: the state dict.
        where: the file; its config.json is looked for beside it.
        compat: see `latentjax.generators.biggan_deep.row_weights`.

    Raises:
        InputError: a tensor that decides the architecture is missing, config.json is damaged or does not fit, or is
            not there and the shapes are of no published size.
    """
    numbers = {int(match["i"]) for key in state if (match := re.match(LAYER, key))}
    attention = next((i for i in numbers if f"generator.layers.{i}.gamma" in state), None)
    channels = dimension(state, "generator.bn.weight", 0, where)
    if channels < 4:  # the middle of a block has a quarter
        raise InputError(where, f"has generator.bn.weight of shape [{channels}]", "give a wider one")
    blocks = sorted(numbers - {attention})
    widths = [
        (
            dimension(state, f"generator.layers.{i}.bn_0.running_means", 1, where) / channels,
            dimension(state, f"generator.layers.{i}.conv_3.weight_orig", 0, where) / channels,
        )
        for i in blocks
    ]
    file = config_file(where)
    settings = {} if file is None else read_config(file)
    if settings:
        layers = settings["layers"]
        if [layer[1:] for layer in layers] != widths or settings["attention_layer_position"] != attention:
            raise InputError(file, f"describes other layers than {where} has", "give the two that belong together")
    else:
        found = [layers for layers in PUBLISHED if [layer[1:] for layer in layers] == widths]
        if not found:
            what = "has the layers of no published BigGAN-deep, and no config.json beside it"
            raise InputError(where, what, "put its config.json into the same folder")
        layers = found[0]
    config = {
        "layers": [list(layer) for layer in layers],
        "attention_before": attention,
        "num_classes": dimension(state, "embeddings.weight", 1, where),
        "latent_dim": dimension(state, "generator.gen_z.weight_orig", 1, where)
        - dimension(state, "embeddings.weight", 0, where),
        "embedding_dim": dimension(state, "embeddings.weight", 0, where),
        "channels": channels,
        "statistics": dimension(state, "generator.bn.running_means", 0, where),
        "epsilon": settings.get("eps", 1e-4),
        **({} if compat is None else {"compat": compat}),
    }
    folded, problems = spectral_norm.fold(state, STORED, sigma_of)
    return Recipe("biggan_deep", config, RULES, folded, problems)


def sigma_of(matrix: np.ndarray, u: np.ndarray, v: np.ndarray) -> float:
    """The spectral norm as PyTorch's own layer has it outside training: by the stored u and v."""
    return float(u @ (matrix @ v))


def config_file(where: object) -> pathlib.Path | None:
    """config.json beside the weights, also under the name that it has on the port's server."""
    path = pathlib.Path(str(where))
    names = [path.name.replace("pytorch_model.bin", "config.json"), "config.json"]
    return next((path.with_name(name) for name in names if name != path.name and path.with_name(name).is_file()), None)


def read_config(file: pathlib.Path) -> dict[str, Any]:
    """layers, attention_layer_position and eps of a config.json; the shapes tell the rest.

    Raises:
        InputError: it cannot be read, or one of these is missing or wrong.
    """
    todo = "give the config.json that came with the weights"
    try:
        with open(file, "rb") as opened:
            text = opened.read(2**20)
        found = json.loads(text)
        layers = [(doubles, into, out) for doubles, into, out in found["layers"]]
        attention, epsilon = found["attention_layer_position"], found.get("eps", 1e-4)
    except OSError as error:
        raise InputError(file, f"cannot be read ({error.strerror})", "check its permissions") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(file, f"is no config.json of BigGAN-deep ({error!r:.100})", todo) from error
    if any(type(doubles) is not bool or type(a) is not int or type(b) is not int for doubles, a, b in layers):
        raise InputError(file, "has layers that are not [true or false, number, number]", todo)
    if type(attention) is not int or type(epsilon) is not float or not 0 < epsilon < 1:
        raise InputError(file, "has a wrong attention_layer_position or eps", todo)
    chained = all(one[2] == other[1] for one, other in itertools.pairwise(layers))
    halved = all(into in (out, 2 * out) for _, into, out in layers)
    if len(layers) > MAX_LAYERS or sum(doubles for doubles, *_ in layers) > MAX_DOUBLINGS:
        raise InputError(file, f"has more than {MAX_LAYERS} layers, or images of more than 8,192 pixels", todo)
    if not layers or not chained or not halved or layers[0][1] != 16 or layers[-1][2] != 1:
        raise InputError(file, "has layers that do not lead from 16 to 1, halving", todo)
    return {"layers": layers, "attention_layer_position": attention, "eps": epsilon}
