"""Tables of (pattern, path, transform) that turn a PyTorch state dict into latentjax weights, as a strict bijection."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from latentjax.errors import InputError

State = dict[str, np.ndarray]


def identity(array: np.ndarray) -> np.ndarray:
    """Vectors stay as they are."""
    return array


def linear(array: np.ndarray) -> np.ndarray:
    """PyTorch's [out, in] -> [in, out]."""
    return array.T


def conv(array: np.ndarray) -> np.ndarray:
    """PyTorch's [out, in, h, w] -> [h, w, in, out]; also depthwise [C, 1, h, w] -> [h, w, 1, C]."""
    return array.transpose(2, 3, 1, 0)


class Rule(NamedTuple):
    """Keys that match `pattern` whole go to `path` (None: dropped), changed by `transform`."""

    pattern: str
    path: str | None
    transform: Callable[[np.ndarray], np.ndarray] = identity


@dataclass
class Recipe:
    """How one state dict becomes one model."""

    kind: str
    config: dict[str, Any]
    rules: Sequence[Rule]
    state: State  # after whatever had to be folded
    missing: list[str] = field(default_factory=list)  # keys that the folding did not find


def dimension(state: State, key: str, axis: int, where: object) -> int:
    """One dimension of a tensor from which the architecture is inferred.

    Raises:
        InputError: the tensor is missing or has fewer dimensions.
    """
    if key not in state:
        raise InputError(where, f"lacks {key}", "give the whole state dict")
    if state[key].ndim <= axis:
        raise InputError(where, f"has {key} of shape {list(state[key].shape)}", "give the published state dict")
    return state[key].shape[axis]


def apply(recipe: Recipe, shapes: dict[str, tuple[int, ...]], where: object) -> State:
    """Path to float32 array for every path of the model.

    Args:
        recipe: the rules and the state dict.
        shapes: path to shape of every weight that the model needs.
        where: the file, for messages.

    Raises:
        InputError: a tensor is missing, unexpected, assigned twice, wrongly shaped or not finite.
    """
    weights: State = {}
    problems: dict[str, list[str]] = {
        "missing": list(recipe.missing),
        "unexpected": [],
        "doubly assigned": [],
        "wrongly shaped": [],
        "not finite": [],
    }
    for key, array in recipe.state.items():
        rule, path = find(recipe.rules, key)
        if rule is None:
            problems["unexpected"].append(key)
        elif path is not None and path in weights:
            problems["doubly assigned"].append(key)
        elif path is not None and path not in shapes:
            problems["unexpected"].append(key)
        elif path is not None:
            moved = transformed(rule, array)
            if moved is None or moved.shape != shapes[path]:
                problems["wrongly shaped"].append(f"{key} {list(array.shape)}")
            elif not np.isfinite(moved).all():
                problems["not finite"].append(key)
            weights[path] = array if moved is None else moved
    problems["missing"] += [path for path in shapes if path not in weights]
    found = [
        f"{len(names)} {problem} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for problem, names in problems.items()
        if names
    ]
    if found:
        what = f"does not fit {recipe.kind}: {'; '.join(found)}"
        raise InputError(where, what, "give the whole, unchanged published file")
    return {path: np.ascontiguousarray(array, dtype=np.float32) for path, array in weights.items()}


def transformed(rule: Rule, array: np.ndarray) -> np.ndarray | None:
    """The array as the model wants it, or None where it has too few or too many dimensions for that."""
    try:
        return rule.transform(array)
    except (ValueError, IndexError):
        return None


def find(rules: Sequence[Rule], key: str) -> tuple[Rule | None, str | None]:
    """The first rule for a key and the path that it gives."""
    for rule in rules:
        if match := re.fullmatch(rule.pattern, key):
            return rule, None if rule.path is None else match.expand(rule.path)
    return None, None
