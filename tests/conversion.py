"""From an oracle or a published file to our network, without a folder in between."""

import pathlib
import subprocess
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from converters import biggan, biggan_deep, biggan_pytorch, dcgan, efficientnet, rules, transformer
from converters.oracles import efficientnet as efficientnet_oracle
from converters.rules import Recipe
from latentjax import networks, weights
from latentjax.assessors import efficientnet as assessors_efficientnet

TENSORS = dict[str, np.ndarray]


def state_of(module: torch.nn.Module) -> TENSORS:
    """A module's state dict in NumPy."""
    return {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}


def shorten_assessors(monkeypatch: pytest.MonkeyPatch) -> None:
    """EfficientNets of two blocks in place of sixteen, PyTorch's and ours, where a test is about something else."""
    for module in (assessors_efficientnet, efficientnet_oracle):
        first, second, *_ = module.STAGES
        monkeypatch.setattr(module, "STAGES", (first._replace(stride=2), second._replace(repeats=1)))


def recipe_of(kind: str, state: TENSORS, **options: Any) -> Recipe:
    """The converter's recipe for a state dict."""
    if kind == "biggan":
        return biggan.recipe(state, "state")
    if kind == "biggan_deep":
        return biggan_deep.recipe(state, "state", options.get("compat"))
    if kind == "biggan_pytorch":
        return biggan_pytorch.recipe(state, "state")
    if kind == "dcgan":
        return dcgan.recipe(state, "state", options["num_classes"])
    if kind == "efficientnet":
        return efficientnet.recipe(state, "state", options.pop("root", state), options.pop("padding", None), **options)
    return transformer.recipe(state, "state", options.get("num_classes"), None, None)


def network(kind: str, role: str, state: TENSORS, **options: Any) -> Any:
    """The converted network, callable."""
    recipe = recipe_of(kind, state, **options)
    arrays = rules.apply(recipe, weights.shapes_of(recipe.kind, recipe.config), "state")
    return filled(recipe.kind, role, recipe.config, arrays)


def filled(kind: str, role: str, config: dict[str, Any], arrays: TENSORS) -> Any:
    """A network with given weights, by path."""
    module = weights.abstract(kind, config)
    weights.fill(module, arrays)
    return networks.HANDLES[role](module, {"kind": kind, "config": config})


def nhwc(images: np.ndarray | torch.Tensor) -> np.ndarray:
    """PyTorch's image layout to ours."""
    return np.moveaxis(np.asarray(images), 1, -1)


def nchw(images: np.ndarray) -> torch.Tensor:
    """Our image layout to PyTorch's."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(np.asarray(images), -1, 1)))


def worst(ours: Any, theirs: Any) -> float:
    """The largest absolute difference."""
    return float(np.abs(np.asarray(jnp.asarray(ours)) - np.asarray(theirs)).max())


def run_command(module: str, *arguments: str) -> int:
    """The exit code of `python -m MODULE ARGUMENTS` in the repository."""
    root = pathlib.Path(__file__).parent.parent
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=root, timeout=300).returncode
