"""Class-conditional DCGANs whose layers are `main.{n}`, such as omniart-eye-generator's."""

import re
from collections.abc import Iterable

import numpy as np

from converters.rules import Recipe, Rule, State, dimension
from latentjax.errors import InputError

LAYER = r"main\.(\d{1,4})\."
MAX_CONVS = 12  # of which each but the first doubles the picture: 8,192 pixels


def recognises(state: State) -> bool:
    """Whether there are keys `main.{n}.*` with 4 x 4 kernels and running statistics."""
    shapes = [array.shape[2:] for key, array in state.items() if re.fullmatch(LAYER + "weight", key)]
    return (4, 4) in shapes and any(re.fullmatch(LAYER + "running_(mean|var)", key) for key in state)


def layers_of(keys: Iterable[str]) -> list[int]:
    """The numbers of the layers that have tensors, in order."""
    return sorted({int(match[1]) for key in keys if (match := re.match(LAYER, key))})


def input_kernel(array: np.ndarray) -> np.ndarray:
    """A transposed convolution of a 1 x 1 map, [in, out, 4, 4], as a linear kernel [in, 4 * 4 * out].

    Raises:
        ValueError: another shape.
    """
    if array.shape[2:] != (4, 4):
        raise ValueError("not a 4 x 4 kernel")
    return array.transpose(0, 2, 3, 1).reshape(len(array), -1)


def transposed(array: np.ndarray) -> np.ndarray:
    """PyTorch's [in, out, h, w] -> [h, w, in, out], flipped for correlation."""
    return array.transpose(2, 3, 0, 1)[::-1, ::-1]


def recipe(state: State, where: object, num_classes: int | None) -> Recipe:
    """Widths from the shapes; how the input splits into z and y cannot be seen in the file.

    Raises:
        InputError: layers are missing, odd or too many, or `num_classes` is not given.
    """
    layers = layers_of(state)
    convs = [n for n in layers if state.get(f"main.{n}.weight", np.zeros(0)).ndim == 4]
    norms = [n for n in layers if n not in convs]
    if len(convs) != len(norms) + 1 or len(convs) < 2:
        what = f"has {len(convs)} convolutions and {len(norms)} norms, not norms between all convolutions"
        raise InputError(where, what, "give a whole DCGAN generator")
    if len(convs) > MAX_CONVS:
        what = f"has {len(convs)} convolutions, more than the {MAX_CONVS} of 8,192 pixels"
        raise InputError(where, what, "give a whole DCGAN generator")
    inputs = dimension(state, f"main.{convs[0]}.weight", 0, where)
    if num_classes is None:
        what = f"takes {inputs} inputs, and how many of them are classes is not in the file"
        raise InputError(where, what, "add --num-classes=N")
    if not 0 < num_classes < inputs:
        what = f"{num_classes} classes do not fit the {inputs} inputs of {where}"
        raise InputError("--num-classes", what, f"give 1 to {inputs - 1}")
    widths = [dimension(state, f"main.{n}.weight", 1, where) for n in convs]
    config = {"latent_dim": inputs - num_classes, "num_classes": num_classes, "widths": widths[:-1]}
    rules = [
        Rule(r".*num_batches_tracked", None),
        Rule(rf"main\.{convs[0]}\.weight", "input/kernel", input_kernel),
    ]
    rules += [Rule(rf"main\.{n}\.weight", f"convs/{i}/kernel", transposed) for i, n in enumerate(convs[1:])]
    for i, n in enumerate(norms):
        rules += [
            Rule(rf"main\.{n}\.weight", f"norms/{i}/scale"),
            Rule(rf"main\.{n}\.bias", f"norms/{i}/bias"),
            Rule(rf"main\.{n}\.running_(mean|var)", rf"norms/{i}/\1"),
        ]
    return Recipe("dcgan", config, rules, state)
