"""The architectures that are known: recognised by keys and shapes, each with the settings that it takes."""

import math
from typing import Any

from converters import biggan, biggan_deep, biggan_pytorch, dcgan, efficientnet, resnet, rules, torch_file, transformer
from converters.rules import Recipe, State
from latentjax import transformers
from latentjax.assessors.efficientnet import PADDINGS
from latentjax.assessors.outputs import OUTPUTS
from latentjax.errors import InputError
from latentjax.generators.biggan_deep import COMPATS

KINDS = {
    "biggan": biggan,
    "biggan_deep": biggan_deep,
    "biggan_pytorch": biggan_pytorch,
    "dcgan": dcgan,
    "efficientnet": efficientnet,
    "resnet": resnet,
    "transformer": transformer,
}
# what the user may have to tell of a kind; a number of classes can be told of any, where it agrees with the file
OPTIONS = {
    "biggan": (),
    "biggan_deep": ("compat",),
    "biggan_pytorch": (),
    "dcgan": (),
    "efficientnet": ("padding", "bn_epsilon", "output", "output_class", "preprocessing", "image_size"),
    "resnet": ("output", "output_class", "preprocessing", "image_size"),
    "transformer": ("class_reg", "renorm"),
}
SETTINGS = ("num_classes", *dict.fromkeys(name for names in OPTIONS.values() for name in names))
DTYPES = ("float32", "float16")  # of the weights that are written


def recognised(state: State) -> bool:
    """Whether the keys are those of some kind."""
    return any(module.recognises(state) for module in KINDS.values())


def infer_kind(state: State, where: object) -> str:
    """The kind whose keys these are.

    Raises:
        InputError: a foreign architecture.
    """
    for kind, module in KINDS.items():
        if module.recognises(state):
            return kind
    raise InputError(
        where,
        f"is of no known architecture ({len(state)} tensors: {rules.listed(list(state))})",
        f"give one of {', '.join(KINDS)} (--inspect shows what is in a file)",
    )


def kind_of(state: State, where: object, insisted: str | None) -> str:
    """The kind by the keys, or the one insisted on, of which a transformer's kind is one.

    Raises:
        InputError: a foreign architecture, or one that contradicts what is insisted on.
    """
    if insisted is None:
        return infer_kind(state, where)
    others = [kind for kind, module in KINDS.items() if module.recognises(state)]
    architecture = insisted if insisted in KINDS else "transformer"
    if others and architecture not in others:
        what = f"{insisted} contradicts {where}, whose keys are those of kind {others[0]}"
        raise InputError("--kind", what, "leave the flag out")
    return architecture


def recipe_for(
    kind: str, state: State, file: torch_file.TorchFile, options: dict[str, Any], insisted: str | None
) -> Recipe:
    """The kind's recipe for a state dict.

    Args:
        kind: what `kind_of` found.
        state, file: the state dict and where it is from.
        options: the flags of the command, None where not given.
        insisted: its --kind.

    Raises:
        InputError: the file is not of this kind, or an option is missing or contradicts it.
    """
    where, num_classes = file.path, options["num_classes"]
    for name, value in options.items():
        if value is not None and name not in (*OPTIONS[kind], "num_classes"):
            raise InputError(flag(name), f"is not for {where}, whose kind is {kind}", "leave the flag out")
    if kind == "biggan":
        recipe = biggan.recipe(state, where)
    elif kind == "biggan_deep":
        recipe = biggan_deep.recipe(state, where, options["compat"])
    elif kind == "biggan_pytorch":
        recipe = biggan_pytorch.recipe(state, where)
    elif kind == "dcgan":
        recipe = dcgan.recipe(state, where, num_classes)
    elif kind == "efficientnet":
        recipe = efficientnet.recipe(state, where, file, **{name: options[name] for name in OPTIONS[kind]})
    elif kind == "resnet":
        recipe = resnet.recipe(state, where, **{name: options[name] for name in OPTIONS[kind]})
    else:
        named = None if insisted in KINDS else insisted
        recipe = transformer.recipe(state, where, num_classes, options["class_reg"], options["renorm"], named)
    found = recipe.config["num_classes"]
    if num_classes not in (None, found):
        raise InputError("--num-classes", f"{num_classes} contradicts {where}, which has {found}", "leave the flag out")
    return recipe


def flag(option: str) -> str:
    """How an option is written on the command line."""
    return f"--{option.replace('_', '-')}"


def check_options(kind: str | None, options: dict[str, Any]) -> None:
    """Refuses values that fit no file.

    Raises:
        InputError: naming the flag.
    """
    if kind is not None and kind not in KINDS:
        try:
            transformers.kind_named(kind, "--kind")
        except InputError as error:
            known = ", ".join((*KINDS, *transformers.KINDS))
            raise InputError("--kind", error.what, f"use one of {known}, or a transformer's published name") from None
    choices = {
        "compat": COMPATS,
        "dtype": DTYPES,
        "padding": PADDINGS,
        "preprocessing": efficientnet.PREPROCESSINGS,
        "output": OUTPUTS,
        "renorm": transformers.RENORMS,
    }
    for name, known in choices.items():
        if options[name] is not None and options[name] not in known:
            raise InputError(flag(name), f"{options[name]!r} is unknown", f"use one of {', '.join(known)}")
    for name in ("num_classes", "class_reg", "bn_epsilon", "image_size"):
        value = options[name]
        if value is not None and not 0 < value < math.inf:
            raise InputError(flag(name), f"is {value}", "give a positive number")
