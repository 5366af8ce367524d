"""EfficientNet B0 to B7 of efficientnet_pytorch, torchvision and timm, and Lite0: state dicts and pickled modules."""

import re
from typing import Any, NamedTuple

from converters import efficientnet_names, torch_file
from converters.rules import Recipe, Rule, State, conv, dimension, linear
from latentjax.assessors.efficientnet import PADDINGS, VARIANTS, blocks_of, conv_padding, scaled_width
from latentjax.errors import InputError

OWN = "efficientnet_pytorch"
PREPROCESSINGS = {  # mean and standard deviation of images in [0, 1]
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "lite": ((127 / 255,) * 3, (128 / 255,) * 3),
}
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
    """Whether the keys are those of a package that is known."""
    return efficientnet_names.style_of(state) is not None


def depthwise_layers(variant: str) -> list[tuple[int, int, int]]:
    """Kernel size, stride and map size at the native resolution of the stem and of each depthwise convolution."""
    stem = (3, 2, VARIANTS[variant][2])
    return [stem, *((plan.stage.kernel_size, plan.stride, plan.size) for plan in blocks_of(variant))]


def variant_of(state: State, style: str, where: object) -> str:
    """The variant from the number of blocks, the width of the head, and whether it squeezes.

    Raises:
        InputError: no variant has these.
    """
    _, block, key = efficientnet_names.STYLES[style]
    blocks = len({match[1] for name in state if (match := re.match(block, name))})
    head = dimension(state, key, 0, where)
    lite = not any(re.search(r"_se_reduce|\.se\.|\.fc1\.", name) for name in state)
    for name, (width, _, _) in VARIANTS.items():
        if (blocks, head, lite) == (len(blocks_of(name)), scaled_width(1280, width), name.startswith("lite")):
            return name
    what = f"has {blocks} blocks and a head of {head}, like no EfficientNet B0 to B7" + ", nor like Lite0" * lite
    raise InputError(where, what, "give B0 to B7 or Lite0")


def pickled_settings(root: Any, variant: str, where: object) -> dict[str, Any]:
    """Padding and norm epsilon from a whole pickled module; empty for a state dict.

    Raises:
        InputError: the module pads in none of the three known ways, or its norms differ in epsilon or lack it.
    """
    modules = dict(torch_file.modules(root))
    convs = {name: stub for name, stub in modules.items() if re.search(r"(conv_stem|_depthwise_conv|conv_dw)$", name)}
    if not convs:
        return {}
    todo = "give a module of efficientnet_pytorch 0.7 or of timm"
    norms = [stub for stub in modules.values() if stub.cls.endswith(("BatchNorm2d", "BatchNormAct2d"))]
    epsilons = [stub.state.get("eps") for stub in norms]
    if not epsilons or any(type(epsilon) is not float or epsilon != epsilons[0] for epsilon in epsilons):
        raise InputError(where, "has norms of different epsilons, or without any", todo)
    order = sorted(convs, key=lambda name: [int(part) for part in name.split(".") if part.isdecimal()] or [-1])
    layers = depthwise_layers(variant)
    paddings = [padding_of(modules, name) for name in order]
    for mode in PADDINGS:
        if in_sides(paddings, layers) == in_sides([conv_padding(mode, *layer) for layer in layers], layers):
            return {"padding": mode, "bn_epsilon": epsilons[0]}
    raise InputError(where, "pads its convolutions in no known way", todo)


def in_sides(paddings: list[Any], layers: list[tuple[int, int, int]]) -> list[Any]:
    """The paddings, with "SAME" as the sides that it means whatever the map's size: those of a stride of 1.

    timm makes the convolutions of its tf_ variants that have this stride plain ones with these sides.
    """
    if len(paddings) != len(layers):
        return paddings
    return [
        conv_padding("symmetric", *layer) if padding == "SAME" and layer[1] == 1 else padding
        for padding, layer in zip(paddings, layers, strict=True)
    ]


def padding_of(modules: dict[str, Any], name: str) -> Any:
    """((top, bottom), (left, right)) of a convolution of a pickled module, or "SAME"; None where it cannot be told."""
    if modules[name].cls.endswith(("Conv2dDynamicSamePadding", "Conv2dSame")):
        return "SAME"
    static = modules.get(f"{name}.static_padding")
    if static is None or "padding" not in static.state:
        own = modules[name].state.get("padding")
        known = isinstance(own, tuple | list) and len(own) == 2 and all(type(side) is int for side in own)
        return ((own[0], own[0]), (own[1], own[1])) if known else None
    sides = static.state["padding"]
    if not isinstance(sides, tuple | list) or len(sides) != 4 or not all(type(side) is int for side in sides):
        return None
    left, right, top, bottom = sides
    return ((top, bottom), (left, right))


class Settings(NamedTuple):
    """What a package's networks do that is not in the numbers; None where its keys cannot tell."""

    padding: str | None
    bn_epsilon: float | None
    preprocessing: str | None


def settings_of(style: str, variant: str) -> Settings:
    """What is known of a package's variant."""
    if style == "torchvision":
        return Settings("symmetric", 1e-3 if variant in ("b5", "b6", "b7") else 1e-5, "imagenet")
    if style == "timm":  # its tf_ variants have the same keys
        return Settings(None, None, None)
    if variant == "lite0":
        return Settings("native-same", 1e-3, "lite")
    return Settings(None, 1e-3, "imagenet")  # its releases pad differently


def recipe(
    state: State,
    where: object,
    root: Any,
    padding: str | None,
    bn_epsilon: float | None = None,
    output: str | None = None,
    output_class: int | None = None,
    preprocessing: str | None = None,
    image_size: int | None = None,
) -> Recipe:
    """Variant and classes from the shapes; padding and epsilon from the module or the keys, or from the user.

    What the score is, see `latentjax.assessors.outputs.Output`, is in no file. With several classes it can be left out
    and set when the assessor is loaded. Images are scaled to the variant's own size unless another is given.

    Raises:
        InputError: no known variant; padding, epsilon or preprocessing neither in the file nor given; or given and
            contradicted by the file; an output or class that the head does not have.
    """
    style = efficientnet_names.style_of(state) or "efficientnet_pytorch"
    variant = variant_of(state, style, where)
    table = efficientnet_names.table(style, variant)
    renamed = {table.get(key, key): array for key, array in state.items()}
    if len(renamed) != len(state):
        raise InputError(where, "mixes the keys of two packages", "give the whole, unchanged published file")
    known, module = settings_of(style, variant), pickled_settings(root, variant, where)
    found = {name: value for name, value in known._asdict().items() if value is not None and style != OWN} | module
    for flag, name, value in (("--padding", "padding", padding), ("--bn-epsilon", "bn_epsilon", bn_epsilon)):
        if value is not None and found.get(name, value) != value:
            whose = "module" if name in module else "file"
            raise InputError(flag, f"{value} contradicts the {whose}'s own {found[name]}", "leave the flag out")
    padding = found.get("padding") or padding or known.padding
    if padding is None and style == "timm":
        what = "has timm's keys, which do not tell its padding, epsilon and preprocessing"
        todo = (
            "add --padding=symmetric --bn-epsilon=1e-5 --preprocessing=imagenet (efficientnet_b0 ...), or "
            "--padding=same --bn-epsilon=1e-3 --preprocessing=imagenet or inception (tf_efficientnet_b0 ...)"
        )
        raise InputError(where, what, todo)
    if padding is None:
        raise InputError(
            where,
            "is a bare state dict, which does not hold its padding",
            "add --padding=symmetric (efficientnet_pytorch 0.7.0), native-same (0.7.1) or same (TensorFlow)",
        )
    epsilon = found.get("bn_epsilon") or bn_epsilon or known.bn_epsilon
    preprocessing = preprocessing or known.preprocessing
    if epsilon is None or preprocessing is None:
        missing = "--bn-epsilon=1e-5 (1e-3 of its tf_ variants)" if epsilon is None else "--preprocessing=imagenet"
        raise InputError(where, "has timm's keys, which do not tell all of it", f"add {missing}")
    num_classes = dimension(renamed, "_fc.weight", 0, where)
    check_output(where, num_classes, output, output_class)
    scoring = {"output": output, "output_class": output_class}
    mean, std = PREPROCESSINGS[preprocessing]
    config = {
        "variant": variant,
        "num_classes": num_classes,
        "padding": padding,
        "image_size": image_size or VARIANTS[variant][2],
        "mean": list(mean),
        "std": list(std),
        "bn_epsilon": epsilon,
        **{name: value for name, value in scoring.items() if value is not None},
    }
    names = {ours: theirs for theirs, ours in table.items()}
    return Recipe("efficientnet", config, RULES, renamed, names=names)


def check_output(where: object, num_classes: int, output: str | None, output_class: int | None) -> None:
    """Refuses a score that this head cannot have.

    Raises:
        InputError: naming the file or the flag.
    """
    if num_classes == 1 and output is None:
        what = "has one output, and what it means is not in the file"
        raise InputError(where, what, "add --output=sigmoid (it is a logit) or --output=regression (it is the score)")
    if num_classes == 1 and output not in ("sigmoid", "regression"):
        what = f"{output} compares classes, and {where} has one output"
        raise InputError("--output", what, "give sigmoid or regression")
    if output_class is not None and not 0 <= output_class < num_classes:
        what = f"{output_class} is no class of {where}, whose head has {num_classes}"
        raise InputError("--output-class", what, f"give 0 to {num_classes - 1}")
