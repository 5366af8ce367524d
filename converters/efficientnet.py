"""EfficientNet B0 to B7 of the package efficientnet_pytorch: state dicts and whole pickled modules."""

import re
from typing import Any

from converters import torch_file
from converters.rules import Recipe, Rule, State, conv, dimension, linear
from latentjax.assessors.efficientnet import PADDINGS, VARIANTS, blocks_of, conv_padding, scaled_width
from latentjax.errors import InputError

RULES = (
    Rule(r".*num_batches_tracked", None),
    Rule(r"_conv_stem\.weight", "stem/kernel", conv),
    Rule(r"_conv_head\.weight", "head/kernel", conv),
    Rule(r"_blocks\.(\d+)\._expand_conv\.weight", r"blocks/\1/expand/kernel", conv),
    Rule(r"_blocks\.(\d+)\._depthwise_conv\.weight", r"blocks/\1/depthwise/kernel", conv),
    Rule(r"_blocks\.(\d+)\._project_conv\.weight", r"blocks/\1/project/kernel", conv),
    Rule(
        r"_blocks\.(\d+)\._se_(reduce|expand)\.weight",
        r"blocks/\1/squeeze_excite/\2/kernel",
        lambda array: array.reshape(array.shape[:2]).T,  # [out, in, 1, 1]
    ),
    Rule(r"_blocks\.(\d+)\._se_(reduce|expand)\.bias", r"blocks/\1/squeeze_excite/\2/bias"),
    *(
        rule
        for pattern, path in (
            (r"_bn0", "stem_norm"),
            (r"_bn1", "head_norm"),
            (r"_blocks\.(?P<i>\d+)\._bn0", r"blocks/\g<i>/expand_norm"),
            (r"_blocks\.(?P<i>\d+)\._bn1", r"blocks/\g<i>/depthwise_norm"),
            (r"_blocks\.(?P<i>\d+)\._bn2", r"blocks/\g<i>/project_norm"),
        )
        for rule in (
            Rule(rf"{pattern}\.weight", f"{path}/scale"),
            Rule(rf"{pattern}\.bias", f"{path}/bias"),
            Rule(rf"{pattern}\.running_(?P<statistic>mean|var)", rf"{path}/\g<statistic>"),
        )
    ),
    Rule(r"_fc\.weight", "classifier/kernel", linear),
    Rule(r"_fc\.bias", "classifier/bias"),
)


def recognises(state: State) -> bool:
    """Whether the keys are efficientnet_pytorch's."""
    return "_conv_stem.weight" in state and any(key.startswith("_blocks.") for key in state)


def depthwise_layers(variant: str) -> list[tuple[int, int, int]]:
    """Kernel size, stride and map size at the native resolution of the stem and of each depthwise convolution."""
    stem = (3, 2, VARIANTS[variant][2])
    return [stem, *((plan.stage.kernel_size, plan.stride, plan.size) for plan in blocks_of(variant))]


def variant_of(state: State, where: object) -> str:
    """The variant from the number of blocks and the width of the head.

    Raises:
        InputError: no variant has these.
    """
    blocks = len({match[1] for key in state if (match := re.match(r"_blocks\.(\d+)\.", key))})
    head = dimension(state, "_conv_head.weight", 0, where)
    for name, (width, _, _) in VARIANTS.items():
        if (blocks, head) == (len(blocks_of(name)), scaled_width(1280, width)):
            return name
    raise InputError(where, f"has {blocks} blocks and a head of {head}, like no EfficientNet B0 to B7", "give B0 to B7")


def pickled_settings(root: Any, variant: str, where: object) -> dict[str, Any]:
    """Padding and norm epsilon from a whole pickled module; empty for a state dict.

    Raises:
        InputError: the module pads in none of the three known ways, or its norms differ in epsilon or lack it.
    """
    modules = dict(torch_file.modules(root))
    convs = {name: stub for name, stub in modules.items() if re.search(r"(_conv_stem|_depthwise_conv)$", name)}
    if not convs:
        return {}
    todo = "give a module of efficientnet_pytorch 0.7"
    epsilons = [stub.state.get("eps") for stub in modules.values() if stub.cls.endswith("BatchNorm2d")]
    if not epsilons or any(type(epsilon) is not float or epsilon != epsilons[0] for epsilon in epsilons):
        raise InputError(where, "has norms of different epsilons, or without any", todo)
    order = sorted(convs, key=lambda name: [int(part) for part in name.split(".") if part.isdecimal()] or [-1])
    paddings = [padding_of(modules, name) for name in order]
    for mode in PADDINGS:
        expected = [conv_padding(mode, *layer) for layer in depthwise_layers(variant)]
        if paddings == expected:
            return {"padding": mode, "bn_epsilon": epsilons[0]}
    raise InputError(where, "pads its convolutions in no known way", todo)


def padding_of(modules: dict[str, Any], name: str) -> Any:
    """((top, bottom), (left, right)) of a convolution of a pickled module, or "SAME"; None where it cannot be told."""
    if modules[name].cls.endswith("Conv2dDynamicSamePadding"):
        return "SAME"
    static = modules.get(f"{name}.static_padding")
    if static is None or "padding" not in static.state:
        return ((0, 0), (0, 0))
    sides = static.state["padding"]
    if not isinstance(sides, tuple | list) or len(sides) != 4 or not all(type(side) is int for side in sides):
        return None
    left, right, top, bottom = sides
    return ((top, bottom), (left, right))


def recipe(
    state: State,
    where: object,
    root: Any,
    padding: str | None,
    bn_epsilon: float | None,
    output: str | None = None,
    output_class: int | None = None,
) -> Recipe:
    """Variant and classes from the shapes; padding and epsilon from the module, or from the user.

    What the score is, see `latentjax.assessors.outputs.Output`, is in no file. With several classes it can be left out
    and set when the assessor is loaded.

    Raises:
        InputError: no known variant; padding neither in the file nor given; or given and contradicted by the file;
            an output or class that the head does not have.
    """
    variant = variant_of(state, where)
    found = pickled_settings(root, variant, where)
    for flag, name, value in (("--padding", "padding", padding), ("--bn-epsilon", "bn_epsilon", bn_epsilon)):
        if value is not None and found.get(name, value) != value:
            raise InputError(flag, f"{value} contradicts the module's own {found[name]}", "leave the flag out")
    padding = found.get("padding", padding)
    if padding is None:
        raise InputError(
            where,
            "is a bare state dict, which does not hold its padding",
            "add --padding=symmetric (efficientnet_pytorch 0.7.0), native-same (0.7.1) or same (TensorFlow)",
        )
    num_classes = dimension(state, "_fc.weight", 0, where)
    if num_classes == 1 and output is None:
        what = "has one output, and what it means is not in the file"
        raise InputError(where, what, "add --output=sigmoid (it is a logit) or --output=regression (it is the score)")
    if num_classes == 1 and output not in ("sigmoid", "regression"):
        what = f"{output} compares classes, and {where} has one output"
        raise InputError("--output", what, "give sigmoid or regression")
    if output_class is not None and not 0 <= output_class < num_classes:
        what = f"{output_class} is no class of {where}, whose head has {num_classes}"
        raise InputError("--output-class", what, f"give 0 to {num_classes - 1}")
    scoring = {"output": output, "output_class": output_class}
    default = 1e-3 if bn_epsilon is None else bn_epsilon
    config = {
        "variant": variant,
        "num_classes": num_classes,
        "padding": padding,
        "image_size": 224,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "bn_epsilon": found.get("bn_epsilon", default),
        **{name: value for name, value in scoring.items() if value is not None},
    }
    return Recipe("efficientnet", config, RULES, state)
