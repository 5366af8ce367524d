"""Trained transformers of the published code: the paper's z-and-y map and the one-direction baseline."""

from typing import Any

import numpy as np

from converters.rules import Recipe, Rule, State, dimension, linear
from latentjax.errors import InputError

RULES = (
    Rule(r"w", "direction_z/vector", np.ravel),
    *(
        rule
        for name in ("z", "y")
        for torch_layer, layer in (("0", "0"), ("2", "1"))
        for rule in (
            Rule(rf"NN_output_{name}\.{torch_layer}\.weight", f"direction_{name}/layers/{layer}/kernel", linear),
            Rule(rf"NN_output_{name}\.{torch_layer}\.bias", f"direction_{name}/layers/{layer}/bias"),
        )
    ),
)


def recognises(state: State) -> bool:
    """Whether keys are a published transformer's."""
    return any(key == "w" or key.startswith(("NN_output", "directions.")) for key in state)


def recipe(state: State, where: object, num_classes: int | None, class_reg: float | None, renorm: str | None) -> Recipe:
    """Forms and sizes from the keys and shapes; class_reg and renorm are not in the file.

    Raises:
        InputError: a published kind that is not read yet, or sizes that contradict each other.
    """
    config: dict[str, Any] = {
        "class_reg": 1000.0 if class_reg is None else class_reg,
        "renorm": "batch" if renorm is None else renorm,
    }
    if "w" in state and not any(key.startswith("NN_output") for key in state):
        config |= {
            "latent_dim": dimension(state, "w", 1, where),
            "num_classes": 1000 if num_classes is None else num_classes,
        }
        return Recipe("transformer", config | {"z": "vector", "y": "none"}, RULES, state)
    if not any(key.startswith("NN_output_z.0.") for key in state):
        raise InputError(where, "is a transformer of a kind that is not read", "give a two-layer z-and-y map or 'w'")
    for name, size, noise in (("z", "latent_dim", "noise_dim"), ("y", "num_classes", "noise_dim_y")):
        out = dimension(state, f"NN_output_{name}.0.weight", 0, where)
        extra = dimension(state, f"NN_output_{name}.0.weight", 1, where) - out
        if extra < 0:
            raise InputError(where, f"has NN_output_{name}.0.weight of odd shape", "give the published state dict")
        config |= {
            size: out,
            noise: extra,
            name: f"two_layer({name}, noise)" if extra else f"two_layer({name})",
        }
    return Recipe("transformer", config, RULES, state)
