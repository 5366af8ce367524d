"""Model folders on disk: weights.safetensors and model.json, verified when read.

    model.json   {"format", "kind", "config", "source": {"file", "sha256"}, "weights_sha256"}

model.json is written last, and the folder appears by one rename: a folder that is there is whole.
"""

import json
import os
import pathlib
from typing import Any

import jax
import numpy as np
from flax import nnx
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from latentjax import assessors, generators
from latentjax.errors import InputError
from latentjax.files import sha256_of, staged
from latentjax.transformers import Transformer

FORMAT = "latentjax-model-1"
ROLES = {
    "generator": generators.KINDS,
    "assessor": assessors.KINDS,
    "transformer": {"transformer": Transformer},
}
CLASSES = {kind: cls for kinds in ROLES.values() for kind, cls in kinds.items()}
Shapes = dict[str, tuple[int, ...]]


def build(kind: str, config: dict[str, Any], *, seed: int = 0) -> nnx.Module:
    """A module with random weights."""
    return CLASSES[kind](**config, rngs=nnx.Rngs(seed))


def abstract(kind: str, config: dict[str, Any]) -> nnx.Module:
    """The module with shapes in place of weights: the exact tree that a file must fill."""
    return nnx.eval_shape(lambda: build(kind, config))


def named(state: Any) -> dict[str, Any]:
    """Path ("blocks/0/conv0/kernel") to array, or shape, of every weight of a module's state."""
    return {"/".join(map(str, path)): variable.get_value() for path, variable in nnx.to_flat_state(state)}


def shapes_of(kind: str, config: dict[str, Any]) -> Shapes:
    """Path to shape of every weight of a kind."""
    return {path: tuple(leaf.shape) for path, leaf in named(nnx.state(abstract(kind, config))).items()}


def fill(module: nnx.Module, weights: dict[str, Any]) -> None:
    """Puts arrays into a module, path by path; the caller has checked that they match."""
    state = nnx.state(module)
    for path, variable in nnx.to_flat_state(state):
        variable.set_value(jax.numpy.asarray(weights["/".join(map(str, path))]))
    nnx.update(module, state)


def save(
    folder: os.PathLike | str,
    weights: dict[str, Any],
    kind: str,
    config: dict[str, Any],
    source: dict[str, Any],
    *,
    card: str = "",
    replace: bool = False,
) -> None:
    """Writes a model folder.

    Args:
        folder: where; refused if there, unless `replace`.
        weights: path to array.
        kind, config: the class and its arguments, see `CLASSES`.
        source: what it was made from, for the record.
        card: README.md, where given.
        replace: swap an existing folder for the new one.
    """
    with staged(folder, replace=replace) as temporary:
        file = temporary / "weights.safetensors"
        save_file({path: np.ascontiguousarray(array) for path, array in weights.items()}, file)
        record = {
            "format": FORMAT,
            "kind": kind,
            "config": config,
            "source": source,
            "weights_sha256": sha256_of(file),
        }
        if card:
            (temporary / "README.md").write_text(card)
        (temporary / "model.json").write_text(json.dumps(record, indent=2) + "\n")


def read_record(folder: os.PathLike | str, role: str) -> dict[str, Any]:
    """model.json of a folder, checked for its format and role.

    Raises:
        InputError: no model folder, or one of another role.
    """
    path = pathlib.Path(folder) / "model.json"
    try:
        record = json.loads(path.read_text())
        kind, found = record["kind"], record["format"]
        _ = record["config"], record["source"], record["weights_sha256"]
    except FileNotFoundError:
        raise InputError(
            folder,
            f"is not a {role} folder (no model.json)",
            "give a folder that python -m converters or a training run wrote",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(path, f"is damaged ({error!r})", "convert or copy the model again") from error
    if found != FORMAT or kind not in CLASSES:
        raise InputError(path, f"has unknown format {found!r} or kind {kind!r}", "use the latentjax that wrote it")
    if kind not in ROLES[role]:
        raise InputError(folder, f"holds a {kind}, which is no {role}", f"give the folder of a {role}")
    return record


def load(folder: os.PathLike | str, role: str) -> tuple[nnx.Module, dict[str, Any]]:
    """The module of a model folder and its record.

    Args:
        folder: a model folder.
        role: "generator", "assessor" or "transformer".

    Raises:
        InputError: missing, damaged (checksum, tensors) or of another role.
    """
    record = read_record(folder, role)
    file = pathlib.Path(folder) / "weights.safetensors"
    try:
        if sha256_of(file) != record["weights_sha256"]:
            raise InputError(file, "does not match the checksum in model.json", "convert or copy the model again")
        weights = load_file(file)
        module = abstract(record["kind"], record["config"])
    except (OSError, SafetensorError, TypeError, KeyError) as error:
        raise InputError(folder, f"is damaged ({error!r})", "convert or copy the model again") from error
    expected = shapes_of(record["kind"], record["config"])
    if {path: array.shape for path, array in weights.items()} != expected:
        raise InputError(file, "has other tensors than its model.json states", "convert or copy the model again")
    fill(module, weights)
    return module, record
