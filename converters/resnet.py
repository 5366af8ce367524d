"""ResNet-18 and -34 with torchvision's names, also under the head of two layers of omniart-eye-classifier."""

import re

from converters import efficientnet
from converters.rules import Recipe, Rule, State, conv, dimension, linear
from latentjax.errors import InputError

WRAPPED = "layers."  # what omniart-eye-classifier has before every name
STAGES = 4
EYE_COLOURS = ("amber", "blue", "brown", "gray", "grayscale", "green", "hazel", "irisless", "negative", "red")
# convolutions of a block and their norms, by torchvision's names
PARTS = {"conv1": "conv1", "conv2": "conv2", r"downsample\.0": "shortcut"}
NORMS = {"bn1": "norm1", "bn2": "norm2", r"downsample\.1": "shortcut_norm"}


def norm_rules(pattern: str, path: str) -> tuple[Rule, ...]:
    """The rules of one norm."""
    return (
        Rule(rf"{pattern}\.weight", f"{path}/scale"),
        Rule(rf"{pattern}\.bias", f"{path}/bias"),
        Rule(rf"{pattern}\.running_(?P<statistic>mean|var)", rf"{path}/\g<statistic>"),
    )


def stage_rules(stage: int) -> list[Rule]:
    """The rules of one stage, which torchvision counts from 1."""
    pattern, path = rf"layer{stage + 1}\.(?P<i>\d+)", rf"stages/{stage}/\g<i>"
    rules = [Rule(rf"{pattern}\.{theirs}\.weight", f"{path}/{ours}/kernel", conv) for theirs, ours in PARTS.items()]
    for theirs, ours in NORMS.items():
        rules += norm_rules(rf"{pattern}\.{theirs}", f"{path}/{ours}")
    return rules


RULES = (
    Rule(r".*num_batches_tracked", None),
    Rule(r"conv1\.weight", "stem/kernel", conv),
    *norm_rules("bn1", "stem_norm"),
    *(rule for stage in range(STAGES) for rule in stage_rules(stage)),
    Rule(r"fc\.1\.weight", "classifier_hidden/kernel", linear),
    Rule(r"fc\.1\.bias", "classifier_hidden/bias"),
    Rule(r"fc\.3\.weight", "classifier/kernel", linear),
    Rule(r"fc\.3\.bias", "classifier/bias"),
)
SINGLE = (
    *(rule for rule in RULES if not rule.pattern.startswith("fc")),
    Rule(r"fc\.weight", "classifier/kernel", linear),
    Rule(r"fc\.bias", "classifier/bias"),
)


def unwrapped(state: State) -> tuple[State, str]:
    """The state dict by torchvision's names, and what stood before each."""
    prefix = WRAPPED if all(key.startswith(WRAPPED) for key in state) else ""
    return {key.removeprefix(prefix): array for key, array in state.items()}, prefix


def recognises(state: State) -> bool:
    """Whether there are the stem and the first block of a ResNet of two convolutions a block."""
    keys = unwrapped(state)[0].keys()
    first = {"conv1.weight", "layer1.0.conv1.weight", "layer1.0.conv2.weight"}
    return first <= keys and "layer1.0.conv3.weight" not in keys


def depths_of(state: State, where: object) -> list[int]:
    """Blocks of each stage.

    Raises:
        InputError: a stage has none.
    """
    blocks = [
        {match[1] for key in state if (match := re.match(rf"layer{stage + 1}\.(\d+)\.", key))}
        for stage in range(STAGES)
    ]
    if not all(blocks):
        raise InputError(where, "lacks a stage of a ResNet", "give the whole state dict")
    return [len(numbers) for numbers in blocks]


def recipe(
    state: State,
    where: object,
    output: str | None = None,
    output_class: int | None = None,
    preprocessing: str | None = None,
    image_size: int | None = None,
) -> Recipe:
    """Depths, widths and classes from the keys and shapes.

    Images are scaled to 224 pixels unless another size is given, and normalised as torchvision does; those of
    omniart-eye-classifier, told by its head, are not normalised.

    Raises:
        InputError: a stage or the head is missing, the preprocessing contradicts the file, or an output or class
            that the head does not have.
    """
    renamed, prefix = unwrapped(state)
    eyes = "fc.3.weight" in renamed
    head = "fc.3.weight" if eyes else "fc.weight"
    num_classes = dimension(renamed, head, 0, where)
    efficientnet.check_output(where, num_classes, output, output_class)
    if eyes and preprocessing is not None:
        what = f"{preprocessing} contradicts {where}, whose images are not normalised"
        raise InputError("--preprocessing", what, "leave the flag out")
    mean, std = ((0.0,) * 3, (1.0,) * 3) if eyes else efficientnet.PREPROCESSINGS[preprocessing or "imagenet"]
    scoring = {"output": output, "output_class": output_class}
    config = {
        "num_classes": num_classes,
        "depths": depths_of(renamed, where),
        "width": dimension(renamed, "conv1.weight", 0, where),
        "hidden": dimension(renamed, "fc.1.weight", 0, where) if eyes else None,
        "image_size": image_size or 224,
        "mean": list(mean),
        "std": list(std),
        "classes": list(EYE_COLOURS) if eyes and num_classes == len(EYE_COLOURS) else None,
        **{name: value for name, value in scoring.items() if value is not None},
    }
    names = {key: prefix + key for key in renamed} if prefix else {}
    return Recipe("resnet", config, RULES if eyes else SINGLE, renamed, names=names)
