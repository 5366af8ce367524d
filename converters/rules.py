"""Tables of (pattern, path, transform) that turn a PyTorch state dict into latentjax weights, as a strict bijection."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from latentjax.errors import InputError

State = dict[str, np.ndarray]

WRONG_SHAPE = "of wrong shape, {}"
GROUP = re.compile(r"\((?:\?P<(\w+)>)?([^()]*)\)")  # in a rule's pattern
STATISTICS = ("/mean", "/var")  # how the paths of norms' running statistics end
REFERENCE = re.compile(r"\\(?:g<(\w+)>|(\d))")  # to a group, in a rule's path


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
    problems: dict[str, list[str]] = field(default_factory=dict)  # keys, by what is wrong with them already
    names: dict[str, str] = field(default_factory=dict)  # the file's own key, where the rules use another's


def dimension(state: State, key: str, axis: int, where: object) -> int:
    """One dimension of a tensor from which the architecture is inferred.

    Raises:
        InputError: the tensor is missing, has fewer dimensions or none of this.
    """
    if key not in state:
        raise InputError(where, f"lacks {key}", "give the whole state dict")
    if state[key].ndim <= axis:
        raise InputError(where, f"has {key} of shape {list(state[key].shape)}", "give the published state dict")
    if 0 in state[key].shape:
        raise InputError(where, f"has {key} without numbers", "give the published state dict")
    return state[key].shape[axis]


def apply(recipe: Recipe, shapes: dict[str, tuple[int, ...]], where: object, dtype: DTypeLike = np.float32) -> State:
    """Path to array for every path of the model.

    Args:
        recipe: the rules and the state dict.
        shapes: path to shape of every weight that the model needs.
        where: the file, for messages.
        dtype: of the arrays.

    Raises:
        InputError: a tensor is missing, unexpected, assigned twice, wrongly shaped, not finite, or a variance
            below zero.
    """
    weights: State = {}
    problems: dict[str, list[str]] = {"missing": [], "unexpected": [], "doubly assigned": []}
    for problem, keys in recipe.problems.items():
        problems.setdefault(problem, []).extend(keys)
    for key, array in recipe.state.items():
        rule, path = find(recipe.rules, key)
        if rule is None or (path is not None and path not in shapes):
            problems["unexpected"].append(key)
        elif path is not None and path in weights:
            problems["doubly assigned"].append(key)
        elif path is not None:
            weights[path], problem = fitted(rule, array, path, shapes[path], dtype)
            if problem:
                problems.setdefault(problem, []).append(key)
    problems["missing"] += [source_of(recipe.rules, path) for path in shapes if path not in weights]
    told = {problem: [recipe.names.get(key, key) for key in keys] for problem, keys in problems.items() if keys}
    found = [f"{len(keys)} {problem} ({listed(keys)})" for problem, keys in told.items()]
    if found:
        what = f"does not fit {recipe.kind}: {', '.join(found[:6] + ['...'] * (len(found) > 6))}"
        raise InputError(where, what, "give the whole, unchanged published file")
    return weights


def fitted(
    rule: Rule, array: np.ndarray, path: str, shape: tuple[int, ...], dtype: DTypeLike = np.float32
) -> tuple[np.ndarray, str]:
    """The array as the model wants it, and what is wrong with it, if anything."""
    moved = transformed(rule, array)
    if moved is None or moved.shape != shape:
        return array, WRONG_SHAPE.format(list(array.shape))
    with np.errstate(over="ignore"):  # what overflows is told below
        moved = np.ascontiguousarray(moved, dtype=dtype)
    if not np.isfinite(moved).all():
        return moved, "not finite"
    if path.endswith("/var") and (moved < 0).any():
        return moved, "below zero"
    return moved, ""


def rounded(weights: State) -> State:
    """The weights in float16, infinite beyond its range, and the norms' statistics as they are."""
    with np.errstate(over="ignore", under="ignore"):
        return {
            path: array if path.endswith(STATISTICS) else array.astype(np.float16) for path, array in weights.items()
        }


def halved(weights: State, recipe: Recipe, where: object) -> State:
    """The weights in float16, the norms' statistics as they are.

    What is rounded changes by at most 2**-11 of itself or, below 2**-14, by at most 2**-25.

    Raises:
        InputError: a weight is beyond float16's range.
    """
    stored = rounded(weights)
    beyond = [source_of(recipe.rules, path) for path, array in stored.items() if not np.isfinite(array).all()]
    if beyond:
        names = listed([recipe.names.get(key, key) for key in beyond])
        what = f"has {len(beyond)} tensors beyond float16's range, 65504 ({names})"
        raise InputError(where, what, "leave --dtype=float16 out")
    return stored


def listed(keys: list[str]) -> str:
    """The first keys, for messages."""
    shown = [key if len(key) <= 80 else key[:77] + "..." for key in keys[:3]]
    return ", ".join(shown + ["..."] * (len(keys) > 3))


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


def source_of(rules: Sequence[Rule], path: str) -> str:
    """The key that would fill a path, for messages about what is missing; the path itself if no rule does."""
    keys = (key_for(rule, path) for rule in rules if rule.path is not None)
    return next((key for key in keys if key), path)


def key_for(rule: Rule, path: str) -> str | None:
    """`find` backwards: the path's template becomes the pattern, and the pattern the template.

    Outside of its groups the pattern has to be plain text.
    """
    groups = {match[1] or str(i): match[2] for i, match in enumerate(GROUP.finditer(rule.pattern), 1)}

    def capture(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        return f"(?P<g{name}>{groups[name]})"

    found = re.fullmatch(REFERENCE.sub(capture, rule.path or ""), path)
    names = iter(groups)
    return GROUP.sub(lambda _: found[f"g{next(names)}"], rule.pattern).replace("\\.", ".") if found else None
