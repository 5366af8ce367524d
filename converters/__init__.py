"""Converters from PyTorch files to latentjax model folders; they need no PyTorch."""

import os
from typing import Any

from converters import biggan, dcgan, efficientnet, rules, torch_file, transformer
from converters.rules import Recipe, State
from latentjax import weights
from latentjax.errors import InputError

KINDS = {"biggan": biggan, "dcgan": dcgan, "efficientnet": efficientnet, "transformer": transformer}


def infer_kind(state: State, where: object) -> str:
    """The kind whose keys these are.

    Raises:
        InputError: a foreign architecture.
    """
    for kind, module in KINDS.items():
        if state and module.recognises(state):
            return kind
    first = ", ".join(list(state)[:3])
    raise InputError(
        where,
        f"is of no known architecture ({len(state)} tensors: {first}...)",
        f"give one of: {', '.join(KINDS)}; --inspect shows what is in a file",
    )


def recipe_for(kind: str, state: State, file: torch_file.TorchFile, options: dict[str, Any]) -> Recipe:
    """The kind's recipe for a state dict; `options` are the flags of the command, None where not given."""
    where, given = file.path, options.get
    if kind == "biggan":
        return biggan.recipe(state, where)
    if kind == "dcgan":
        return dcgan.recipe(state, where, given("num_classes"))
    if kind == "efficientnet":
        return efficientnet.recipe(state, where, file.root, given("padding"), given("bn_epsilon"))
    return transformer.recipe(state, where, given("num_classes"), given("class_reg"), given("renorm"))


def convert(
    source: os.PathLike | str, destination: os.PathLike | str, kind: str | None = None, **options: Any
) -> dict[str, Any]:
    """Converts a PyTorch file into a model folder.

    Args:
        source: a .pth file, zip or legacy, state dict or whole pickled module.
        destination: the folder to make; refused if there.
        kind: "biggan", "dcgan", "efficientnet" or "transformer"; None: by the keys.
        options: num_classes, class_reg, renorm (transformer), padding, bn_epsilon (EfficientNet).

    Returns:
        The model's kind, config and number of weights.

    Raises:
        InputError: not a readable file, a foreign architecture, a tensor that does not fit, or an option missing.
    """
    file = torch_file.read(source)
    state = torch_file.state_dict(file)
    recipe = recipe_for(kind or infer_kind(state, file.path), state, file, options)
    arrays = rules.apply(recipe, weights.shapes_of(recipe.kind, recipe.config), file.path)
    origin = {"file": os.path.basename(source), "sha256": file.sha256}
    weights.save(destination, arrays, recipe.kind, recipe.config, origin)
    return {"kind": recipe.kind, "config": recipe.config, "weights": sum(a.size for a in arrays.values())}
