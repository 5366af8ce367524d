"""Transformers of the published code, all of its kinds, and back: `latentjax.transformers.KINDS` names them."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from converters.rules import Recipe, Rule, State, dimension, find, identity, key_for, linear, listed, source_of
from latentjax.errors import InputError
from latentjax.transformers import KINDS, Kind, Transformer, kind_named, parse_direction

# how each kind names the layers of D_z, as patterns; a number that they capture is the one of several directions
LAYERS_OF_Z = {
    "OneDirectionZ": ("w",),
    "OneDirectionZAdaptiveY": ("w",),
    "OneDirectionZAdaptiveY_zy": ("w",),
    "AdaptiveDirectionZ": ("NN_output",),
    "AdaptiveDirectionZ_zy": ("NN_output",),
    "AdaptiveDirectionZ_zy_AdaptiveDirectionY": ("NN_output",),
    "AdaptiveDirectionZ_zy_AdaptiveDirectionY_zy": ("NN_output",),
    "ClassDependent": ("NN_output",),
    "AdaptiveDirectionZAdaptiveDirectionY": ("NN_output_z",),
    "AdaptiveDirectionZAdaptiveDirectionY_zy": ("NN_output_z",),
    "AdaptiveDirectionZ_nonlinear": ("NN_output", "NN_output2"),
    "AdaptiveDirectionZAdaptiveDirectionY_nonlinear": (r"NN_output_z\.0", r"NN_output_z\.2"),
    "AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear": (r"NN_output_z\.0", r"NN_output_z\.2"),
    "MultiDirectionZ": (r"directions\.(\d+)",),
    "MultiDirectionZ_linear": (r"directions\.(\d+)",),
    "MultiDirectionZ_nonlinear": (r"directions\.(\d+)\.0", r"directions\.(\d+)\.2"),
}
# those of D_y, by its form
LAYERS_OF_Y = {"none": (), "linear": ("NN_output_y",), "two_layer": (r"NN_output_y\.0", r"NN_output_y\.2")}
MAX_DIRECTIONS = 1_000
PUBLISHED_CLASSES = 1000


def row(array: np.ndarray) -> np.ndarray:
    """[1, Z] -> [Z]."""
    return np.squeeze(array, axis=0)


Transform = Callable[[np.ndarray], np.ndarray]
BACKWARDS: dict[Transform, Transform] = {row: np.atleast_2d, linear: linear, identity: identity}


@functools.cache
def rules_of(kind: Kind) -> tuple[Rule, ...]:
    """The rules for the state dicts of a kind."""
    place = r"direction_z/\1" if kind.several else "direction_z"
    (z_form, _), (y_form, _) = forms_of(kind)
    layers_of_z = LAYERS_OF_Z[kind.published]
    if z_form == "vector":
        rules = [Rule(layers_of_z[0], f"{place}/vector", row)]
        layers_of_z = ()
    else:
        rules = []
    for direction, layers in ((place, layers_of_z), ("direction_y", LAYERS_OF_Y[y_form])):
        for i, layer in enumerate(layers):
            rules += [
                Rule(rf"{layer}\.weight", f"{direction}/layers/{i}/kernel", linear),
                Rule(rf"{layer}\.bias", f"{direction}/layers/{i}/bias"),
            ]
    return tuple(rules)


def forms_of(kind: Kind) -> list[tuple[str, tuple[str, ...]]]:
    """Form and inputs of D_z and of D_y."""
    return [parse_direction(text, kind.published) for text in (kind.z, kind.y)]


def written(form: str, inputs: tuple[str, ...]) -> str:
    """`latentjax.transformers.parse_direction` backwards."""
    return f"{form}({', '.join(inputs)})" if inputs else form


def recognises(state: State) -> bool:
    """Whether keys are a published transformer's."""
    return any(key == "w" or key.startswith(("NN_output", "directions.")) for key in state)


def recipe(
    state: State,
    where: object,
    num_classes: int | None,
    class_reg: float | None,
    renorm: str | None,
    kind: str | None = None,
) -> Recipe:
    """The kind from the keys and shapes, and its sizes; class_reg and renorm are not in the file.

    Args:
        state: the state dict.
        where: the file, for messages.
        num_classes: C; None: what the file tells, or 1000 where it tells nothing.
        class_reg, renorm: see `latentjax.transformers.Transformer`; None: as published.
        kind: a kind's name to insist on.

    Raises:
        InputError: no published kind has these keys and shapes, several have, or `kind` is not among them.
    """
    if not recognises(state):
        what = f"has no tensor of a published transformer ({listed(list(state))})"
        raise InputError(where, what, "give the whole, unchanged published file")
    if len({key.split(".")[1] for key in state if key.startswith("directions.")}) > MAX_DIRECTIONS:
        raise InputError(where, f"has more than {MAX_DIRECTIONS:,} directions", "save fewer")
    table = rules_of(min(KINDS.values(), key=lambda each: misfits(each, state)))
    kinds = [each for each in KINDS.values() if rules_of(each) == table]
    if kind is not None and (insisted := kind_named(kind, "--kind")) not in kinds:
        names = " or ".join(each.published for each in kinds)
        raise InputError("--kind", f"{kind} contradicts {where}, whose keys are those of {names}", "leave the flag out")
    kinds = kinds if kind is None else [insisted]
    config = decided(kinds, state, where, num_classes, kind)
    config |= {
        "class_reg": 1000.0 if class_reg is None else class_reg,
        "renorm": "batch" if renorm is None else renorm,
    }
    return Recipe("transformer", config, table, state)


def misfits(kind: Kind, state: State) -> tuple[int, int]:
    """How many keys and rules of a kind find no partner, and how many of them are keys."""
    found = [find(rules_of(kind), key)[0] for key in state]
    unexpected = found.count(None)
    return unexpected + len(set(rules_of(kind)) - set(found)), unexpected


def decided(
    kinds: list[Kind], state: State, where: object, num_classes: int | None, insisted: str | None
) -> dict[str, Any]:
    """The forms and sizes of the one kind, of those with the file's keys, that its shapes are of.

    Raises:
        InputError: none is, or several are.
    """
    shapes = listed([f"{key} {list(array.shape)}" for key, array in state.items() if array.ndim == 2])
    fitting: dict[tuple[str, str], tuple[Kind, dict[str, Any]]] = {}
    for kind in kinds:
        config = sized(kind, state, where, num_classes)
        if config is not None:  # without noise, two kinds may be the same
            fitting.setdefault((config["z"], config["y"]), (kind, config))
    if not fitting and insisted is not None:
        raise InputError("--kind", f"{insisted} contradicts {where}, which has {shapes}", "leave the flag out")
    if not fitting:
        what = f"has the shapes of no published transformer ({shapes})"
        raise InputError(where, what, "give the whole, unchanged published file")
    found = list(fitting.values())
    if insisted is None:
        classes = PUBLISHED_CLASSES if num_classes is None else num_classes
        # where y does not move, only the number of classes tells what a map takes
        found = [(kind, config) for kind, config in found if kind.y != "none" or config["num_classes"] == classes]
    if not found:
        options = [f"--num-classes={config['num_classes']} ({config['z']})" for _, config in fitting.values()]
        if num_classes is None:
            what = f"has {shapes}, and how many of the inputs are classes is not in the file"
            raise InputError(where, what, f"add {' or '.join(options)}")
        what = f"{num_classes} classes do not fit {where}, which has {shapes}"
        raise InputError("--num-classes", what, f"give {' or '.join(options)}")
    if len(found) > 1:
        found = [(kind, config) for kind, config in found if noise_is_published(config)] or found
    if len(found) > 1:
        options = [f"--kind={kind.published} (z {config['z']}, y {config['y']})" for kind, config in found]
        raise InputError(where, f"has {shapes}, which fits {len(found)} kinds", f"add {' or '.join(options)}")
    return found[0][1]


def sized(kind: Kind, state: State, where: object, num_classes: int | None) -> dict[str, Any] | None:
    """The forms and sizes under which a kind has the file's shapes, or None.

    Raises:
        InputError: a tensor that holds a size is missing or odd.
    """
    table, forms = rules_of(kind), forms_of(kind)
    (_, z_inputs), (y_form, _) = forms
    latent_dim, taken_by_z = outputs_and_inputs(state, table, "direction_z/0" if kind.several else "direction_z", where)
    classes, taken_by_y = PUBLISHED_CLASSES if num_classes is None else num_classes, 0
    if y_form != "none":
        classes, taken_by_y = outputs_and_inputs(state, table, "direction_y", where)
    elif "y" in z_inputs:
        classes = taken_by_z - (latent_dim if "z" in z_inputs else 0)
    config: dict[str, Any] = {"latent_dim": latent_dim, "num_classes": classes}
    if classes <= 0:
        return None
    widths = {"z": latent_dim, "y": classes, "noise": 0}
    for name, noise_dim, (form, inputs), taken in zip(
        ("z", "y"), ("noise_dim", "noise_dim_y"), forms, (taken_by_z, taken_by_y), strict=True
    ):
        noise = taken - sum(widths[each] for each in inputs)
        if noise < 0 or (noise and "noise" not in inputs):
            return None
        config[name] = written(form, tuple(each for each in inputs if noise or each != "noise"))
        if "noise" in inputs:
            config[noise_dim] = noise
    if kind.several:
        paths = {find(table, key)[1] for key in state} - {None}
        config["num_directions"] = len({path.split("/")[1] for path in paths if path})
    return config


def outputs_and_inputs(state: State, table: tuple[Rule, ...], direction: str, where: object) -> tuple[int, int]:
    """How many numbers a direction gives, and how many it takes (a vector: none).

    Raises:
        InputError: its tensor is missing or odd.
    """
    vector = f"{direction}/vector"
    key = source_of(table, vector)
    if key != vector:
        return dimension(state, key, 1, where), 0
    key = source_of(table, f"{direction}/layers/0/kernel")
    return dimension(state, key, 0, where), dimension(state, key, 1, where)


def noise_is_published(config: dict[str, Any]) -> bool:
    """Whether y's noise has the published size beside z's."""
    expected = int(config.get("noise_dim", 0) * config["num_classes"] / config["latent_dim"])
    return config.get("noise_dim_y", 0) == expected


def export(module: Transformer, weights: State, where: object) -> tuple[Kind, State]:
    """The published kind of a transformer and its state dict, which `recipe` reads.

    Args:
        module: the transformer.
        weights: path to array.
        where: its folder, for messages.

    Raises:
        InputError: it is of no published kind.
    """
    kind = published_kind(module, where)
    table, state = rules_of(kind), {}
    for path, array in weights.items():
        rule, key = next((rule, key) for rule in table if (key := key_for(rule, path)))
        state[key] = BACKWARDS[rule.transform](np.asarray(array, np.float32))
    return kind, state


def published_noise(module: Transformer, kind: Kind) -> tuple[int, int]:
    """The noise of z, and what the published code makes of y's beside it."""
    noise_z = module.noise_dims[0]
    return noise_z, int(noise_z * module.num_classes / module.latent_dim) if "noise" in kind.y else 0


def flags_for(module: Transformer, kind: Kind, state: State) -> list[str]:
    """What the converter must be told to read an exported state dict as what it is."""
    z, y = (written(*form) for form in forms_in(module))
    classes, name = module.num_classes, kind.published
    for num_classes, insisted in ((None, None), (classes, None), (classes, name)):
        try:
            read = recipe(state, "", num_classes, None, None, insisted).config
        except InputError:
            continue
        if (read["z"], read["y"], read["num_classes"]) == (z, y, classes):
            break
    flags = [f"--num-classes={classes}"] if num_classes else []
    return flags + ([f"--kind={name}"] if insisted else [])


def forms_in(module: Transformer) -> list[tuple[str, tuple[str, ...]]]:
    """Form and inputs of a transformer's D_z and D_y."""
    several = module.num_directions is not None
    directions = (module.direction_z[0] if several else module.direction_z, module.direction_y)
    return [("none", ()) if each is None else (each.form, each.inputs) for each in directions]


def published_kind(module: Transformer, where: object) -> Kind:
    """The published kind with these forms; it may take noise, of size 0, that the transformer does not.

    Raises:
        InputError: there is none.
    """
    several, forms = module.num_directions is not None, forms_in(module)

    def like(kind: Kind) -> bool:
        return kind.several == several and all(
            form == theirs and inputs in (seen, tuple(name for name in seen if name != "noise"))
            for (form, inputs), (theirs, seen) in zip(forms, forms_of(kind), strict=True)
        )

    if fitting := [kind for kind in KINDS.values() if like(kind)]:
        return min(fitting, key=lambda kind: forms_of(kind) != forms)
    z, y = (written(*form) for form in forms)
    count = f"{module.num_directions} directions of " if several else ""
    what = f"is of no published kind ({count}z {z}, y {y})"
    raise InputError(where, what, f"train one of the kinds {', '.join(KINDS)}")
